"""Capabilities: the type exists only where scope, kind or role is right."""

from uuid import uuid4

import pytest

from consent.errors import Forbidden
from consent.parties.access import (
    SCOPES,
    AnyChecker,
    Auditor,
    Caller,
    Checker,
    GrantClient,
    LoanReporter,
    Operator,
    Regulator,
    Staff,
    SubjectVisitor,
    Visitor,
)

NEEDS = {Checker: "check", AnyChecker: "check:any", GrantClient: "grants", LoanReporter: "loans"}


def caller(*scopes: str, kind: str = "platform") -> Caller:
    """A caller with these scopes."""
    return Caller(client_id="c", institution_id="i", institution_kind=kind, scopes=frozenset(scopes), token_hash=b"secret-hash")


def visitor(kind: str, role: str | None = None) -> Visitor:
    """A visitor of this kind."""
    subject_id = None if kind == "staff" else uuid4()
    return Visitor(account_id=uuid4(), display_name="某人", kind=kind, subject_id=subject_id, role=role, csrf="csrf-secret")


@pytest.mark.parametrize("capability", NEEDS)
def test_capability_needs_exactly_its_scope(capability) -> None:
    """All other scopes together do not make up for it, and none implies another."""
    assert capability.of(caller(NEEDS[capability])).client_id == "c"
    with pytest.raises(Forbidden):
        capability.of(caller(*(SCOPES - {NEEDS[capability]})))
    with pytest.raises(Forbidden):
        capability.of(caller())


@pytest.mark.parametrize("kind", ["bank", "guarantor", "insurer", "credit_service", "credit_bureau", "conduit"])
def test_only_a_platform_checks_for_others(kind: str) -> None:
    """A registration error alone does not let a bank ask in another's name."""
    with pytest.raises(Forbidden):
        AnyChecker.of(caller("check:any", kind=kind))


@pytest.mark.parametrize("capability", [Staff, Operator, Regulator, Auditor])
def test_staff_capability_needs_its_role(capability) -> None:
    """Roles imply nothing about each other; any role makes staff."""
    for role in ("operator", "regulator", "auditor"):
        if capability.ROLE in {None, role}:
            assert capability.of(visitor("staff", role)).role == role
        else:
            with pytest.raises(Forbidden):
                capability.of(visitor("staff", role))
    for kind in ("enterprise", "person"):
        with pytest.raises(Forbidden):
            capability.of(visitor(kind))


def test_staff_act_for_no_subject() -> None:
    """An operator cannot grant in an enterprise's name."""
    assert SubjectVisitor.of(visitor("enterprise")).subject_id
    assert SubjectVisitor.of(visitor("person")).subject_id
    with pytest.raises(Forbidden):
        SubjectVisitor.of(visitor("staff", "operator"))


def test_no_secret_in_a_capability_that_is_printed() -> None:
    """A log line with a caller or visitor in it holds no token hash, no CSRF token and no name."""
    printed = repr(caller("check")) + repr(visitor("enterprise")) + repr(GrantClient.of(caller("grants")))
    assert "secret" not in printed
    assert "某人" not in printed
