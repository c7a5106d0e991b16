"""Schemathesis over our own OpenAPI document: whatever fits it, or nearly, is answered, and never with a 5xx."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from service_world import Service, cloned_database, running_service

from consent_sdk.keys import ClientKey, ProofKey

pytestmark = [
    pytest.mark.xdist_group("openapi"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:jsonschema"),
]
WITHOUT_PATTERN = ("/ledger/tile",)
"""Paths whose one parameter is a path of its own, which the generator cannot make; tests/ledger has them."""


@pytest.fixture(scope="module")
def service(server_urls: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The whole application on a database of its own, without limits on rates."""
    unlimited = {"CONSENT_RATE_PER_ADDRESS": "0", "CONSENT_RATE_PER_CLIENT": "0"}
    folder = tmp_path_factory.mktemp("service")
    with cloned_database(*server_urls) as (owner_url, app_url), running_service(app_url, owner_url, folder, unlimited) as made:
        yield made


class Client:
    """A registered client that proves its key on whatever request is made up."""

    def __init__(self, service: Service, scope: str, platform: bool) -> None:
        who = service.facts.platform if platform else service.facts.bank
        self._issuer = service.issuer
        self._proof = ProofKey()
        url = f"{service.issuer}/oauth/token"
        form = {
            "grant_type": "client_credentials",
            "scope": scope,
            "client_id": who.client_id,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": ClientKey(who.private_jwk).assertion(who.client_id, service.issuer),
        }
        reply = httpx.post(url, data=form, headers={"dpop": self._proof.proof("POST", url)})
        self._token = str(reply.json()["access_token"])

    def headers(self, method: str, path: str) -> dict[str, str]:
        """Token and proof for one request."""
        proof = self._proof.proof(method.upper(), f"{self._issuer}{path}", access_token=self._token)
        return {"authorization": f"DPoP {self._token}", "dpop": proof}


@pytest.mark.parametrize("scope", [None, "check grants", "check:any"], ids=["anonymous", "bank", "platform"])
def test_no_server_error(service: Service, scope: str | None) -> None:
    """For anybody and for whoever is authenticated; each operation was really called."""
    client = None if scope is None else Client(service, scope, platform=scope == "check:any")
    called: dict[str, set[int]] = {}
    schema = schemathesis.openapi.from_url(f"{service.issuer}/schema/openapi.json")
    for result in schema.get_all_operations():
        operation = result.ok()
        if not operation.path.startswith(WITHOUT_PATTERN):
            _try(operation, service, client, called.setdefault(f"{operation.method} {operation.path}", set()))
    assert len(called) > 20
    assert not {name: codes for name, codes in called.items() if not codes or max(codes) >= 500}
    if client is not None:
        assert called["post /access/v1/evaluation"] != {401}


def _try(operation: Any, service: Service, client: Client | None, codes: set[int]) -> None:
    @settings(max_examples=15, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def send(case: Any) -> None:
        headers = {} if client is None else client.headers(case.method, case.formatted_path)
        codes.add(case.call(base_url=service.issuer, headers=headers).status_code)

    send()
