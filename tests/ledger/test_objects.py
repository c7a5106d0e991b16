"""Publishing to an object store, against a real server of the S3 protocol (moto's)."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner
from moto.server import ThreadedMotoServer
from sqlalchemy import text
from test_copies import grow, judge

from consent.cli import main
from consent.ledger.copies import CopyRefused, follow, publish
from consent.ledger.objects import Objects, StoreUnavailable
from consent.ledger.writer import write

BUCKET = "ledger-copy"


class Bucket:
    """What stands in the store, seen with another library than the one that wrote it."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def objects(self) -> dict[str, bytes]:
        listed = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {one["Key"]: self.client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in listed}

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)

    def download(self, directory: Path) -> Path:
        for key, body in self.objects().items():
            path = directory / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        return directory


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    made = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    made.start()
    host, port = made.get_host_and_port()
    yield f"http://{host}:{port}"
    made.stop()


@pytest.fixture
def bucket(server: str, monkeypatch) -> Iterator[Bucket]:
    """An empty bucket, and an environment that finds it."""
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "y"), ("REGION", "us-east-1"), ("ENDPOINT_URL", server)):
        monkeypatch.setenv(f"AWS_{name}", value)
    client = boto3.client("s3", endpoint_url=server, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    yield Bucket(client)
    for one in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=one["Key"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()


async def test_a_store_grows_with_the_ledger(engine, ledger, key, bucket: Bucket, tmp_path: Path):
    """After each publication it verifies; old edges stay; nothing is written twice."""
    for n, size in enumerate((254, 1, 1, 600)):
        async with write(engine) as transaction:
            await transaction.put_blob("text/plain", b"%d" % n)
        await grow(engine, ledger, size)
        assert await publish(engine, Objects(f"s3://{BUCKET}/a/prefix")) > size
        assert judge(bucket.download(tmp_path / str(n)) / "a/prefix", key, tmp_path)[0] == 0
    assert {"a/prefix/tile/0/000.p/255", "a/prefix/tile/0/000", "a/prefix/tile/entries/003.p/89"} <= set(bucket.objects())
    await publish(engine, tmp_path / "directory")
    written = {str(path.relative_to(tmp_path / "directory")) for path in (tmp_path / "directory").rglob("*") if path.is_file()}
    assert written <= {name.removeprefix("a/prefix/") for name in bucket.objects()}


async def test_objects_say_how_long_they_keep(engine, ledger, bucket: Bucket):
    """Tiles for ever and for all, entries for ever and private, the checkpoint for a second."""
    await grow(engine, ledger, 3)
    await publish(engine, Objects(f"s3://{BUCKET}/"))
    told = {}
    for key in bucket.objects():
        head = bucket.client.head_object(Bucket=BUCKET, Key=key)
        told[key] = (head["CacheControl"], head["ContentType"])
    forever = "max-age=31536000, immutable"
    assert told == {
        "checkpoint": ("public, max-age=1", "text/plain; charset=utf-8"),
        "tile/0/000.p/4": (f"public, {forever}", "application/octet-stream"),
        "tile/entries/000.p/4": (f"private, {forever}", "application/octet-stream"),
    }


async def test_entries_stay_out_of_the_open_store(engine, ledger, bucket: Bucket):
    """What everybody may read holds hashes only."""
    async with write(engine) as transaction:
        await transaction.put_blob("text/plain", b"x")
    await grow(engine, ledger, 3)
    await publish(engine, Objects(f"s3://{BUCKET}/open"), open_only=True)
    assert sorted(bucket.objects()) == ["open/checkpoint", "open/tile/0/000.p/4"]


@pytest.mark.parametrize("survive", [0, 1, 3, 6])
async def test_a_crash_leaves_the_older_copy_whole(engine, ledger, key, bucket: Bucket, tmp_path: Path, monkeypatch, survive: int):
    """Whichever object is the last one, the older checkpoint stands with all its tiles, and the next publication completes it."""
    await grow(engine, ledger, 200)
    await publish(engine, Objects(f"s3://{BUCKET}/"))
    await grow(engine, ledger, 400)
    original, left = Objects._put, [survive]

    async def put(self, *arguments):
        if left[0] == 0:
            raise RuntimeError("killed")
        left[0] -= 1
        return await original(self, *arguments)

    monkeypatch.setattr(Objects, "_put", put)
    with pytest.raises(RuntimeError, match="killed"):
        await publish(engine, Objects(f"s3://{BUCKET}/"))
    monkeypatch.setattr(Objects, "_put", original)
    status, report = judge(bucket.download(tmp_path / "older"), key, tmp_path)
    assert (status, report["size"]) == (0, 201)
    assert await publish(engine, Objects(f"s3://{BUCKET}/")) == 601
    assert judge(bucket.download(tmp_path / "newer"), key, tmp_path)[0] == 0


async def test_an_overtaken_publisher_is_refused(engine, ledger, bucket: Bucket, monkeypatch):
    """An older checkpoint never replaces a newer one, however slow its publisher was."""
    await grow(engine, ledger, 5)
    await publish(engine, Objects(f"s3://{BUCKET}/"))
    await grow(engine, ledger, 5)
    slow, reached, go = Objects(f"s3://{BUCKET}/"), asyncio.Event(), asyncio.Event()
    original = slow.sync

    async def wait() -> None:
        await original()
        reached.set()
        await go.wait()

    slow.sync = wait  # type: ignore[method-assign]
    overtaken = asyncio.create_task(publish(engine, slow))
    await reached.wait()
    await grow(engine, ledger, 5)
    assert await publish(engine, Objects(f"s3://{BUCKET}/")) == 16
    go.set()
    with pytest.raises(CopyRefused, match="somebody else"):
        await overtaken
    assert bucket.objects()["checkpoint"].split(b"\n")[1] == b"16"


async def test_something_else_in_a_tiles_place_is_evidence(engine, ledger, bucket: Bucket):
    """It is neither overwritten nor passed over."""
    await grow(engine, ledger, 3)
    bucket.put("tile/0/000.p/4", b"something else")
    with pytest.raises(CopyRefused, match=r"tile/0/000\.p/4 holds something else"):
        await publish(engine, Objects(f"s3://{BUCKET}/"))
    assert bucket.objects() == {"tile/0/000.p/4": b"something else"} | {k: v for k, v in bucket.objects().items() if "entries" in k}


async def test_the_same_history_is_demanded(engine, ledger, bucket: Bucket):
    """Garbage, or another ledger's checkpoint, is left alone."""
    await grow(engine, ledger, 3)
    bucket.put("checkpoint", b"garbage")
    with pytest.raises(CopyRefused, match="not a checkpoint"):
        await publish(engine, Objects(f"s3://{BUCKET}/"))
    assert list(bucket.objects()) == ["checkpoint"]


async def test_a_store_that_is_away_may_be_tried_again(engine, ledger, bucket: Bucket, monkeypatch):
    """A closed port, a missing bucket: one line that names the place, without credentials."""
    await grow(engine, ledger, 3)
    with pytest.raises(StoreUnavailable, match=r"s3://no-such-bucket cannot be written"):
        await publish(engine, Objects("s3://no-such-bucket"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    with pytest.raises(StoreUnavailable) as refused:
        await publish(engine, Objects(f"s3://{BUCKET}"))
    assert "very-secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["s3://", "http://bucket", "s3://key:secret@bucket/x", "s3://bucket/x?y=1", "gs://bucket", "bucket"])
def test_other_addresses_are_refused(bucket: Bucket, url: str):
    """Before anything is sent."""
    with pytest.raises(CopyRefused):
        Objects(url)


async def test_following_publishes_what_is_new(engine, ledger, bucket: Bucket, monkeypatch):
    """Each new head once; a database or store that is away for a moment does not end it."""
    await grow(engine, ledger, 3)
    calls: list[int] = []
    original = Objects._put

    async def put(self, path, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise StoreUnavailable("s3://x", "test")
        return await original(self, path, *arguments)

    monkeypatch.setattr(Objects, "_put", put)
    task = asyncio.create_task(follow(engine, Objects(f"s3://{BUCKET}/"), 0.05))
    for size in (4, 6):
        for _ in range(200):
            if bucket.objects().get("checkpoint", b"\n\n").split(b"\n")[1] == b"%d" % size:
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError(size)
        quiet = len(calls)
        await asyncio.sleep(0.3)
        assert len(calls) == quiet
        if size == 4:
            await grow(engine, ledger, 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with engine.connect() as connection:
        assert await connection.scalar(text("select max(size) from ledger_head")) == 6


def test_the_command_asks_who_reads_a_store(bucket: Bucket):
    """Entries never land in a store by oversight."""
    done = CliRunner().invoke(main, ["ledger", "publish", f"s3://{BUCKET}/x"])
    assert done.exit_code == 2
    assert "--for public or --for auditors" in done.output
