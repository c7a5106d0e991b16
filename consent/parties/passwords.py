"""Passwords: argon2id, off the event loop, with bounded memory.

A verification costs 64 MiB and tens of milliseconds of one core, so only a few run at once and only some may wait: beyond that the
caller is told to come back, before a flood of log-ins takes the memory that checks need.
"""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from consent.errors import InvalidRequest, TooManyRequests

MIN_LENGTH = 12
MAX_LENGTH = 256
MAX_WAITING = 16

T = TypeVar("T")

# RFC 9106 §4, the second recommended option: 64 MiB, three passes, four lanes.
_HASHER = PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4, hash_len=32, salt_len=16)
_POOL = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")
_waiting = 0


def parse_password(text: str, username: str) -> str:
    """`text` in NFC, so that one password typed on two keyboards is one password.

    Args:
        text: 12 to 256 characters (NIST SP 800-63B §5.1.1 asks for 8, for people without a second factor 15 is the newer advice).
        username: must not stand in it.

    Raises:
        InvalidRequest: `password.weak`. The message does not repeat the text.
    """
    text = unicodedata.normalize("NFC", text)
    readable = not any(unicodedata.category(c)[0] == "C" for c in text)
    if not MIN_LENGTH <= len(text) <= MAX_LENGTH or not readable or len(set(text)) < 5 or username in text.lower():
        raise InvalidRequest(
            "密码应为12至256个字符，不能过于简单，也不能包含用户名。",
            "A password has 12 to 256 characters, is not trivial and does not contain the user name.",
            code="password.weak",
            member="password",
        )
    return text


async def hash_password(text: str) -> str:
    """The encoded argon2id hash of a password that `parse_password` accepted."""
    normal = unicodedata.normalize("NFC", text)
    return await _in_pool(lambda: _HASHER.hash(normal))


async def verify_password(encoded: str | None, text: str) -> bool:
    """Whether `text` is the password of `encoded`. Does the same work when there is no account (`encoded` None)."""
    # Composing shortens a text to a quarter at most, so what is cut here was too long to be anybody's password.
    candidate = unicodedata.normalize("NFC", text[: 4 * MAX_LENGTH + 1])
    return await _in_pool(lambda: _verify(_DUMMY if encoded is None else encoded, candidate)) and encoded is not None


def needs_rehash(encoded: str) -> bool:
    """Whether `encoded` was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(encoded)


def _verify(encoded: str, text: str) -> bool:
    try:
        return _HASHER.verify(encoded, text.encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False


async def _in_pool(work: Callable[[], T]) -> T:
    global _waiting  # noqa: PLW0603 - a bound on memory is a matter of the process
    if _waiting >= MAX_WAITING:
        raise TooManyRequests("登录请求过多，请稍后重试。", "Too many log-ins at once. Try again soon.")
    _waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_POOL, work)
    finally:
        _waiting -= 1


_DUMMY = _HASHER.hash(secrets.token_urlsafe(32))
