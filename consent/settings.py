"""What an operator sets, read once from the environment. Secrets have no default.

Every variable is CONSENT_ and the field's name in capitals.
"""

import os
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec


class SettingsError(Exception):
    """The environment does not make a valid configuration; the message names the variable and what it needs."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of one process.

    database_url      postgresql+asyncpg://… of the application role (select and insert only on the ledger)
    issuer            https URL without query, fragment or trailing slash; http only on loopback. RFC 8414 §2
    ledger_origin     name of the log and of its key, the schema-less URL prefix of /ledger (C2SP tlog-checkpoint)
    ledger_key_file   file with the log's Ed25519 private key (PRIVATE+KEY+…), mode 0600; or instead of it
    ledger_key_command, ledger_vkey
                      a command that signs what it reads, and the public half of its key (consent.ledger.keys)
    ledger_next_key_file, or ledger_next_key_command, ledger_next_vkey
                      the key that a rotation makes valid
    head_store        directory that keeps the newest signed head outside the database, on another disk or host
    witness_policy    file in tlog-policy form: which witnesses cosign, where they are, how many must
    opa_url           base URL of OPA; None runs the policies in-process, for trials only
    opa_token         bearer token for OPA
    policy_keys_file  public keys (PEM) whose signature on a policy bundle counts
    policy_bundle     signed bundle with which an empty ledger begins; None: the installed policies, unsigned
    catalogue_extensions  directory of regional lists that are added to the installed catalogue
    trusted_proxies   addresses and networks (CIDR, comma-separated) whose Client-Cert and X-Forwarded-For headers count
    rate_per_address  requests per second that each process takes from one address at the OAuth endpoints and sign-in; 0: no limit
    rate_per_client   the same for one client everywhere
    dpop_nonce        required: DPoP proofs must carry a nonce of this server
    untyped_assertions_until
                      last day (UTC) on which client assertions may have no type of their own (RFC 10070 §4)
    """

    database_url: str
    issuer: str
    ledger_key_file: Path | None = None
    ledger_key_command: str | None = None
    ledger_vkey: str | None = None
    ledger_next_key_file: Path | None = None
    ledger_next_key_command: str | None = None
    ledger_next_vkey: str | None = None
    head_store: Path | None = None
    witness_policy: Path | None = None
    ledger_origin: str = ""
    opa_url: str | None = None
    opa_token: str | None = None
    policy_keys_file: Path | None = None
    policy_bundle: Path | None = None
    catalogue_extensions: Path | None = None
    trusted_proxies: str = ""
    rate_per_address: Annotated[int, msgspec.Meta(ge=0)] = 100
    rate_per_client: Annotated[int, msgspec.Meta(ge=0)] = 2000
    dpop_nonce: Literal["off", "required"] = "off"
    untyped_assertions_until: date = date(2027, 12, 31)

    @classmethod
    def from_environment(cls) -> Self:
        """Read CONSENT_* variables.

        Raises:
            SettingsError: a required variable is missing or malformed.
        """
        values: dict[str, str] = {}
        for field in msgspec.structs.fields(cls):
            value = os.environ.get(f"CONSENT_{field.name.upper()}")
            if value:
                values[field.name] = value
        missing = [f"CONSENT_{f.name.upper()}" for f in msgspec.structs.fields(cls) if f.required and f.name not in values]
        if missing:
            raise SettingsError(f"set {', '.join(missing)}; deploy/README.md says what each is")
        try:
            return msgspec.convert(values, cls, strict=False, dec_hook=_decode).checked()
        except msgspec.ValidationError as error:
            raise SettingsError(f"CONSENT_ environment: {error}") from None

    def checked(self) -> Self:
        """Self with `ledger_origin` filled in from the issuer.

        Raises:
            SettingsError: the issuer or the database URL is not usable.
        """
        scheme, _, rest = self.issuer.partition("://")
        loopback = rest.split("/")[0].rsplit(":", 1)[0] in {"127.0.0.1", "localhost", "[::1]"}
        if (scheme != "https" and not (scheme == "http" and loopback)) or not rest or self.issuer.endswith("/") or set("?# ") & set(rest):
            raise SettingsError("CONSENT_ISSUER must be an https URL without trailing slash, query or fragment (http only on loopback)")
        if not self.database_url.startswith("postgresql+asyncpg://"):
            raise SettingsError("CONSENT_DATABASE_URL must start with postgresql+asyncpg://")
        if (self.ledger_key_file is None) == (self.ledger_key_command is None):
            raise SettingsError(
                "set CONSENT_LEDGER_KEY_FILE, or CONSENT_LEDGER_KEY_COMMAND and CONSENT_LEDGER_VKEY; deploy/README.md says how"
            )
        try:
            for part in self.trusted_proxies.split(","):
                ip_network(part.strip() or "::1")
        except ValueError:
            raise SettingsError("CONSENT_TRUSTED_PROXIES lists addresses and networks (CIDR), separated by commas") from None
        return msgspec.structs.replace(self, ledger_origin=self.ledger_origin or f"{rest}/ledger")


def _decode(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError
