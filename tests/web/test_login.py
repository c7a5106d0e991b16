"""Sign-in, sessions and forged requests."""

import re
from datetime import timedelta
from urllib.parse import quote

import pytest
from sqlalchemy import text
from web_world import ISSUER, PASSWORD, Browser, World, make_app

OWN_PAGES = ["/my/grants", "/my/history", "/my/grants/none", "/my/grants/none/revoke", "/authorize/consent?client_id=a&request_uri=b"]


@pytest.mark.parametrize("path", OWN_PAGES)
async def test_own_page_without_session_leads_to_sign_in_and_back(world: World, path: str) -> None:
    """Nothing personal is shown before sign-in, and sign-in leads back to what was asked for."""
    browser = world.browser()
    reply = await browser.open(path)
    assert (reply.status_code, reply.headers["location"]) == (303, f"/login?next={quote(path, safe='')}")
    await browser.open(reply.headers["location"])
    assert browser.hidden("next") == path


async def test_program_without_session_is_told_so(world: World) -> None:
    """A program gets a problem, not a redirect to a form."""
    reply = await world.browser().client.get("/my/grants", headers={"accept": "application/json"})
    assert (reply.status_code, reply.json()["code"]) == (401, "not_authenticated")


async def test_sign_in_starts_a_session_for_the_enterprise(world: World) -> None:
    """The right password leads on, with a cookie that scripts and other sites cannot use."""
    await world.account("zhou.min")
    browser = world.browser()
    reply = await browser.sign_in(target="/my/grants")
    assert (reply.status_code, reply.headers["location"]) == (303, "/my/grants")
    cookie = next(value for value in reply.headers.get_list("set-cookie") if value.startswith("consent-session="))
    assert {"httponly", "samesite=lax", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    assert "示例机械有限公司" in (await browser.open("/my/grants")).text


async def test_cookie_has_the_host_prefix_over_https(world: World) -> None:
    """Over https the browser itself refuses a session cookie that another host plants."""
    await world.account("zhou.min")
    world.app = make_app(world.engine, "https://consent.example")
    browser = world.browser("https://consent.example")
    await browser.open("/login")
    fields = {"csrf": browser.hidden("csrf"), "next": "/", "username": "zhou.min", "password": PASSWORD}
    reply = await browser.send("/login", fields, origin="https://consent.example")
    cookie = next(value for value in reply.headers.get_list("set-cookie") if "session" in value)
    assert cookie.startswith("__Host-consent-session=")
    assert {"secure", "httponly", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    assert "domain" not in cookie.lower()


async def test_secret_is_not_stored(world: World) -> None:
    """Whoever reads the table cannot take over a session."""
    browser = await world.signed_in()
    secret = browser.client.cookies[browser.cookie_name]
    for row in await world.rows("select * from session"):
        assert secret.encode() not in row.hash
        assert secret not in repr(tuple(row))


async def test_wrong_password_and_unknown_user_answer_alike(world: World) -> None:
    """The page says what to do and not which of the two was wrong; the typed name stays, the password does not."""
    await world.account("zhou.min")
    browser = world.browser()
    pages = []
    for username in ("zhou.min", "no.such.user"):
        reply = await browser.sign_in(username, "wrong-password-entirely")
        assert reply.status_code == 401
        assert "用户名或密码不正确" in reply.text
        assert f'value="{username}"' in reply.text
        assert "wrong-password-entirely" not in reply.text
        pages.append(reply.text.replace(username, ""))
    assert pages[0] == pages[1]


async def test_lockout_is_explained(world: World) -> None:
    """After too many attempts even the right password is refused for a while, in words that say so."""
    await world.account("zhou.min")
    browser = world.browser()
    for _ in range(5):
        await browser.sign_in(password="wrong-password-entirely")
    reply = await browser.sign_in()
    assert reply.status_code == 401
    assert "暂时锁定，请稍后重试" in reply.text
    assert browser.cookie_name not in browser.client.cookies


async def test_session_secret_changes_at_sign_in(world: World) -> None:
    """A secret that somebody planted before sign-in is not taken over, and stays worth nothing (session fixation)."""
    await world.account("zhou.min")
    browser, planter = world.browser(), world.browser()
    browser.client.cookies.set(browser.cookie_name, "planted", domain="127.0.0.1", path="/")
    planter.client.cookies.set(browser.cookie_name, "planted", domain="127.0.0.1", path="/")
    await browser.sign_in()
    assert browser.client.cookies[browser.cookie_name] != "planted"
    assert (await browser.open("/my/grants")).status_code == 200
    assert (await planter.open("/my/grants")).status_code == 303


async def test_signing_in_again_ends_the_former_session(world: World) -> None:
    """One browser has one session: a form left open in another tab replaces it."""
    browser = await world.signed_in()
    first = browser.client.cookies[browser.cookie_name]
    again = {"next": "/", "username": "zhou.min", "password": PASSWORD}
    assert (await browser.send("/login", again | {"csrf": "of a form that has lapsed"})).status_code == 403
    assert (await browser.send("/login", again | {"csrf": browser.hidden("csrf")})).status_code == 303
    assert browser.client.cookies[browser.cookie_name] != first
    other = world.browser()
    other.client.cookies.set(browser.cookie_name, first, domain="127.0.0.1")
    assert (await other.open("/my/grants")).status_code == 303


async def test_sign_out_ends_the_session_in_the_database(world: World) -> None:
    """A copied cookie is worth nothing after sign-out."""
    browser = await world.signed_in()
    secret = browser.client.cookies[browser.cookie_name]
    reply = await browser.send("/logout", {"csrf": await _csrf(browser)})
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    assert browser.cookie_name not in browser.client.cookies
    other = world.browser()
    other.client.cookies.set(browser.cookie_name, secret, domain="127.0.0.1")
    assert (await other.open("/my/grants")).status_code == 303


@pytest.mark.parametrize(
    "change",
    [
        "update session set expires_at = clock_timestamp()",
        "update session set ended_at = clock_timestamp()",
        "update account set status = 'closed'",
        "update account set status = 'locked'",
        "update account a set subject_id = (select id from subject where id <> a.subject_id limit 1) where kind <> 'staff'",
    ],
)
async def test_session_ends_when_its_ground_goes(world: World, change: str) -> None:
    """Expiry, an ended session, a closed account and another enterprise end it at the next page."""
    browser = await world.signed_in()
    async with world.engine.begin() as connection:
        await connection.execute(text(change))
    assert (await browser.open("/my/grants")).status_code == 303


async def test_use_moves_the_idle_expiry_but_not_past_the_absolute_one(world: World) -> None:
    """A session in use lives on; none lives longer than twelve hours."""
    browser = await world.signed_in()
    for age, remaining, expected in ((timedelta(0), timedelta(minutes=5), 29), (timedelta(hours=11, minutes=50), timedelta(minutes=2), 9)):
        async with world.engine.begin() as connection:
            await connection.execute(
                text("""
                update session set created_at = clock_timestamp() - cast(:age as interval),
                                   expires_at = clock_timestamp() + cast(:left as interval)
                """),
                {"age": age, "left": remaining},
            )
        assert (await browser.open("/my/grants")).status_code == 200
        [row] = await world.rows("select extract(epoch from expires_at - clock_timestamp()) / 60 as minutes from session")
        assert expected < row.minutes <= expected + 1


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "/%0d%0aset-cookie:x=1\r\nx",
        "javascript:alert(1)",
        "http:/evil.example",
        "/ok\u2028//evil.example",
        "evil.example",
        "/" + "a" * 3000,
        "///evil.example",
        "/\t/evil.example",
    ],
)
async def test_sign_in_leads_to_own_paths_only(world: World, target: str) -> None:
    """No open redirect: whatever is not a path of this service becomes the home page."""
    await world.account("zhou.min")
    assert (await world.browser().sign_in(target=target)).headers["location"] == "/"


