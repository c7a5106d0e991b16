"""Accounts: people who log in, for an enterprise, for themselves or as staff.

A log-in answers in one way for an unknown user, a wrong password and a locked account, after the same work, so that nobody learns
which user names exist. Each attempt is counted before the password is looked at; so many parallel guesses get no further than
the same number one after the other.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NoReturn
from uuid import UUID, uuid4

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent.db import guard
from consent.errors import Conflict, InvalidRequest, NotAuthenticated, NotFound
from consent.ledger import events
from consent.ledger.writer import write
from consent.parties import account_store, passwords, store
from consent.parties.access import AccountKind, StaffRole
from consent.parties.model import parse_name

FREE_ATTEMPTS = 5
FIRST_LOCK = timedelta(minutes=1)
LONGEST_LOCK = timedelta(hours=1)
"""The fifth failure locks for a minute; after each lock one attempt is free and a further failure doubles the lock, to an hour."""

_USERNAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{1,62})[a-z0-9]")


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Who logged in. `subject_id` is the enterprise (or herself) for which she acts; staff have a role instead."""

    id: UUID
    username: str
    display_name: str
    kind: AccountKind
    subject_id: UUID | None
    role: StaffRole | None


def parse_username(text: str) -> str:
    """A user name: 3 to 64 lower-case ASCII letters, digits, dots, hyphens or underscores, with a letter or digit at both ends.

    Raises:
        InvalidRequest: `username.invalid`.
    """
    if _USERNAME.fullmatch(text) is None:
        raise InvalidRequest(
            "用户名应为3至64位小写字母、数字、点、连字符或下划线。",
            "A user name is 3 to 64 lower-case letters, digits, dots, hyphens or underscores.",
            code="username.invalid",
            member="username",
        )
    return text


async def create_account(
    engine: AsyncEngine,
    *,
    username: str,
    password: str,
    display_name: str,
    subject_id: UUID | None = None,
    role: StaffRole | None = None,
) -> Account:
    """Create an account for a subject or, with `role`, for staff. Only staff accounts are a matter of the ledger.

    Raises:
        InvalidRequest: a weak password, a malformed name, or not exactly one of subject and role.
        NotFound: no such subject.
        Conflict: `username.taken`.
    """
    parse_username(username)
    display_name = parse_name(display_name, "display_name")
    # Hashing takes tens of milliseconds: never under the ledger's lock.
    encoded = await passwords.hash_password(passwords.parse_password(password, username))
    account_id = uuid4()
    if role is not None and subject_id is None:
        staff = Account(id=account_id, username=username, display_name=display_name, kind="staff", subject_id=None, role=role)
        async with write(engine) as tx:
            await _insert(tx.connection, staff, encoded)
            tx.append(events.StaffRegistered(staff=str(account_id), role=role))
        return staff
    if subject_id is None or role is not None:
        raise InvalidRequest("账号应属于一个主体或一个岗位。", "An account belongs to a subject or to a role.", member="subject_id")
    async with _transaction(engine) as connection:
        subject = await store.subject(connection, subject_id)
        if subject is None:
            raise NotFound("没有这个主体。", "No such subject.")
        kind: AccountKind = "person" if subject.kind == "person" else "enterprise"
        account = Account(id=account_id, username=username, display_name=display_name, kind=kind, subject_id=subject_id, role=None)
        await _insert(connection, account, encoded)
    return account


async def _insert(connection: AsyncConnection, account: Account, encoded: str) -> None:
    if not await account_store.insert_account(connection, msgspec.structs.asdict(account) | {"password_hash": encoded}):
        raise Conflict("用户名已被使用。", "The user name is taken.", code="username.taken", member="username")


async def authenticate(engine: AsyncEngine, username: str, password: str) -> Account:
    """The account whose password this is.

    Raises:
        NotAuthenticated: `login.failed`: unknown user, wrong password, locked or closed; never which.
        TooManyRequests: more log-ins at once than this process bears.
    """
    # What cannot be a user name is looked up as none, with the same work.
    username = username.lower() if username.isascii() and _USERNAME.fullmatch(username.lower()) else ""
    async with _transaction(engine) as connection:
        row = await account_store.count_attempt(connection, username, FREE_ATTEMPTS, FIRST_LOCK, LONGEST_LOCK)
    # The connection is given back first: a slow hash must not hold one.
    if not await passwords.verify_password(None if row is None else row.password_hash, password) or row is None:
        _fail()
    encoded = None
    if passwords.needs_rehash(row.password_hash):
        encoded = await passwords.hash_password(password)
    async with _transaction(engine) as connection:
        if not await account_store.reset_attempts(connection, row.id, row.password_hash, encoded):
            _fail()
    return Account(id=row.id, username=row.username, display_name=row.display_name, kind=row.kind, subject_id=row.subject_id, role=row.role)


@asynccontextmanager
async def _transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    with guard():
        async with engine.begin() as connection:
            yield connection


def _fail() -> NoReturn:
    raise NotAuthenticated(
        "用户名或密码不正确，或尝试次数过多而暂时锁定，请稍后重试。",
        "Wrong user name or password, or locked for a while after too many attempts. Try again later.",
        code="login.failed",
    )
