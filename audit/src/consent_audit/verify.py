"""Verifies a published ledger end to end: reads it from a source, judges it, and holds it against what was seen before.

Order: signature and origin of the checkpoint; every bundle and tile of its size; the root; the documents that records
name. A contradiction is a finding and the run goes on as far as it can; what cannot be read is told apart from it.
"""

from collections.abc import Iterator
from hashlib import sha256

from consent_audit.audit import Audit
from consent_audit.errors import BadSignature, CannotCheck, Malformed, Missing, Refuted
from consent_audit.hashing import HASH_BYTES, TILE_WIDTH
from consent_audit.note import MAX_NOTE_BYTES, Checkpoint, Verifier, open_checkpoint
from consent_audit.report import Report
from consent_audit.sources import Reading, Source
from consent_audit.tiles import ENTRIES, MAX_BUNDLE_BYTES, Tile, tile_files, unverified_entries

MAX_BLOB_BYTES = 1 << 28


def verify(source: Source, verifier: Verifier, *, seen: Checkpoint | None = None, parse: bool = True) -> Report:
    """Verify everything that a source publishes under one checkpoint.

    Args:
        seen: the largest checkpoint of this key seen before; the ledger must extend it.
        parse: whether to read each record; False judges hashes, chain and tiles only.

    Returns:
        The report. This function raises nothing that the source or its content can cause.
    """
    report = Report(source.kind, verifier.vkey, seen=seen)
    try:
        _run(source, verifier, report, seen, parse=parse)
    except CannotCheck as error:
        report.unchecked.append(str(error))
    report.sort()
    return report


def _run(source: Source, verifier: Verifier, report: Report, seen: Checkpoint | None, *, parse: bool) -> None:
    checkpoint = _checkpoint(source, verifier, report)
    if checkpoint is None:
        return
    if seen is not None:
        _compare(source, checkpoint, seen, report)
    audit = Audit(checkpoint, report, seen=seen, parse=parse)
    readings = source.read_ahead((tile.path, _limit(tile)) for tile in tile_files(checkpoint.size))
    for tile, reading in zip(tile_files(checkpoint.size), readings, strict=True):
        try:
            data = _read(tile, reading)
        except Malformed as error:
            report.add(error.code, tile.path, "is larger than it can be", tile.first_leaf)
            if tile.level == ENTRIES:
                raise CannotCheck(f"{tile.path}: the records after it were not checked") from error
            continue
        if tile.level == ENTRIES:
            audit.bundle(tile, data)
        else:
            audit.tile(tile, data)
    audit.finish()
    _documents(source, audit, report)


def _checkpoint(source: Source, verifier: Verifier, report: Report) -> Checkpoint | None:
    try:
        note = source.read("checkpoint", MAX_NOTE_BYTES)
        checkpoint = open_checkpoint(note, verifier)
    except Refuted as error:
        code = "checkpoint.signature" if isinstance(error, BadSignature) else "checkpoint.malformed"
        report.add(code, "checkpoint", str(error))
        return None
    report.checkpoint, report.note = checkpoint, note.decode("utf-8")
    return checkpoint


def _compare(source: Source, checkpoint: Checkpoint, seen: Checkpoint, report: Report) -> None:
    """Hold sizes against what was seen; that the tree extends it is shown when the records are hashed."""
    if checkpoint.size < seen.size:
        message = f"has {checkpoint.size} records, but this key signed {seen.size} before"
        if source.kind == "url":
            report.add("checkpoint.rollback", "checkpoint", f"the server {message}: it was rolled back or cut")
        else:
            report.unchecked.append(f"the {source.kind} {message}: it is old, or it was cut; fetch a newer one")


def _limit(tile: Tile) -> int:
    return MAX_BUNDLE_BYTES if tile.level == ENTRIES else TILE_WIDTH * HASH_BYTES


def _read(tile: Tile, reading: Reading) -> bytes:
    """The tile's bytes; a log that has grown may have replaced a partial tile by the full one (C2SP tlog-tiles)."""
    try:
        return reading.result()
    except Missing:
        if tile.width == TILE_WIDTH:
            raise
        try:
            full = reading.source.read(tile._replace(width=TILE_WIDTH).path, _limit(tile))
        except Missing:
            full = None
        if full is None:
            raise
    if tile.level != ENTRIES:
        return full[: tile.width * HASH_BYTES]
    end = sum(2 + len(entry) for entry in unverified_entries(full)[: tile.width])
    return full[:end]


def _documents(source: Source, audit: Audit, report: Report) -> None:
    for digest, index in audit.documents.items():
        if digest in audit.redacted:
            continue
        place = f"blobs/{digest}"
        try:
            found = _digest(source.chunks(place, MAX_BLOB_BYTES))
        except Missing:
            report.add("blob.missing", place, f"record {index} names this document, but it is not there and was not redacted", index)
        except Malformed as error:
            report.add(error.code, place, "is larger than a document can be", index)
        else:
            report.blobs += 1
            if found != digest:
                report.add("blob.mismatch", place, f"is not the document that record {index} names", index)


def _digest(chunks: Iterator[bytes]) -> str:
    state = sha256()
    for chunk in chunks:
        state.update(chunk)
    return state.hexdigest()