async def test_next_keeps_its_query(world: World) -> None:
    """A consent link survives sign-in whole."""
    await world.account("zhou.min")
    target = "/authorize/consent?client_id=a&request_uri=urn%3Ax"
    assert (await world.browser().sign_in(target=target)).headers["location"] == target


async def test_login_form_of_another_browser_is_refused(world: World) -> None:
    """Nobody is signed in under an account that another site chose (login CSRF); the page then offers a fresh form."""
    await world.account("wu.qi")
    attacker, victim = world.browser(), world.browser()
    await attacker.open("/login")
    fields = {"csrf": attacker.hidden("csrf"), "next": "/", "username": "wu.qi", "password": PASSWORD}
    reply = await victim.send("/login", fields)
    assert reply.status_code == 403
    assert victim.cookie_name not in victim.client.cookies
    assert re.search(r'name="csrf" value="[0-9a-f]{64}"', reply.text)


@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}]
)
async def test_form_from_another_site_is_refused(world: World, headers: dict[str, str]) -> None:
    """What the browser says of a post's origin counts besides the token."""
    browser = await world.signed_in()
    reply = await browser.send("/logout", {"csrf": await _csrf(browser)}, **headers)
    assert reply.status_code == 403
    assert (await browser.open("/my/grants")).status_code == 200


@pytest.mark.parametrize("token", [None, "", "x", "of another session"])
async def test_form_without_the_sessions_token_is_refused(world: World, token: str | None) -> None:
    """Missing, empty, wrong and foreign tokens alike."""
    browser, other = await world.signed_in(), await world.signed_in("wu.qi")
    if token == "of another session":
        token = await _csrf(other)
    reply = await browser.send("/logout", {} if token is None else {"csrf": token})
    assert reply.status_code == 403
    assert "刷新后再操作" in reply.text
    assert (await browser.open("/my/grants")).status_code == 200


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"csrf":"x"}', "application/json"),
        (b"csrf=x", "text/plain"),
        (b"csrf=%ff", "application/x-www-form-urlencoded"),
        (b"csrf=x%00", "application/x-www-form-urlencoded"),
        (b"csrf=x&csrf=x", "application/x-www-form-urlencoded"),
        (b"a=" + b"b" * 70_000, "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=b" % n for n in range(300)), "application/x-www-form-urlencoded"),
        (b"csrf=x", "application/x-www-form-urlencoded; charset=gbk"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
    ],
)
async def test_malformed_forms_are_refused_as_such(world: World, body: bytes, kind: str) -> None:
    """400 with a sentence, never a 500."""
    browser = await world.signed_in()
    reply = await browser.client.post("/logout", content=body, headers={"accept": "text/html", "content-type": kind, "origin": ISSUER})
    assert reply.status_code == 400
    assert "表单" in reply.text


async def test_staff_cannot_act_for_an_enterprise(world: World) -> None:
    """A supervisor's account has a home page, and no grants to show or take back."""
    browser = await world.signed_in("lin.lan")
    assert "监管报表" in (await browser.open("/")).text
    for path in ("/my/grants", "/my/history", await world.push()):
        assert (await browser.open(path)).status_code == 403


async def _csrf(browser: Browser) -> str:
    await browser.open("/")
    return browser.hidden("csrf")
