"""What stands behind the digests of records: kept beside them in the same commit, opened member by member, never enough for another."""

import base64
import hashlib
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from consent.ledger import events
from consent.ledger.evidence import Evidence, digest_of, find, salt_of
from consent.ledger.writer import write
from consent_audit.record import decode_record


def registered(evidence: Evidence, code: str = "91330200000000001X") -> events.SubjectRegistered:
    return events.SubjectRegistered(commitment=evidence.commit("commitment", code), kind="enterprise", level="registered")


async def rows(engine) -> list:
    async with engine.connect() as connection:
        return list(await connection.execute(text("select idx, place, owner, secret, members from evidence order by idx, place")))


async def test_a_commitment_is_opened_by_its_row(engine, ledger):
    """The digest in the record is SHA-256(SHA-256(secret || member) || value), as the specification of the table says."""
    owner = uuid4()
    evidence = Evidence(owner)
    async with write(engine) as tx:
        index = tx.append(registered(evidence), evidence)
    [row] = await rows(engine)
    assert (row.idx, row.place, row.owner, row.members) == (index, 0, owner, {"commitment": "91330200000000001X"})
    salt = hashlib.sha256(row.secret + b"commitment").digest()
    expected = base64.urlsafe_b64encode(hashlib.sha256(salt + b"91330200000000001X").digest()).rstrip(b"=").decode()
    async with engine.connect() as connection:
        raw = await connection.scalar(text("select bytes from ledger_record where idx = :idx"), {"idx": index})
    assert find(decode_record(raw).data, "commitment") == expected == digest_of(salt_of(row.secret, "commitment"), "91330200000000001X")


async def test_a_failed_transaction_keeps_no_evidence(engine, ledger):
    """Record and evidence are one commit."""

    async def change_ones_mind() -> None:
        evidence = Evidence()
        async with write(engine) as tx:
            tx.append(registered(evidence), evidence)
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        await change_ones_mind()
    assert await rows(engine) == []


async def test_nothing_committed_keeps_no_row(engine, ledger):
    """A check without references of the caller's own leaves the table alone."""
    async with write(engine) as tx:
        assert Evidence().commit_optional("loan", None) is None
        tx.append(events.StaffRegistered(staff="s-1", role="auditor"), Evidence())
    assert await rows(engine) == []


@pytest.mark.parametrize("statement", ["update evidence set members = '{}'", "delete from evidence", "truncate evidence"])
async def test_the_application_cannot_change_evidence(engine, ledger, statement: str):
    """Deletion is the owner's, by `consent subject erase` alone."""
    evidence = Evidence()
    async with write(engine) as tx:
        tx.append(registered(evidence), evidence)
    with pytest.raises(DBAPIError, match="permission denied"):
        async with engine.begin() as connection:
            await connection.execute(text(statement))


def test_one_members_salt_opens_no_other():
    """Equal values of two members, or of two records, look different; the salt of one does not make the digest of the other."""
    first, second = Evidence(), Evidence()
    digests = {first.commit("loan", "L-1"), first.commit("operator", "L-1"), second.commit("loan", "L-1")}
    assert len(digests) == 3
    secret = first.row(0, 0)[3]
    assert isinstance(secret, bytes)
    assert digest_of(salt_of(secret, "loan"), "L-1") != digest_of(salt_of(secret, "operator"), "L-1")


@pytest.mark.parametrize(
    ("path", "found"), [("a", 1), ("b.0.c", "x"), ("b.1", None), ("a.b", None), ("b.x", None), ("b.-1", None), ("", None)]
)
def test_a_members_path(path: str, found: object):
    """Names and places, with nothing for what is not there."""
    assert find({"a": 1, "b": [{"c": "x"}]}, path) == found
