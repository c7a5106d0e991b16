"""A furnished database for each soak test, and the public bytes of its ledger as the last judge."""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # tests.bench.world, from wherever pytest was started

from consent.ledger.heads import HeadStore
from consent.ledger.keys import load_key
from consent.ledger.service import export
from consent.ledger.signer import Signer
from consent.settings import Settings
from consent_audit.note import Signer as Key
from consent_audit.record import Record, decode_record
from consent_audit.sources import open_source
from consent_audit.tiles import ENTRIES, MAX_BUNDLE_BYTES, bundle_decode, tile_files
from consent_audit.verify import verify
from tests.bench.world import OPA, Place, database, furnish, opa_server

Judge = Callable[[Place], Iterator[Record]]


@pytest.fixture
def place() -> Iterator[Place]:
    """Three banks and twelve enterprises, on a PostgreSQL of their own."""
    with database() as (state, urls):
        yield asyncio.run(furnish(state, urls, banks=3, enterprises=12))


@pytest.fixture
def opa_url(place: Place) -> Iterator[str]:
    """An OPA server with the tree's policies; without the program the test is skipped, and under CI=true it fails."""
    if not OPA.exists() and shutil.which("opa") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("opa is not there; not tested: racing checks at scale")
    with opa_server(place.state) as (url, _):
        yield url


@pytest.fixture
def judged(tmp_path: Path) -> Judge:
    """Signs and exports the ledger, lets the offline verifier judge every byte, and gives the records from that same export."""

    def records(place: Place) -> Iterator[Record]:
        key = _key(place)
        file = tmp_path / "ledger.tar"
        size = asyncio.run(_export(place, key, file))
        with closing(open_source(str(file))) as source:
            report = verify(source, key.verifier)
        assert (report.findings, report.unchecked, report.records) == ([], [], size)
        return _records(file, size)

    return records


@pytest.fixture
def vkey() -> Callable[[Place], str]:
    """What auditors of a place's ledger are given."""
    return lambda place: _key(place).vkey


def _key(place: Place) -> Key:
    settings = Settings(
        database_url=place.urls.app_url, issuer=place.issuer, ledger_key_file=Path(place.environment["CONSENT_LEDGER_KEY_FILE"])
    ).checked()
    return load_key(Path(place.environment["CONSENT_LEDGER_KEY_FILE"]), settings.ledger_origin)


async def _export(place: Place, key: Key, file: Path) -> int:
    """As the next server would sign: against the second store that the killed ones kept their heads in."""
    engine = place.engine()
    try:
        await Signer(engine, key, heads=HeadStore(Path(place.environment["CONSENT_HEAD_STORE"]), key.name)).sign_now()
        return await export(engine, file)
    finally:
        await engine.dispose()


def _records(file: Path, size: int) -> Iterator[Record]:
    with closing(open_source(str(file))) as source:
        for tile in tile_files(size):
            if tile.level == ENTRIES:
                for entry in bundle_decode(source.read(tile.path, MAX_BUNDLE_BYTES), tile.width):
                    yield decode_record(entry)
