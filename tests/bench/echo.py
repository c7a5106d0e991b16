"""The baseline: a Litestar route that echoes the JSON it gets, on the server and with the settings of `consent serve`."""

import sys
from typing import Any

from granian.server import Server
from litestar import Litestar, get, post

import consent.serve


@post("/access/v1/evaluation", status_code=200)
async def echo(data: dict[str, Any]) -> dict[str, Any]:
    """The same JSON, read and written."""
    return data


@get("/healthz", sync_to_thread=False)
def healthz() -> str:
    """The process answers."""
    return "ok"


def create_app() -> Litestar:
    """Nothing but the route."""
    return Litestar([echo, healthz], openapi_config=None)


def main() -> None:
    """Serve until standard input closes. Only the application differs from the service's: its settings are used as they stand."""
    consent.serve.stop_when_stdin_closes()
    consent.serve.Server = lambda _, **settings: Server("tests.bench.echo:create_app", **settings)  # type: ignore[assignment]
    consent.serve.serve_http("127.0.0.1", int(sys.argv[1]), 1)


if __name__ == "__main__":
    main()
