"""The codes of denials and refusals: what happened, what cures it, which clause asks for it.

The texts are data beside the policies (`policies/data/codes.json`), so that a regulator reads them where the rules stand.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from consent.catalogue.model import Words
from consent.decisions.bundle import BundleError, default_directory


class Code(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One code. `title` says what happened, `solution` what the denied party can do, `clause` where the sources ask for it."""

    title: Words
    solution: Words
    clause: str


def _load() -> Mapping[str, Code]:
    path = default_directory() / "data" / "codes.json"
    try:
        return MappingProxyType(msgspec.json.decode(path.read_bytes(), type=dict[str, Code]))
    except (OSError, msgspec.DecodeError) as error:
        raise BundleError(f"codes.json: {error}") from None


CODES: Mapping[str, Code] = _load()


def title(code: str) -> Words:
    """What `code` means.

    Raises:
        KeyError: no such code.
    """
    return CODES[code].title


def solution(code: str) -> Words:
    """What the denied party can do about `code`.

    Raises:
        KeyError: no such code.
    """
    return CODES[code].solution


def solutions(codes: Iterable[str]) -> dict[str, str]:
    """What cures all of `codes`, one sentence after the other, as {zh, en}; empty without a code.

    Raises:
        KeyError: one of them is no code.
    """
    words = [solution(code) for code in codes]
    return {"zh": "".join(word.zh for word in words), "en": " ".join(word.en for word in words)} if words else {}
