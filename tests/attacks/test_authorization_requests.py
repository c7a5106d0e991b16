"""Attacks on the pushed request and on the authorization endpoint: redirects, PKCE, parameters, and the form itself."""

import asyncio
import json
from urllib.parse import quote, urlencode

import httpx
import pytest
from oauth_world import ISSUER, ITEM, Caller, decide, execute, records, scalar
from sample_parties import uscc
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.errors import NotFound
from consent.parties.access import SubjectVisitor

FORM_TYPE = {"content-type": "application/x-www-form-urlencoded"}


async def assert_refused(reply: httpx.Response, *errors: str) -> None:
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"] in (errors or ("invalid_request",))
    assert "location" not in reply.headers
    text = reply.json()["error_description"]
    assert text.isascii()
    assert text.isprintable()
    assert not set('"\\') & set(text)


async def test_redirect_addresses(engine: AsyncEngine, bank: Caller) -> None:
    """Anything but the registered characters is refused, and nothing of it comes back in the error."""
    good = bank.redirect_uri
    variants = [
        "https://evil.example/cb", "https://bank-a.example@evil.example/cb", "https://evil@bank-a.example/cb", f"{good}/", f"{good}/../x",
        good.replace("/cb", "/..;/cb"), good.replace("/cb", "/%2e%2e/cb"), f"{good}?x=1", f"{good}#f", good.replace("bank-a", "BANK-A"),
        good.replace(".example", ".example."), good.replace(".example", ".example:443"), good.replace("https", "http"),
        "javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", f'{good}"', f"{good}\\", "https://bänk-a.example/cb", "https://bаnk-a.example/cb",
        f"{good}\r\nx: y", f"{good}\0", f" {good}", "cb", "//bank-a.example/cb", "https://bank-b.example/cb", "x" * 3000,
    ]  # fmt: skip
    for uri in variants:
        await assert_refused(await bank.push(redirect_uri=uri))
    await assert_refused(await bank.push(redirect_uri=None))
    assert await scalar(engine, "select count(*) from pushed_request") == 0


async def test_pkce(bank: Caller) -> None:
    """None, plain, method left out, wrong lengths, a trailing newline, other alphabets."""
    wrong = [
        {"code_challenge": None}, {"code_challenge_method": "plain"}, {"code_challenge_method": None}, {"code_challenge_method": "s256"},
        {"code_challenge": "A" * 43 + "\n"}, {"code_challenge": "A" * 42}, {"code_challenge": "A" * 44}, {"code_challenge": "A" * 42 + "="},
        {"code_challenge": "A" * 42 + "."}, {"code_challenge": "Ａ" * 43}, {"code_challenge": ""},
        {"code_challenge": None, "code_challenge_method": None},
    ]  # fmt: skip
    for members in wrong:
        await assert_refused(await bank.push(**members))


async def test_response_types(bank: Caller) -> None:
    """Only code, only in the query."""
    for response_type in ("token", "code id_token", "code token", "none", "CODE", "code ", '"', "code\n"):
        await assert_refused(await bank.push(response_type=response_type), "unsupported_response_type")
    await assert_refused(await bank.push(response_type=None))
    for mode in ("fragment", "form_post", "jwt", ""):
        await assert_refused(await bank.push(response_mode=mode), "unsupported_response_type")
    assert (await bank.push(response_mode="query")).status_code == 201


async def test_parameters_that_do_not_belong(bank: Caller) -> None:
    """request_uri inside PAR, also one that would be fetched; anything unknown."""
    for name in ("request_uri", "request_url", "prompt", "audience", "code", "Redirect_uri", "redirect_uri[]", "__proto__", "x"):
        await assert_refused(await bank.push(**{name: "https://127.0.0.1/x"}))


async def test_scopes_do_not_belong(bank: Caller) -> None:
    """This flow grants details, no scope; not even a registered one slips in."""
    for scope in ("check", "check:any", "openid", "grants loans"):
        await assert_refused(await bank.push(scope=scope), "invalid_scope")


async def test_states(bank: Caller) -> None:
    """Nothing that could end a header line, and nothing endless."""
    for state in ("a\r\nlocation: x", "a\nb", "a\0b", "é", "x" * 5000, "\x7f", ""):
        await assert_refused(await bank.push(state=state))


