"""The policies as one unit: Rego modules, data, the catalogue and the texts of the codes, and the revision that names exactly these.

Built from the tree's `policies/`, or `consent/policies/` inside an installed wheel, or read from a bundle archive that an engine and the
ledger hold too. Loading only reshapes and checks; it judges nothing. Whatever is unknown, doubled or contradictory refuses to load with its
place named, because a policy that was half read could permit what nobody meant to permit.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from joserfc.jwk import ECKey

from consent.catalogue.extension import Extension
from consent.catalogue.load import read_body
from consent.catalogue.model import Catalogue, CatalogueError
from consent.decisions import matrix, signing
from consent.decisions.archive import ArchiveError, pack, unpack

_ROOT = Path(__file__).resolve().parents[1]
REVISION_LENGTH = 16
MEDIA_TYPE = "application/gzip"
INPUT_FORMAT = 2
"""Of what the policies are asked and answer. Raised when an older release's policies could no longer be asked by this one."""
_DATA, _MANIFEST = "data.json", ".manifest"
_CATALOGUE, _CODES = "catalogue.json", "codes.json"
_DOCUMENTS = frozenset({_CATALOGUE, _CODES})


class BundleError(Exception):
    """The policies cannot be used as they are; the message names file and place. The operator must act."""


@dataclass(frozen=True)
class Bundle:
    """What an engine evaluates, and what people need to read its answers.

    revision   first 16 hex digits of SHA-256 over all that follows
    modules    file name, with / as separator and relative to the policies' directory, to Rego text; tests are left out
    data       the document below `data`, without the revision
    documents  catalogue.json and codes.json as text: no engine reads them, but they change with the policies
    """

    revision: str
    modules: dict[str, str] = field(repr=False)
    data: dict[str, Any] = field(repr=False)
    documents: dict[str, str] = field(repr=False, default_factory=dict)

    def document(self) -> bytes:
        """The JSON document that an engine finds below `data`, the revision in it."""
        return _canonical({**self.data, "consent": {**self.data["consent"], "revision": self.revision}})

    def files(self) -> dict[str, bytes]:
        """The unsigned bundle, file by file."""
        manifest = {"revision": self.revision, "roots": ["consent"], "rego_version": 1, "metadata": {"input_format": INPUT_FORMAT}}
        texts = {name: text.encode() for name, text in (self.modules | self.documents).items()}
        return {**texts, _DATA: self.document(), _MANIFEST: _canonical(manifest)}

    def blob(self, key: ECKey | None = None) -> bytes:
        """The bundle as one archive, signed if there is a key: what OPA loads and the ledger keeps. Who has it can decide every recorded
        case again."""
        files = self.files()
        return pack(files if key is None else {**files, signing.SIGNATURES: signing.sign(files, key)})

    def write(self, directory: Path, key: ECKey | None = None) -> None:
        """Write the bundle for `opa run --server --bundle DIRECTORY`.

        Raises:
            BundleError: the directory holds something already.
        """
        if directory.exists() and any(directory.iterdir()):
            raise BundleError(f"{directory}: not empty")
        for name, body in unpack(self.blob(key)).items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    def catalogue(self) -> Catalogue:
        """The catalogue that the policies were built with.

        Raises:
            BundleError: the bundle has none, or another than its data names.
        """
        try:
            catalogue = read_body(self.documents[_CATALOGUE].encode())
        except KeyError:
            raise BundleError(f"{_CATALOGUE}: is missing") from None
        except CatalogueError as error:
            raise BundleError(f"{_CATALOGUE}: {error}") from None
        if catalogue.version != self.data["consent"]["catalogue"]["version"]:
            raise BundleError(f"{_CATALOGUE}: is {catalogue.version}, the policies' data is of another version")
        return catalogue

    def codes(self) -> frozenset[str]:
        """All codes that the policies may answer with.

        Raises:
            BundleError: the bundle does not say.
        """
        try:
            return frozenset(msgspec.json.decode(self.documents[_CODES], type=dict[str, Any]))
        except (KeyError, msgspec.DecodeError):
            raise BundleError(f"{_CODES}: is missing or malformed") from None


def default_directory() -> Path:
    """Where the policies stand: in the installed package, or beside it in the tree."""
    packaged = _ROOT / "policies"
    return packaged if packaged.is_dir() else _ROOT.parent / "policies"


