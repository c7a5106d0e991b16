"""Self-signed certificates of nobody."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def certificate(*, days: int = 365, key: Any = None, address: str | None = None) -> x509.Certificate:
    """One for this key, or for one that nobody keeps; over already where `days` is negative."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    if address is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
    start, end = sorted((now - timedelta(minutes=5), now + timedelta(days=days)))
    return builder.not_valid_before(start).not_valid_after(end).sign(key, hashes.SHA256())


def pem(value: x509.Certificate) -> str:
    """As registration takes it."""
    return value.public_bytes(Encoding.PEM).decode()


def certificate_files(folder: Path, name: str, address: str) -> None:
    """`name`.crt and `name`.key."""
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / f"{name}.crt").write_text(pem(certificate(key=key, address=address)))
    (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
