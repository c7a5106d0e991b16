"""What the records say about the ledger itself: whose it is, which key signs it, which documents belong to it.

Fed with the few records that say such things, in order. Invariant: what it keeps grows with the documents and keys named,
never with the log.
"""

from typing import Any

from consent_audit.encoding import parse_base64
from consent_audit.errors import AuditError, BadKey, BadSignature, CannotCheck
from consent_audit.grammar import KINDS, PATTERNS
from consent_audit.note import ED25519, Checkpoint, Verifier
from consent_audit.report import Report

MAX_DOCUMENTS = 100_000
"""Different documents, and as many keys, that a ledger may name; each costs memory."""
_DOCUMENTED = frozenset(kind for kind, pattern in PATTERNS.items() if KINDS["sha256"] in pattern and kind != "report.read")
"""Record types that name documents by their SHA-256, which the ledger must carry as blobs."""
NOTABLE = frozenset({"ledger.genesis", "ledger.continued", "key.rotated", "record.redacted"} | _DOCUMENTED)
"""The types that `note` wants to see."""


class Statements:
    """The ledger's statements about itself, up to the record that was read last."""

    def __init__(self, checkpoint: Checkpoint, report: Report) -> None:
        self.documents: dict[str, int] = {}
        self.rotations: list[tuple[int, Verifier, Verifier]] = []
        """Index of the record, the key before and the key from there on."""
        self.former: set[str] = set()
        """Origins that this ledger had before a continuation."""
        self._origin = ""
        self._checkpoint = checkpoint
        self._report = report

    def note(self, index: int, kind: str, data: dict[str, Any]) -> None:
        """Take in a record of a notable type, or record 0."""
        if kind == "ledger.genesis" or index == 0:
            self._genesis(index, kind, data)
        elif kind == "ledger.continued":
            self._continued(index, data)
        elif kind == "key.rotated":
            self._rotated(index, data)
        elif kind == "record.redacted":
            self._redaction(index, data)
        else:
            for digest in _digests(data):
                if digest not in self.documents:
                    self._bounded(len(self.documents))
                    self.documents[digest] = index

    def finish(self) -> None:
        """Judge the origin, once all records were read."""
        if self._origin != self._checkpoint.origin:
            self._add("genesis.origin", 0, "is not the genesis record of the checkpoint's origin")

    def keys(self, trusted: Verifier) -> list[Verifier]:
        """The log's keys in the order in which they were in force, the last one now.

        Raises:
            BadSignature: the trusted key is none of them.
        """
        chain = [self.rotations[0][1], *(new for _, _, new in self.rotations)] if self.rotations else [trusted]
        if trusted not in chain:
            raise BadSignature("the key that was given is none of this ledger's keys")
        return chain

    def _add(self, code: str, index: int, message: str) -> None:
        self._report.add(code, f"record {index}", message, index)

    def _genesis(self, index: int, kind: str, data: dict[str, Any]) -> None:
        if index > 0:
            self._add("genesis.repeated", index, "is a second genesis record")
        elif kind != "ledger.genesis":
            self._add("genesis.missing", index, "is not a genesis record")
            self._origin = self._checkpoint.origin
        else:
            self._origin = str(data.get("origin"))

    def _continued(self, index: int, data: dict[str, Any]) -> None:
        if data.get("before") != self._origin:
            self._add("genesis.origin", index, "continues a ledger that this is not")
        size = data.get("size")
        if isinstance(size, int) and size > index:
            self._report.lost.append(f"record {index} says that the records {index} to {size - 1} of {self._origin} were lost")
        else:
            self._add("ledger.continued", index, "says that a tail was lost, and names none")
        # The new origin began with a key of its own, which no key of the old one put in force.
        self.former.add(self._origin)
        self._origin = str(data.get("origin"))
        self.rotations = []

    def _rotated(self, index: int, data: dict[str, Any]) -> None:
        """Both keys sign `rotation_text`; each rotation goes on from the one before."""
        try:
            old, new = Verifier.parse(str(data.get("old"))), Verifier.parse(str(data.get("new")))
            if {old.key_type, new.key_type} != {ED25519} or {old.name, new.name} != {self._origin}:
                raise BadKey("a key is not named like the origin")
            text = rotation_text(self._origin, old.vkey, new.vkey)
            old.verify(text, parse_base64(str(data.get("old_signature"))))
            new.verify(text, parse_base64(str(data.get("new_signature"))))
        except (AuditError, ValueError) as error:
            self._add("key.rotation", index, f"does not put a key in force ({error})")
            return
        used = {key for _, *keys in self.rotations for key in keys} | {old}
        if new in used or (self.rotations and self.rotations[-1][2] != old):
            self._add("key.rotation", index, "does not go on from the key in force, or goes back to an earlier one")
            return
        self._bounded(len(self.rotations))
        self.rotations.append((index, old, new))

    def _redaction(self, index: int, data: dict[str, Any]) -> None:
        named = data.get("records", [])
        numbers = named if isinstance(named, list) and all(isinstance(number, int) for number in named) else [index]
        if sorted(set(numbers)) != numbers or any(number >= index for number in numbers):
            self._add("record.redaction", index, "does not name records before it in their order")

    def _bounded(self, length: int) -> None:
        if length >= MAX_DOCUMENTS:
            raise CannotCheck(f"the ledger names more than {MAX_DOCUMENTS} documents or keys")


def rotation_text(origin: str, old: str, new: str) -> str:
    """What both keys sign when the log's key changes. Its second line is no number, so it is never a checkpoint."""
    return f"consent-ledger/key-rotated/v1\n{origin}\n{old}\n{new}\n"


def _digests(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [found for name, found in value.items() if name == "sha256" and isinstance(found, str)]
        return own + [digest for part in value.values() for digest in _digests(part)]
    return [digest for part in value for digest in _digests(part)] if isinstance(value, list) else []
