"""OPA's bundle format: a gzipped tar of files (openpolicyagent.org, "Bundles"). Bytes to bytes; nothing is believed about the content here.

Equal files give equal bytes, so a bundle can be named by its digest. What is read comes from outside: its size is bounded before it is
unpacked, and only regular files with plain names are taken.
"""

import gzip
import io
import re
import tarfile
import zlib

PACKED_LIMIT = 4 * 1024 * 1024
UNPACKED_LIMIT = 32 * 1024 * 1024
FILES_LIMIT = 1024

_NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/){0,8}[.A-Za-z0-9_-][A-Za-z0-9._-]*")


class ArchiveError(Exception):
    """Not a bundle, or one that is too large; the message names the place."""


def pack(files: dict[str, bytes]) -> bytes:
    """The archive of `files`, by name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, body in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(body)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(body))
    return gzip.compress(out.getvalue(), mtime=0)


def unpack(body: bytes) -> dict[str, bytes]:
    """The files of an archive, by name, without the leading slash that OPA's own tool writes.

    Raises:
        ArchiveError: not a gzipped tar; too large; a link, a device, a name that is none, a name twice.
    """
    if len(body) > PACKED_LIMIT:
        raise ArchiveError(f"longer than {PACKED_LIMIT} bytes")
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(_inflate(body)), mode="r:") as tar:
            for member in tar:
                name = member.name.removeprefix("/").removeprefix("./")
                if not member.isreg() or not _NAME.fullmatch(name) or ".." in name.split("/"):
                    raise ArchiveError("holds something that is no plain file")
                if name in files or len(files) >= FILES_LIMIT:
                    raise ArchiveError(f"{name}: stands twice, or there are too many files")
                content = tar.extractfile(member)
                files[name] = b"" if content is None else content.read()
    except tarfile.TarError:
        raise ArchiveError("not a bundle: no gzipped tar") from None
    return files


def _inflate(body: bytes) -> bytes:
    reader = zlib.decompressobj(wbits=31)  # gzip alone
    try:
        plain = reader.decompress(body, UNPACKED_LIMIT)
    except zlib.error:
        raise ArchiveError("not a bundle: no gzipped tar") from None
    if reader.unconsumed_tail or not reader.eof or reader.unused_data:
        raise ArchiveError(f"cut off, or longer than {UNPACKED_LIMIT} bytes unpacked")
    return plain
