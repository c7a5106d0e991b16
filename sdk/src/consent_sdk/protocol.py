"""The conversation with the service, without any I/O: generators yield calls and are sent replies.

Both clients run the same generators, so there is one place that builds requests and one that judges answers. Everything
that comes back is held against what was asked; what does not fit is `Undecided`, never a permit.
"""

import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from consent_sdk.errors import CallFailed, ConsentRefused, RequestRefused, Undecided
from consent_sdk.keys import ClientKey, ProofKey, challenge, new_secret
from consent_sdk.models import Check, Decision, Denial, Detail, Grant, ItemResult, PartialPermit, PendingConsent, Permit

T = TypeVar("T")
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_FULL = {"query": "permit", "push": "permit", "report": "permit", "collect": "permit", "verify": "verify_only", "model": "model_only"}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request. Exactly one of `form` and `json` may be set. `repeatable` calls may be sent twice."""

    method: str
    url: str
    headers: dict[str, str] = {}
    form: dict[str, str] | None = None
    json: Any = None
    repeatable: bool = False


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Steps = Generator[Call, Reply, T]


def _json(reply: Reply) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(reply.body)
    except msgspec.DecodeError:
        raise Undecided(f"the service answered {reply.status} without readable JSON") from None
    if not isinstance(value, dict):
        raise Undecided(f"the service answered {reply.status} with something that is not an object")
    return value


def _success(reply: Reply, expected: int = 200) -> dict[str, Any]:
    if reply.status == expected:
        return _json(reply)
    if reply.status >= 500:
        raise Undecided(f"the service answered {reply.status}")
    body = _json(reply)
    if body.get("error") == "invalid_authorization_details" and isinstance(body.get("verdicts"), list):
        raise RequestRefused(body["verdicts"])
    code = str(body.get("error") or body.get("code") or "error")
    detail = body.get("error_description") or body.get("detail_en") or body.get("detail") or body.get("title") or ""
    raise CallFailed(reply.status, code, str(detail))


class Protocol:
    """State of one client: identity, keys, discovered endpoints, cached tokens, DPoP nonce. Not thread-safe by itself:
    every member that changes is replaced whole, so the worst race is one token too many."""

    def __init__(
        self, issuer: str, client_id: str, private_jwk: Mapping[str, Any], *, institution_id: str, redirect_uri: str | None
    ) -> None:
        self.issuer = issuer.rstrip("/")
        self.client_id = client_id
        self.institution_id = institution_id
        self.redirect_uri = redirect_uri
        self._key = ClientKey(private_jwk)
        self._proof = ProofKey()
        self._endpoints: dict[str, str] | None = None
        self._tokens: dict[str, tuple[str, float]] = {}
        self._nonce: str | None = None

    # ------------------------------------------------------------ transport rules

    def _send(self, call: Call, *, token: str | None = None) -> Steps[Reply]:
        """Send with a DPoP proof; answer one use_dpop_nonce challenge (RFC 9449 §8)."""
        for _ in range(2):
            proof = self._proof.proof(call.method, call.url, access_token=token, nonce=self._nonce)
            headers = {**call.headers, "DPoP": proof}
            if token:
                headers["Authorization"] = f"DPoP {token}"
            reply = yield msgspec.structs.replace(call, headers=headers)
            nonce = reply.headers.get("dpop-nonce")
            fresh = nonce is not None and nonce != self._nonce
            if nonce:
                self._nonce = nonce
            if not (
                fresh
                and reply.status in {400, 401}
                and b"use_dpop_nonce" in reply.body + reply.headers.get("www-authenticate", "").encode()
            ):
                break
        return reply

    def _discover(self) -> Steps[dict[str, str]]:
        if self._endpoints is None:
            metadata = _success((yield Call(method="GET", url=f"{self.issuer}/.well-known/oauth-authorization-server", repeatable=True)))
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
        form = self._authenticated({"grant_type": "client_credentials", "scope": scope})
        body = _success((yield from self._send(Call(method="POST", url=endpoints["token_endpoint"], form=form))))
        token = self._checked_token(body)
        self._tokens = {**self._tokens, scope: (token, time.monotonic() + max(0.0, float(body.get("expires_in", 0)) - 30))}
        return token

    @staticmethod
    def _checked_token(body: Mapping[str, Any]) -> str:
        token = body.get("access_token")
        if not isinstance(token, str) or str(body.get("token_type", "")).lower() != "dpop":
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
        call = Call(method="POST", url=endpoints["pushed_authorization_request_endpoint"], form=self._authenticated(form))
        body = _success((yield call), 201)
        request_uri, expires_in = body.get("request_uri"), body.get("expires_in")
        if not isinstance(request_uri, str) or not isinstance(expires_in, int):
            raise Undecided("the service gave no request_uri")
        query = urlencode({"client_id": self.client_id, "request_uri": request_uri})
        return PendingConsent(
            url=f"{endpoints['authorization_endpoint']}?{query}",
            state=state,
            code_verifier=verifier,
            redirect_uri=self.redirect_uri,
            expires_in=expires_in,
        )

    def finish(self, pending: PendingConsent, returned_url: str) -> Steps[Grant]:
        """Check state and issuer (RFC 9207) of the URL the person came back with, and redeem its code."""
        pairs = parse_qsl(urlsplit(returned_url).query, keep_blank_values=True)
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
        body = _success((yield from self._send(Call(method="POST", url=endpoints["token_endpoint"], form=self._authenticated(form)))))
        return self._grant(body, self._checked_token(body))

    @staticmethod
    def _grant(body: Mapping[str, Any], token: str | None = None) -> Grant:
        shape = {
            "grant_id": body.get("grant_id"),
            "granted": body.get("authorization_details"),
            "refused": body.get("refused_details") or (),
            "unmet_required": body.get("unmet_required") or (),
            "access_token": token,
            "expires_in": body.get("expires_in") if token else None,
        }
        try:
            return msgspec.convert(shape, Grant)
        except msgspec.ValidationError as error:
            raise Undecided(f"the grant cannot be read: {error}") from None

    def grant(self, grant_id: str) -> Steps[dict[str, Any]]:
        """The grant as it stands now, with its state per item."""
        call = Call(method="GET", url=f"{self.issuer}/grants/{_segment(grant_id)}", repeatable=True)
        return _success((yield from self._call(call, "grants")))

    def revoke(self, grant_id: str) -> Steps[None]:
        """Give a grant back."""
        reply = yield from self._call(Call(method="DELETE", url=f"{self.issuer}/grants/{_segment(grant_id)}"), "grants")
        if reply.status != 204:
            _success(reply)

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


class _Ledger(msgspec.Struct, frozen=True):
    index: int
    leaf: str


class _Context(msgspec.Struct, frozen=True):
    id: str
    outcome: str
    codes: tuple[str, ...]
    items: tuple[ItemResult, ...]
    solution: dict[str, str] | None
    policy: str
    catalogue: str
    ledger: _Ledger


class _Answer(msgspec.Struct, frozen=True):
    decision: bool
    context: _Context


def read_decision(check: Check, answer: object) -> Decision:
    """The answer as a typed value, after holding it against the question.

    Raises:
        Undecided: the answer has another shape, other items, fields beyond those asked, or contradicts itself.
    """
    try:
        read = msgspec.convert(answer, _Answer)
    except msgspec.ValidationError as error:
        raise Undecided(f"the answer cannot be read: {error}") from None
    context = read.context
    if [result.item for result in context.items] != list(check.items):
        raise Undecided("the answer is about other items than the question")
    for result in context.items:
        asked = check.fields.get(result.item) if check.fields is not None else None
        outside = [f for f in result.fields if (f not in asked if asked is not None else not f.startswith(f"{result.item}."))]
        if outside or (result.outcome == "deny" and result.fields):
            raise Undecided("the answer permits more fields than the question asked for")
    full = all(result.outcome == _FULL.get(check.action) for result in context.items)
    if read.decision and not full:
        raise Undecided("the answer contradicts itself")
    kind = Permit if read.decision else PartialPermit if any(r.outcome != "deny" for r in context.items) else Denial
    solution = context.solution or {}
    return kind(
        id=context.id,
        items=context.items,
        codes=context.codes,
        solution_zh=solution.get("zh", ""),
        solution_en=solution.get("en", ""),
        policy=context.policy,
        catalogue=context.catalogue,
        ledger_index=context.ledger.index,
        ledger_leaf=context.ledger.leaf,
    )
