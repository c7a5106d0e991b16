"""The policies as one unit: Rego modules, data, and the revision that names exactly these bytes.

The directory is the tree's `policies/`, or `consent/policies/` inside an installed wheel. Loading only reshapes and checks; it judges
nothing. Whatever is unknown, doubled or contradictory refuses to load with its place named, because a policy that was half read could
permit what nobody meant to permit.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from consent.catalogue.model import Catalogue
from consent.decisions import matrix

_ROOT = Path(__file__).resolve().parents[1]
REVISION_LENGTH = 16


class BundleError(Exception):
    """The policies cannot be used as they are; the message names file and place. The operator must act."""


@dataclass(frozen=True)
class Bundle:
    """What an engine evaluates.

    revision  first 16 hex digits of SHA-256 over `blob()`
    modules   file name, with / as separator and relative to the policies' directory, to Rego text; tests are left out
    data      the document below `data`, without the revision
    """

    revision: str
    modules: dict[str, str] = field(repr=False)
    data: dict[str, Any] = field(repr=False)

    def blob(self) -> bytes:
        """Canonical JSON of everything that decides, for the ledger: who has it can decide every recorded case again."""
        return _blob(self.modules, self.data)

    def document(self) -> bytes:
        """The JSON document that an engine finds below `data`, the revision in it."""
        return _canonical({**self.data, "consent": {**self.data["consent"], "revision": self.revision}})

    def write(self, directory: Path) -> None:
        """Write the bundle for `opa run --server --bundle DIRECTORY`.

        Raises:
            BundleError: the directory holds something already.
        """
        if directory.exists() and any(directory.iterdir()):
            raise BundleError(f"{directory}: not empty")
        for name, text in self.modules.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        (directory / "data.json").write_bytes(self.document())
        manifest = {"revision": self.revision, "roots": ["consent"], "rego_version": 1}
        (directory / ".manifest").write_bytes(_canonical(manifest))


def default_directory() -> Path:
    """Where the policies stand: in the installed package, or beside it in the tree."""
    packaged = _ROOT / "policies"
    return packaged if packaged.is_dir() else _ROOT.parent / "policies"


def load_bundle(catalogue: Catalogue, directory: Path | None = None) -> Bundle:
    """Read, check and name the policies in `directory` for `catalogue`.

    Raises:
        BundleError: a file is missing, malformed, or says something that the catalogue does not know.
    """
    directory = directory or default_directory()
    paths = sorted(path for path in directory.rglob("*.rego") if not path.name.endswith("_test.rego"))
    if not paths:
        raise BundleError(f"{directory}: no policies")
    modules = {path.relative_to(directory).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    try:
        data = matrix.load(directory / "data", catalogue)
    except matrix.DataError as error:
        raise BundleError(str(error)) from None
    revision = hashlib.sha256(_blob(modules, data)).hexdigest()[:REVISION_LENGTH]
    return Bundle(revision, modules, data)


def write_bundle(catalogue: Catalogue, target: Path, directory: Path | None = None) -> Bundle:
    """`load_bundle`, then write it to `target` for an OPA server.

    Raises:
        BundleError: see `load_bundle` and `Bundle.write`.
    """
    bundle = load_bundle(catalogue, directory)
    bundle.write(target)
    return bundle


def _blob(modules: dict[str, str], data: dict[str, Any]) -> bytes:
    return _canonical({"data": data, "modules": modules})


def _canonical(value: object) -> bytes:
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
