"""A source that can show a record again.

A delivery may be reported long after its decision. Instead of keeping every decision, the bundle is read once more, and a digest kept of
each bundle proves that what is read then is what was verified.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import tee
from typing import Any

from consent_audit.errors import CannotCheck, Malformed
from consent_audit.hashing import TILE_WIDTH
from consent_audit.record import decode_record
from consent_audit.sources import Reading, Source
from consent_audit.tiles import ENTRIES, MAX_BUNDLE_BYTES, Tile, parse_path, unverified_entries

KEPT_BUNDLES = 64
_DIGEST_BYTES = 16
_ENTRIES = "tile/entries/"


class RememberingSource(Source):
    """`source`, with a digest of each entry bundle that was read through it: 16 bytes for 256 records."""

    def __init__(self, source: Source) -> None:
        self.kind = source.kind
        self._source = source
        self._digests = bytearray()
        self._partial: dict[int, str] = {}
        self._recent: OrderedDict[int, bytes] = OrderedDict()

    def chunks(self, path: str, limit: int) -> Iterator[bytes]:
        return self._source.chunks(path, limit)

    def read(self, path: str, limit: int) -> bytes:
        body = self._source.read(path, limit)
        self._note(path, body)
        return body

    def read_ahead(self, requests: Iterable[tuple[str, int]]) -> Iterator[Reading]:
        asked, passed_on = tee(requests)
        for (path, limit), reading in zip(asked, self._source.read_ahead(passed_on), strict=True):
            yield _Noted(self, path, limit, reading)

    def close(self) -> None:
        self._source.close()

    def recall(self, index: int) -> tuple[str, dict[str, Any]]:
        """Type and data of a record whose bundle was read before.

        Raises:
            CannotCheck: the source shows another bundle now, or none.
        """
        n, at = divmod(index, TILE_WIDTH)
        body = self._recent.get(n)
        if body is None:
            path = self._partial.get(n) or Tile(ENTRIES, n, TILE_WIDTH).path
            body = self._source.read(path, MAX_BUNDLE_BYTES)
            if _digest(body) != bytes(self._digests[n * _DIGEST_BYTES : (n + 1) * _DIGEST_BYTES]):
                raise CannotCheck(f"{path}: the source shows another bundle than before")
            self._keep(n, body)
        entries = unverified_entries(body)
        try:
            record = decode_record(entries[at])
        except (IndexError, Malformed) as error:
            raise CannotCheck(f"record {index} cannot be read again") from error
        return record.type, record.data

    def _note(self, path: str, body: bytes) -> None:
        if not path.startswith(_ENTRIES):
            return
        tile = parse_path(path)
        place = tile.n * _DIGEST_BYTES
        if place > len(self._digests):
            self._digests.extend(bytes(place - len(self._digests)))
        self._digests[place : place + _DIGEST_BYTES] = _digest(body)
        if tile.width != TILE_WIDTH:
            self._partial[tile.n] = path
        else:
            self._partial.pop(tile.n, None)
        self._keep(tile.n, body)

    def _keep(self, n: int, body: bytes) -> None:
        self._recent[n] = body
        self._recent.move_to_end(n)
        if len(self._recent) > KEPT_BUNDLES:
            self._recent.popitem(last=False)


class _Noted(Reading):
    """A reading whose result is noted on the way."""

    def __init__(self, source: RememberingSource, path: str, limit: int, reading: Reading) -> None:
        super().__init__(source, path, limit)
        self._reading = reading

    def result(self) -> bytes:
        body = self._reading.result()
        path, _ = self._arguments
        assert isinstance(self.source, RememberingSource)  # noqa: S101 - as it was made
        self.source._note(path, body)
        return body


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=_DIGEST_BYTES).digest()
