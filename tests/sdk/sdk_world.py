"""Both kinds of client behind one face, the enterprise's part by a real browser's forms, and a peer that lies."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from service_world import Service, answer_page

from consent.demo.sample import GRANTED_ITEMS, PRODUCT, PURPOSE, Enterprise, request_details
from consent_sdk import AsyncConsentClient, ConsentClient, Detail, Grant

ITEM = GRANTED_ITEMS[0]
FIELD = f"{ITEM}.01"


class Driven:
    """The asynchronous client as if it blocked: its methods run in one loop in a thread of its own."""

    def __init__(self, kind: type[AsyncConsentClient], *args: Any, **options: Any) -> None:
        self._inner = kind(*args, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)

        def call(*args: Any, **options: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(method(*args, **options), self._loop).result(60)

        return call

    def stop(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


AnyClient = Any
"""ConsentClient, or Driven with the same methods."""


def granted(service: Service, client: ConsentClient | AnyClient, enterprise: Enterprise, *details: Detail) -> Grant:
    """A whole consent: asked, given in full, and finished."""
    pending = client.request_consent(details or request_details()[:3], login_hint=enterprise.id)
    grant: Grant = client.finish(pending, answer_page(service, pending.url, enterprise))
    return grant


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up on a liar; that is no news."""


Reaction = Callable[["_Handler"], tuple[int, dict[str, str], bytes]]


class LyingPeer:
    """An HTTP server that answers as a service would, but for what a test makes it say.

    `on[path]` replaces the answer to a path; `seen` counts requests by path, `connections` counts sockets.
    """

    def __init__(self) -> None:
        self.on: dict[str, Reaction] = {}
        self.seen: Counter[str] = Counter()
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        peer = self

        class Handler(_Handler):
            owner = peer

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def says(self, path: str, body: Any, status: int = 200, **headers: str) -> None:
        """From now on, this to that path."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.on[path] = lambda _: (status, named, raw)

    def metadata(self, **changes: Any) -> dict[str, Any]:
        """Metadata as they should be, but for the changes."""
        return {
            "issuer": self.url,
            "pushed_authorization_request_endpoint": f"{self.url}/oauth/par",
            "authorization_endpoint": f"{self.url}/oauth/authorize",
            "token_endpoint": f"{self.url}/oauth/token",
        } | changes


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: LyingPeer

    def setup(self) -> None:
        super().setup()
        self.owner.connections += 1

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.partition("?")[0]
        self.owner.seen[path] += 1
        self.owner.requests.append((path, {name.lower(): value for name, value in self.headers.items()}, self.body))
        status, headers, body = self.owner.on.get(path, _honest)(self)
        try:
            self.send_response(status)
            for name, value in ({"content-type": "application/json", "content-length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the base class names them so

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


def _honest(handler: _Handler) -> tuple[int, dict[str, str], bytes]:
    path = handler.path.partition("?")[0]
    made: Any = {"error": "not_found"}
    status = 200
    if path == "/.well-known/oauth-authorization-server":
        made = handler.owner.metadata()
    elif path == "/oauth/token":
        made = {"access_token": "token-1", "token_type": "DPoP", "expires_in": 300}
    elif path == "/oauth/par":
        status, made = 201, {"request_uri": "urn:ietf:params:oauth:request_uri:x", "expires_in": 90}
    elif path == "/access/v1/evaluation":
        made = permit(*json.loads(handler.body)["resource"]["properties"]["items"])
    elif path == "/access/v1/evaluations":
        asked = json.loads(handler.body)["evaluations"]
        made = {"evaluations": [permit(*one["resource"]["properties"]["items"]) for one in asked]}
    else:
        status = 404
    return status, {}, json.dumps(made).encode()


def line(item: str, **changes: Any) -> dict[str, Any]:
    """One item permitted in detail."""
    return {
        "item": item,
        "outcome": "permit",
        "basis": "grant",
        "grant_id": "g_1",
        "fields": [f"{item}.01"],
        "withheld": [],
        "codes": [],
        "obligations": [],
        "flags": [],
    } | changes


def denied(item: str, **changes: Any) -> dict[str, Any]:
    """One item denied."""
    return line(item, outcome="deny", basis=None, grant_id=None, fields=[], codes=["item.not_granted"]) | changes


def answer(*lines: dict[str, Any], decision: bool, outcome: str, **changes: Any) -> dict[str, Any]:
    """A whole answer."""
    context = {
        "id": "decision-1",
        "outcome": outcome,
        "codes": sorted({code for one in lines for code in one["codes"]}),
        "items": list(lines),
        "solution": None,
        "policy": "p-1",
        "catalogue": "c-1",
        "ledger": {"index": 7, "leaf": "bGVhZg=="},
        "max_age_seconds": 0,
    }
    return {"decision": decision, "context": context | changes}


def permit(*items: str) -> dict[str, Any]:
    """All permitted."""
    return answer(*map(line, items), decision=True, outcome="full")


def ask(client: AnyClient, enterprise: str = "91990100000000000X", items: tuple[str, ...] = (ITEM,), **options: Any) -> Any:
    """The check that the tests make most."""
    options.setdefault("product", PRODUCT)
    return client.check(enterprise, list(items), options.pop("purpose", PURPOSE), **options)
