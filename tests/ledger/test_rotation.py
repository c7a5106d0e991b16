"""The log's key: behind a command, and changed by a record that both keys sign."""

import asyncio
import base64
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import create_engine
from consent.ledger.events import StaffRegistered
from consent.ledger.keys import CommandKey, KeyRefused, Keyring, command_key, signature_of
from consent.ledger.rotation import rotate
from consent.ledger.signer import Signer
from consent.ledger.writer import write
from consent_audit.errors import BadSignature
from consent_audit.note import Signer as Key
from consent_audit.note import open_checkpoint, split_note
from consent_audit.record import decode_record
from consent_audit.statements import rotation_text

PROGRAM = """
import base64, sys
from consent_audit.note import Signer, split_note
key = Signer.parse(sys.argv[1])
text = sys.stdin.buffer.read().decode()
print(base64.b64encode(split_note(key.sign(text))[1][0][1][4:]).decode())
"""


async def append(engine: AsyncEngine, count: int = 1) -> None:
    async with write(engine) as transaction:
        for _ in range(count):
            transaction.append(StaffRegistered(staff="staff-1", role="auditor"))


def signers(note: str) -> list[bytes]:
    return [value[:4] for _, value in split_note(note)[1]]


@pytest.fixture
def new(key: Key) -> Key:
    """The key to come."""
    return Key.generate(key.name)


async def test_both_keys_sign_the_record_and_the_head_that_covers_it(engine, ledger: Signer, key: Key, new: Key):
    """Before the record the old key signs, whoever else is held; from it on the new one, and the old one while it is held."""
    both = Signer(engine, [key, new])
    await append(engine)
    before = await both.sign_now()
    assert before is not None
    assert signers(before.note) == [key.verifier.id]
    index, vkey = await rotate(engine, [key, new])
    assert (index, vkey) == (2, new.vkey)
    async with engine.connect() as connection:
        record = decode_record((await connection.execute(text("select bytes from ledger_record where idx = 2"))).scalar_one())
    assert (record.type, record.data["old"], record.data["new"]) == ("key.rotated", key.vkey, new.vkey)
    statement = rotation_text(key.name, key.vkey, new.vkey)
    for signing, member in ((key, "old_signature"), (new, "new_signature")):
        assert record.data[member].encode() == base64.b64encode(signature_of(signing.sign(statement)))
    covering = await both.sign_now()
    assert covering is not None
    assert signers(covering.note) == [new.verifier.id, key.verifier.id]
    assert open_checkpoint(covering.note, key.verifier) == open_checkpoint(covering.note, new.verifier)
    await append(engine)
    alone = await Signer(engine, new).sign_now()
    assert alone is not None
    assert signers(alone.note) == [new.verifier.id]
    with pytest.raises(BadSignature):
        open_checkpoint(alone.note, key.verifier)


async def test_processes_switch_at_one_index(database, engine, ledger: Signer, key: Key, new: Key):
    """While four signers race through a rotation, every head above the record bears the new key's signature, none below does."""
    engines = [create_engine(database.app_url) for _ in range(4)]
    racing = [Signer(each, [key, new]) for each in engines]
    await ledger.sign_now()

    async def sign(signer: Signer) -> None:
        for _ in range(12):
            await signer.sign_now()

    async def work() -> int:
        for _ in range(20):
            await append(engine)
        index, _ = await rotate(engine, [key, new])
        for _ in range(20):
            await append(engine)
        return index

    index, *_ = await asyncio.gather(work(), *(sign(signer) for signer in racing))
    await racing[0].sign_now()
    async with engine.connect() as connection:
        heads = (await connection.execute(text("select size, note from ledger_head"))).all()
    assert {row.size > index for row in heads} == {True, False}
    assert all((signers(row.note)[0] == new.verifier.id) is (row.size > index) for row in heads)
    for each in engines:
        await each.dispose()


async def test_a_process_without_the_new_key_signs_nothing_more(engine, ledger: Signer, key: Key, new: Key):
    """It says which key is wanted; another process goes on."""
    await ledger.sign_now()
    await rotate(engine, [key, new])
    with pytest.raises(KeyRefused, match="does not hold") as caught:
        await ledger.sign_now()
    assert new.vkey in caught.value.en
    ledger._keys = Keyring([key, new])
    await ledger.sign_now()


async def test_a_key_changed_without_a_record_signs_nothing(engine, ledger: Signer, key: Key, new: Key):
    """Another file under the same name is a mistake or an attack, not a rotation."""
    await ledger.sign_now()
    await append(engine)
    with pytest.raises(KeyRefused, match="rotate-key"):
        await Signer(engine, new).sign_now()


