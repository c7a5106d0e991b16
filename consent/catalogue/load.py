"""Reading the catalogue. It is complete and sound, or there is none: nothing is skipped, nothing is repaired."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import msgspec

from consent.catalogue.extension import Extension
from consent.catalogue.model import Catalogue, CatalogueError, Edition, Item, Region, Vocabulary
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


def load_from(directory: Path = DATA, extensions: Sequence[Extension] = ()) -> Catalogue:
    """Read and check the catalogue in `directory`, and add the items of regional lists.

    Raises:
        CatalogueError: a file is missing or malformed, or breaks a rule; names the file and the place.
    """
    editions: list[Edition] = []
    items: dict[str, Item] = {}
    for name in LISTS:
        file = _read(directory, name, ListFile)
        check_list(name, file)
        _add(editions, items, name, file)
    for extension in extensions:
        _add(editions, items, extension.name, extension.items, extension.region)
    purposes = _read(directory, PURPOSES, PurposesFile)
    check_purposes(PURPOSES, purposes)
    vocabulary = _read(directory, VOCABULARY, Vocabulary)
    check_vocabulary(VOCABULARY, vocabulary)
    body = Body("", tuple(items.values()), tuple(editions), purposes.purposes, purposes.not_financing, vocabulary)
    return _assemble(body, max(purposes.effective, *(edition.effective for edition in editions)).isoformat())


def read_body(body: bytes) -> Catalogue:
    """The catalogue whose `to_json` this is; what was checked when it was built is not checked again.

    Raises:
        CatalogueError: it is none, or its content is not what its version names.
    """
    try:
        read = msgspec.json.decode(body, type=Body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CatalogueError(f"catalogue: {error}") from None
    catalogue = _assemble(msgspec.structs.replace(read, version=""), read.version.partition("+")[0])
    if catalogue.version != read.version:
        raise CatalogueError(f"catalogue: its content is {catalogue.version}, which it does not say")
    return catalogue


def _add(editions: list[Edition], items: dict[str, Item], name: str, file: ListFile, region: Region | None = None) -> None:
    categories = {entry.number: entry.category() for entry in file.categories}
    for entry in file.items:
        if entry.code in items:
            raise CatalogueError(f"{name}: {entry.code}: stands in another list too")
        items[entry.code] = entry.item(file.list, categories[entry.category])
    if file.list in [edition.list for edition in editions]:
        raise CatalogueError(f"{name}: list: {file.list} is the name of another list too")
    editions.append(Edition(file.list, file.title, file.effective, region))


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
