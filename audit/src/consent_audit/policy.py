"""Which logs and witnesses are trusted, and how many of the witnesses must agree (C2SP tlog-policy).

The file has one statement on each line: `log <vkey> [<url>]`, `witness <name> <vkey> [<url>]`,
`group <name> all|any|<k> <name>…` and exactly one `quorum <name>|none`. Names are opaque octets and are defined before
they are used; a name stands in at most one group, so that a witness counts once. Pure: bytes in, values out.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Self

from consent_audit.encoding import parse_decimal
from consent_audit.errors import BadKey, BadPolicy, BadSignature, Unwitnessed
from consent_audit.note import COSIGNATURE, ED25519, MLDSA_COSIGNATURE, Checkpoint, Verifier, open_signatures, split_note

MAX_POLICY_BYTES = 1 << 20
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_BLANKS = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Log:
    """A log that is accepted; its key's name is the origin of its checkpoints."""

    verifier: Verifier
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness under the name that the policy file gives it. `url` is the prefix of its `add-checkpoint`."""

    name: str
    verifier: Verifier
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """At least `threshold` of `members`, each a witness or an earlier group."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint that one of the policy's logs signed, and who else did.

    `times` holds the witnesses' valid cosignatures: name in the policy → seconds since 1970. `quorum` says whether
    they are as many as the policy demands.
    """

    checkpoint: Checkpoint
    log: Log
    times: dict[str, int]
    quorum: bool

    @property
    def witnessed_at(self) -> int | None:
        """The newest cosignature's time: when the tree was this size, at least in one witness's eyes."""
        return max(self.times.values(), default=None)


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy. `quorum` is None for `quorum none`: then no witness is demanded."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str | None

    @classmethod
    def parse(cls, raw: str | bytes) -> Self:
        """Read a policy file.

        Raises:
            BadPolicy: any line that the specification does not allow; the message names it.
        """
        octets = raw.encode("utf-8", "surrogateescape") if isinstance(raw, str) else raw
        if len(octets) > MAX_POLICY_BYTES:
            raise BadPolicy("policy: larger than 1 MiB")
        if octets and not octets.endswith(b"\n"):
            raise BadPolicy("policy: the last line is cut: it does not end in a newline")
        reader = _Reader()
        for number, line in enumerate(octets.split(b"\n"), 1):
            try:
                reader.line(line)
            except (BadKey, ValueError) as error:
                raise BadPolicy(f"policy, line {number}: {error}") from error
        if not reader.has_quorum:
            raise BadPolicy("policy: no quorum line (quorum none demands no witness)")
        return cls(tuple(reader.logs), tuple(reader.witnesses), tuple(reader.groups), reader.quorum)

    @classmethod
    def trusting(cls, verifier: Verifier) -> Self:
        """The policy of somebody who was given one log's key and no witness."""
        return cls((Log(verifier),), (), (), None)

    def following(self, keys: Collection[Verifier]) -> Self:
        """The same demands of witnesses, for a log that has changed its key: any of `keys` may have signed."""
        return replace(self, logs=tuple(map(Log, keys)))

    def reached(self, names: Collection[str]) -> bool:
        """Whether cosignatures of these witnesses are a quorum."""
        if self.quorum is None:
            return True
        agreed = {witness.name for witness in self.witnesses if witness.name in names}
        for group in self.groups:  # a group's members all stand before it
            if sum(member in agreed for member in group.members) >= group.threshold:
                agreed.add(group.name)
        return self.quorum in agreed

    def open(self, note: str | bytes) -> Cosigned:
        """Read a checkpoint that one of the policy's logs signed, with or without a quorum.

        Raises:
            MalformedNote: not a checkpoint.
            BadSignature: no log of the policy signed it as its own, or a known key's signature is wrong.
        """
        origin = Checkpoint.parse(split_note(note)[0]).origin
        logs = {log.verifier: log for log in self.logs if log.verifier.name == origin}
        names = {witness.verifier: witness.name for witness in self.witnesses}
        text, signed = open_signatures(note, [*logs, *names])
        log = next((log for verifier, log in logs.items() if verifier in signed), None)
        if log is None:
            raise BadSignature("checkpoint: not signed by a log of the policy under its own origin")
        times = {names[verifier]: time for verifier, time in signed.items() if verifier in names and time is not None}
        return Cosigned(Checkpoint.parse(text), log, times, self.reached(times))

    def demand(self, note: str | bytes) -> Cosigned:
        """Read a checkpoint that is valid under this policy: signed by a log and cosigned by a quorum.

        Raises:
            Unwitnessed: fewer witnesses cosigned than demanded.
            MalformedNote, BadSignature: as `open`.
        """
        cosigned = self.open(note)
        if not cosigned.quorum:
            raise Unwitnessed(f"checkpoint: {len(cosigned.times)} of the policy's witnesses cosigned, which is no quorum")
        return cosigned


