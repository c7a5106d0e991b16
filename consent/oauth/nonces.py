"""Nonces for DPoP proofs (RFC 9449 §8): a window of time under a key that all processes share, so none of them remembers any.

A nonce bounds how long before its use a proof can have been made, whatever the client's clock says.
"""

import hmac
import secrets

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.oauth.jose import b64url_encode
from consent.oauth.store import alone

WINDOW_SECONDS = 150
"""A nonce is taken in its window and in the next one: between two and a half and five minutes."""

_NAME = "dpop_nonce"
_INSERT = text("insert into server_secret (name, value) values (:name, :value) on conflict do nothing")
_SELECT = text("select value from server_secret where name = :name")


class Nonces:
    """The nonces of one deployment. The key is made by whichever process comes first."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._key: bytes | None = None

    async def load(self) -> None:
        """Read the shared key, once per process; before anything else here.

        Raises:
            DatabaseUnavailable: nothing is known; refuse.
        """
        if self._key is None:
            async with alone(self._engine) as connection:
                await connection.execute(_INSERT, {"name": _NAME, "value": secrets.token_bytes(32)})
                self._key = bytes((await connection.execute(_SELECT, {"name": _NAME})).scalar_one())

    def current(self, seconds: float) -> str:
        """The nonce to give out now."""
        return self._of(int(seconds) // WINDOW_SECONDS)

    def is_current(self, nonce: object, seconds: float) -> bool:
        """Whether a proof with this nonce was made lately."""
        window = int(seconds) // WINDOW_SECONDS
        if not isinstance(nonce, str) or not nonce.isascii():
            return False
        return any([hmac.compare_digest(nonce, self._of(window)), hmac.compare_digest(nonce, self._of(window - 1))])

    def _of(self, window: int) -> str:
        if self._key is None:
            raise RuntimeError("load() comes first")
        return b64url_encode(hmac.digest(self._key, window.to_bytes(8), "sha256")[:24])
