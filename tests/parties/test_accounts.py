"""Log-in: lock-out, no enumeration, hashes that keep up with the parameters."""

import asyncio
import time
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from sample_parties import register
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import read
from consent.errors import Conflict, InvalidRequest, NotAuthenticated, NotFound, TooManyRequests
from consent.parties import passwords
from consent.parties.accounts import FREE_ATTEMPTS, authenticate, create_account

pytestmark = pytest.mark.usefixtures("ledger")

PASSWORD = "correct horse battery"


async def make(engine: AsyncEngine, **members):
    """An account of the sample enterprise."""
    parties = await register(engine)
    return await create_account(
        engine,
        **({"username": "clerk.zhang", "password": PASSWORD, "display_name": "示例用户", "subject_id": parties.enterprise_id} | members),
    )


async def shift(engine: AsyncEngine, by: timedelta) -> None:
    """Let `by` pass for all locks."""
    async with engine.begin() as connection:
        await connection.execute(text("update account set locked_until = locked_until - cast(:by as interval)"), {"by": by})


async def fails(engine: AsyncEngine, username: str, password: str) -> None:
    """The one failure there is."""
    with pytest.raises(NotAuthenticated) as caught:
        await authenticate(engine, username, password)
    assert caught.value.code == "login.failed"


async def test_right_password_logs_in_for_the_subject(engine: AsyncEngine) -> None:
    """User names are told apart without regard to capitals, passwords with."""
    account = await make(engine)
    assert account.kind == "enterprise"
    assert await authenticate(engine, "Clerk.Zhang", PASSWORD) == account
    await fails(engine, "clerk.zhang", PASSWORD.upper())


async def test_password_is_one_however_it_was_typed(engine: AsyncEngine) -> None:
    """Composed and decomposed letters are the same password."""
    await make(engine, password="e\u0301 tres long mot de passe")
    await authenticate(engine, "clerk.zhang", "\u00e9 tres long mot de passe")


async def test_account_of_a_person_acts_for_that_person(engine: AsyncEngine) -> None:
    """The kind of account follows from its subject, not from the caller."""
    parties = await register(engine)
    account = await create_account(engine, username="person", password=PASSWORD, display_name="示例人", subject_id=parties.person.id)
    assert (account.kind, account.subject_id, account.role) == ("person", parties.person.id, None)


async def test_staff_account_is_on_record_and_has_no_subject(engine: AsyncEngine) -> None:
    """Who works for the operator or the regulator is a matter of the ledger, by account id."""
    account = await create_account(engine, username="regulator", password=PASSWORD, display_name="监管员", role="regulator")
    assert (account.kind, account.subject_id, account.role) == ("staff", None, "regulator")
    async with read(engine) as connection:
        body = (await connection.execute(text("select bytes from ledger_record order by idx desc limit 1"))).scalar_one()
    assert b'"type":"staff.registered"' in body
    assert str(account.id).encode() in body
    assert b"regulator" in body


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"username": "ab"}, InvalidRequest),
        ({"username": "Clerk"}, InvalidRequest),
        ({"username": "clerk zhang"}, InvalidRequest),
        ({"username": "ｃｌｅｒｋ"}, InvalidRequest),
        ({"username": "clerk\n"}, InvalidRequest),
        ({"username": "-clerk"}, InvalidRequest),
        ({"username": "a" * 65}, InvalidRequest),
        ({"password": "elevenchars"}, InvalidRequest),
        ({"password": "aaaaaaaaaaaaaaaa"}, InvalidRequest),
        ({"password": "xx clerk.zhang xx"}, InvalidRequest),
        ({"password": "with\0control chars"}, InvalidRequest),
        ({"password": "surrogate \ud800 inside"}, InvalidRequest),
        ({"password": "long enough " * 22}, InvalidRequest),
        ({"display_name": "\u202e"}, InvalidRequest),
        ({"role": "operator"}, InvalidRequest),
        ({"subject_id": None}, InvalidRequest),
        ({"subject_id": "00000000-0000-0000-0000-000000000000"}, NotFound),
    ],
)
async def test_unfit_account_is_refused(engine: AsyncEngine, members, error) -> None:
    """Weak passwords, look-alike user names, both or neither of subject and role; no message repeats the password."""
    with pytest.raises(error) as caught:
        await make(engine, **members)
    assert members.get("password", "\0") not in str(caught.value)


async def test_user_name_is_taken_once(engine: AsyncEngine) -> None:
    """The second account of a name is refused, also as staff, and leaves no record."""
    account = await make(engine)
    with pytest.raises(Conflict):
        await create_account(engine, username="clerk.zhang", password=PASSWORD, display_name="另", subject_id=account.subject_id)
    with pytest.raises(Conflict):
        await create_account(engine, username="clerk.zhang", password=PASSWORD, display_name="另", role="operator")


