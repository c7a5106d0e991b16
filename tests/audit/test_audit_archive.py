"""Archives: what an export is not, is refused before anything is believed; nothing is ever extracted."""

import contextlib
import io
import tarfile
from pathlib import Path

import pytest
from audit_ledgers import SIGNER, pack, publish, records
from hypothesis import given
from hypothesis import strategies as st

from consent_audit.archive import BLOCK, TarIndex, TarWriter
from consent_audit.errors import CannotCheck, Malformed
from consent_audit.report import Verdict
from consent_audit.sources import TarSource, open_source
from consent_audit.verify import verify

FILES = publish(records(300))


def member(name: str = "checkpoint", size: int = 0, kind: bytes = tarfile.REGTYPE, linkname: str = "") -> bytes:
    """One header as the standard library writes it."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, linkname
    return info.tobuf(tarfile.USTAR_FORMAT)


END = bytes(2 * BLOCK)


def index(raw: bytes) -> TarIndex:
    return TarIndex(io.BytesIO(raw))


def test_standard_library_reads_what_we_write() -> None:
    """An export is an ordinary tar file to every other program."""
    with tarfile.open(fileobj=io.BytesIO(pack(FILES))) as other:
        assert {info.name: other.extractfile(info).read() for info in other} == FILES  # type: ignore[union-attr]
        assert all((info.uid, info.mtime, info.mode) == (0, 0, 0o644) for info in other)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_we_read_what_others_pack(tmp_path: Path, form: int) -> None:
    """A directory packed by hand, with ./ before its names and directories among them, verifies."""
    path = tmp_path / "other.tar"
    with tarfile.open(path, "w", format=form) as other:
        for folder in (".", "./tile"):
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            other.addfile(info)
        for name, body in FILES.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(body)
            other.addfile(info, io.BytesIO(body))
    with open_source(str(path)) as source:
        assert verify(source, SIGNER.verifier).verdict is Verdict.VERIFIED


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "cut short"),
        (b"junk", "cut short"),
        (b"\x1f\x8b" + bytes(510), "not a plain octal|not a tar"),
        (b"x" * 600, "not a plain octal"),
        (member(), "cut short"),
        (member("/checkpoint") + END, "absolute"),
        (member("../checkpoint") + END, "climbs"),
        (member("tile/../../x") + END, "climbs"),
        (member("tile//0") + END, "absolute, climbs"),
        (member("C:\\x") + END, "holds characters"),
        (member("证") + END, "not ASCII"),
        (member(kind=tarfile.SYMTYPE, linkname="/etc/passwd") + END, "links"),
        (member(kind=tarfile.LNKTYPE, linkname="tile/0/000") + END, "links"),
        (member(kind=tarfile.CHRTYPE) + END, "links"),
        (member(kind=tarfile.FIFOTYPE) + END, "links"),
        (member(kind=tarfile.XHDTYPE) + END, "extension headers"),
        (member(kind=tarfile.GNUTYPE_LONGNAME) + END, "extension headers"),
        (member(kind=tarfile.GNUTYPE_SPARSE) + END, "links"),
        (member(size=8**11 - 1) + END, "longer than the file"),
        (member(size=3000) + bytes(1024) + END, "longer than the file"),
        (member() + member() + END, "twice"),
        (member("./checkpoint") + member() + END, "twice"),
        (member("tile/0/000") + member("tile/0/000") + END, "twice"),
        (member("tile/0/x999/x999/999") + END, "larger than the archive"),
        (member("tile/1/001") + END, "larger than the archive"),
        (member("tile/63/001") + END, "larger than the archive"),
        (member()[:148] + b"0000000\x00" + member()[156:] + END, "checksum"),
    ],
)
def test_hostile_archives(raw: bytes, words: str) -> None:
    """Links, devices, extension headers, odd, repeated or climbing names and sizes beyond the file are refused with the reason."""
    with pytest.raises(CannotCheck, match=words):
        index(raw)


def test_size_in_base_256_is_refused() -> None:
    """GNU's second spelling of a size would be read differently by plain readers."""
    info = tarfile.TarInfo("checkpoint")
    info.size = 8**12
    with pytest.raises(CannotCheck, match="size is not a plain octal"):
        index(info.tobuf(tarfile.GNU_FORMAT) + END)


def test_member_larger_than_its_kind(tmp_path: Path) -> None:
    """A checkpoint of a gigabyte is refused by its size, without reading it."""
    path = tmp_path / "big.tar"
    with path.open("wb") as file:
        file.write(member(size=1 << 30))
        file.truncate(BLOCK + (1 << 30))
        file.seek(0, 2)
        file.write(END)
    with TarSource(path) as source, pytest.raises(Malformed, match="checkpoint: larger than the 65536 bytes"):
        source.read("checkpoint", 1 << 16)


@given(st.binary(max_size=1500), st.integers(0, 4000))
def test_any_bytes(noise: bytes, at: int) -> None:
    """Whatever the bytes, the index is built or refused; nothing else is raised."""
    raw = bytearray(pack({"checkpoint": b"x" * 700, "tile/0/000": b"y" * 100}))
    raw[at : at + len(noise)] = noise
    with contextlib.suppress(CannotCheck):
        index(bytes(raw)).locate("tile/0/000")


@pytest.mark.parametrize("name", ["/a", "a/../b", "a" * 101, "a b", "证", ""])
def test_names_that_are_not_written(name: str) -> None:
    """The writer makes nothing that the reader refuses."""
    with pytest.raises(ValueError, match=r"name|ascii"):
        TarWriter(io.BytesIO()).add(name, b"")


def test_unreadable_archive(tmp_path: Path) -> None:
    """A file that is gone is no verdict."""
    with pytest.raises(CannotCheck, match="cannot be read"):
        TarIndex.open(tmp_path / "gone.tar")
