"""Recorded decisions judged again: as they were made, by the policies of their time; and by new ones, before these come into force."""

import asyncio
import json
import shutil
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from decisions_world import BANK, BUNDLE, CATALOGUE, OPEN, OTHER_BANK, PERSON, PLATFORM, STATUS, TAX, VERIFY, World, ask, new_uscc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.cli import main
from consent.decisions.bundle import MEDIA_TYPE, Bundle, default_directory, load_bundle
from consent.decisions.engine import RegopyEngine
from consent.decisions.replay.engines import engine_for, find_opa
from consent.decisions.replay.outcome import Span
from consent.decisions.replay.report import dryrun_text, rerun_text, verdict
from consent.decisions.replay.service import dryrun, rerun
from consent.decisions.service import DecisionService
from consent.ledger import events
from consent.ledger.writer import write
from consent.parties import service as parties
from consent.parties.model import InstitutionChange, Model

OPA = Path(__file__).parents[2] / ".tools" / "bin" / "opa"


def in_process(bundle: Bundle) -> Any:
    """rego-cpp, which is always there."""
    return engine_for(bundle, None)


async def everything(service: DecisionService, world: World) -> None:
    """Checks of every kind: granted, redeemed, open, compared, modelled, a person's, denied for many reasons."""
    daily = {"max": 2, "per": "day"}
    grant = await world.grant(TAX, STATUS, frequency=daily, via=["platform-b"])
    await world.grant(VERIFY, action="verify")
    person = await world.grant(PERSON, by="person")
    enterprise = world.enterprise
    permit = (await ask(service, BANK, enterprise, [TAX, OPEN, "N99-01-01"], fields={TAX: [f"{TAX}.01", "invented"]}))["context"]
    await ask(service, PLATFORM, enterprise, ticket=permit["id"])
    await ask(service, PLATFORM, enterprise, ticket=permit["id"])
    await ask(service, PLATFORM, enterprise, ticket="x" * 22)
    for _ in range(2):
        await ask(service, PLATFORM, enterprise)
    await ask(service, PLATFORM, enterprise, [VERIFY], action="verify", claimed_fields=[f"{VERIFY}.01"])
    await ask(service, BANK, enterprise, [VERIFY], action="verify", claimed_fields=[f"{VERIFY}.02"])
    await ask(service, BANK, enterprise, [PERSON, STATUS])
    await ask(service, OTHER_BANK, enterprise, [TAX, OPEN], institution="bank-b")
    await ask(service, BANK, enterprise, purpose="marketing")
    await ask(service, BANK, enterprise, product="tax-loan", data_from="2025-01-01")
    await ask(service, BANK, enterprise, [TAX], action="model", purpose="modelling", model="scoring-1")
    await ask(service, BANK, new_uscc(), [TAX, OPEN])
    await ask(service, PLATFORM, enterprise, institution="nobody-here")
    await world.narrow(grant, "item-0")
    await ask(service, BANK, enterprise, [TAX, STATUS])
    async with write(world.engine) as tx:
        assert world.person_id is not None
        assert world.enterprise_id is not None
        await parties.end_link(tx, person_id=world.person_id, enterprise_id=world.enterprise_id, role="legal_representative")
    await ask(service, BANK, enterprise, [PERSON])
    await world.revoke(person)
    await ask(service, BANK, enterprise, [PERSON])


async def test_every_kind_of_decision_is_answered_again_as_recorded(service: DecisionService, world: World) -> None:
    """From the records alone, by the bundle that the ledger carries; what only the database knew is counted and said."""
    models = (Model(id="scoring-1", name_zh="评分", name_en="Scoring", items=(TAX,)),)
    async with write(world.engine) as tx:
        await parties.change_institution(tx, "bank-a", InstitutionChange(models=models), CATALOGUE)
    await everything(service, world)
    outcome = await rerun(world.engine, in_process)
    assert (outcome.differences, outcome.findings, outcome.unanswered, outcome.unchecked) == ([], [], [], [])
    assert outcome.judged == len(await world.records("access.decided")) == 18
    assert outcome.revisions == {BUNDLE.revision: 18}
    assert outcome.told["uncounted"] == 2
    assert verdict(outcome, policies=True) == "verified"
    assert (outcome.told["proven"], outcome.told["unproven"], outcome.told["unopened"]) == (18, 0, 0)
    text = rerun_text(outcome, policies=True)
    assert text.startswith("一致 consistent：")
    assert "persons' grants that did not count 2" in text