async def test_rotations_that_are_refused(engine, ledger: Signer, key: Key, new: Key):
    """Before the first head; with no new key, two, another ledger's; without the key in force; back to a key that was used."""
    with pytest.raises(KeyRefused, match="nothing was signed"):
        await rotate(engine, [key, new])
    await ledger.sign_now()
    for keys, why in (([key], "NEXT"), ([key, new, Key.generate(key.name)], "NEXT"), ([new], "does not hold")):
        with pytest.raises(KeyRefused, match=why):
            await rotate(engine, keys)
    with pytest.raises(KeyRefused, match="one name"):
        await rotate(engine, [key, Key.generate("other.example.org")])
    ledger._keys = Keyring([key, new])
    await rotate(engine, [key, new])
    await ledger.sign_now()
    with pytest.raises(KeyRefused, match="never signed"):
        await rotate(engine, [new, key])


def command(tmp_path: Path, key: Key, program: str = PROGRAM) -> CommandKey:
    (tmp_path / "kms.py").write_text(program)
    return command_key(f"{sys.executable} {tmp_path / 'kms.py'} '{key.private_key}'", key.vkey, key.name)


async def test_a_key_behind_a_command_signs(engine, ledger: Signer, key: Key, tmp_path):
    """The same bytes as the key in a file; the ledger cannot tell them apart."""
    held = command(tmp_path, key)
    assert held.sign("a\n") == key.sign("a\n")
    await append(engine)
    head = await Signer(engine, held).sign_now()
    assert head is not None
    assert open_checkpoint(head.note, key.verifier).size == 2


BAD: dict[str, tuple[str, str]] = {
    "fails": ("import sys; sys.exit('SECRETTEXT')", "exit status 1"),
    "prints junk": ("print('SECRETTEXT')", "no signature"),
    "prints nothing": ("", "no signature"),
    "signs something else": (PROGRAM.replace("decode()\n", "decode() + 'x\\n'\n", 1), "no signature"),
    "is slow": ("import time; time.sleep(60)", "within"),
    "prints without end": ("import sys\nwhile True:\n    sys.stdout.write('A' * 4096)", "failed|no signature|within"),
    "leaves a child behind": ("import subprocess\nsubprocess.Popen(['sleep', '86397'])\nprint('x', flush=True)", "within"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_command_that_fails_signs_nothing(engine, ledger: Signer, key: Key, tmp_path, name: str):
    """The reason is named without what the command said; records go on, and are signed once it works."""
    program, why = BAD[name]
    bad = command(tmp_path, key, program)
    object.__setattr__(bad, "seconds", 1.0)
    await append(engine)
    signer = Signer(engine, bad)
    with pytest.raises(KeyRefused, match=why) as caught:
        await signer.sign_now()
    assert "SECRETTEXT" not in str(caught.value)
    assert key.private_key not in str(caught.value)
    await append(engine)
    assert not [one for one in Path("/proc").glob("[0-9]*/cmdline") if _words(one) == ["sleep", "86397"]]


def _words(cmdline: Path) -> list[str]:
    try:
        return cmdline.read_text().split("\0")[:2]
    except OSError:  # it ended meanwhile
        return []


@pytest.mark.parametrize(
    ("words", "vkey", "why"),
    [
        ("", lambda key: key.vkey, "command"),
        ("'open", lambda key: key.vkey, "quotation"),
        ("kms", lambda _: "nonsense", "verifier key"),
        ("kms", lambda _: Key.generate("other.example.org").vkey, "not of"),
    ],
)
def test_a_command_that_cannot_be_one(key: Key, words: str, vkey: Callable[[Key], str], why: str):
    """Refused when it is read, not when it is needed."""
    with pytest.raises(KeyRefused, match=why):
        command_key(words, vkey(key), key.name)


def test_a_command_that_is_not_there(key: Key):
    """Named when it is tried."""
    with pytest.raises(KeyRefused, match="cannot be run"):
        command_key("/nonexistent/kms", key.vkey, key.name).sign("a\n")


async def test_a_slow_key_holds_no_append_up(engine, ledger: Signer, key: Key, tmp_path):
    """While a device takes its time, records are appended and the head that comes covers what was committed before."""
    begun, go_on = tmp_path / "begun", tmp_path / "go on"
    wait = f"import pathlib, time\npathlib.Path('{begun}').touch()\nwhile not pathlib.Path('{go_on}').exists(): time.sleep(0.01)\n"
    waiting = asyncio.ensure_future(Signer(engine, command(tmp_path, key, wait + PROGRAM)).sign_now())
    async with asyncio.timeout(15):
        while not begun.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await append(engine, 5)
    assert not waiting.done()
    go_on.touch()
    head = await waiting
    assert head is not None
    assert head.size == 1
