"""Regional lists: what a province or city shares beyond the official lists (国办发〔2024〕15号 三(四) 省级信用信息归集共享清单).

One file per region, an operator's and not part of the service. It adds items under its region's prefix, and the rows of the purpose matrix
that say what they are needed for; it changes nothing that the official lists have. The rows are kept as they were written: the policies
check them (`consent.decisions.matrix`).
"""

import re
from pathlib import Path

import msgspec

from consent.catalogue.model import CatalogueError, Region
from consent.catalogue.rules import check_list, check_words
from consent.catalogue.schema import ListFile

_REGION = re.compile(r"[0-9]{2}(?:[0-9]{2}){0,2}")
"""GB/T 2260: two digits for a province, four for a city, six for a county."""


class Extension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A region's list. `rows` are rows of the matrix over its own items, as JSON."""

    region: Region
    items: ListFile
    rows: msgspec.Raw
    name: str = ""


def load_extensions(directory: Path | None) -> tuple[Extension, ...]:
    """The regional lists in `directory`, by file name; none where there is no directory.

    Raises:
        CatalogueError: a file is malformed, breaks a rule or claims another region's prefix; names the file and the place.
    """
    if directory is None:
        return ()
    if not directory.is_dir():
        raise CatalogueError(f"{directory}: no directory of regional lists")
    found: dict[str, Extension] = {}
    for path in sorted(directory.glob("*.json")):
        extension = _read(path)
        if extension.region.code in found:
            raise CatalogueError(f"{path.name}: region {extension.region.code} has a list in {found[extension.region.code].name}")
        found[extension.region.code] = extension
    return tuple(found.values())


def _read(path: Path) -> Extension:
    try:
        extension = msgspec.json.decode(path.read_bytes(), type=Extension)
    except OSError as error:
        raise CatalogueError(f"{path.name}: cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{path.name}: {error}") from None
    extension = msgspec.structs.replace(extension, name=path.name, rows=extension.rows.copy())
    region, items = extension.region, extension.items
    if not _REGION.fullmatch(region.code):
        raise CatalogueError(f"{path.name}: region.code: two, four or six digits of GB/T 2260")
    check_words(path.name, "region.name", region.name)
    if items.prefix != f"R{region.code}":
        raise CatalogueError(f"{path.name}: items.prefix: is {items.prefix}, the region's is R{region.code}")
    check_list(path.name, items)
    return extension
