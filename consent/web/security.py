"""What every reply says to the browser, and where the browser may be sent. Nothing here knows a user.

The headers are set as the reply leaves, so that errors, static files and replies of other slices carry them too. A handler that sets
one of them itself is left alone.
"""

import re
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from litestar.types import Message, Scope

_LONGEST_PATH = 2048
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")

API_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def page_policy(form_target: str | None = None) -> str:
    """The Content-Security-Policy of a page: no script, no frame, nothing from elsewhere.

    Chromium holds `form-action` against each redirect that follows a form, so the consent page names the origin of the
    redirect URI to which its answer leads; any other page may post to this service alone.

    Args:
        form_target: a URI whose origin a form's answer may redirect to. What is not plainly an origin is left out.
    """
    origin = ""
    if form_target is not None:
        parts = urlsplit(form_target)
        candidate = f"{parts.scheme}://{parts.netloc}".lower()
        origin = f" {candidate}" if _ORIGIN.fullmatch(candidate) else ""
    return (
        "default-src 'none'; style-src 'self'; img-src 'self'; "
        f"form-action 'self'{origin}; base-uri 'none'; frame-ancestors 'none'"
    )  # fmt: skip


def security_headers(*, https: bool) -> Callable[[Message, Scope], Awaitable[None]]:
    """A Litestar `before_send` hook.

    Args:
        https: whether the issuer is reached by https, as it is everywhere but on loopback.
    """
    common = {
        "x-content-type-options": "nosniff",
        # Not no-referrer: with that, browsers send `Origin: null` with our own forms and the origin check would be blind.
        "referrer-policy": "same-origin",
        "x-frame-options": "DENY",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        # Whatever is not said to be public is somebody's own: neither a proxy nor the back button's cache keeps it.
        "cache-control": "no-store",
    }
    if https:
        common["strict-transport-security"] = "max-age=63072000; includeSubDomains"

    raw = [(name.encode("ascii"), value.encode("ascii")) for name, value in common.items()]
    policies = {is_page: page_policy().encode() if is_page else API_POLICY.encode() for is_page in (True, False)}

    async def add(message: Message, scope: Scope) -> None:  # noqa: ARG001 - the hook's shape is Litestar's
        if message["type"] != "http.response.start":
            return
        sent = list(message["headers"])
        present = {name.lower(): value for name, value in sent}
        sent += [header for header in raw if header[0] not in present]
        if b"content-security-policy" not in present:
            sent.append((b"content-security-policy", policies[present.get(b"content-type", b"").startswith(b"text/html")]))
        message["headers"] = sent

    return add


def own_path(target: str | None) -> str:
    """`target` if it is a path of this service, else "/": the only places to which sign-in leads (RFC 9700 §4.11)."""
    if target is None or len(target) > _LONGEST_PATH or not target.isascii() or not target.isprintable():
        return "/"
    # A backslash or a second slash at the start makes some browsers read a host name.
    if not target.startswith("/") or target.startswith("//") or "\\" in target:
        return "/"
    parts = urlsplit(target)
    return target if not parts.scheme and not parts.netloc and parts.path.startswith("/") and not parts.path.startswith("//") else "/"
