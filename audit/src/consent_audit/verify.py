"""Verifies a published ledger end to end: reads it from a source, judges it, and holds it against what was seen before.

Order: signature and origin of the checkpoint; every bundle and tile of its size; the root; the keys that the records put
in force; the documents that they name. A contradiction is a finding and the run goes on as far as it can; what cannot be
read is told apart from it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from consent_audit.audit import Audit
from consent_audit.errors import BadSignature, CannotCheck, Gone, Malformed, Missing, Refuted
from consent_audit.hashing import HASH_BYTES, TILE_WIDTH
from consent_audit.note import MAX_NOTE_BYTES, Checkpoint, Verifier, open_signatures, split_note
from consent_audit.policy import Policy
from consent_audit.record import Record
from consent_audit.report import Report
from consent_audit.sources import Reading, Source
from consent_audit.tiles import ENTRIES, MAX_BUNDLE_BYTES, Tile, first_entries, tile_files

MAX_BLOB_BYTES = 1 << 28
WITNESSED = "checkpoint.witnessed"
"""Where a log publishes the largest checkpoint that its witnesses cosigned; it may be a little behind `checkpoint`."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to verify.

    remember   the largest checkpoint of a key that was seen before; the ledger must extend it.
    parse      whether to read each record; False judges hashes, chain and tiles only.
    visit      is handed each record in order; what it makes of them counts only if the report says verified.
    keep       is handed each file that was read, in the order of an archive.
    progress   is told now and then how many records of how many were read.
    """

    remember: Callable[[Verifier], Checkpoint | None] = lambda _: None
    parse: bool = True
    visit: Callable[[Record], None] | None = None
    keep: Callable[[str, bytes], None] | None = None
    progress: Callable[[int, int], None] = lambda _done, _size: None


def verify(source: Source, trust: Verifier | Policy, options: Options | None = None) -> Report:
    """Verify everything that a source publishes under one checkpoint.

    Args:
        trust: the log's key, or a policy that names logs, witnesses and the quorum that makes a ledger anchored.

    Returns:
        The report. This function raises nothing that the source or its content can cause.
    """
    policy = Policy.trusting(trust) if isinstance(trust, Verifier) else trust
    report = Report(source.kind, policy.logs[0].verifier.vkey if len(policy.logs) == 1 else None, policy)
    try:
        _Run(source, policy, report, options or Options()).run()
    except CannotCheck as error:
        report.unchecked.append(str(error))
    report.sort()
    return report


class _Run:
    """One verification."""

    def __init__(self, source: Source, policy: Policy, report: Report, options: Options) -> None:
        self._source = source
        self._policy = policy
        self._report = report
        self._options = options
        self._signed = False
        """Whether the checkpoint is known to be signed by the log: before that, nothing that it says can be held against the log."""

    def run(self) -> None:
        # The witnessed one is read first: a log that grows meanwhile then never shows it larger than the checkpoint.
        witnessed = self._witnessed()
        try:
            note = self._source.read("checkpoint", MAX_NOTE_BYTES)
            checkpoint, trusted = self._open(note)
        except Refuted as error:
            self._report.add(_checkpoint_code(error), "checkpoint", str(error))
            return
        self._report.checkpoint, self._report.note, self._report.key = checkpoint, note.decode("utf-8"), trusted.vkey
        self._report.seen = seen = self._options.remember(trusted)
        for path, body in (("checkpoint", note), (WITNESSED, witnessed)):
            self._keep(path, body)
        marks = {seen.size} if seen else set()
        audit = Audit(checkpoint, self._report, marks=marks | _size(witnessed), parse=self._options.parse, visit=self._options.visit)
        try:
            self._walk(checkpoint, audit)
            audit.finish()
            self._keys(audit, note, trusted)
        finally:
            if seen is not None and self._signed:
                self._extends(audit, "checkpoint", seen, "this key signed")
        self._anchor(audit, {WITNESSED: witnessed, "checkpoint": note}, trusted)
        self._documents(audit)

    def _keep(self, path: str, body: bytes | None) -> None:
        if self._options.keep is not None and body is not None:
            self._options.keep(path, body)

    def _open(self, note: bytes) -> tuple[Checkpoint, Verifier]:
        """The checkpoint and the trusted key under which it is read.

        If no trusted key signed it, but another key of that name did, that may be one that the log's own records put in
        force; it is judged when they were read.
        """
        text, signatures = split_note(note)
        checkpoint = Checkpoint.parse(text)
        logs = [log.verifier for log in self._policy.logs if log.verifier.name == checkpoint.origin]
        if not logs:
            raise BadSignature("checkpoint: origin is not the key's name")
        ids = {value[:4] for name, value in signatures if name == checkpoint.origin}
        if ids and not ids & {log.id for log in logs}:
            return checkpoint, logs[0]
        _, signed = open_signatures(note, logs)
        self._signed = True
        return checkpoint, next(iter(signed))

    def _extends(self, audit: Audit, place: str, earlier: Checkpoint, what: str) -> bool:
        """Hold the tree against an earlier checkpoint, whose signature is known to be good."""
        shown = self._report.checkpoint
        if shown is not None and shown.size < earlier.size:
            message = f"has {shown.size} records, but {what} {earlier.size} before"
            if self._source.kind == "url":
                self._report.add("checkpoint.rollback", place, f"the server {message}: it was rolled back or cut")
            else:
                self._report.incomplete.append(f"the {self._source.kind} {message}: it is old, or it was cut; fetch a newer one")
            return False
        if audit.roots.get(earlier.size, earlier.root) != earlier.root:
            message = f"the first {earlier.size} records are not those that {what} before; history was rewritten"
            self._report.add("checkpoint.inconsistent", place, message, earlier.size - 1)
            return False
        return True

    def _keys(self, audit: Audit, note: bytes, trusted: Verifier) -> None:
        """Judge that the key in force at the checkpoint's size signed it, and that the trusted key leads to that one."""
        try:
            current = audit.statements.keys(trusted)[-1]
            open_signatures(note, [current])
        except Refuted as error:
            self._report.add(
                "checkpoint.signature",
                "checkpoint",
                f"{error}, which the records put in force" if audit.statements.rotations else str(error),
            )
        else:
            self._report.current, self._signed = current, True

    def _witnessed(self) -> bytes | None:
        if self._policy.quorum is None and self._options.keep is None:
            return None
        try:
            return self._source.read(WITNESSED, MAX_NOTE_BYTES)
        except Missing:
            return None
        except Malformed as error:
            self._report.add("checkpoint.malformed", WITNESSED, str(error))
            return None

    def _anchor(self, audit: Audit, notes: dict[str, bytes | None], trusted: Verifier) -> None:
        """Find the largest checkpoint shown that a quorum cosigned and that this tree extends."""
        if self._policy.quorum is None or self._report.current is None:
            return
        policy = self._policy.following(audit.statements.keys(trusted))
        for place, note in notes.items():
            try:
                # What witnesses saw under a name that was given up says nothing of the new one.
                known = note is not None and Checkpoint.parse(split_note(note)[0]).origin not in audit.statements.former
                cosigned = policy.open(note) if note is not None and known else None
            except Refuted as error:
                self._report.add(_checkpoint_code(error), place, str(error))
                continue
            if cosigned is not None and cosigned.quorum and self._extends(audit, place, cosigned.checkpoint, "its witnesses cosigned"):
                self._report.anchor = cosigned
        if self._report.anchor is None:
            self._report.incomplete.append("no checkpoint that is shown carries the cosignatures that the policy demands")

    def _walk(self, checkpoint: Checkpoint, audit: Audit) -> None:
        readings = self._source.read_ahead((tile.path, _limit(tile)) for tile in tile_files(checkpoint.size))
        for tile, reading in zip(tile_files(checkpoint.size), readings, strict=True):
            try:
                data = _read(tile, reading)
            except Malformed as error:
                self._report.add(error.code, tile.path, "is larger than it can be", tile.first_leaf)
                if tile.level == ENTRIES:
                    raise CannotCheck(f"{tile.path}: the records after it were not checked") from error
                continue
            except Missing as error:
                self._missing(tile, error)
                raise
            self._keep(tile.path, data)
            if tile.level == ENTRIES:
                audit.bundle(tile, data)
                self._options.progress(self._report.records, checkpoint.size)
            else:
                audit.tile(tile, data)

    def _missing(self, tile: Tile, error: Missing) -> None:
        """A file of which the checkpoint says that it exists. A copy may just be incomplete; a server must have it.

        A place that shows no records at all may be one that keeps them apart from the open tiles.
        """
        if isinstance(error, Gone) or (self._source.kind == "url" and self._report.records):
            self._report.add(
                "tile.missing", tile.path, "the server does not have it, though its signed checkpoint says that it exists", tile.first_leaf
            )

    def _documents(self, audit: Audit) -> None:
        for digest, index in sorted(audit.statements.documents.items()):
            place = f"blobs/{digest}"
            try:
                found = self._document(place)
            except Missing:
                self._report.add("blob.missing", place, f"record {index} names this document, but it is not there", index)
            except Malformed as error:
                self._report.add(error.code, place, "is larger than a document can be", index)
            else:
                self._report.blobs += 1
                if found != digest:
                    self._report.add("blob.mismatch", place, f"is not the document that record {index} names", index)

    def _document(self, place: str) -> str:
        """The SHA-256 of a document; it is held in memory only to be kept."""
        chunks = self._source.chunks(place, MAX_BLOB_BYTES)
        if self._options.keep is not None:
            body = b"".join(chunks)
            self._keep(place, body)
            return sha256(body).hexdigest()
        state = sha256()
        for chunk in chunks:
            state.update(chunk)
        return state.hexdigest()


def _checkpoint_code(error: Refuted) -> str:
    return "checkpoint.signature" if isinstance(error, BadSignature) else "checkpoint.malformed"


def _size(note: bytes | None) -> set[int]:
    """The size that a note claims, if it is one; nothing of it is verified here."""
    try:
        return {Checkpoint.parse(split_note(note)[0]).size} if note is not None else set()
    except Refuted:
        return set()


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
    return full[: tile.width * HASH_BYTES] if tile.level != ENTRIES else first_entries(full, tile.width)
