"""Replay of consents that replace a grant or are merged into it: details, places and counters go on exactly as they must."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from audit_ledgers import SIGNER, unpack_into
from replay_world import BANK, OPEN, PLATFORM, TAX, Event, Story, at, change, decided, denied, detail, files, grant, line, story, use

from consent_audit.replay.run import Replayed, replay
from consent_audit.report import Verdict
from consent_audit.sources import open_source

ONE = detail("d1", TAX, f"{TAX}.01", frequency={"max": 3, "per": "total"})
TWO = detail("d2", OPEN, f"{OPEN}.03")
ASKED = {"client": f"{BANK}-client", "institution": BANK, "excess": 0, "policy": "p-1", "catalogue": "c-1"}


def _use(grant_id: str, identifier: str, used: int) -> dict:
    permit = line(TAX, f"{TAX}.01", grant=grant_id, identifier=identifier)
    return decided(f"u-{identifier}-{used}", permit, platform=PLATFORM, uses=[use(grant_id, identifier, used, "total")])


def renewals() -> Story:
    """A grant is used, merged with another request, used on, replaced, and used from the beginning."""
    more = detail("d1", OPEN, f"{OPEN}.03", f"{OPEN}.01")
    left = detail("d2", TAX, f"{TAX}.02", purpose="post_loan")
    again = detail("d1", TAX, f"{TAX}.01", frequency={"max": 1, "per": "total"})
    told = [
        ("grant", "grant.approved", grant("g", ONE, TWO)),
        ("first use", "access.decided", _use("g", "d1", 1)),
        ("asked more", "grant.requested", ASKED | {"request": "r-2", "details": [more, left]}),
        (
            "merged",
            "grant.merged",
            grant("g", ONE, more | {"identifier": "d3"}, version=2, request="r-2", refused=[_refused("d4", TAX)]),
        ),
        ("second use", "access.decided", _use("g", "d1", 2)),
        ("asked again", "grant.requested", ASKED | {"request": "r-3", "details": [again]}),
        ("replaced", "grant.replaced", grant("g", again | {"identifier": "d5"}, version=3, request="r-3")),
        ("fresh use", "access.decided", _use("g", "d5", 1)),
        ("spent", "access.decided", decided("d-spent", denied(TAX, "grant.frequency_exceeded"), platform=PLATFORM)),
        ("asked late", "grant.requested", ASKED | {"request": "r-4", "details": [ONE | {"valid_until": "2027-03-01T00:00:00.000Z"}]}),
        (
            "merged late",
            "grant.merged",
            grant("g", ONE | {"identifier": "d6", "valid_until": "2027-03-01T00:00:00.000Z"}, version=4, request="r-4"),
        ),
        ("late use", "access.decided", _use("g", "d6", 1)),
        ("revoked", "grant.revoked", change("g", 5)),
    ]
    later = {"asked late": timedelta(days=40)}
    begin = story()
    return [*begin[: at(begin, "request")], *(Event(name, kind, data, later.get(name, timedelta(seconds=1))) for name, kind, data in told)]


def _refused(identifier: str, item: str) -> dict:
    return {"identifier": identifier, "item": item, "code": "item.not_granted"}


def run(root: Path, told: Story) -> Replayed:
    """Publish and replay."""
    with open_source(str(unpack_into(root / "tree", files(told)))) as source:
        return replay(source, SIGNER.verifier)


def test_renewed_grants_go_on(tmp_path: Path) -> None:
    """A merge keeps the counters of what stays, a replacement begins anew, and an expired grant can be renewed."""
    told = renewals()
    replayed = run(tmp_path, told)
    assert [(found.code, told[found.index].name, found.message) for found in replayed.findings] == []
    assert replayed.verdict is Verdict.VERIFIED


def _details(name: str, *details: dict, **more: object) -> Callable[[Story], str]:
    def mutate(told: Story) -> str:
        told[at(told, name)].data |= {"details": details} | more
        return name

    return mutate


def _data(name: str, **members: object) -> Callable[[Story], str]:
    def mutate(told: Story) -> str:
        told[at(told, name)].data |= members
        return name

    return mutate


THREE = detail("d3", OPEN, f"{OPEN}.03", f"{OPEN}.01")
FIVE = detail("d5", TAX, f"{TAX}.01", frequency={"max": 1, "per": "total"})
MUTATIONS = {
    "a staying detail is widened": (_details("merged", ONE | {"fields": [f"{TAX}.01", f"{TAX}.02"]}, THREE), "grant.details"),
    "a staying detail is lost": (_details("merged", THREE), "grant.details"),
    "a replaced detail stays": (_details("merged", ONE, TWO, THREE), "grant.details"),
    "an old place again": (_details("merged", ONE, THREE | {"identifier": "d2"}), "grant.details"),
    "a refused place again": (_details("replaced", FIVE | {"identifier": "d4"}), "grant.details"),
    "more fields than asked": (_details("merged", ONE, THREE | {"fields": [f"{OPEN}.03", f"{OPEN}.02"]}), "grant.request"),
    "what was not asked": (
        _details("merged", ONE, THREE, detail("d4", TAX, f"{TAX}.02", purpose="modelling"), refused=[]),
        "grant.request",
    ),
    "a refusal is lost": (_data("merged", refused=[]), "grant.request"),
    "no request": (_data("merged", request="r-9"), "request.unknown"),
    "a version is skipped": (_data("merged", version=3), "grant.version"),
    "by another": (_data("merged", by="person"), "grant.transition"),
    "of another subject": (_data("merged", subject="p_" + "z" * 22), "grant.parties"),
    "of an unknown grant": (_data("merged", grant="g-9"), "grant.unknown"),
    "a replacement keeps what was": (_details("replaced", ONE, FIVE), "grant.details"),
    "counted on after a replacement": (_data("fresh use", uses=[use("g", "d5", 3, "total")]), "count.wrong"),
    "counted anew after a merge": (_data("second use", uses=[use("g", "d1", 1, "total")]), "count.wrong"),
    "used after it was replaced": (_data("fresh use", **{k: v for k, v in _use("g", "d1", 3).items() if k != "id"}), "permit.grant"),
    "used twice though once": (_data("spent", **{k: v for k, v in _use("g", "d5", 2).items() if k != "id"}), "permit.grant"),
    "an expired grant gets what was not asked": (
        _details(
            "merged late",
            ONE | {"identifier": "d6", "valid_until": "2027-03-01T00:00:00.000Z"},
            THREE | {"valid_until": "2027-03-01T00:00:00.000Z"},
        ),
        "grant.request",
    ),
    "an expired grant skips a version": (_data("merged late", version=6), "grant.version"),
}


def _suspend(told: Story) -> str:
    told.insert(at(told, "merged"), Event("held", "grant.suspended", change("g", 2, actor="operator")))
    told[at(told, "merged")].data["version"] = 3
    return "merged"


MUTATIONS["while it is suspended"] = (_suspend, "grant.transition")


@pytest.mark.parametrize("name", MUTATIONS, ids=lambda name: name.replace(" ", "-"))
def test_a_renewal_that_is_not_as_it_must_be(tmp_path: Path, name: str) -> None:
    """The record is named, and it is the first at fault."""
    mutate, code = MUTATIONS[name]
    told = renewals()
    blamed = mutate(told)
    replayed = run(tmp_path, told)
    assert replayed.report.verdict is Verdict.VERIFIED, replayed.report.findings
    found = [(item.code, told[item.index].name) for item in replayed.findings]
    assert (code, blamed) in found
    assert found[0][1] == blamed
