"""A client's TLS certificates: what registration accepts (RFC 8705 §2.2, self-signed or of any authority)."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from consent.errors import InvalidRequest

MAX_CERTIFICATES = 8
MAX_PEM = 16 * 1024


def certificate_thumbprint(der: bytes) -> str:
    """`x5t#S256`: base64url of the SHA-256 of a certificate's DER (RFC 8705 §3.1)."""
    return urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode("ascii")


def check_certificates(pems: Iterable[str]) -> tuple[str, ...]:
    """The thumbprints of these certificates, sorted.

    Args:
        pems: one certificate each, PEM.

    Raises:
        InvalidRequest: `certificate.invalid`: not one certificate each, more than 8, one twice, or a key that FAPI 2.0 finds too weak
            (RSA under 2048 bits, EC under 224).
    """
    pems = tuple(pems)
    thumbprints = {_thumbprint(pem) for pem in pems}
    if not 1 <= len(pems) <= MAX_CERTIFICATES or len(thumbprints) != len(pems):
        raise _invalid("one to eight certificates, each once")
    return tuple(sorted(thumbprints))


def _thumbprint(pem: str) -> str:
    if len(pem) > MAX_PEM or "PRIVATE KEY" in pem:
        raise _invalid("a certificate alone, without its private key")
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode("ascii"))
        key = certificates[0].public_key()
    except Exception:  # noqa: BLE001 - the parser has many ways to say that this is no certificate
        raise _invalid("certificates in PEM") from None
    if len(certificates) != 1:
        raise _invalid("one certificate each, without its chain")
    strong = (
        (isinstance(key, RSAPublicKey) and key.key_size >= 2048)
        or (isinstance(key, EllipticCurvePublicKey) and key.key_size >= 224)
        or isinstance(key, Ed25519PublicKey)
    )
    if not strong:
        raise _invalid("RSA of 2048 bits, an elliptic curve of 224, or Ed25519")
    return certificate_thumbprint(certificates[0].public_bytes(Encoding.DER))


def _invalid(rule: str) -> InvalidRequest:
    return InvalidRequest(
        "客户端证书不符合要求。", f"The certificates are refused. Needed: {rule}.", code="certificate.invalid", member="certificates"
    )
