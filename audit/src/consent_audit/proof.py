"""Proofs that one record stands in a log, checked without asking anybody (`c2sp.org/tlog-proof@v1`).

A proof file holds the record's index, its inclusion path and a signed checkpoint; our service puts the record's own bytes
into the `extra` line. Nothing signs that line: it counts only as far as it hashes to the leaf. Pure: bytes in, values out.
"""

from dataclasses import dataclass
from typing import Self

from consent_audit.encoding import format_base64, parse_base64, parse_decimal
from consent_audit.errors import MalformedProof
from consent_audit.hashing import HASH_BYTES, MAX_PATH, leaf_hash, verify_inclusion
from consent_audit.note import Checkpoint, split_note
from consent_audit.policy import Cosigned, Policy

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Proof:
    """One proof. `path` has the leaf's sibling first; `note` is the signed checkpoint; `extra` is whatever somebody wrote there."""

    index: int
    path: tuple[bytes, ...]
    note: str
    extra: bytes | None = None

    @classmethod
    def parse(cls, raw: str | bytes) -> Self:
        """Read a proof file; nothing of it is verified yet.

        Raises:
            MalformedProof: not exactly the format.
            MalformedNote: what follows the path is not a signed checkpoint.
        """
        if len(raw) > MAX_PROOF_BYTES:
            raise MalformedProof("proof: larger than 256 KiB")
        try:
            text = raw.decode("utf-8") if isinstance(raw, bytes) else raw
        except UnicodeDecodeError as error:
            raise MalformedProof("proof: not UTF-8") from error
        head, blank, note = text.partition("\n\n")
        lines = head.split("\n")
        if not blank or lines.pop(0) != HEADER:
            raise MalformedProof(f"proof: want {HEADER}, its lines, an empty line and a checkpoint")
        try:
            extra = parse_base64(lines.pop(0).removeprefix("extra ")) if lines and lines[0].startswith("extra ") else None
            if not lines or not lines[0].startswith("index "):
                raise MalformedProof("proof: no index line in its place")
            index = parse_decimal(lines.pop(0).removeprefix("index "))
            path = tuple(map(parse_base64, lines))
        except ValueError as error:
            raise MalformedProof("proof: a number or base64 in a spelling that is not allowed") from error
        if len(path) > MAX_PATH or any(len(value) != HASH_BYTES for value in path):
            raise MalformedProof("proof: a hash is not 32 bytes, or there are more than any tree has")
        Checkpoint.parse(split_note(note)[0])
        return cls(index, path, note, extra)

    def format(self) -> str:
        """The file; `parse` reads it. Its name ends in `.tlog-proof`."""
        extra = [] if self.extra is None else [f"extra {format_base64(self.extra)}"]
        return "\n".join([HEADER, *extra, f"index {self.index}", *map(format_base64, self.path), "", self.note])

    def verify(self, entry: bytes, policy: Policy, *, demand_quorum: bool = True) -> Cosigned:
        """Prove that `entry` is this record of a log that the policy trusts.

        Args:
            entry: the record's bytes, from wherever they came.
            demand_quorum: False also accepts a checkpoint that too few witnesses cosigned; see `Cosigned.quorum`.

        Returns:
            The checkpoint under which it was proven, and who cosigned it.

        Raises:
            BadProof: the record is another, or stands elsewhere, or nowhere.
            MalformedNote, BadSignature: the checkpoint is not the log's.
            Unwitnessed: a quorum is demanded and not reached.
        """
        cosigned = policy.demand(self.note) if demand_quorum else policy.open(self.note)
        verify_inclusion(leaf_hash(entry), self.index, cosigned.checkpoint.size, self.path, cosigned.checkpoint.root)
        return cosigned