async def test_login_hints(bank: Caller) -> None:
    """A wrong check character, lower case, full-width digits, other lengths."""
    code = uscc(10)
    wrong = code[:17] + ("0" if code[17] != "0" else "1")
    for hint in (wrong, code.lower(), code + "\n", f" {code}", "９" + code[1:], "x", "", "1" * 18, code * 2):
        if hint != code:
            await assert_refused(await bank.push(login_hint=hint))


async def test_dpop_jkt_at_par(bank: Caller) -> None:
    """A malformed thumbprint, or one that is not the proof's."""
    for jkt in ("x", "A" * 42, "A" * 44, "A" * 43 + "\n"):
        await assert_refused(await bank.push(dpop_jkt=jkt))
    proof = bank.proof("POST", f"{ISSUER}/oauth/par")
    await assert_refused(await bank.post("/oauth/par", bank.request_form(dpop_jkt="A" * 43), proof=proof))
    proof = bank.proof("POST", f"{ISSUER}/oauth/par")
    assert (await bank.post("/oauth/par", bank.request_form(dpop_jkt=bank.jkt), proof=proof)).status_code == 201


async def test_client_without_redirect_addresses(platform: Caller) -> None:
    """A platform has no code flow."""
    await assert_refused(await platform.push(), "unauthorized_client")


async def test_any_parameter_twice(bank: Caller) -> None:
    """Each of them, so that no proxy and no parser sees another request than we do."""
    form = bank.authenticated(bank.request_form())
    for name, value in form.items():
        fresh = bank.authenticated(bank.request_form())
        for twice in (value, "other"):
            body = f"{urlencode(fresh)}&{urlencode({name: twice})}"
            await assert_refused(await bank.http.post("/oauth/par", content=body, headers=FORM_TYPE))


async def test_parameters_in_the_query(bank: Caller) -> None:
    """Whatever stands there, at every endpoint."""
    for path in ("/oauth/par", "/oauth/token", "/oauth/introspect", "/oauth/revoke"):
        for query in ("client_id=bank-a-client", "x", "token=abc"):
            await assert_refused(await bank.post(f"{path}?{query}", bank.request_form()))


@pytest.mark.parametrize(
    "content_type",
    [
        None, "application/json", "multipart/form-data; boundary=x", "text/plain", "application/x-www-form-urlencoded; charset=gbk",
        "application/x-www-form-urlencoded; charset=utf-16", "application/x-www-form-urlencoded-x", "",
    ],
)  # fmt: skip
async def test_other_bodies(bank: Caller, content_type: str | None) -> None:
    """JSON, multipart and other charsets are not read as a form."""
    body = urlencode(bank.authenticated(bank.request_form()))
    headers = {"content-type": content_type} if content_type is not None else {}
    await assert_refused(await bank.http.post("/oauth/par", content=body, headers=headers))


async def test_utf8_charset_is_the_form_itself(bank: Caller) -> None:
    """Some libraries write the charset; it changes nothing."""
    for content_type in ("application/x-www-form-urlencoded; charset=UTF-8", "Application/X-WWW-Form-Urlencoded;charset=utf-8"):
        fresh = urlencode(bank.authenticated(bank.request_form()))
        assert (await bank.http.post("/oauth/par", content=fresh, headers={"content-type": content_type})).status_code == 201


async def test_bodies_that_are_no_form(bank: Caller) -> None:
    """Bad UTF-8, overlong and surrogate encodings, NUL, broken percents, nameless and valueless pairs, too much of everything."""
    good = urlencode(bank.authenticated(bank.request_form()))
    for bad in (
        "state=%ff", "state=%c0%af", "state=%ed%a0%80", "state=a%00b", "state=%", "state=%zz", "state=%4", "=x", "state", "&", "a=1&&b=2",
        "é=1", "%ff=1",
    ):  # fmt: skip
        body = f"{good.replace('state=s-1&', '')}&{bad}".encode()
        await assert_refused(await bank.http.post("/oauth/par", content=body, headers=FORM_TYPE))
    for big in (b"x=" + b"a" * 70_000, b"&".join(b"p%d=1" % n for n in range(1000)), b"a=" + b"%41" * 30_000):
        await assert_refused(await bank.http.post("/oauth/par", content=big, headers=FORM_TYPE))
    reply = await bank.http.post("/oauth/par", content=b"", headers=FORM_TYPE)
    assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")


async def test_endless_body(bank: Caller) -> None:
    """A chunked body without a length is read no further than the limit."""
    sent = 0

    async def chunks() -> object:
        nonlocal sent
        for _ in range(10_000):
            sent += 8192
            yield b"a" * 8192

    reply = await bank.http.post("/oauth/par", content=chunks(), headers=FORM_TYPE)  # type: ignore[arg-type]
    await assert_refused(reply)


