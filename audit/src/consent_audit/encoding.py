"""Strict readers for the two spellings that verifiers get wrong: decimal numbers and base64.

Python's own `int()` takes signs, spaces, underscores and foreign digits, and `b64decode` takes any padding bits; two
programs that read one text differently can be shown two different ledgers. Here each value has exactly one spelling.
"""

import base64
import binascii
import re

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")

MAX_SIZE = 2**63 - 1
"""Largest tree size or index, as in C2SP tlog-checkpoint."""


def parse_decimal(text: str, *, maximum: int = MAX_SIZE) -> int:
    """Read a non-negative decimal number: ASCII digits, no sign, no leading zero.

    Raises:
        ValueError: any other spelling, or more than `maximum`.
    """
    if _DECIMAL.fullmatch(text) is None:
        raise ValueError("not a plain decimal number")
    value = int(text)
    if value > maximum:
        raise ValueError("number too large")
    return value


def parse_base64(text: str) -> bytes:
    """Read standard, padded, canonical base64 (RFC 4648 §4 with §3.5: unused bits are zero).

    Raises:
        ValueError: any other spelling.
    """
    try:
        value = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not base64") from error
    if format_base64(value) != text:
        raise ValueError("not canonical base64")
    return value


def format_base64(value: bytes) -> str:
    """Spell bytes as standard padded base64."""
    return base64.b64encode(value).decode("ascii")
