"""Signatures of policy bundles, in OPA's own form: `.signatures.json` with one JWT over the digest of every file.

OPA checks the same signature when it loads the bundle (openpolicyagent.org, "Signing"). ES256 only. A key's id is its RFC 7638 thumbprint;
it stands in the ledger. Private keys never stand in the tree or in a bundle; who holds one can propose policies, but not put them in force.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

SIGNATURES = ".signatures.json"
SCOPE = "consent"
_ALGORITHM = "ES256"
_STRUCTURED = frozenset({"data.json", ".manifest"})
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)

PublicKeys = Mapping[str, ECKey]
"""Trusted keys by their id."""


class SignatureRefused(Exception):
    """The bundle is not signed by a trusted key, or not what was signed; or a key cannot be used. The message never holds a key."""


class _File(msgspec.Struct, frozen=True):
    name: str
    hash: str
    algorithm: str


class _Payload(msgspec.Struct, frozen=True):
    files: tuple[_File, ...]
    scope: str = ""


class _Signatures(msgspec.Struct, frozen=True):
    signatures: tuple[str, ...]


def generate_key(path: Path) -> str:
    """Make a signing key in `path` (mode 0600) and its public half beside it (`.pub`); returns the key's id.

    Raises:
        FileExistsError: a key is never overwritten.
    """
    key = ECKey.generate_key("P-256", private=True)
    for file, mode, pem in (
        (path, 0o600, key.as_pem(private=True)),
        (path.with_name(f"{path.name}.pub"), 0o644, key.as_pem(private=False)),
    ):
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
            out.write(pem)
            out.flush()
            os.fsync(out.fileno())
    return str(key.thumbprint())


def load_signing_key(path: Path) -> ECKey:
    """The private key in `path`.

    Raises:
        SignatureRefused: absent, readable for others, or not a private P-256 key.
    """
    try:
        mode, pem = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise SignatureRefused(f"{path}: cannot be read: {error.strerror}; make one with `consent policy keygen`") from None
    if mode & 0o077:
        raise SignatureRefused(f"{path}: may be read by others; chmod 600 it, and think about making a new key")
    key = _import(path, pem)
    if not key.is_private:
        raise SignatureRefused(f"{path}: a public key; the private one signs")
    return key


def load_public_keys(path: Path) -> PublicKeys:
    """The public keys in `path`, one PEM block each.

    Raises:
        SignatureRefused: absent, empty, or not public P-256 keys alone.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SignatureRefused(f"{path}: cannot be read ({type(error).__name__})") from None
    if "PRIVATE KEY" in text:
        raise SignatureRefused(f"{path}: holds a private key; the service needs the public one (.pub)")
    keys = [_import(path, block.encode()) for block in _PEM.findall(text)]
    if not keys:
        raise SignatureRefused(f"{path}: holds no public key in PEM")
    return {str(key.thumbprint()): key for key in keys}


def _import(path: Path, pem: bytes) -> ECKey:
    try:
        key = ECKey.import_key(pem)
    except (JoseError, ValueError, TypeError):
        raise SignatureRefused(f"{path}: not an elliptic curve key in PEM") from None
    if key.curve_name != "P-256":
        raise SignatureRefused(f"{path}: the curve is {key.curve_name}, not P-256")
    return key


def sign(files: Mapping[str, bytes], key: ECKey) -> bytes:
    """`.signatures.json` over `files`."""
    payload = {
        "files": [{"name": name, "hash": digest, "algorithm": "SHA-256"} for name, digest in _digests(files).items()],
        "scope": SCOPE,
    }
    header = {"alg": _ALGORITHM, "typ": "JWT", "kid": key.thumbprint()}
    token = jws.serialize_compact(header, json.dumps(payload, separators=(",", ":")).encode(), key, algorithms=[_ALGORITHM])
    return json.dumps({"signatures": [token]}).encode()


def verify(files: Mapping[str, bytes], keys: PublicKeys) -> str:
    """The id of the trusted key that signed exactly these files.

    Raises:
        SignatureRefused: no signature, another scope, none of the keys, or a file that was changed, added or taken away.
    """
    try:
        tokens = msgspec.json.decode(files[SIGNATURES], type=_Signatures).signatures
    except KeyError:
        raise SignatureRefused("the bundle is not signed") from None
    except msgspec.DecodeError:
        raise SignatureRefused(f"{SIGNATURES}: cannot be read") from None
    if len(tokens) != 1:
        raise SignatureRefused(f"{SIGNATURES}: holds {len(tokens)} signatures, not one")
    for key_id, key in keys.items():
        payload = _open(tokens[0], key)
        if payload is not None:
            _compare(payload, _digests(files))
            return key_id
    raise SignatureRefused("the bundle is not signed by one of the keys in CONSENT_POLICY_KEYS_FILE")


def _open(token: str, key: ECKey) -> _Payload | None:
    try:
        return msgspec.json.decode(jws.deserialize_compact(token, key, algorithms=[_ALGORITHM]).payload, type=_Payload)
    except (JoseError, ValueError, msgspec.MsgspecError):
        return None


def _compare(payload: _Payload, found: Mapping[str, str]) -> None:
    if payload.scope != SCOPE:
        raise SignatureRefused(f"the signature is for another scope than {SCOPE}")
    signed = {file.name: file.hash for file in payload.files}
    if any(file.algorithm != "SHA-256" for file in payload.files) or len(signed) != len(payload.files):
        raise SignatureRefused(f"{SIGNATURES}: another digest than SHA-256, or a file twice")
    for name in sorted(signed.keys() | found.keys()):
        if signed.get(name) != found.get(name):
            raise SignatureRefused(f"{name}: not as it was signed")


def _digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: _digest(name, body) for name, body in sorted(files.items()) if name != SIGNATURES}


def _digest(name: str, body: bytes) -> str:
    """OPA's digest: of a text's bytes, and of a data document's canonical JSON (opa/bundle/hash.go)."""
    if name.rpartition("/")[2] in _STRUCTURED:
        try:
            body = _canonical(json.loads(body))
        except (ValueError, RecursionError):
            raise SignatureRefused(f"{name}: not JSON") from None
    return hashlib.sha256(body).hexdigest()


def _canonical(document: object) -> bytes:
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    # Go writes these two escaped in any case.
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").encode()