def load_bundle(catalogue: Catalogue, directory: Path | None = None, extensions: tuple[Extension, ...] = ()) -> Bundle:
    """Read, check and name the policies in `directory` for `catalogue`, which has the items of `extensions` already.

    Raises:
        BundleError: a file is missing, malformed, or says something that the catalogue does not know.
    """
    directory = directory or default_directory()
    paths = sorted(path for path in directory.rglob("*.rego") if not path.name.endswith("_test.rego"))
    if not paths:
        raise BundleError(f"{directory}: no policies")
    modules = {path.relative_to(directory).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    try:
        data = matrix.load(directory / "data", catalogue, extensions)
        codes = (directory / "data" / _CODES).read_text(encoding="utf-8")
    except matrix.DataError as error:
        raise BundleError(str(error)) from None
    except OSError as error:
        raise BundleError(f"{_CODES}: cannot be read: {error.strerror}") from None
    documents = {_CATALOGUE: catalogue.to_json().decode(), _CODES: codes}
    return Bundle(_revision(modules, data, documents), modules, data, documents)


def write_bundle(catalogue: Catalogue, target: Path, directory: Path | None = None) -> Bundle:
    """`load_bundle`, then write it to `target` for an OPA server.

    Raises:
        BundleError: see `load_bundle` and `Bundle.write`.
    """
    bundle = load_bundle(catalogue, directory)
    bundle.write(target)
    return bundle


def read_bundle(body: bytes) -> Bundle:
    """The bundle in an archive of `Bundle.blob`. Who signed it is not looked at: for bytes that something else vouches for, as the ledger
    does for its blobs; otherwise `open_bundle`.

    Raises:
        BundleError: not a bundle of ours, or its content is not what its revision names.
    """
    try:
        return _assembled(unpack(body))
    except ArchiveError as error:
        raise BundleError(f"bundle: {error}") from None


def open_bundle(body: bytes, keys: signing.PublicKeys) -> tuple[Bundle, str]:
    """A signed bundle and the id of the trusted key that signed it.

    Raises:
        BundleError: as `read_bundle`; or the signature does not hold.
    """
    try:
        files = unpack(body)
        signed_by = signing.verify(files, keys)
    except ArchiveError as error:
        raise BundleError(f"bundle: {error}") from None
    except signing.SignatureRefused as error:
        raise BundleError(str(error)) from None
    return _assembled(files), signed_by


def _assembled(files: dict[str, bytes]) -> Bundle:
    manifest = _object(files, _MANIFEST)
    document = _object(files, _DATA)
    if (manifest.get("metadata") or {}).get("input_format") != INPUT_FORMAT:
        raise BundleError(f"{_MANIFEST}: made for another release: this one asks policies in format {INPUT_FORMAT}")
    own = document.get("consent")
    if document.keys() != {"consent"} or not isinstance(own, dict) or not isinstance(own.get("catalogue"), dict):
        raise BundleError(f"{_DATA}: not the data of these policies")
    if not isinstance(own.get("table"), dict) or not isinstance(own["catalogue"].get("items"), dict):
        raise BundleError(f"{_DATA}: without the joined data (table, catalogue.items) that checks are packed by")
    data = {"consent": {name: value for name, value in own.items() if name != "revision"}}
    try:
        modules = {name: body.decode() for name, body in files.items() if name.endswith(".rego")}
        documents = {name: body.decode() for name, body in files.items() if name in _DOCUMENTS}
    except UnicodeDecodeError:
        raise BundleError("bundle: a text that is not UTF-8") from None
    if strange := files.keys() - modules.keys() - documents.keys() - {_DATA, _MANIFEST, signing.SIGNATURES}:
        raise BundleError(f"{min(strange)}: does not belong into a bundle")
    revision = _revision(modules, data, documents)
    if {manifest.get("revision"), own.get("revision")} != {revision}:
        raise BundleError(f"bundle: its content is revision {revision}, which it does not say")
    return Bundle(revision, modules, data, documents)


def _object(files: dict[str, bytes], name: str) -> dict[str, Any]:
    try:
        document = json.loads(files[name])
    except KeyError:
        raise BundleError(f"{name}: is missing") from None
    except (ValueError, RecursionError):
        raise BundleError(f"{name}: not JSON") from None
    if not isinstance(document, dict):
        raise BundleError(f"{name}: not an object")
    return document


def _revision(modules: dict[str, str], data: dict[str, Any], documents: dict[str, str]) -> str:
    content = {"data": data, "documents": documents, "input_format": INPUT_FORMAT, "modules": modules}
    return hashlib.sha256(_canonical(content)).hexdigest()[:REVISION_LENGTH]


def _canonical(value: object) -> bytes:
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
