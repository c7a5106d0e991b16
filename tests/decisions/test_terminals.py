"""Terminals and networks of a client (银税合作 5.5.3.2 b): a mismatch is a recorded denial, never a refusal before the policies."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
import pytest
from decisions_world import BANK, World, ask, request
from hypothesis import given
from hypothesis import strategies as st
from sample_parties import public_jwks

from consent.decisions import schema
from consent.decisions.service import DecisionService
from consent.errors import InvalidRequest
from consent.ledger.writer import write
from consent.parties import service as parties
from consent.parties import store
from consent.parties.terminals import Terminal, check_terminals, standing

TERMINALS = (Terminal("T-01", ("192.0.2.0/28", "2001:db8::/48")), Terminal("T-02", ("198.51.100.7",)))


@pytest.mark.parametrize(
    ("terminal_id", "address", "expected"),
    [
        ("T-01", "192.0.2.3", "match"),
        ("T-01", "2001:db8::5", "match"),
        ("T-02", "198.51.100.7", "match"),
        ("T-02", "192.0.2.3", "mismatch"),
        ("T-01", "192.0.2.16", "mismatch"),
        ("T-03", "192.0.2.3", "mismatch"),
        ("t-01", "192.0.2.3", "mismatch"),
        (None, "192.0.2.3", "mismatch"),
        ("T-01", None, "mismatch"),
    ],
    ids=range(9),
)
def test_standing(terminal_id: str | None, address: str | None, expected: str) -> None:
    """Number and network must both be those of one terminal."""
    place = None if address is None else ip_address(address)
    assert standing(TERMINALS, terminal_id, place) == expected
    assert standing((), terminal_id, place) == "unregistered"


@given(st.ip_addresses(), st.sampled_from(["T-01", "T-02", "T-03", None]))
def test_matches_only_what_is_registered(address: Any, terminal_id: str | None) -> None:
    """Whatever the address, a match lies in a network of the very terminal."""
    named = [one for one in TERMINALS if one.id == terminal_id]
    inside = any(address in ip_network(network) for one in named for network in one.networks)
    assert (standing(TERMINALS, terminal_id, address) == "match") == inside


def test_registration() -> None:
    """Canonical networks; no host bits, no names, no repeated id, not too many."""
    assert check_terminals([Terminal("a", ("192.0.2.1",))])[0].networks == ("192.0.2.1/32",)
    for bad in ([Terminal("a", ("192.0.2.1/24",))], [Terminal("a", ("bank.example",))], [Terminal("a", ("*",))],
                [Terminal("a", ("192.0.2.1",)), Terminal("a", ("192.0.2.2",))],
                [Terminal(f"t{n}", ("192.0.2.1",)) for n in range(65)]):  # fmt: skip
        with pytest.raises(InvalidRequest, match="terminals are refused"):
            check_terminals(bad)


async def test_mismatch_is_denied_and_recorded(world: World, service: DecisionService) -> None:
    """The same client from the wrong place gets a denial with its code; from the right one its permit."""
    await world.grant("N21-03-04")
    at = replace(BANK, terminals=TERMINALS, address=ip_address("192.0.2.3"))
    elsewhere = replace(at, address=ip_address("203.0.113.1"))

    async def asked(who: Any, terminal_id: str | None) -> dict[str, Any]:
        body = request(world.enterprise)
        if terminal_id is not None:
            body["context"] = body.get("context", {}) | {"terminal_id": terminal_id}
        evaluation = msgspec.convert(body, schema.Evaluation)
        return dict(msgspec.json.decode(await service.check(who, evaluation)))

    assert (await asked(at, "T-01"))["decision"] is True
    for who, terminal_id in ((elsewhere, "T-01"), (at, "T-02"), (at, None)):
        reply = await asked(who, terminal_id)
        assert reply["decision"] is False
        assert reply["context"]["codes"] == ["institution.terminal_mismatch"]
    recorded = await world.records("access.decided")
    assert [one.data["told"]["terminal"] for one in recorded] == ["match", "mismatch", "mismatch", "mismatch"]
    assert "192.0.2" not in str(recorded)
    assert (await ask(service, BANK, world.enterprise))["decision"] is True  # a client without terminals is not asked for any


async def test_registered_and_changed(world: World) -> None:
    """Stored as registered; a change replaces them and ends the client's tokens."""
    async with write(world.engine) as tx:
        await parties.change_client(tx, BANK.client_id, jwks=public_jwks("bank-a"), terminals=TERMINALS)
        client = await store.client(tx.connection, BANK.client_id)
        assert client is not None
        assert [one.id for one in client.terminals] == ["T-01", "T-02"]
