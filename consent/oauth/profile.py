"""What an operator may choose of the profile; every choice is within FAPI 2.0."""

from dataclasses import dataclass, field
from datetime import date
from typing import Self

from consent.oauth.proxies import Proxies
from consent.settings import Settings


@dataclass(frozen=True, slots=True)
class Profile:
    """Choices of one deployment (`consent.settings`).

    untyped_until  last day (UTC) on which client assertions may have no type of their own (RFC 10070 §4)
    dpop_nonce     whether a DPoP proof must carry a nonce of this server (RFC 9449 §8)
    proxies        who may say what the client's certificate and address are
    rate_per_address, rate_per_client
                   requests per second that a process takes (`consent.oauth.limits`); 0: no limit
    """

    untyped_until: date = date.max
    dpop_nonce: bool = False
    proxies: Proxies = field(default_factory=Proxies)
    rate_per_address: int = 0
    rate_per_client: int = 0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The profile that the settings choose."""
        return cls(
            untyped_until=settings.untyped_assertions_until,
            dpop_nonce=settings.dpop_nonce == "required",
            proxies=Proxies.parse(settings.trusted_proxies),
            rate_per_address=settings.rate_per_address,
            rate_per_client=settings.rate_per_client,
        )
