"""Terminals of a client: which numbered device may ask from which network (银税合作 5.5.3.2 b). No I/O.

Whether a request came from a registered one is a fact for the policies, which deny a mismatch and have it recorded; nothing is refused
here. Hardware addresses and ports stay with the network's own equipment: they do not reach an application.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from consent.errors import InvalidRequest

Address: TypeAlias = IPv4Address | IPv6Address
Standing = Literal["match", "mismatch", "unregistered"]

MAX_TERMINALS = 64
MAX_NETWORKS = 16


class Terminal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One device. `networks`: addresses or CIDR networks from which it may ask, at least one."""

    id: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z")]
    networks: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MAX_NETWORKS)]


def check_terminals(values: Iterable[Terminal]) -> tuple[Terminal, ...]:
    """The terminals as they are registered, networks in their canonical spelling.

    Raises:
        InvalidRequest: `terminal.invalid`: more than 64, one id twice, or what is no address and no network.
    """
    values = tuple(values)
    try:
        checked = tuple(msgspec.structs.replace(one, networks=tuple(str(ip_network(n)) for n in one.networks)) for one in values)
    except ValueError:
        raise _invalid("addresses, or networks like 192.0.2.0/24 without host bits") from None
    if len(checked) > MAX_TERMINALS or len({one.id for one in checked}) != len(checked):
        raise _invalid("at most 64 terminals, each id once")
    return checked


def standing(terminals: Sequence[Terminal], terminal_id: str | None, address: Address | None) -> Standing:
    """Whether this terminal asks from where it is registered; `unregistered` where the client has no terminals."""
    if not terminals:
        return "unregistered"
    named = next((one for one in terminals if one.id == terminal_id), None)
    if named is None or address is None:
        return "mismatch"
    return "match" if any(address in ip_network(network) for network in named.networks) else "mismatch"


def _invalid(rule: str) -> InvalidRequest:
    return InvalidRequest(
        "终端登记不符合要求。", f"The terminals are refused. Needed: {rule}.", code="terminal.invalid", member="terminals"
    )
