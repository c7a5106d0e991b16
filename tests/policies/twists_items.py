"""Twists of checks, continued: what is asked, and what was granted for it."""

from tests.policies import corpus
from tests.policies.law import Item, law
from tests.policies.twists import ACTIONS, AROUND, NOW, Case, Rng, grant_twist, twist


def _known(case: Case, rng: Rng) -> tuple[Case, Item | None]:
    line = rng.choice(case["items"])
    return line, law().items.get(line["item"])


@twist
def other_item(case: Case, rng: Rng) -> None:
    """One that does not exist, cannot be selected, or that the purpose may not need."""
    line = rng.choice(case["items"])
    line["item"] = rng.choice(("N99-01-01", "NB-01", "N24-10-02", *rng.sample(sorted(law().items), 5)))
    codes = [other["item"] for other in case["items"]]
    if len(set(codes)) < len(codes):
        case["items"] = [line]
    known = law().items.get(line["item"])
    line["fields"] = None if known is None else list(known.fields)
    for grant in case["grants"][:1]:
        grant["item"], grant["fields"] = line["item"], [] if known is None else list(known.fields)


@twist
def special_fields(case: Case, rng: Rng) -> None:
    """Only third parties' fields, only documents, only what is not needed; or all of them with one ordinary field."""
    line, item = _known(case, rng)
    if item is None:
        return
    needed = law().needed(case["purpose"], item.code)
    special = [sorted(item.barred), sorted(item.documents), sorted(set(item.fields) - needed), [item.fields[0]]]
    chosen = [field for fields in rng.sample(special, rng.randint(1, 3)) for field in fields]
    line["fields"] = sorted(set(chosen)) or None


@twist
def items_with_special_fields(case: Case, rng: Rng) -> None:
    """An item that has third parties' fields, documents or unneeded ones, where the purpose has one."""
    rich = [
        (purpose, code)
        for (purpose, code), bounds in sorted(law().matrix.items())
        if law().items[code].barred or law().items[code].documents or set(law().items[code].fields) - bounds.fields
    ]
    purpose, code = rng.choice(rich)
    loan = {"phase": "disbursed", "product": None} if purpose == "post_loan" else None
    by = "person" if law().items[code].consent_subject == "person" else "enterprise"
    model = {"registered": True, "items": [code]}
    case.update(purpose=purpose, loan=loan, action="model" if purpose == "modelling" else "query", model=model)
    case["items"] = [{"item": code, "fields": None, "claimed": None}]
    granted = {**corpus.BASE["grant"], "item": code, "purpose": purpose, "action": case["action"], "by": by}
    case["grants"] = [granted | {"fields": rng.sample(law().items[code].fields, rng.randint(1, len(law().items[code].fields)))}]
    if rng.random() < 0.6:
        special_fields(case, rng)
    if rng.random() < 0.3:
        case["grants"] = []


@twist
def unlisted_field(case: Case, rng: Rng) -> None:
    """A field that the item does not have, or none at all."""
    line, item = _known(case, rng)
    first = [] if item is None else [item.fields[0]]
    line["fields"] = rng.choice(([*first, f"{line['item']}.99"], [f"{line['item']}.99"], []))


@twist
def claims(case: Case, rng: Rng) -> None:
    """Values to compare for some fields, for none, for others than asked."""
    line, item = _known(case, rng)
    if item is not None:
        line["claimed"] = rng.choice(([], rng.sample(item.fields, rng.randint(1, len(item.fields))), [item.fields[-1]]))
        if rng.random() < 0.6 and case["purpose"] != "modelling":
            case["action"] = "verify"
            for grant in case["grants"]:
                grant["action"] = rng.choice(("query", "verify"))


@grant_twist
def grant_status(case: Case, rng: Rng) -> None:
    """Revoked, suspended, odd, as a whole or by item."""
    for grant in case["grants"]:
        grant["status"] = rng.choice(("active", "suspended", "suspended", "revoked", "odd"))
        grant["item_status"] = rng.choice(("active", "active", "active", "revoked", "odd"))


@grant_twist
def grant_end(case: Case, rng: Rng) -> None:
    """It ends about now, or never, which is no grant."""
    for grant in case["grants"]:
        grant["valid_until"] = rng.choice(AROUND)


@grant_twist
def grant_purpose(case: Case, rng: Rng) -> None:
    """For another purpose or product."""
    for grant in case["grants"]:
        grant["purpose"] = rng.choice((grant["purpose"], grant["purpose"], "approval", "pre_loan"))
        grant["product"] = rng.choice((None, "tax-loan-01", "tax-loan-02", "gone"))
    if rng.random() < 0.5:
        case["product"] = rng.choice(("tax-loan-01", "tax-loan-02"))