@dataclass(slots=True)
class _Reader:
    """The statements read so far."""

    logs: list[Log] = field(default_factory=list)
    witnesses: list[Witness] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    quorum: str | None = None
    has_quorum: bool = False
    _defined: set[str] = field(default_factory=lambda: {"none"})
    _member: set[str] = field(default_factory=set)

    def line(self, octets: bytes) -> None:
        if _FORBIDDEN.search(octets):
            raise ValueError("a control character (a Windows line end, perhaps)")
        # Octets that are not UTF-8 stay apart from all others as lone surrogates.
        words = _BLANKS.split(octets.decode("utf-8", "surrogateescape").strip(" \t"))
        if words[0] == "" or words[0].startswith("#"):
            return
        match words:
            case ["log", vkey, *url] if len(url) < 2:
                self._log(vkey, url)
            case ["witness", name, vkey, *url] if len(url) < 2:
                self._witness(name, vkey, url)
            case ["group", name, threshold, *members] if members:
                self._group(name, threshold, members)
            case ["quorum", name]:
                self._quorum(name)
            case _:
                raise ValueError("want log, witness, group or quorum with as many words as each has")

    def _log(self, vkey: str, url: list[str]) -> None:
        verifier = Verifier.parse(vkey)
        if verifier.key_type not in {ED25519, MLDSA_COSIGNATURE}:
            raise ValueError("this key is a witness's, not a log's")
        if any(verifier.public_key == log.verifier.public_key for log in self.logs):
            raise ValueError("this key stands in a log line already")
        self.logs.append(Log(verifier, url[0] if url else None))

    def _witness(self, name: str, vkey: str, url: list[str]) -> None:
        verifier = Verifier.parse(vkey)
        if verifier.key_type not in {COSIGNATURE, MLDSA_COSIGNATURE}:
            raise ValueError("this key is a log's, not a witness's")
        if any(verifier.public_key == witness.verifier.public_key for witness in self.witnesses):
            raise ValueError("this key stands in a witness line already")
        self._define(name)
        self.witnesses.append(Witness(name, verifier, url[0] if url else None))

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        for member in members:
            if member == "none" or member not in self._defined:
                raise ValueError("a group's member is not defined on a line before it")
            if member in self._member:
                raise ValueError("a name may stand in one group only, and once")
            self._member.add(member)
        count = len(members) if threshold == "all" else 1 if threshold == "any" else parse_decimal(threshold, maximum=len(members))
        if count < 1:
            raise ValueError("a group's threshold is all, any, or 1 to its number of members")
        self._define(name)
        self.groups.append(Group(name, count, tuple(members)))

    def _quorum(self, name: str) -> None:
        if self.has_quorum:
            raise ValueError("a second quorum line")
        if name not in self._defined:
            raise ValueError("the quorum is not defined on a line before it")
        self.has_quorum = True
        self.quorum = None if name == "none" else name

    def _define(self, name: str) -> None:
        if name in self._defined:
            raise ValueError("this name is taken")
        self._defined.add(name)
