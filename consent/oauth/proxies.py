"""What a listed proxy says about the connection in front of it: the client's certificate and address.

A header counts only when the socket's other end is in the operator's list; from anybody else it is as if it were not there, so nobody
can claim a certificate by writing one (ASVS 5.0 4.1.3). Proxies must overwrite both headers (deploy/README.md).
"""

import binascii
import re
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, TypeAlias

from cryptography import x509

from consent.parties.certificates import certificate_thumbprint

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

CERTIFICATE_HEADER = b"client-cert"
FORWARDED_HEADER = b"x-forwarded-for"
MAX_HEADER = 12 * 1024
CACHED = 1024

_BYTE_SEQUENCE = re.compile(rb":([A-Za-z0-9+/]+={0,2}):")


class CertificateRefused(Exception):
    """The listed proxy sent something that is no certificate in force. The message is ours."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client's certificate; possession of its key was proven in the TLS handshake."""

    thumbprint: str
    not_before: datetime
    not_after: datetime


class Proxies:
    """The operator's list. None listed: no request has a certificate, and its address is the socket's."""

    def __init__(self, networks: Sequence[Network] = ()) -> None:
        self._networks = tuple(networks)
        self._certificates: OrderedDict[bytes, Certificate] = OrderedDict()

    @classmethod
    def parse(cls, text: str) -> "Proxies":
        """Addresses and networks (CIDR), separated by commas.

        Raises:
            ValueError: one of them is neither.
        """
        return cls([ip_network(part.strip()) for part in text.split(",") if part.strip()])

    def certificate(self, scope: Any, now: datetime) -> Certificate | None:
        """The client's certificate (RFC 9440 §2.1), None where no listed proxy names one.

        Raises:
            CertificateRefused: the header is malformed or stands twice, or the certificate is not in force.
        """
        if not self._networks:
            return None
        values = [value for name, value in scope["headers"] if name == CERTIFICATE_HEADER]
        if not values or not self._is_listed(_peer(scope)):
            return None
        if len(values) != 1 or len(values[0]) > MAX_HEADER:
            raise CertificateRefused("Exactly one Client-Cert header of at most 12 kB is taken.")
        certificate = self._certificates.get(values[0]) or self._parse(values[0])
        if not certificate.not_before <= now <= certificate.not_after:
            raise CertificateRefused("The client certificate is not in force.")
        return certificate

    def address(self, scope: Any) -> Address | None:
        """Whose connection it is: the socket's other end, or before a listed proxy the nearest address that is not listed itself."""
        peer = _peer(scope)
        if not self._is_listed(peer):
            return peer
        chain = b",".join(value for name, value in scope["headers"] if name == FORWARDED_HEADER)
        for part in reversed(chain.split(b",")):
            try:
                address = ip_address(part.strip().decode("ascii"))
            except ValueError:
                return peer
            if not self._is_listed(address):
                return address
        return peer

    def _is_listed(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)

    def _parse(self, value: bytes) -> Certificate:
        match = _BYTE_SEQUENCE.fullmatch(value.strip())
        try:
            der = b64decode(match[1], validate=True) if match else b""
            parsed = x509.load_der_x509_certificate(der)
        except (binascii.Error, ValueError):
            raise CertificateRefused("The Client-Cert header is a certificate as in RFC 9440.") from None
        certificate = Certificate(certificate_thumbprint(der), parsed.not_valid_before_utc, parsed.not_valid_after_utc)
        self._certificates[value] = certificate
        if len(self._certificates) > CACHED:
            self._certificates.popitem(last=False)
        return certificate


def _peer(scope: Any) -> Address | None:
    """The socket's other end; None on a Unix socket."""
    client = scope.get("client")
    try:
        address = ip_address(client[0]) if client else None
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
