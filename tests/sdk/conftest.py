"""The SDK before the real service, once per run and worker; and before a peer that lies."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sdk_world import AnyClient, Driven, LyingPeer
from service_world import Service, cloned_database, running_service

from consent.demo.sample import new_key
from consent_sdk import AsyncConsentClient, ConsentClient

Make = Callable[..., AnyClient]


@pytest.fixture(scope="session")
def service(server_urls: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The whole application on a database of its own."""
    folder = tmp_path_factory.mktemp("service")
    with cloned_database(*server_urls) as (owner_url, app_url), running_service(app_url, owner_url, folder) as made:
        yield made


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes clients of either kind; both answer alike, so one scenario tests both."""
    made: list[AnyClient] = []

    def client(*args: Any, **options: Any) -> AnyClient:
        one: AnyClient = ConsentClient(*args, **options) if request.param == "sync" else Driven(AsyncConsentClient, *args, **options)
        made.append(one)
        return one

    yield client
    for one in made:
        one.close()
        if isinstance(one, Driven):
            one.stop()


@pytest.fixture
def bank(make: Make, service: Service) -> AnyClient:
    """The sample bank's client."""
    who = service.facts.bank
    return make(service.issuer, who.client_id, who.private_jwk, institution_id=who.institution_id, redirect_uri=who.redirect_uri)


@pytest.fixture
def second_bank(make: Make, service: Service) -> AnyClient:
    """Another bank's client."""
    who = service.facts.second_bank
    return make(service.issuer, who.client_id, who.private_jwk, institution_id=who.institution_id, redirect_uri=who.redirect_uri)


@pytest.fixture
def platform(make: Make, service: Service) -> AnyClient:
    """The data platform's client."""
    who = service.facts.platform
    return make(service.issuer, who.client_id, who.private_jwk, institution_id=who.institution_id)


@pytest.fixture
def peer() -> Iterator[LyingPeer]:
    """A peer that answers like a service until told to lie."""
    with LyingPeer() as made:
        yield made


@pytest.fixture
def fooled(make: Make, peer: LyingPeer) -> AnyClient:
    """A bank's client before the lying peer."""
    return make(peer.url, "bank-client", new_key(), institution_id="bank", redirect_uri="https://bank.example/cb", timeout=1.0)
