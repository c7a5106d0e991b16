"""Reading the catalogue. It is complete and sound, or there is none: nothing is skipped, nothing is repaired."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import msgspec

from consent.catalogue.model import Catalogue, CatalogueError, Edition, Item, Vocabulary
from consent.catalogue.rules import check_list, check_purposes, check_vocabulary
from consent.catalogue.schema import Body, ListFile, PurposesFile

DATA = Path(__file__).with_name("data")
LISTS = ("n21.json", "n24.json", "nb.json")
PURPOSES = "purposes.json"
VOCABULARY = "vocabulary.json"

T = TypeVar("T")


@cache
def load() -> Catalogue:
    """The catalogue that comes with the service, read and checked once per process.

    Raises:
        CatalogueError: see `load_from`.
    """
    return load_from(DATA)


def load_from(directory: Path) -> Catalogue:
    """Read and check the catalogue in `directory`.

    Raises:
        CatalogueError: a file is missing or malformed, or breaks a rule; names the file and the place.
    """
    editions: list[Edition] = []
    items: dict[str, Item] = {}
    for name in LISTS:
        file = _read(directory, name, ListFile)
        check_list(name, file)
        categories = {entry.number: entry.category() for entry in file.categories}
        editions.append(Edition(file.list, file.title, file.effective))
        for entry in file.items:
            if entry.code in items:
                raise CatalogueError(f"{name}: {entry.code}: stands in another list too")
            items[entry.code] = entry.item(file.list, categories[entry.category])
    purposes = _read(directory, PURPOSES, PurposesFile)
    check_purposes(PURPOSES, purposes)
    vocabulary = _read(directory, VOCABULARY, Vocabulary)
    check_vocabulary(VOCABULARY, vocabulary)
    body = Body("", tuple(items.values()), tuple(editions), purposes.purposes, purposes.not_financing, vocabulary)
    return _assemble(body, max(purposes.effective, *(edition.effective for edition in editions)).isoformat())


def _read(directory: Path, name: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode((directory / name).read_bytes(), type=kind)
    except OSError as error:
        raise CatalogueError(f"{name}: cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise CatalogueError(f"{name}: {error}") from None


def _assemble(body: Body, effective: str) -> Catalogue:
    version = f"{effective}+{sha256(msgspec.json.encode(body)).hexdigest()[:12]}"
    return Catalogue(
        version=version,
        items=MappingProxyType({item.code: item for item in body.items}),
        fields=MappingProxyType({field.code: field for item in body.items for field in item.fields}),
        field_codes=MappingProxyType({item.code: tuple(field.code for field in item.fields) for item in body.items}),
        purposes=MappingProxyType({purpose.code: purpose for purpose in body.purposes}),
        not_financing=MappingProxyType({word.code: word for word in body.not_financing}),
        lists=body.lists,
        vocabulary=body.vocabulary,
        body=msgspec.json.encode(msgspec.structs.replace(body, version=version)),
    )