@grant_twist
def grant_fields(case: Case, rng: Rng) -> None:
    """Some of the fields, other fields than asked, none."""
    for grant in case["grants"]:
        fields = list(law().items[grant["item"]].fields) if grant["item"] in law().items else []
        grant["fields"] = rng.sample(fields, rng.randint(0, len(fields)))


@grant_twist
def grant_use(case: Case, rng: Rng) -> None:
    """Used one time less than, as often as, oftener than granted."""
    for grant in case["grants"]:
        most = rng.choice((1, 2, 10, 100))
        grant["frequency"] = {"max": most, "per": rng.choice(("day", "month", "total"))}
        grant["used"] = most + rng.choice((-1, -1, 0, 1))


@grant_twist
def grantor(case: Case, rng: Rng) -> None:
    """Given by the enterprise or by a person, whoever was to give it."""
    for grant in case["grants"]:
        grant["by"] = rng.choice(("enterprise", "person"))


@twist
def persons_item(case: Case, rng: Rng) -> None:
    """An item that only a person can give, with and without her own consent."""
    pairs = sorted(pair for pair in law().matrix if law().items[pair[1]].consent_subject == "person")
    purpose, code = rng.choice(pairs)
    case.update(purpose=purpose, loan=None, action=rng.choice(("verify", "query", "model")), model={"registered": True, "items": [code]})
    case["items"] = [{"item": code, "fields": None, "claimed": None}]
    held = {**corpus.BASE["grant"], "item": code, "purpose": purpose, "action": case["action"], "fields": list(law().items[code].fields)}
    case["grants"] = [{**held, "by": by, "identifier": f"d{n}"} for n, by in enumerate(rng.choice((["person"], ["enterprise"], [])), 1)]


@grant_twist
def no_grants(case: Case, rng: Rng) -> None:
    """Nothing granted, or all but the first."""
    case["grants"] = rng.choice(([], case["grants"][1:]))


@grant_twist
def rivals(case: Case, rng: Rng) -> None:
    """Several grants of one item, of which some fail at different hurdles and some give more than others."""
    rivals = []
    for grant in case["grants"]:
        for n in range(rng.randint(1, 4)):
            rival = {**grant, "grant_id": rng.choice(("g1", "g2", "g10")), "identifier": f"d{rng.choice((1, 2, 10)) + 20 * len(rivals)}"}
            rival["fields"] = rng.sample(grant["fields"], rng.randint(0, len(grant["fields"])))
            _hinder(rival, rng)
            rivals.append(rival | {"retention_days": rng.choice((None, 30 + n))})
    case["grants"] = rivals


def _hinder(grant: Case, rng: Rng) -> None:
    """Nothing, or one fault."""
    faults = [
        ("status", ("revoked", "suspended")),
        ("item_status", ("revoked",)),
        ("valid_until", (NOW, NOW - 1)),
        ("purpose", ("approval", "pre_loan")),
        ("product", ("gone",)),
        ("action", ACTIONS),
        ("by", ("person", "enterprise")),
        ("data_from", ("2026-01-01",)),
        ("frequency", ({"max": 1, "per": "total"},)),
        ("used", (1, 2)),
    ]
    for name, values in rng.sample(faults, rng.choice((0, 1, 1, 2))):
        grant[name] = rng.choice(values)


@grant_twist
def retention(case: Case, rng: Rng) -> None:
    """Granted for fewer, as many, or more days than the purpose needs."""
    for grant in case["grants"]:
        bounds = law().matrix.get((case["purpose"], grant["item"]))
        days = 100 if bounds is None else bounds.retention_days
        grant["retention_days"] = rng.choice((1, days - 1, days, days + 1))


@twist
def banded(case: Case, rng: Rng) -> None:
    """Figures that the lists give in bands, with a processor now and then."""
    loan = {"phase": "overdue", "product": None} if case["purpose"] == "post_loan" else None
    purpose = rng.choice(("pre_loan", "approval", "guarantee", "policy_benefit"))
    case.update(purpose=purpose, loan=loan if purpose == "post_loan" else None, action=rng.choice(("query", "verify", "model")))
    case["items"] = [{"item": "N21-05-01", "fields": rng.choice((None, ["N21-05-01.03"], ["N21-05-01.01"])), "claimed": None}]
    case["model"] = {"registered": True, "items": ["N21-05-01"]}
    case["processor"] = rng.choice((None, "lab-a"))
    fields = list(law().items["N21-05-01"].fields)
    held = {"item": "N21-05-01", "purpose": purpose, "action": case["action"], "fields": fields, "processor": case["processor"]}
    case["grants"] = [{**corpus.BASE["grant"], **held}]
