"""The errors of the verifier, split by who must answer for them.

AuditError
├── Refuted                  the evidence contradicts itself or its signature: the ledger's operator must answer
│   ├── Malformed            bytes that the format does not allow
│   │   ├── MalformedNote    checkpoint or other signed note
│   │   ├── MalformedTile    tile, entry bundle or their path
│   │   ├── MalformedRecord  ledger record
│   │   └── MalformedProof   proof file
│   ├── BadSignature         a known key's signature is wrong, or none of the trusted keys signed
│   └── BadProof             an inclusion or consistency proof does not hold
├── CannotCheck              nothing can be said: network, missing file, missing token, unreadable archive or state
│   ├── Missing              the source answered that it has no such file
│   │   └── Gone             … and that it should have it
│   └── Unwitnessed          fewer witnesses cosigned than the policy demands: perhaps not yet
├── BadKey                   the verifier key or signing key that was handed in is not one
└── BadPolicy                the policy file that was handed in is not one

Messages name places (paths, record indexes), never what a record says.
"""


class AuditError(Exception):
    """Root of all errors that this package raises on purpose. `code` is stable."""

    code = "audit.error"


class Refuted(AuditError):
    """The evidence contradicts itself."""

    code = "audit.refuted"


class Malformed(Refuted):
    """Bytes that the format does not allow."""

    code = "format.malformed"


class MalformedNote(Malformed):
    """A signed note or checkpoint that does not follow its grammar."""

    code = "note.malformed"


class MalformedTile(Malformed):
    """A tile, an entry bundle or a tile path that does not follow its grammar."""

    code = "tile.malformed"


class MalformedRecord(Malformed):
    """A record that is not in canonical form."""

    code = "record.malformed"


class MalformedProof(Malformed):
    """A proof file that does not follow its grammar."""

    code = "proof.malformed"


class BadSignature(Refuted):
    """A trusted key's signature is wrong or absent."""

    code = "note.signature"


class BadProof(Refuted):
    """An inclusion or consistency proof does not lead to the root."""

    code = "proof.invalid"


class CannotCheck(AuditError):
    """Nothing was proven either way."""

    code = "source.unavailable"


class Missing(CannotCheck):
    """The source has no such file."""

    code = "source.missing"


class BadKey(AuditError):
    """A key text that is not a key."""

    code = "key.malformed"


class Gone(Missing):
    """The server itself says that it has lost a file below its signed checkpoint (HTTP 410)."""

    code = "source.gone"


class Unwitnessed(CannotCheck):
    """The policy's quorum of witnesses has not cosigned. That is no contradiction: they may still do."""

    code = "checkpoint.unwitnessed"


class BadPolicy(AuditError):
    """A text that is not a tlog-policy. The message names the line."""

    code = "policy.malformed"
