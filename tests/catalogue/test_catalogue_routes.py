"""`GET /catalogue`: the same bytes for all, revalidated by entity tag."""

from collections.abc import AsyncIterator

import pytest
from litestar import Litestar
from litestar.di import Provide
from litestar.testing import AsyncTestClient

from consent.catalogue.load import load
from consent.catalogue.routes import handlers


@pytest.fixture
async def client() -> AsyncIterator[AsyncTestClient[Litestar]]:
    app = Litestar(handlers, dependencies={"catalogue": Provide(load, sync_to_thread=False)})
    async with AsyncTestClient(app) as client:
        yield client


async def test_body_is_the_catalogue(client):
    """Anybody gets what the command line prints, byte for byte."""
    answer = await client.get("/catalogue")
    assert answer.status_code == 200
    assert answer.content == load().to_json()
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["etag"] == f'"{load().version}"'
    assert "public" in answer.headers["cache-control"]


@pytest.mark.parametrize("held", ["{etag}", "W/{etag}", '"older", {etag}', "*"])
async def test_held_version_is_not_sent_again(client, held):
    """A caller that holds this version gets 304 with the tag and no body."""
    etag = f'"{load().version}"'
    answer = await client.get("/catalogue", headers={"if-none-match": held.format(etag=etag)})
    assert answer.status_code == 304
    assert answer.content == b""
    assert answer.headers["etag"] == etag


@pytest.mark.parametrize("held", ['"older"', "", "{version}", '"{version}x"'])
async def test_other_version_is_sent(client, held):
    """A caller that holds anything else gets the catalogue."""
    answer = await client.get("/catalogue", headers={"if-none-match": held.format(version=load().version)})
    assert answer.status_code == 200
    assert answer.content == load().to_json()


async def test_nothing_can_be_written(client):
    """The catalogue changes by a release, never by a request."""
    answer = await client.post("/catalogue", content=b"{}")
    assert answer.status_code == 405


async def test_it_is_documented(client):
    """OpenAPI shows the route, and the injected catalogue is not a parameter."""
    document = (await client.get("/schema/openapi.json")).json()
    assert not document["paths"]["/catalogue"]["get"].get("parameters")