@pytest.mark.parametrize("path", ["/oauth/par", "/oauth/token", "/oauth/introspect", "/oauth/revoke"])
async def test_other_verbs(http: httpx.AsyncClient, path: str) -> None:
    """Only POST."""
    for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD"):
        assert (await http.request(method, path)).status_code == 405


async def test_authorize_never_redirects_before_it_is_sure(http: httpx.AsyncClient, bank: Caller, other_bank: Caller) -> None:
    """Missing, doubled, foreign, additional and hostile parameters are shown to the person, never sent to a client."""
    request_uri = (await bank.push()).json()["request_uri"]
    good = f"client_id={bank.client_id}&request_uri={quote(request_uri)}"
    queries = [
        "", f"client_id={bank.client_id}", f"request_uri={quote(request_uri)}", f"{good}&state=x", f"{good}&client_id={bank.client_id}",
        f"{good}&redirect_uri=https://evil.example", good.replace(bank.client_id, other_bank.client_id),
        good.replace(bank.client_id, "x%00"), f"client_id={bank.client_id}&request_uri=https://127.0.0.1/x",
        f"client_id={bank.client_id}&request_uri=urn:ietf:params:oauth:request_uri:",
        f"{good}%0a", f"{good}x", f"client_id=%ff&request_uri={quote(request_uri)}", f"{good}&response_type=token", "&".join([good] * 30),
        f"client_id={bank.client_id}&request_uri={quote(request_uri.upper())}",
    ]  # fmt: skip
    for query in queries:
        reply = await http.get(f"/oauth/authorize?{query}")
        assert reply.status_code in {400, 404}, query
        assert "location" not in reply.headers
        assert "evil" not in reply.text
    assert (await http.get(f"/oauth/authorize?{good}")).status_code == 303
    assert (await http.post("/oauth/authorize", data={"client_id": "x"})).status_code == 405


async def test_authorize_of_a_suspended_client(engine: AsyncEngine, http: httpx.AsyncClient, bank: Caller, visitor: SubjectVisitor) -> None:
    """What was pushed before is dead, on the page too."""
    request_uri = (await bank.push()).json()["request_uri"]
    await execute(engine, "update client set status = 'suspended' where id = :id", id=bank.client_id)
    reply = await http.get("/oauth/authorize", params={"client_id": bank.client_id, "request_uri": request_uri})
    assert reply.status_code == 404
    with pytest.raises(NotFound):
        await decide(engine, request_uri, visitor, [f"x-{ITEM}"])


async def test_withdrawn_redirect_address(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """An address that is no longer registered is not redirected to."""
    request_uri = (await bank.push()).json()["request_uri"]
    await execute(engine, "update client set redirect_uris = '{https://new.example/cb}' where id = :id", id=bank.client_id)
    with pytest.raises(NotFound):
        await decide(engine, request_uri, visitor, [f"x-{ITEM}"])


async def test_parallel_approvals_of_one_page(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """Of many simultaneous decisions one counts; there is one grant, one code, one record."""
    for _ in range(3):
        request_uri = (await bank.push()).json()["request_uri"]
        outcomes = await asyncio.gather(*(decide(engine, request_uri, visitor, [f"x-{ITEM}"]) for _ in range(8)), return_exceptions=True)
        assert sum(isinstance(outcome, str) for outcome in outcomes) == 1
    assert await scalar(engine, "select count(*) from consent_grant") == 3
    assert await scalar(engine, "select count(*) from authorization_code") == 3
    assert len(await records(engine, "grant.approved")) == 3


async def test_what_is_stored_is_hashed(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """Neither request_uri nor code stands in the database or in the ledger."""
    request_uri = (await bank.push()).json()["request_uri"]
    url = await decide(engine, request_uri, visitor, [f"x-{ITEM}"])
    secret, code = request_uri.rpartition(":")[2], url.partition("code=")[2].partition("&")[0]
    tables = ("pushed_request", "authorization_code")
    dump = "".join([await scalar(engine, f"select jsonb_agg(to_jsonb(t))::text from {table} t") for table in tables])
    ledger = json.dumps(await records(engine, "grant.requested") + await records(engine, "grant.approved"))
    for text in (dump, ledger):
        assert secret not in text
        assert code not in text
