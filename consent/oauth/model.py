"""Values of the authorization server. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from consent.decisions.requests import Allowed, Judgement
from consent.grants.model import Detail
from consent.grants.renewal import Renewal

REQUEST_URI_PREFIX = "urn:ietf:params:oauth:request_uri:"
REQUEST_URI_SECONDS = 590
"""FAPI 2.0 Security Profile §5.3.2.2: less than 600 seconds. Long, because a person signs in and reads before the page is asked for."""
FINISH_SECONDS = 1200
"""How long after that a page which was opened in time may still be decided on."""
CODE_SECONDS = 60
"""FAPI 2.0 Security Profile §5.3.2.1."""
TOKEN_SECONDS = 900


def token_type(cnf: Mapping[str, str]) -> str:
    """How a token with this confirmation is presented (RFC 9449 §5, RFC 8705 §3)."""
    return "DPoP" if "jkt" in cnf else "Bearer"


class RequestJudge(Protocol):
    """Whoever asks the policies whether a request stays within what its purpose needs."""

    async def judge(self, institution_id: str, details: Sequence[Detail], allowed: Allowed) -> Judgement:
        """A verdict for each detail; all have an identifier.

        Raises:
            PolicyUnavailable: nothing was decided.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedRequest:
    """A request that was pushed and judged, and that nobody has decided on yet.

    hash        SHA-256 of the request_uri's secret
    id          as in the ledger's grant.requested
    products    names (zh, en) of the institution's products by code
    details     canonical, identifier and fields always there, exactly as judged
    login_hint  the 统一社会信用代码 of the only enterprise that may answer
    renewal     how the consent changes the grant `grant_id`; both None for a new grant
    """

    hash: bytes
    id: str
    client_id: str
    client_name: str
    institution_id: str
    institution_kind: str
    institution_zh: str
    institution_en: str
    products: Mapping[str, tuple[str, str]]
    details: tuple[Detail, ...]
    redirect_uri: str
    state: str | None
    code_challenge: str
    dpop_jkt: str | None
    login_hint: str | None
    renewal: Renewal | None
    grant_id: str | None
    created_at: datetime
    expires_at: datetime
