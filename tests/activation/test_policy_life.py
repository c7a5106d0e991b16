"""Proposed, approved by two different operators, activated: each step a record, and no way round."""

from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.activation.service import activate, approve, bundle_in_force, listed, propose, read_signed
from consent.catalogue.extension import load_extensions
from consent.catalogue.load import load, load_from
from consent.decisions.bundle import Bundle, load_bundle
from consent.errors import Conflict, Forbidden, InvalidRequest, NotFound
from consent.ledger.in_force import versions_in_force
from tests.activation.activation_world import Signing, put_in_force, records, release, settings_for, staff
from tests.activation.conftest import Installation
from tests.catalogue.regional_list import ITEM, write_list


@pytest.fixture
def second(tmp_path: Path) -> Bundle:
    """Another release's policies."""
    return release(tmp_path, "second")


async def test_two_operators_put_a_bundle_in_force(engine: AsyncEngine, installation: Installation, second: Bundle) -> None:
    """Who proposed, who approved which bytes, and what they replace stands in the ledger; the bundle is a blob that reads back."""
    settings, first, key, ann, bob = installation
    body = key.sign(second)
    await put_in_force(engine, settings, body, ann, bob)
    (proposed,) = await records(engine, "policy.proposed")
    approved = await records(engine, "policy.approved")
    activated = (await records(engine, "policy.activated"))[-1]
    assert (proposed["revision"], proposed["replaces"], proposed["staff"]) == (second.revision, first.revision, str(ann.id))
    assert [record["staff"] for record in approved] == [str(ann.id), str(bob.id)]
    assert {record["proposal"] for record in approved} == {proposed["index"]}
    assert {record["sha256"] for record in (proposed, *approved)} == {activated["sha256"]}
    assert activated["approvers"] == [str(ann.id), str(bob.id)]
    assert activated["signed_by"] == key.key_id
    assert await bundle_in_force(engine) == (second.revision, body)
    assert len(await records(engine, "catalogue.activated")) == 1  # it stayed
    history, waiting = await listed(engine)
    assert [entry.revision for entry in history] == [second.revision, first.revision]
    assert waiting == []


async def test_one_person_is_not_two(engine: AsyncEngine, installation: Installation, second: Bundle) -> None:
    """The same account approves once, whatever it is called; one approval activates nothing, nor does a proposal."""
    settings, _, key, ann, bob = installation
    ruleset = read_signed(settings, key.sign(second))
    await propose(engine, ruleset, ann)
    with pytest.raises(Conflict, match="Two different operators must approve it; 0 did"):
        await activate(engine, settings, second.revision)
    await approve(engine, ruleset, ann)
    for same in (ann, msgspec.structs.replace(ann, username="anna", display_name="别名")):
        with pytest.raises(Conflict, match="One person approves once"):
            await approve(engine, ruleset, same)
    with pytest.raises(Conflict, match="1 did"):
        await activate(engine, settings, second.revision)
    assert len((await approve(engine, ruleset, bob)).approvals) == 2
    await activate(engine, settings, second.revision)


async def test_a_changed_bundle_after_the_first_approval_is_refused(
    engine: AsyncEngine, installation: Installation, second: Bundle
) -> None:
    """Other bytes of the same revision, signed anew: neither proposed in its place, nor approved instead of it."""
    settings, _, key, ann, bob = installation
    ruleset, again = read_signed(settings, key.sign(second)), read_signed(settings, key.sign(second))
    assert ruleset.body != again.body  # ECDSA signs differently each time
    await propose(engine, ruleset, ann)
    await approve(engine, ruleset, ann)
    with pytest.raises(Conflict, match="not exchanged"):
        await propose(engine, again, bob)
    with pytest.raises(Conflict, match="not the bundle that was proposed"):
        await approve(engine, again, bob)
    with pytest.raises(Conflict, match="1 did"):
        await activate(engine, settings, second.revision)


async def test_other_content_is_another_proposal(engine: AsyncEngine, installation: Installation, second: Bundle, tmp_path: Path) -> None:
    """Approvals of one bundle count for no other."""
    settings, _, key, ann, bob = installation
    third = release(tmp_path, "third")
    for bundle in (second, third):
        await propose(engine, read_signed(settings, key.sign(bundle)), ann)
    _, waiting = await listed(engine)
    assert {proposal.revision for proposal in waiting} == {second.revision, third.revision}
    with pytest.raises(Conflict, match="other bytes"):
        await approve(engine, read_signed(settings, key.sign(third)), bob)
    with pytest.raises(Conflict, match="0 did"):
        await activate(engine, settings, third.revision)


async def test_an_activation_ends_what_else_was_proposed(
    engine: AsyncEngine, installation: Installation, second: Bundle, tmp_path: Path
) -> None:
    """Approvals were given for a change of what was in force then; going back is a proposal of its own."""
    settings, first, key, ann, bob = installation
    third = read_signed(settings, key.sign(release(tmp_path, "third")))
    await propose(engine, third, ann)
    await approve(engine, third, ann)
    await approve(engine, third, bob)
    await put_in_force(engine, settings, key.sign(second), ann, bob)
    with pytest.raises(NotFound, match="propose it anew"):
        await activate(engine, settings, third.revision)
    with pytest.raises(NotFound):
        await approve(engine, third, bob)
    await put_in_force(engine, settings, first.body, bob, ann)
    async with db.read(engine) as connection:
        assert (await versions_in_force(connection))["policy"] == first.revision


