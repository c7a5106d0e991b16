"""Ids, digests, times and counts that a record may hold: a pattern over the whole string, or a bound (docs/spec/ledger.md §4)."""

from typing import Annotated

from msgspec import Meta

from consent.ledger.grammar import MAX_DIGITS

MAX_COUNT = 10**MAX_DIGITS - 1
# An id never has the shape of a 统一社会信用代码 or an identity number (15 or 18 capitals and digits): the ledger holds neither.
Id = Annotated[str, Meta(pattern=r"\A(?![0-9A-Z]{15}\Z|[0-9A-Z]{18}\Z|[0-9]{17}x\Z)[A-Za-z0-9_-][A-Za-z0-9._:~-]{0,127}\Z")]
Pseudonym = Annotated[str, Meta(pattern=r"\A(?:p_[A-Za-z0-9_-]{22}|unknown)\Z")]
Identifier = Annotated[str, Meta(pattern=r"\Ad[1-9][0-9]{0,3}\Z")]
"""Our name of an authorization detail, by its place in the request; the caller's own text stays outside."""
Version = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9.+:_-]{0,95}\Z")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"""Names a blob of the export."""
Digest = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{43}\Z")]
"""base64url of a salted SHA-256, or an RFC 7638 thumbprint."""
Instant = Annotated[str, Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\Z")]
Day = Annotated[str, Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
Period = Annotated[str, Meta(pattern=r"\A(?:total|[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?)\Z")]
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Number = Annotated[int, Meta(ge=1, le=MAX_COUNT)]
Origin = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:/~\[\]-]{1,255}\Z")]
Vkey = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:/~\[\]-]{1,255}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}\Z")]
"""An Ed25519 verifier key as C2SP text."""
Signature = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9+/]{86}==\Z")]
"""base64 of the 64 bytes of an Ed25519 signature."""
Root = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9+/]{43}=\Z")]
"""base64 of a tree's root, as in a checkpoint."""
