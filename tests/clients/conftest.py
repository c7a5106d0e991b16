"""The service as it runs, with and without nonces, for clients that others wrote."""

from collections.abc import Iterator

import pytest
from service_world import Service, cloned_database, running_service


@pytest.fixture(scope="session", params=["plain", "nonce"])
def service(request: pytest.FixtureRequest, server_urls: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The whole application on a database of its own; once more with DPoP nonces demanded."""
    folder = tmp_path_factory.mktemp("service")
    extra = {"CONSENT_DPOP_NONCE": "required"} if request.param == "nonce" else {}
    with cloned_database(*server_urls) as (owner_url, app_url), running_service(app_url, owner_url, folder, extra) as made:
        yield made
