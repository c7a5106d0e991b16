"""How often one client or one address may ask: token buckets in each process, so that no request pays a round trip for them.

A bucket fills at a steady rate up to five seconds' worth. Several processes let through as much each; the limits stop one caller from
taking what is there for all, and are no quota to bill by.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address
from math import ceil
from typing import Any

from consent.errors import TooManyRequests
from consent.oauth.profile import Profile

BURST_SECONDS = 5
MAX_BUCKETS = 65_536
LOGIN_COST = 20
"""A sign-in costs what twenty requests cost, for its password hash is slow on purpose."""


class RateExceeded(TooManyRequests):
    """Come back when `Retry-After` says (RFC 6585 §4)."""

    code = "rate.exceeded"

    def __init__(self, seconds: int) -> None:
        super().__init__("请求过于频繁，请稍后再试。", "Too many requests; try again later.")
        self.headers = {"retry-after": str(seconds)}


class Buckets:
    """Token buckets by key. At most `MAX_BUCKETS`; the one that was used least recently makes room, which at worst fills it."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, cost: float = 1) -> None:
        """Take `cost` tokens.

        Raises:
            RateExceeded: there are not enough; none were taken.
        """
        now, full = self._clock(), self._rate * BURST_SECONDS
        left, since = self._buckets.pop(key, (full, now))
        left = min(full, left + (now - since) * self._rate)
        self._buckets[key] = (left - cost if left >= cost else left, now)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        if left < cost:
            raise RateExceeded(max(1, ceil((cost - left) / self._rate)))


class Limits:
    """The limits of one process, by the operator's rates (requests per second; 0: no limit)."""

    def __init__(self, profile: Profile) -> None:
        self._proxies = profile.proxies
        self._addresses = Buckets(profile.rate_per_address) if profile.rate_per_address else None
        self._clients = Buckets(profile.rate_per_client) if profile.rate_per_client else None

    def check_address(self, scope: Any, cost: float = 1) -> None:
        """Before anything is known of the caller. An IPv6 network of 64 bits is one address, for one caller has as many as it wants.

        Raises:
            RateExceeded: too often.
        """
        if self._addresses is None:
            return
        address = self._proxies.address(scope)
        if isinstance(address, IPv6Address):
            self._addresses.take(str(int(address) >> 64), cost)
        else:
            self._addresses.take(str(address), cost)

    def check_client(self, client_id: str) -> None:
        """Once the caller is proven.

        Raises:
            RateExceeded: too often.
        """
        if self._clients is not None:
            self._clients.take(client_id)
