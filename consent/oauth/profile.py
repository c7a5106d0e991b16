"""What an operator may choose of the profile. The defaults are the strictest that every certified client library speaks."""

from dataclasses import dataclass, field
from datetime import date

from consent.oauth.assertion import UNTYPED_UNTIL
from consent.oauth.proxies import Proxies


@dataclass(frozen=True, slots=True)
class Profile:
    """Choices of one deployment.

    untyped_until  last day (UTC) on which client assertions may have no type of their own (RFC 10070 §4)
    dpop_nonce     whether a DPoP proof must carry a nonce of this server (RFC 9449 §8)
    proxies        who may say what the client's certificate and address are
    """

    untyped_until: date = UNTYPED_UNTIL
    dpop_nonce: bool = False
    proxies: Proxies = field(default_factory=Proxies)