@pytest.mark.opa
@pytest.mark.skipif(not OPA.exists(), reason="OPA is not there (deploy/tools/build.sh .tools/bin); not tested: replay in OPA")
async def test_in_opa_as_in_process(service: DecisionService, world: World) -> None:
    """An OPA of the replay's own answers alike, and is gone afterwards."""
    await everything(service, world)
    outcome = await rerun(world.engine, lambda bundle: engine_for(bundle, find_opa(OPA)))
    assert (outcome.differences, outcome.findings, outcome.judged) == ([], [], 18)


class Watching:
    """The policies, and whether a transaction was left open while they were asked."""

    def __init__(self, policy: RegopyEngine, owner: AsyncEngine) -> None:
        self._policy, self._owner, self.revision = policy, owner, policy.revision
        self.waiting: list[int] = []

    async def decide(self, checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        async with self._owner.connect() as connection:
            open_ = "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'"
            self.waiting.append(await connection.scalar(text(open_)))
        return await self._policy.decide(checks)


async def test_no_transaction_waits_for_the_policies(
    service: DecisionService, world: World, policy: RegopyEngine, owner_engine: AsyncEngine
) -> None:
    """The database would end a transaction that idles while many are asked, and could not clean up behind it meanwhile."""
    await ask(service, BANK, world.enterprise, [OPEN])
    watching = Watching(policy, owner_engine)
    outcome = await rerun(world.engine, lambda _: nullcontext(watching))  # type: ignore[arg-type]
    assert (outcome.judged, watching.waiting) == (1, [0])


async def forge(world: World, **changes: Any) -> int:
    """Append the last decision once more, changed: what an operator could write who bypasses the service. Returns its index."""
    record = (await world.records("access.decided"))[-1]
    data = json.loads(json.dumps(record.data)) | {"id": "f" * 22}
    for name, value in changes.items():
        if name in data:
            data[name] = value
        else:
            data["items"][0][name] = value
    data["codes"] = sorted({code for line in data["items"] for code in line["codes"]})
    async with write(world.engine) as tx:
        tx.append_encoded("access.decided", json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())
    world.behind = True
    return tx.receipts[0].index


DENIED = {"outcome": "deny", "basis": None, "grant": None, "identifier": None, "fields": [], "withheld": []}


async def test_a_denial_that_the_policies_would_not_give(service: DecisionService, world: World) -> None:
    """The records alone allow every denial; the policies do not."""
    await world.grant(TAX)
    await ask(service, BANK, world.enterprise)
    record = (await world.records("access.decided"))[-1]
    line = record.data["items"][0] | DENIED | {"codes": ["item.not_granted"]}
    index = await forge(world, items=[line], decision=False, outcome="none")
    assert (await rerun(world.engine, None)).findings == []
    outcome = await rerun(world.engine, in_process)
    assert [(found.index, found.item, found.change) for found in outcome.differences] == [(index, TAX, "gained")]
    assert verdict(outcome, policies=True) == "refuted"
    assert f"第 {index} 条 record {index} {TAX}" in rerun_text(outcome, policies=True)


@pytest.mark.parametrize(
    ("told", "code"), [({"verified": False}, "told.verified"), ({"uncounted": []}, "told.uncounted")], ids=["verified", "uncounted"]
)
async def test_a_decision_that_was_told_what_is_not_so(service: DecisionService, world: World, told: dict[str, Any], code: str) -> None:
    """What only the database knows is held against what it still knows: salts open who registered and who was linked when."""
    await world.grant(PERSON, by="person")
    async with write(world.engine) as tx:
        assert world.person_id is not None
        assert world.enterprise_id is not None
        await parties.end_link(tx, person_id=world.person_id, enterprise_id=world.enterprise_id, role="legal_representative")
    await ask(service, BANK, world.enterprise, [PERSON])
    record = (await world.records("access.decided"))[-1]
    index = await forge(world, told=record.data["told"] | told)
    outcome = await rerun(world.engine, in_process)
    assert [(place, found) for place, found, _ in outcome.findings] == [(index, code)]


async def test_what_was_erased_proves_nothing(service: DecisionService, world: World, owner_engine: AsyncEngine) -> None:
    """Without pseudonym and salts a decision's facts are neither borne out nor refuted, and that is said."""
    await ask(service, BANK, world.enterprise, [OPEN])
    async with owner_engine.begin() as connection:
        await connection.execute(text("delete from pseudonym"))
        await connection.execute(text("delete from evidence"))
    outcome = await rerun(world.engine, in_process)
    assert (outcome.findings, outcome.differences) == ([], [])
    assert (outcome.told["proven"], outcome.told["unproven"]) == (0, 1)
    assert outcome.told["unopened"] >= 3
    assert "erased, so not provable: 1" in rerun_text(outcome, policies=True)


async def test_another_reason_than_the_policies_give(service: DecisionService, world: World) -> None:
    """A denial is held to its reasons, since these tell the denied party what to do."""
    await ask(service, BANK, world.enterprise)
    record = (await world.records("access.decided"))[-1]
    index = await forge(world, items=[record.data["items"][0] | {"codes": ["grant.expired"]}])
    outcome = await rerun(world.engine, in_process)
    assert [(found.index, found.change, found.answered) for found in outcome.differences] == [
        (index, "explained", {"codes": ["item.not_granted"]})
    ]


async def test_a_permit_for_what_is_not_necessary(service: DecisionService, world: World) -> None:
    """A permit that grant and catalogue carry, but not the matrix: only the policies find it."""
    needed = BUNDLE.data["consent"]["matrix"]["pre_loan"]
    grantable = [item.code for item in CATALOGUE.items.values() if item.provision == "grant" and item.consent_subject != "person"]
    item = next(code for code in grantable if code not in needed)
    grant = await world.grant(item)
    context = (await ask(service, BANK, world.enterprise, [item]))["context"]
    assert context["codes"] == ["item.not_necessary"]
    line = (await world.records("access.decided"))[-1].data["items"][0]
    given = {"outcome": "permit", "basis": "grant", "grant": grant.id, "identifier": "d1", "codes": []}
    index = await forge(world, items=[line | given | {"fields": list(CATALOGUE.field_codes[item])}], decision=True, outcome="full")
    assert (await rerun(world.engine, None)).findings == []
    outcome = await rerun(world.engine, in_process, Span(first=index))
    assert outcome.judged == 1
    assert [(found.index, found.change) for found in outcome.differences] == [(index, "lost")]


def variant(folder: Path, file: str, before: str, after: str) -> Bundle:
    """The product's policies with one place changed."""
    place = folder / f"policies-{sha256(after.encode()).hexdigest()[:8]}"
    shutil.copytree(default_directory(), place, ignore=shutil.ignore_patterns("corpus", "*_test.rego"))
    text = (place / file).read_text(encoding="utf-8")
    assert before in text
    (place / file).write_text(text.replace(before, after, 1), encoding="utf-8")
    return load_bundle(CATALOGUE, place)


def without_phases(folder: Path) -> Bundle:
    """Policies under which post_loan needs no loan."""
    return variant(folder, "data/purposes.json", '"post_loan": {"loan_required": true', '"post_loan": {"loan_required": false')


def only_with_a_loan(folder: Path) -> Bundle:
    """Policies under which pre_loan needs a loan that was applied for."""
    return variant(folder, "data/purposes.json", '"pre_loan": {"loan_required": false', '"pre_loan": {"loan_required": true')


async def test_dry_run_tells_what_would_change(service: DecisionService, world: World, tmp_path: Path) -> None:
    """By bank and item: permits that would be denials, and denials that would be permits; nothing is changed by asking."""
    await world.grant(TAX)
    for _ in range(3):
        await ask(service, BANK, world.enterprise, [TAX, OPEN])
    await ask(service, OTHER_BANK, world.enterprise, [OPEN], institution="bank-b")
    await ask(service, BANK, world.enterprise, [OPEN], purpose="post_loan")
    size = len(await world.records())
    same = await dryrun(world.engine, BUNDLE, in_process)
    assert (same.judged, same.differences, same.changes) == (5, [], {})
    lost = await dryrun(world.engine, only_with_a_loan(tmp_path), in_process)
    assert lost.changes["lost"] == 7
    counts = {place: (row.asked, row.permitted, row.lost, row.gained) for place, row in lost.rows.items()}
    assert counts == {("bank-a", TAX): (3, 3, 3, 0), ("bank-a", OPEN): (4, 3, 3, 0), ("bank-b", OPEN): (1, 1, 1, 0)}
    assert lost.rows["bank-a", TAX].codes == {"purpose.phase_closed": 3}
    gained = await dryrun(world.engine, without_phases(tmp_path), in_process)
    assert [(found.item, found.change) for found in gained.differences] == [(OPEN, "gained")]
    assert gained.rows["bank-a", OPEN].examples == [gained.differences[0].index]
    text = dryrun_text(lost, "p-2", CATALOGUE)
    assert "准予将变拒绝 permits to denials 7" in text
    assert "purpose.phase_closed×3" in text
    assert CATALOGUE.items[TAX].name.zh in text
    assert len(await world.records()) == size


async def test_each_decision_by_the_revision_of_its_time(world: World, engine: AsyncEngine, policy: RegopyEngine, tmp_path: Path) -> None:
    """After an activation the same question has another answer, and both are right at their place."""
    world.behind = True  # the fixture's look at the end knows one revision only
    new = without_phases(tmp_path)
    await _ask_once(DecisionService(engine, policy, CATALOGUE), world)
    async with write(engine) as tx:
        sha = await tx.put_blob(MEDIA_TYPE, new.blob())
        for staff in ("anna", "omar"):
            tx.append(events.StaffRegistered(staff=staff, role="operator"))
        common = {"revision": new.revision, "sha256": sha}
        proposed = events.PolicyProposed(**common, signed_by="key-1", catalogue=CATALOGUE.version, replaces=BUNDLE.revision, staff="anna")
        index = tx.append(proposed)
        for staff in ("anna", "omar"):
            tx.append(events.PolicyApproved(**common, proposal=index, staff=staff))
        tx.append(events.PolicyActivated(**common, signed_by="key-1", approvers=("anna", "omar")))
    async with engine_for(new, None) as later:
        await _ask_once(DecisionService(engine, later, CATALOGUE), world)
    outcome = await rerun(engine, in_process)
    assert [record.data["outcome"] for record in await world.records("access.decided")] == ["none", "full"]
    assert (outcome.revisions, outcome.differences, outcome.findings) == ({BUNDLE.revision: 1, new.revision: 1}, [], [])
    by_the_old = await rerun(engine, lambda _: nullcontext(policy))
    assert [found.change for found in by_the_old.differences] == ["lost"]


async def _ask_once(service: DecisionService, world: World) -> None:
    await service.start()
    await ask(service, BANK, world.enterprise, [OPEN], purpose="post_loan")
    await service.stop()


async def test_policies_that_cannot_be_run_are_said_so(service: DecisionService, world: World) -> None:
    """A bundle of a form that this release does not know: nothing is claimed of its decisions."""
    await ask(service, BANK, world.enterprise, [OPEN])
    async with write(world.engine) as tx:
        sha = await tx.put_blob(MEDIA_TYPE, b"no bundle")
        tx.append(events.PolicyActivated(revision="p-9", sha256=sha, signed_by=None, approvers=()))
    await forge(world, policy="p-9")
    outcome = await rerun(world.engine, in_process)
    assert list(outcome.unreadable) == ["p-9"]
    assert outcome.judged == 1
    outcome.findings.clear()  # nobody approved it; said elsewhere
    assert verdict(outcome, policies=True) == "unchecked"


async def test_the_commands(service: DecisionService, world: World, database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit codes and JSON of both; bounds by index and by day; what is no bound or no bundle is one line."""
    await everything(service, world)
    for name, value in (("DATABASE_URL", database.app_url), ("ISSUER", "http://127.0.0.1:1"), ("LEDGER_KEY_FILE", str(tmp_path / "key"))):
        monkeypatch.setenv(f"CONSENT_{name}", value)
    monkeypatch.setenv("PATH", str(tmp_path))  # no OPA there

    async def invoke(*arguments: str) -> tuple[int, str]:
        result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
        return result.exit_code, result.output

    code, output = await invoke("ledger", "replay")
    assert (code, output.startswith("一致 consistent：")) == (0, True)
    code, output = await invoke("ledger", "replay", "--policies", "--json", "--from", "20", "--to", "30")
    report = json.loads(output)
    indexes = [record.index for record in await world.records("access.decided")]
    assert (code, report["verdict"], report["judged"]) == (0, "verified", sum(20 <= index <= 30 for index in indexes))
    bundle = tmp_path / "new.tar.gz"
    bundle.write_bytes(only_with_a_loan(tmp_path).blob())
    code, output = await invoke("policy", "dry-run", "--bundle", str(bundle), "--json", "--from", "2020-01-01", "--to", "2199-12-31")
    report = json.loads(output)
    assert (code, report["judged"], report["changes"]["gained"]) == (0, 18, 0)
    assert report["changes"]["lost"] > 5
    assert {row["institution"] for row in report["rows"]} == {"bank-a", "bank-b"}
    code, output = await invoke("policy", "dry-run", "--bundle", str(default_directory()))
    assert (code, "准予将变拒绝 permits to denials 0；" in output) == (0, True)
    for wrong in (["--from", "yesterday"], ["--to", "2026-02-30"], ["--from", "-1"], ["--to", "１"]):
        code, output = await invoke("ledger", "replay", *wrong)
        assert code == 2
    (tmp_path / "junk").write_bytes(b"junk")
    code, output = await invoke("policy", "dry-run", "--bundle", str(tmp_path / "junk"))
    assert (code, output.startswith("Error: bundle: ")) == (1, True)
    await forge(world, outcome="full", decision=True)
    assert (await invoke("ledger", "replay"))[0] == 1
