"""The conversation with the service, without any I/O: generators yield calls and are sent replies.

Both clients run the same generators, so there is one place that builds requests and one that judges answers. Everything
that comes back is held against what was asked; what does not fit is `Undecided`, never a permit.
"""

import time
from collections.abc import Generator, Mapping, Sequence
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from consent_sdk.answers import read_decision
from consent_sdk.errors import CallFailed, ConsentRefused, RequestRefused, Undecided
from consent_sdk.keys import ClientKey, ProofKey, challenge, new_secret
from consent_sdk.models import Check, Decision, Detail, Grant, PendingConsent

T = TypeVar("T")
S = TypeVar("S")
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_PAUSE_SECONDS = 0.2
_SCOPES = ("check", "check:any", "grants", "loans")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request. At most one of `form` and `json` is set. `repeatable`: sent twice it does no more than sent once."""

    method: str
    url: str
    headers: dict[str, str] = {}
    form: dict[str, str] | None = None
    json: Any = None
    repeatable: bool = False
    wait_seconds: float = 0.0


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Lost(msgspec.Struct, frozen=True):
    """No response; the call may or may not have arrived."""

    reason: str


Steps = Generator[Call, Reply | Lost, T]


class _Token(msgspec.Struct, frozen=True):
    """RFC 6749 §5.1. The pattern is that of a credential in a header (RFC 6750 §2.1)."""

    access_token: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._~+/=-]{1,4096}\Z")]
    token_type: str
    expires_in: Annotated[int, msgspec.Meta(ge=0)] = 0


class _Verdict(msgspec.Struct, frozen=True):
    """What a verdict has at least."""

    identifier: str
    verdict: str
    codes: list[str] = []


class _Pushed(msgspec.Struct, frozen=True):
    """RFC 9126 §2.2."""

    request_uri: Annotated[str, msgspec.Meta(min_length=1)]
    expires_in: Annotated[int, msgspec.Meta(ge=0)]


def _json(reply: Reply) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Undecided(f"the service answered {reply.status} without readable JSON") from None
    if not isinstance(value, dict):
        raise Undecided(f"the service answered {reply.status} with something that is not an object")
    return value


def _shaped(body: Any, shape: type[S]) -> S:
    try:
        return msgspec.convert(body, shape)
    except msgspec.ValidationError as error:
        raise Undecided(f"the service's answer cannot be read: {error}") from None


def _success(reply: Reply, expected: int = 200) -> dict[str, Any]:
    if reply.status == expected:
        return _json(reply)
    if not 400 <= reply.status < 500:
        raise Undecided(f"the service answered {reply.status}")
    raise _refusal(reply.status, _json(reply))


def _refusal(status: int, body: Mapping[str, Any]) -> CallFailed | RequestRefused:
    verdicts = body.get("verdicts")
    if body.get("error") == "invalid_authorization_details" and verdicts is not None:
        _shaped(verdicts, list[_Verdict])
        return RequestRefused(verdicts)
    code = str(body.get("error") or body.get("code") or "error")
    detail = body.get("error_description") or body.get("detail") or body.get("title") or ""
    return CallFailed(status, code, str(detail))


def _checked_issuer(issuer: str) -> str:
    parts = urlsplit(issuer)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return issuer.rstrip("/")
    raise ValueError("the issuer must be an https URL (http on loopback only)")


class Protocol:
    """State of one client: identity, keys, discovered endpoints, cached tokens, DPoP nonce. Not thread-safe by itself:
    every member that changes is replaced whole, so the worst race is one token too many."""

    def __init__(
        self, issuer: str, client_id: str, private_jwk: Mapping[str, Any], *, institution_id: str, redirect_uri: str | None
    ) -> None:
        self.issuer = _checked_issuer(issuer)
        self.client_id = client_id
        self.institution_id = institution_id
        self.redirect_uri = redirect_uri
        self._key = ClientKey(private_jwk)
        self._proof = ProofKey()
        self._endpoints: dict[str, str] | None = None
        self._tokens: dict[str, tuple[str, float]] = {}
        self._nonce: str | None = None

    # ------------------------------------------------------------ transport rules

    def _send(self, call: Call, *, token: str | None = None, authenticate: bool = False, prove: bool = True) -> Steps[Reply]:
        """Send, with all that may be used once made anew each time: the client assertion and the DPoP proof.

        A repeatable call without a decision (lost, or 503) goes out once more; one use_dpop_nonce challenge is answered (RFC 9449 §8).
        """
        may_repeat, may_be_challenged, wait = call.repeatable, True, call.wait_seconds
        while True:
            reply = yield self._signed(call, token, authenticate=authenticate, prove=prove, wait=wait)
            wait = 0.0
            if may_repeat and (isinstance(reply, Lost) or reply.status == 503):
                may_repeat, wait = False, _PAUSE_SECONDS
            elif isinstance(reply, Lost):
                raise Undecided(f"no answer from the service ({reply.reason})")
            elif may_be_challenged and self._challenged(reply):
                may_be_challenged = False
            else:
                return reply

    def _signed(self, call: Call, token: str | None, *, authenticate: bool, prove: bool, wait: float) -> Call:
        headers = dict(call.headers)
        if prove:
            headers["DPoP"] = self._proof.proof(call.method, call.url, access_token=token, nonce=self._nonce)
        if token:
            headers["Authorization"] = f"DPoP {token}"
        form = self._authenticated(call.form or {}) if authenticate else call.form
        return msgspec.structs.replace(call, headers=headers, form=form, wait_seconds=wait)

    def _challenged(self, reply: Reply) -> bool:
        """Whether the service wants the call again with the nonce that it gave."""
        nonce = reply.headers.get("dpop-nonce")
        if not nonce:
            return False
        fresh, self._nonce = nonce != self._nonce, nonce
        wanted = b"use_dpop_nonce" in reply.body or "use_dpop_nonce" in reply.headers.get("www-authenticate", "")
        return fresh and wanted and reply.status in {400, 401}

    def _discover(self) -> Steps[dict[str, str]]:
        if self._endpoints is None:
            call = Call(method="GET", url=f"{self.issuer}/.well-known/oauth-authorization-server", repeatable=True)
            metadata = _success((yield from self._send(call, prove=False)))
            if metadata.get("issuer") != self.issuer:
                raise Undecided("the service names another issuer than the one configured (RFC 8414 §3.3)")
            names = ("pushed_authorization_request_endpoint", "authorization_endpoint", "token_endpoint")
            found = {name: str(metadata.get(name, "")) for name in names}
            if any(not url.startswith(f"{self.issuer}/") for url in found.values()):
                raise Undecided("the service's metadata names an endpoint outside the issuer")
            self._endpoints = found
        return self._endpoints

    def _authenticated(self, form: Mapping[str, str]) -> dict[str, str]:
        assertion = self._key.assertion(self.client_id, self.issuer)
        return {**form, "client_id": self.client_id, "client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion}

    def _token(self, scope: str) -> Steps[str]:
        token, until = self._tokens.get(scope, ("", 0.0))
        if time.monotonic() < until:
            return token
        endpoints = yield from self._discover()
        form = {"grant_type": "client_credentials", "scope": scope}
        call = Call(method="POST", url=endpoints["token_endpoint"], form=form, repeatable=True)
        given = self._checked_token(_success((yield from self._send(call, authenticate=True))))
        self._tokens = {**self._tokens, scope: (given.access_token, time.monotonic() + given.expires_in - 30)}
        return given.access_token

    @staticmethod
    def _checked_token(body: Mapping[str, Any]) -> _Token:
        token = _shaped(body, _Token)
        if token.token_type.lower() != "dpop":
            raise Undecided("the service gave no sender-constrained token")
        return token

    def _call(self, call: Call, scope: str) -> Steps[Reply]:
        """Call a resource; a token that is no longer taken is renewed once."""
        for attempt in range(2):
            token = yield from self._token(scope)
            reply = yield from self._send(call, token=token)
            if reply.status != 401 or attempt:
                break
            self._tokens = {name: kept for name, kept in self._tokens.items() if name != scope}
        return reply

    def call_in_any_scope(self, call: Call) -> Steps[Reply]:
        """Call what is open to every program of the institution, under the scope in use, or the first that this client has."""
        for scope in [*self._tokens, *_SCOPES]:
            try:
                return (yield from self._call(call, scope))
            except CallFailed as refused:
                if refused.code != "invalid_scope":
                    raise
        raise CallFailed(403, "insufficient_scope", "this client is registered for no scope")

    # ------------------------------------------------------------ consent

    def request_consent(self, details: Sequence[Detail], login_hint: str | None) -> Steps[PendingConsent]:
        """Push the request (RFC 9126) and return where to send the person."""
        if self.redirect_uri is None:
            raise ValueError("redirect_uri is needed to request consent")
        endpoints = yield from self._discover()
        verifier, state = new_secret(), new_secret()
        form = {
            "response_type": "code",
            "redirect_uri": self.redirect_uri,
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
            "state": state,
            "authorization_details": msgspec.json.encode([d.to_wire(n) for n, d in enumerate(details, 1)]).decode(),
        }
        if login_hint:
            form["login_hint"] = login_hint
        call = Call(method="POST", url=endpoints["pushed_authorization_request_endpoint"], form=form)
        pushed = _shaped(_success((yield from self._send(call, authenticate=True, prove=False)), 201), _Pushed)
        query = urlencode({"client_id": self.client_id, "request_uri": pushed.request_uri})
        return PendingConsent(
            url=f"{endpoints['authorization_endpoint']}?{query}",
            state=state,
            code_verifier=verifier,
            redirect_uri=self.redirect_uri,
            expires_in=pushed.expires_in,
            items=tuple(detail.item for detail in details),
        )

    def finish(self, pending: PendingConsent, returned_url: str) -> Steps[Grant]:
        """Check state and issuer (RFC 9207) of the URL the person came back with, and redeem its code."""
        try:
            pairs = parse_qsl(urlsplit(returned_url).query, keep_blank_values=True)
        except ValueError:
            raise ConsentRefused("state_mismatch") from None
        answer = dict(pairs)
        if len(answer) != len(pairs) or answer.get("state") != pending.state:
            raise ConsentRefused("state_mismatch")
        if answer.get("iss") != self.issuer:
            raise ConsentRefused("issuer_mismatch")
        if "error" in answer or "code" not in answer:
            raise ConsentRefused(answer.get("error", "no_code"))
        endpoints = yield from self._discover()
        form = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": pending.redirect_uri,
            "code_verifier": pending.code_verifier,
        }
        call = Call(method="POST", url=endpoints["token_endpoint"], form=form)
        body = _success((yield from self._send(call, authenticate=True)))
        grant = self._grant(body, self._checked_token(body))
        if not set(grant.items) <= set(pending.items):
            raise Undecided("the service granted items that were not asked for")
        return grant

    @staticmethod
    def _grant(body: Mapping[str, Any], token: _Token) -> Grant:
        shape = {
            "grant_id": body.get("grant_id"),
            "granted": body.get("authorization_details"),
            "refused": body.get("refused_details") or (),
            "unmet_required": body.get("unmet_required") or (),
            "access_token": token.access_token,
            "expires_in": token.expires_in,
        }
        grant = _shaped(shape, Grant)
        for detail in grant.granted:
            named = detail.get("datatypes")
            if not isinstance(named, list) or not all(isinstance(code, str) for code in named):
                raise Undecided("the service's answer cannot be read: a granted detail names no items")
        return grant

    def grant(self, grant_id: str) -> Steps[dict[str, Any]]:
        """The grant as it stands now, with its state per item."""
        call = Call(method="GET", url=f"{self.issuer}/grants/{_segment(grant_id)}", repeatable=True)
        found = _success((yield from self._call(call, "grants")))
        if found.get("grant_id") != grant_id:
            raise Undecided("the service answered with another grant than the one asked for")
        return found

    def revoke(self, grant_id: str) -> Steps[None]:
        """Give a grant back; once more does no harm (RFC 9110 §9.2.2)."""
        call = Call(method="DELETE", url=f"{self.issuer}/grants/{_segment(grant_id)}", repeatable=True)
        reply = yield from self._call(call, "grants")
        if reply.status != 204:
            _success(reply, 204)

    # ------------------------------------------------------------ checks

    def check_many(self, checks: Sequence[Check]) -> Steps[list[Decision]]:
        """Ask; one check goes to the evaluation endpoint, several to evaluations. A platform asks under its own scope."""
        if not checks:
            return []
        scope = "check" if all(c.institution in {None, self.institution_id} and c.ticket is None for c in checks) else "check:any"
        wires = [check.to_wire(self.institution_id, new_secret()) for check in checks]
        single = len(checks) == 1
        url = f"{self.issuer}/access/v1/evaluation{'' if single else 's'}"
        body = wires[0] if single else {"evaluations": wires}
        reply = yield from self._call(Call(method="POST", url=url, json=body, repeatable=True), scope)
        answer = _success(reply)
        answers = [answer] if single else answer.get("evaluations")
        if not isinstance(answers, list) or len(answers) != len(checks):
            raise Undecided("the service answered another number of checks than was asked")
        return [read_decision(check, one) for check, one in zip(checks, answers, strict=True)]

    def deliver(self, decision_id: str, items: Mapping[str, Sequence[str]]) -> Steps[dict[str, Any]]:
        """Report what was really served under a decision."""
        body = {"decision": decision_id, "items": [{"item": item, "fields": list(fields)} for item, fields in items.items()]}
        return _success((yield from self._call(Call(method="POST", url=f"{self.issuer}/access/v1/deliveries", json=body), "check:any")))


def _segment(text: str) -> str:
    if not text or not all(c.isascii() and (c.isalnum() or c in "-_~.") for c in text) or text in {".", ".."}:
        raise ValueError("a grant id holds letters, digits, - and _ only")
    return text