async def test_account_locks_after_failures_and_opens_with_time(engine: AsyncEngine) -> None:
    """After five failures even the right password fails for a minute; then it works and the count begins anew."""
    await make(engine)
    for _ in range(FREE_ATTEMPTS):
        await fails(engine, "clerk.zhang", "wrong password!")
    await fails(engine, "clerk.zhang", PASSWORD)
    await shift(engine, timedelta(seconds=50))
    await fails(engine, "clerk.zhang", PASSWORD)
    await shift(engine, timedelta(seconds=11))
    await authenticate(engine, "clerk.zhang", PASSWORD)
    for _ in range(FREE_ATTEMPTS - 1):
        await fails(engine, "clerk.zhang", "wrong password!")
    await authenticate(engine, "clerk.zhang", PASSWORD)


async def test_each_further_failure_doubles_the_lock_to_an_hour(engine: AsyncEngine) -> None:
    """A guesser who waits out each lock gets slower, and the owner is never locked out for longer than an hour."""
    await make(engine)
    locks = []
    for _ in range(FREE_ATTEMPTS + 8):
        await fails(engine, "clerk.zhang", "wrong password!")
        async with read(engine) as connection:
            locks.append(
                (await connection.execute(text("select extract(epoch from locked_until - clock_timestamp()) from account"))).scalar_one()
            )
        await shift(engine, timedelta(hours=2))
    minutes = [None if seconds is None else round(float(seconds) / 60) for seconds in locks]
    assert minutes == [None] * 4 + [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_parallel_guesses_get_no_further_than_serial_ones(engine: AsyncEngine) -> None:
    """Of twelve guesses at once only five are judged: each is counted before its password is looked at."""
    await make(engine)
    wrong = [authenticate(engine, "clerk.zhang", f"wrong password {n}") for n in range(11)]
    answers = await asyncio.gather(*wrong, authenticate(engine, "clerk.zhang", PASSWORD), return_exceptions=True)
    assert all(isinstance(answer, NotAuthenticated) for answer in answers[:11])
    async with read(engine) as connection:
        failures = (await connection.execute(text("select failures from account"))).scalar_one()
    assert failures <= FREE_ATTEMPTS


@pytest.mark.parametrize("status", ["locked", "closed"])
async def test_account_that_staff_closed_does_not_log_in(engine: AsyncEngine, status: str) -> None:
    """It fails as a wrong password does."""
    await make(engine)
    async with engine.begin() as connection:
        await connection.execute(text("update account set status = :status"), {"status": status})
    await fails(engine, "clerk.zhang", PASSWORD)


async def test_any_text_fails_alike(engine: AsyncEngine) -> None:
    """Whatever is sent as user name and password answers login.failed, never a server error."""
    await make(engine)
    for username in ("nobody", "", "a\0b", "'; drop table account; --", "ｃlerk.zhang", "clerk.zhang\n", "x" * 5000, "\ud800"):
        await fails(engine, username, PASSWORD)
    for password in ("", "\0", "\ud800", "字" * 5000):
        await fails(engine, "clerk.zhang", password)


async def test_unknown_user_takes_as_long_as_a_known_one(engine: AsyncEngine) -> None:
    """The answer's time does not tell which user names exist: the same argon2 work is done, in processor time within a factor of two."""
    await make(engine)

    async def median(username: str) -> float:
        times = []
        for _ in range(3):
            start = time.process_time()
            await fails(engine, username, "wrong password!")
            times.append(time.process_time() - start)
        return sorted(times)[1]

    known, unknown = await median("clerk.zhang"), await median("nobody")
    assert 0.5 < known / unknown < 2


async def test_hash_of_older_parameters_is_replaced_at_log_in(engine: AsyncEngine) -> None:
    """Raising the cost reaches everybody who logs in; a failed log-in replaces nothing."""
    await make(engine)
    weak = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)

    async def stored() -> str:
        async with read(engine) as connection:
            return str((await connection.execute(text("select password_hash from account"))).scalar_one())

    async with engine.begin() as connection:
        await connection.execute(text("update account set password_hash = :weak"), {"weak": weak})
    await fails(engine, "clerk.zhang", "wrong password!")
    assert await stored() == weak
    await authenticate(engine, "clerk.zhang", PASSWORD)
    assert not passwords.needs_rehash(await stored())
    await authenticate(engine, "clerk.zhang", PASSWORD)


async def test_flood_of_log_ins_is_turned_away_and_the_loop_stays_free() -> None:
    """No more than a bounded number wait for argon2, whose memory would otherwise be the whole machine's; other work goes on."""
    turns = 0

    async def other_work() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    ticker = asyncio.create_task(other_work())
    flood = [passwords.verify_password(None, "guess") for _ in range(passwords.MAX_WAITING + 8)]
    answers = await asyncio.gather(*flood, return_exceptions=True)
    ticker.cancel()
    assert sum(isinstance(answer, TooManyRequests) for answer in answers) == 8
    assert answers.count(False) == passwords.MAX_WAITING
    assert turns > 20
