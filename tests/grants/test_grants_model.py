"""The state of a grant, computed when read."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_parties import make_detail

from consent.grants.model import Actor, Grant, GrantItem, effective_item_status, effective_status, period_key

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)


def make_grant(items, status="active", institution_status="active", linked=True, verified=True) -> Grant:
    """A grant with items of (stored status, validity relative to now)."""
    subject_id = uuid4()
    return Grant(
        id="g",
        institution_id="bank-a",
        institution_status=institution_status,
        client_id="c",
        subject_id=subject_id,
        enterprise_id=subject_id,
        enterprise="x",
        request_id=None,
        version=1,
        status=status,
        granted_by="enterprise",
        channel="online",
        notice_version="1",
        notice_sha256=bytes(32),
        created_at=NOW,
        ended_at=None,
        verified=verified,
        linked=linked,
        refused=(),
        items=tuple(
            GrantItem(seq=n, detail=make_detail("N21-03-04", f"i{n}", valid_until=NOW + left), status=state)
            for n, (state, left) in enumerate(items, 1)
        ),
    )


ITEMS = st.lists(
    st.tuples(st.sampled_from(["active", "revoked"]), st.sampled_from([timedelta(ms) for ms in (-1, 0)] + [timedelta(milliseconds=1)])),
    min_size=1,
    max_size=4,
)
GRANTS = st.builds(
    make_grant,
    ITEMS,
    st.sampled_from(["active", "suspended", "revoked"]),
    st.sampled_from(["applied", "active", "rectifying", "suspended", "cancelled"]),
    st.booleans(),
    st.booleans(),
)


@given(GRANTS)
def test_item_is_active_only_if_nothing_speaks_against_it(grant: Grant) -> None:
    """Active means: item and grant active, not yet ended, institution active, person linked. Anything else is not active."""
    for item in grant.items:
        wanted = (
            (grant.status, item.status, grant.institution_status) == ("active", "active", "active")
            and item.detail.valid_until > NOW
            and grant.linked
            and grant.verified
        )
        assert (effective_item_status(grant, item, NOW) == "active") == wanted


@given(GRANTS)
def test_final_states_stay(grant: Grant) -> None:
    """What is revoked or expired now is so at any later time and whatever the operator or the institution's status does."""
    later = NOW + timedelta(days=1)
    resumed = msgspec.structs.replace(grant, status="active" if grant.status == "suspended" else grant.status, institution_status="active")
    for item in grant.items:
        state = effective_item_status(grant, item, NOW)
        if state in {"revoked", "expired"}:
            assert effective_item_status(resumed, item, later) == state


@given(GRANTS)
def test_grant_is_as_good_as_its_best_item(grant: Grant) -> None:
    """The whole is active exactly if an item is, and revoked exactly if all are."""
    states = [effective_item_status(grant, item, NOW) for item in grant.items]
    assert (effective_status(grant, NOW) == "active") == ("active" in states)
    assert (effective_status(grant, NOW) == "revoked") == (set(states) == {"revoked"})
    assert effective_status(grant, NOW) in states


def test_item_ends_at_the_instant_it_names() -> None:
    """`valid_until` is the first instant at which the item is no longer valid."""
    grant = make_grant([("active", timedelta(0))])
    assert effective_status(grant, NOW - timedelta(milliseconds=1)) == "active"
    assert effective_status(grant, NOW) == "expired"


@pytest.mark.parametrize(
    ("per", "at", "key"),
    [
        ("total", NOW, "total"),
        ("day", datetime(2026, 11, 20, 15, 59, 59, tzinfo=UTC), "2026-11-20"),
        ("day", datetime(2026, 11, 20, 16, 0, tzinfo=UTC), "2026-11-21"),
        ("month", datetime(2026, 11, 30, 15, 59, 59, tzinfo=UTC), "2026-11"),
        ("month", datetime(2026, 11, 30, 16, 0, tzinfo=UTC), "2026-12"),
        ("day", datetime(2026, 12, 31, 16, 0, tzinfo=UTC), "2027-01-01"),
    ],
)
def test_period_is_that_of_shanghai(per, at: datetime, key: str) -> None:
    """Days and months begin at midnight in Asia/Shanghai, wherever the server stands."""
    assert period_key(per, at) == key


def test_actor_changes_only_its_own() -> None:
    """The subject that granted, the institution granted to, and the operator; nobody else, and no kind in another's place."""
    grant = make_grant([("active", timedelta(1))])
    assert all(a.may_change(grant) for a in (Actor.subject(grant.subject_id), Actor.institution("bank-a"), Actor.operator()))
    strangers = (
        Actor.subject(uuid4()),
        Actor.institution("bank-b"),
        Actor("institution", str(grant.subject_id)),
        Actor("subject", "bank-a"),
    )
    assert not any(a.may_change(grant) for a in strangers)
