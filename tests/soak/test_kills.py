"""Servers killed with signal 9 at random moments under load, again and again. What was acknowledged must stand, and no hand is needed."""

import asyncio
import base64
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fleet import SERVERS, Fleet
from ledger_judges import fsck, ledgerjudge

from consent import db
from consent.ledger.proofs import prove
from consent.ledger.service import publish
from consent_audit.hashing import leaf_hash
from consent_audit.record import Record, encode_record
from tests.bench.world import Place

KILLS = int(os.environ.get("SOAK_KILLS", "200"))
Judged = Callable[[Place], Iterator[Record]]


@pytest.mark.soak
def test_no_acknowledged_decision_is_lost(place: Place, judged: Judged, vkey: Callable[[Place], str], tmp_path: Path) -> None:
    """Two hundred kills among four processes."""
    kill_and_judge(place, judged, vkey(place), tmp_path, KILLS)


@pytest.mark.golang
def test_no_acknowledged_decision_is_lost_in_a_few_kills(
    place: Place, judged: Judged, vkey: Callable[[Place], str], tmp_path: Path
) -> None:
    """The same, short, with every other run of the tests."""
    kill_and_judge(place, judged, vkey(place), tmp_path, 4)


def kill_and_judge(place: Place, judged: Judged, vkey: str, directory: Path, kills: int) -> None:
    """Each reply that left names a record that stands where it said, byte for byte; the same request_id still gives the same reply;
    what was not acknowledged is recorded once or not at all (design §5.1, §5.6). consent-audit, fsck and Go's library agree."""
    fleet = Fleet(place)
    try:
        fleet.wait_ready()
        with fleet.load():
            for number in range(kills):
                fleet.wait_for_more(10)
                time.sleep(random.random())
                fleet.kill_one()
                if number % 10 == 9:
                    fleet.wait_for_more(SERVERS)
            fleet.wait_ready()
            fleet.wait_for_more(10)
        fleet.ask_again(10)
    finally:
        fleet.stop()
    acknowledged = fleet.acknowledged
    print(
        f"{kills} kills, {len(acknowledged)} acknowledged of {len(fleet.asked)} asked, {fleet.interrupted} cut off, refused {fleet.refused}"
    )
    assert len(acknowledged) >= 10 * kills
    assert fleet.interrupted > 0, "no kill met a request"
    records = {record.index: record for record in judged(place)}
    decided = [record for record in records.values() if record.type == "access.decided"]
    assert len(acknowledged) <= len({record.data["id"] for record in decided}) == len(decided) <= len(fleet.asked)
    for _, reply in acknowledged.values():
        ledger = reply["context"]["ledger"]
        record = records[ledger["index"]]
        assert record.data["id"] == reply["context"]["id"]
        encoded = encode_record(record.index, record.prev, record.time, record.type, record.data)
        assert leaf_hash(encoded) == base64.b64decode(ledger["leaf"], validate=True)
    asyncio.run(_judges_of_others(place, vkey, directory, random.sample(sorted(records), 20)))


async def _judges_of_others(place: Place, vkey: str, directory: Path, indexes: list[int]) -> None:
    engine = place.engine()
    try:
        size = await publish(engine, directory / "public")
        assert fsck(directory / "public", vkey, directory).size == size
        for index in indexes:
            async with db.read(engine) as connection:
                proven = await prove(connection, index)
            (directory / "record").write_bytes(proven.record)
            (directory / "proof").write_text(proven.proof)
            ledgerjudge("inclusion", vkey, directory / "proof", directory / "record")
    finally:
        await engine.dispose()