async def test_only_operators_propose_and_approve(engine: AsyncEngine, installation: Installation, second: Bundle) -> None:
    """A regulator reads, an auditor reads; an operator whose account was closed counts no more."""
    settings, _, key, ann, bob = installation
    ruleset = read_signed(settings, key.sign(second))
    for role in ("regulator", "auditor"):
        other = await staff(engine, f"some-{role}", role)  # type: ignore[arg-type]
        with pytest.raises(Forbidden):
            await propose(engine, ruleset, other)
    await propose(engine, ruleset, ann)
    with pytest.raises(Forbidden):
        await approve(engine, ruleset, await staff(engine, "reg", "regulator"))
    await approve(engine, ruleset, ann)
    await approve(engine, ruleset, bob)
    async with engine.begin() as connection:
        await connection.execute(text("update account set status = 'closed' where id = :id"), {"id": ann.id})
    with pytest.raises(Conflict, match="1 did"):
        await activate(engine, settings, second.revision)
    with pytest.raises(Forbidden):
        await propose(engine, read_signed(settings, key.sign(second)), ann)


async def test_what_is_in_force_or_proposed_is_not_proposed_again(engine: AsyncEngine, installation: Installation, second: Bundle) -> None:
    """The same twice says nothing new."""
    settings, first, key, ann, _ = installation
    with pytest.raises(Conflict, match="in force already"):
        await propose(engine, read_signed(settings, first.body), ann)
    ruleset = read_signed(settings, key.sign(second))
    await propose(engine, ruleset, ann)
    with pytest.raises(Conflict, match="proposed already"):
        await propose(engine, ruleset, ann)
    # Nobody approved it yet, so it may be replaced by the same content signed anew.
    anew = read_signed(settings, key.sign(second))
    await propose(engine, anew, ann)
    assert len((await approve(engine, anew, ann)).approvals) == 1


async def test_what_is_not_signed_by_a_trusted_key_is_refused(
    engine: AsyncEngine, installation: Installation, second: Bundle, tmp_path: Path
) -> None:
    """Unsigned, signed by another key, or no keys named at all; nothing reaches the ledger."""
    settings = installation.settings
    (tmp_path / "other").mkdir()
    for body in (second.blob(), Signing(tmp_path / "other").sign(second), b"", b"x" * 100):
        with pytest.raises(InvalidRequest, match="cannot be used"):
            read_signed(settings, body)
    with pytest.raises(InvalidRequest, match="CONSENT_POLICY_KEYS_FILE"):
        read_signed(settings_for(settings.database_url, settings.ledger_origin), second.blob())
    assert await records(engine, "policy.proposed") == []


async def test_policies_that_do_not_compile_are_not_proposed(engine: AsyncEngine, installation: Installation, tmp_path: Path) -> None:
    """Found before anybody approves it."""
    broken = release(tmp_path, "broken")
    directory = tmp_path / "broken"
    (directory / "more.rego").write_text("package consent.more\n\nx := {\n")
    broken = load_bundle(load(), directory)
    with pytest.raises(InvalidRequest, match="do not compile"):
        await propose(engine, read_signed(installation.settings, installation.key.sign(broken)), installation.ann)


async def test_codes_that_this_release_does_not_know_are_refused(installation: Installation, second: Bundle) -> None:
    """A process could not say what they mean; another release can."""
    codes = msgspec.json.decode(second.documents["codes.json"])
    codes["item.new_reason"] = codes["item.unknown"]
    directory = Path(installation.key.file.parent / "second")
    (directory / "data" / "codes.json").write_bytes(msgspec.json.encode(codes))
    newer = load_bundle(load(), directory)
    with pytest.raises(InvalidRequest, match=r"item\.new_reason"):
        read_signed(installation.settings, installation.key.sign(newer))


async def test_a_regional_list_comes_into_force_with_its_catalogue(engine: AsyncEngine, installation: Installation, tmp_path: Path) -> None:
    """Items and rows of a region are one bundle with the rules: approved together, recorded as catalogue and policies, both a blob."""
    settings, _, key, ann, bob = installation
    extensions = load_extensions(write_list(tmp_path / "regions"))
    catalogue = load_from(extensions=extensions)
    ruleset = await put_in_force(engine, settings, key.sign(load_bundle(catalogue, extensions=extensions)), ann, bob)
    assert ITEM in ruleset.catalogue.items
    activated = (await records(engine, "catalogue.activated"))[-1]
    assert (activated["version"], activated["approvers"]) == (catalogue.version, [str(ann.id), str(bob.id)])
    async with db.read(engine) as connection:
        assert await versions_in_force(connection) == ruleset.versions
        statement = text("select body from ledger_blob where sha256 = decode(:sha256, 'hex')")
        assert await connection.scalar(statement, {"sha256": activated["sha256"]}) == catalogue.to_json()


async def test_the_bundle_of_a_proposal_cannot_be_swapped(
    engine: AsyncEngine, database, installation: Installation, second: Bundle
) -> None:
    """Whoever owns the tables and puts another document under the digest gets nothing into force."""
    settings, _, key, ann, bob = installation
    ruleset = read_signed(settings, key.sign(second))
    await propose(engine, ruleset, ann)
    await approve(engine, ruleset, ann)
    await approve(engine, ruleset, bob)
    swap = text("update ledger_blob set body = :body where sha256 = :digest")
    owner = db.create_engine(database.owner_url)
    try:
        async with owner.begin() as connection:
            await connection.execute(text("alter table ledger_blob disable trigger append_only"))
            await connection.execute(swap, {"body": key.sign(second), "digest": sha256(ruleset.body).digest()})
        with pytest.raises(Conflict, match="Another bundle"):
            await activate(engine, settings, second.revision)
        async with owner.begin() as connection:  # put back, so that the ledger verifies after the test
            assert (await versions_in_force(connection))["policy"] == installation.first.revision
            await connection.execute(swap, {"body": ruleset.body, "digest": sha256(ruleset.body).digest()})
    finally:
        await owner.dispose()
