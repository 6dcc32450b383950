"""Who sees the console, and who may send its forms."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Request, post
from litestar.types import ControllerRouterHandler

from decision.api.app import create_app
from decision.console import PAGES as PAGE_MODULES
from decision.console import Console
from decision.console.answers import CSP, Answer
from decision.console.forms import form_of, local_path
from decision.console.sessions import LASTS, LASTS_AT_MOST, Sessions, cookie_name
from decision.core.errors import StoreUnavailable
from decision.engine import Engine
from decision.engine.runtime import wall_clock
from decision.server.audit import entries
from decision.server.settings import ServerSettings
from decision.store import MemoryStore
from tests.console.conftest import ORIGIN, KeysInFile, browsing

pytestmark = pytest.mark.anyio
PAGES = ["/console", "/console/operations/audit"]


def cookies_set(answer: httpx.Response) -> SimpleCookie:
    found: SimpleCookie = SimpleCookie()
    for value in answer.headers.get_list("set-cookie"):
        found.load(value)
    return found


async def test_without_keys_the_console_is_open_to_this_machine_and_says_so(rules: Path) -> None:
    async with browsing(rules) as browser:
        for path in PAGES:
            page = await browser.client.get(path)
            assert page.status_code == 200
            assert "No API keys are set" in page.text
            assert "Sign out" not in page.text


async def test_without_keys_another_host_another_machine_and_a_proxy_are_refused(
    rules: Path,
) -> None:
    async with browsing(rules) as browser:
        for headers in ({"host": "shop.example"}, {"x-forwarded-for": "10.0.0.1"}):
            page = await browser.get("/console", **headers)
            assert page.status_code == 403
            assert page.headers["content-security-policy"] == CSP
            assert "Access is not allowed" in page.text
    async with browsing(rules, peer="10.0.0.7") as browser:
        assert (await browser.get("/console")).status_code == 403


async def test_with_keys_a_host_that_is_not_ours_is_refused(rules: Path, keys: KeysInFile) -> None:
    async with browsing(rules, keys, allowed_hosts="nb.shop.example") as browser:
        for path in ("/console", "/console/sign-in", "/console/nothing"):
            assert (await browser.get(path, host="evil.example")).status_code == 403
            assert (await browser.get(path, host="nb.shop.example")).status_code != 403


async def test_every_answer_has_the_headers_whatever_it_is(rules: Path, keys: KeysInFile) -> None:
    async with browsing(rules, keys) as browser:
        await browser.sign_in(keys.secrets["view-key"])
        for method, path, status in [
            ("GET", "/console", 200),
            ("GET", "/console/", 200),
            ("GET", "/console/operations/audit", 200),
            ("GET", "/console/sign-in", 303),
            ("GET", "/console/nothing/here", 404),
            ("GET", "/console/assets/nothing.js", 404),
            ("POST", "/console/nothing", 405),
            ("PUT", "/console", 405),
            ("GET", "/console/sign-out", 405),
            ("POST", "/console/sign-out", 403),
        ]:
            answer = await browser.client.request(method, path)
            assert answer.status_code == status, (method, path)
            assert answer.headers["content-security-policy"] == CSP
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["content-type"] == "text/html; charset=utf-8"


async def test_head_is_get_without_the_body(rules: Path) -> None:
    async with browsing(rules) as browser:
        await browser.get("/console")  # from here on it has its cookie
        named = {"x-request-id": "one"}
        for path in (*PAGES, "/console/nothing", "/console/operations"):
            whole = await browser.get(path, **named)
            head = await browser.client.head(path, headers=named)
            after = await browser.get(path, **named)  # what it shows may have changed meanwhile
            assert head.content == b""
            told = [(one.status_code, one.headers) for one in (whole, after)]
            assert (head.status_code, head.headers) in told, path


async def test_the_root_leads_browsers_to_the_console_and_nobody_else(rules: Path) -> None:
    async with browsing(rules) as browser:
        answer = await browser.get("/")
        assert (answer.status_code, answer.headers["location"]) == (303, "/console")
        assert (await browser.get("/", accept="application/json")).status_code == 404
    async with browsing(rules, console=False) as browser:
        for path in ("/", "/console", "/console/sign-in"):
            answer = await browser.get(path)
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"


async def test_whoever_has_not_signed_in_is_led_to_sign_in_and_back(
    rules: Path, keys: KeysInFile
) -> None:
    async with browsing(rules, keys) as browser:
        answer = await browser.get("/console/operations/audit?by=ann&page=2")
        assert answer.status_code == 303
        where = answer.headers["location"]
        assert (
            where == "/console/sign-in?next=%2Fconsole%2Foperations%2Faudit%3Fby%3Dann%26page%3D2"
        )
        form = await browser.get(where)
        assert "/console/operations/audit?by=ann&amp;page=2" in form.text
        assert "operations" not in form.text.partition("<main")[0].partition("</header>")[2]
        answer = await browser.sign_in(
            keys.secrets["view-key"], next="/console/operations/audit?by=ann&page=2"
        )
        assert answer.status_code == 303
        assert answer.headers["location"] == "/console/operations/audit?by=ann&page=2"
        assert (await browser.get(answer.headers["location"])).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "https://evil.example/console",
        "/console//evil.example",
        "/consolex",
        "/\\evil.example",
        "/console\\@evil.example",
        "/console\r\nset-cookie: a=b",
        "javascript:alert(1)",
        "",
        "/v1/policy",
    ],
)
def test_signing_in_leads_to_no_other_place(path: str) -> None:
    assert local_path(path) == "/console"


def test_a_path_with_a_customer_s_name_stays_as_it_is() -> None:
    assert local_path("/console/customers/%E5%AE%A2?tab=a%20b") == (
        "/console/customers/%E5%AE%A2?tab=a%20b"
    )


async def test_the_session_s_cookie_is_for_the_console_alone_and_the_store_has_only_its_hash(
    rules: Path, keys: KeysInFile
) -> None:
    store = MemoryStore()
    async with browsing(rules, keys, store) as browser:
        answer = await browser.sign_in(keys.secrets["view-key"])
        (morsel,) = cookies_set(answer).values()
        assert morsel.key == browser.cookie
        assert len(morsel.value) == 43  # 256 bits
        assert morsel["httponly"] and morsel["samesite"] == "Strict"
        assert morsel["path"] == "/console" and not morsel["secure"]
        assert int(morsel["max-age"]) == LASTS_AT_MOST // 1_000_000
        kept = repr(store._sessions)
        assert morsel.value not in kept
        assert keys.secrets["view-key"] not in kept
        assert keys.secrets["view-key"] not in answer.text


async def test_cookies_are_secure_unless_plain_http_reaches_this_machine(
    rules: Path, keys: KeysInFile
) -> None:
    async with browsing(rules, keys) as browser:
        for base, secure in [
            ("http://localhost", False),
            ("http://127.0.0.1:8000", False),
            ("http://[::1]:8000", False),
            ("https://localhost", True),
            ("http://nb.shop.example", True),
        ]:
            answer = await browser.client.get(f"{base}/console/sign-in")
            (morsel,) = cookies_set(answer).values()
            assert bool(morsel["secure"]) is secure, base
            browser.client.cookies.clear()


async def test_a_key_signs_in_with_any_scope_of_the_console_and_no_other(
    rules: Path, keys: KeysInFile
) -> None:
    async with browsing(rules, keys) as browser:
        for name, secret in keys.secrets.items():
            browser.client.cookies.clear()
            answer = await browser.sign_in(f" {secret}\n")
            assert answer.status_code == (403 if name == "decide-key" else 303), name
            after = await browser.get("/console")
            assert after.status_code == (303 if name == "decide-key" else 200), name
        for wrong in ("", "nbk_wrong", keys.secrets["view-key"][:-1], "密钥"):
            browser.client.cookies.clear()
            answer = await browser.sign_in(wrong)
            assert answer.status_code == 401
            assert "This key is not known" in answer.text
            assert browser.cookie not in cookies_set(answer)


async def test_signing_in_and_out_are_entries_of_the_audit(rules: Path, keys: KeysInFile) -> None:
    async with browsing(rules, keys) as browser:
        await browser.sign_in(keys.secrets["edit-key"])
        assert "edit-key" in (await browser.get("/console")).text
        answer = await browser.post("/console/sign-out")
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in")
        assert (await browser.get("/console")).status_code == 303
        found = await entries(browser.api.engine.runtime.store)
        assert [(one.action, one.by, one.result) for one in found] == [
            ("console.sign-in", "edit-key", "done"),
            ("console.sign-out", "edit-key", "done"),
        ]


async def test_signing_out_ends_the_session_in_the_store(rules: Path, keys: KeysInFile) -> None:
    async with browsing(rules, keys) as browser:
        await browser.sign_in(keys.secrets["view-key"])
        stolen = browser.client.cookies[browser.cookie]
        await browser.post("/console/sign-out")
        browser.client.cookies.set(browser.cookie, stolen, domain="localhost.local")
        assert (await browser.get("/console")).status_code == 303


async def test_signing_in_again_ends_the_session_before(rules: Path, keys: KeysInFile) -> None:
    async with browsing(rules, keys) as browser:
        await browser.sign_in(keys.secrets["view-key"])
        first = browser.client.cookies[browser.cookie]
        csrf = await browser.token("/console")
        await browser.sign_in(keys.secrets["admin-key"], csrf=csrf)
        assert browser.client.cookies[browser.cookie] != first
        browser.client.cookies.clear()
        answer = await browser.get("/console", cookie=f"{browser.cookie}={first}")
        assert answer.status_code == 303


async def test_signing_in_at_one_server_of_a_host_signs_nobody_out_of_another(
    rules: Path, keys: KeysInFile
) -> None:
    async with browsing(rules, keys) as one, browsing(rules, keys, key_prefix="other:") as other:
        other.client.cookies = one.client.cookies  # a browser sends them to all ports
        await one.sign_in(keys.secrets["view-key"])
        await other.sign_in(keys.secrets["admin-key"])
        for browser, name in ((one, "view-key"), (other, "admin-key")):
            assert name in (await browser.get("/console")).text
        await other.post("/console/sign-out")
        assert (await one.get("/console")).status_code == 200


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"port": 9000, "workers": 4}, True),  # another server on the store
        ({"redis_url": "redis://app:another@cache:6379/0"}, True),
        ({"redis_url": "redis://app:secret@cache:6379/1"}, False),
        ({"key_prefix": "other:"}, False),
        ({"redis_url": None}, False),
    ],
)
def test_servers_on_one_store_share_sessions_and_others_do_not(
    changes: dict[str, Any], same: bool
) -> None:
    url = "redis://app:secret@cache:6379/0"
    own = cookie_name(ServerSettings(redis_url=url))
    assert (cookie_name(ServerSettings(**{"redis_url": url, **changes})) == own) is same


async def test_a_revoked_key_ends_its_sessions(rules: Path, keys: KeysInFile) -> None:
    async with browsing(rules, keys) as browser:
        await browser.sign_in(keys.secrets["view-key"])
        assert (await browser.get("/console")).status_code == 200
        keys.revoke("view-key")
        async with asyncio.timeout(30):
            while (await browser.get("/console")).status_code == 200:
                await asyncio.sleep(0.05)
        assert (await browser.get("/console")).status_code == 303


async def test_an_expired_key_ends_its_sessions(rules: Path, keys: KeysInFile) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    secret = keys.add("short", ["view"], expires=soon)
    async with browsing(rules, keys) as browser:
        await browser.sign_in(secret)
        async with asyncio.timeout(30):
            while (await browser.get("/console")).status_code == 200:
                await asyncio.sleep(0.05)
        assert datetime.now(UTC) >= soon


async def test_a_session_lasts_twelve_hours_after_its_last_use_and_a_week_at_most() -> None:
    now = wall_clock()
    engine = Engine(MemoryStore(clock=lambda: now / 1e6), clock=lambda: now)
    sessions = Sessions(engine.runtime, "a")
    cookie = await sessions.begin("ab" * 32)
    began = now
    while now + LASTS - 1 < began + LASTS_AT_MOST:
        now += LASTS - 1
        assert await sessions.find(cookie) is not None
    now = began + LASTS_AT_MOST
    assert await sessions.find(cookie) is None
    other = await sessions.begin("ab" * 32)
    now += LASTS
    assert await sessions.find(other) is None
    for wrong in ("", "x" * 43, other[:-1]):
        assert await sessions.find(wrong) is None


async def test_a_form_of_another_site_is_refused_whatever_it_knows(
    rules: Path, keys: KeysInFile
) -> None:
    async with browsing(rules, keys) as browser:
        await browser.sign_in(keys.secrets["admin-key"])
        csrf = await browser.token("/console")
        for headers in [
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": "http://localhost:9999"},
            {"origin": "http://localhost.evil.example"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"sec-fetch-site": "none"},
            {**ORIGIN, "sec-fetch-site": "cross-site"},
            {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
            {},
        ]:
            for given in ({"csrf": csrf}, {}):
                extra = {} if given else {"x-csrf-token": csrf}
                answer = await browser.client.post(
                    "/console/sign-out", data=given, headers={**headers, **extra}
                )
                assert answer.status_code == 403, headers
        assert (await browser.get("/console")).status_code == 200


async def test_a_form_without_the_token_of_this_browser_is_refused(
    rules: Path, keys: KeysInFile
) -> None:
    async with browsing(rules, keys) as other, browsing(rules, keys) as browser:
        foreign = await other.token()
        await browser.sign_in(keys.secrets["admin-key"])
        for given in ({}, {"csrf": ""}, {"csrf": foreign}, {"csrf": "é"}):
            for path in ("/console/sign-out", "/console/view", "/console/sign-in"):
                answer = await browser.client.post(path, data=given, headers=ORIGIN)
                assert answer.status_code == 403, given
        csrf = await browser.token("/console")
        answer = await browser.client.post(
            "/console/view", data={"theme": "dark"}, headers={**ORIGIN, "x-csrf-token": csrf}
        )
        assert answer.status_code == 303
        same = {"sec-fetch-site": "same-origin"}
        answer = await browser.client.post("/console/sign-out", data={"csrf": csrf}, headers=same)
        assert answer.status_code == 303


async def test_a_browser_that_keeps_no_cookies_is_told_so(rules: Path, keys: KeysInFile) -> None:
    async with browsing(rules, keys) as browser:
        csrf = await browser.token()
        browser.client.cookies.clear()
        answer = await browser.sign_in(keys.secrets["view-key"], csrf=csrf)
        assert answer.status_code == 403
        assert "did not send the console&#39;s cookie" in answer.text


async def test_another_type_and_too_large_a_form_are_refused(rules: Path) -> None:
    async with browsing(rules) as browser:
        csrf = await browser.token("/console")
        headers = {**ORIGIN, "x-csrf-token": csrf}
        answer = await browser.client.post("/console/view", json={"a": 1}, headers=headers)
        assert answer.status_code == 415
        answer = await browser.client.post(
            "/console/view", data={"a": "x" * 20_000}, headers=headers
        )
        assert answer.status_code == 413
        many = "&".join(f"f{n}=" for n in range(2000))
        many = "&".join([many[:12_000]] + ["a="] * 10)
        kind = {"content-type": "application/x-www-form-urlencoded"}
        answer = await browser.client.post(
            "/console/view", content=many, headers={**headers, **kind}
        )
        assert answer.status_code == 303


async def test_a_link_of_another_site_leads_on_so_that_the_cookies_come_along(
    rules: Path, keys: KeysInFile
) -> None:
    """They are SameSite=Strict: a link in a mail comes without them, though somebody signed in."""
    async with browsing(rules, keys) as browser:
        await browser.sign_in(keys.secrets["view-key"])
        cookies = dict(browser.client.cookies)
        browser.client.cookies.clear()
        path = "/console/operations/audit?by=%22%3E%3Cscript%3E"
        answer = await browser.get(path, **{"sec-fetch-site": "cross-site"})
        assert answer.status_code == 200
        assert f'content="0; url={path}"' in answer.text
        assert "set-cookie" not in answer.headers
        for name, value in cookies.items():
            browser.client.cookies.set(name, value)
        answer = await browser.get(path, **{"sec-fetch-site": "same-origin"})
        assert answer.status_code == 200 and "<h1>Audit</h1>" in answer.text


class Unreachable(MemoryStore):
    """A store that stops to answer."""

    away = False

    async def get_session(self, name: str) -> bytes | None:
        if self.away:
            raise StoreUnavailable("no answer", code="timeout")
        return await super().get_session(name)

    async def history(self, name: str, last: int | None = None) -> list[bytes]:
        if self.away:
            raise StoreUnavailable("no answer", code="timeout")
        return await super().history(name, last)


async def test_while_the_store_does_not_answer_a_page_says_so_and_offers_to_try_again(
    rules: Path, keys: KeysInFile
) -> None:
    store = Unreachable()
    async with browsing(rules, keys, store) as browser:
        await browser.sign_in(keys.secrets["view-key"])
        csrf = await browser.token("/console")
        store.away = True
        page = await browser.get("/console/operations/audit?by=ann")
        assert page.status_code == 503
        assert "The store does not answer" in page.text
        assert 'href="/console/operations/audit?by=ann"' in page.text
        assert page.headers["content-security-policy"] == CSP
        assert page.headers["retry-after"]
        # Signing out has to be known to have happened; language and theme need no store.
        answer = await browser.post("/console/sign-out", csrf=csrf)
        assert answer.status_code == 503
        assert (await browser.post("/console/view", csrf=csrf, theme="dark")).status_code == 303
        assert (await browser.get("/console/sign-in")).status_code == 200
        store.away = False
        assert (await browser.get("/console")).status_code == 200
    async with browsing(rules, None, store) as browser:
        store.away = True
        assert (await browser.get("/console")).status_code == 200
        assert (await browser.get("/console/operations/audit")).status_code == 503


async def test_the_language_and_the_theme_are_chosen_by_anybody_and_stay(
    rules: Path, keys: KeysInFile
) -> None:
    async with browsing(rules, keys) as browser:
        assert 'lang="zh-Hans"' in (await browser.get("/console/sign-in", **ZH)).text[:300]
        await browser.post("/console/view", language="zh")
        page = await browser.get("/console/sign-in")
        assert "API 密钥" in page.text and 'data-theme="auto"' in page.text
        answer = await browser.post("/console/view", theme="dark", next="/console/operations")
        assert answer.headers["location"] == "/console/operations"
        page = await browser.get("/console/sign-in")
        assert "API 密钥" in page.text and 'data-theme="dark"' in page.text
        await browser.post("/console/view", language="xx", theme='"><script>')
        assert 'data-theme="dark"' in (await browser.get("/console/sign-in")).text


ZH = {"accept-language": "zh-CN,zh;q=0.9"}


def probe(console: Console) -> list[ControllerRouterHandler]:
    """A page for each scope, each for a form."""

    def of(scope: str) -> ControllerRouterHandler:
        @post(f"/probe/{scope}", status_code=200, opt={"scope": scope})
        async def change(request: Request[Any, Any, Any]) -> Answer:
            await console.audit(
                request, "probe.change", target=scope, reason=form_of(request).text("reason")
            )
            return Answer(form_of(request).text("text").encode())

        return change

    return [of(scope) for scope in ("view", "edit", "publish", "operate")]


@pytest.fixture
def _probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decision.console.PAGES", (*PAGE_MODULES, probe))


@pytest.mark.usefixtures("_probe")
async def test_each_scope_allows_what_it_says_and_admin_allows_all(
    rules: Path, keys: KeysInFile
) -> None:
    async with browsing(rules, keys) as browser:
        for name in ("view", "edit", "publish", "operate", "admin"):
            browser.client.cookies.clear()
            await browser.sign_in(keys.secrets[f"{name}-key"])
            csrf = await browser.token("/console")
            for scope in ("view", "edit", "publish", "operate"):
                answer = await browser.post(f"/console/probe/{scope}", csrf=csrf)
                allowed = scope in ("view", name) or name == "admin"
                assert answer.status_code == (200 if allowed else 403), (name, scope)
                if not allowed:
                    assert f"Your key {name}-key lacks the scope {scope}." in answer.text


@pytest.mark.usefixtures("_probe")
async def test_a_change_is_an_entry_with_the_reason_which_is_not_logged(
    rules: Path, keys: KeysInFile, capsys: pytest.CaptureFixture[str]
) -> None:
    async with browsing(rules, keys) as browser:
        await browser.sign_in(keys.secrets["operate-key"])
        csrf = await browser.token("/console")
        await browser.post("/console/probe/operate", csrf=csrf, reason=" for Li Lei " + "x" * 600)
        found = (await entries(browser.api.engine.runtime.store))[-1]
        assert (found.action, found.by, found.target) == ("probe.change", "operate-key", "operate")
        assert found.reason is not None and found.reason.startswith("for Li Lei x")
        assert len(found.reason) == 500
        assert found.request_id
        page = await browser.get("/console/operations/audit?action=probe.change")
        assert "for Li Lei" in page.text
    assert "Li Lei" not in capsys.readouterr().err


@pytest.mark.usefixtures("_probe")
async def test_what_was_entered_is_not_lost_when_a_session_ends(
    rules: Path, keys: KeysInFile
) -> None:
    async with browsing(rules, keys) as browser:
        await browser.sign_in(keys.secrets["edit-key"])
        csrf = await browser.token("/console")
        browser.client.cookies.delete(browser.cookie)
        fields = {"text": '周末"<b>&', "empty": "", "csrf": csrf}
        path = "/console/probe/edit"
        answer = await browser.client.post(f"{path}?file=a", data=fields, headers=ORIGIN)
        assert answer.status_code == 401
        assert "You are signed out" in answer.text
        assert f'action="{path}?file=a"' in answer.text
        assert 'name="text" value="周末&#34;&lt;b&gt;&amp;"' in answer.text
        assert 'name="empty" value=""' in answer.text
        part = await browser.client.post(
            path, data=fields, headers={**ORIGIN, "hx-request": "true"}
        )
        assert part.status_code == 401 and part.headers["hx-retarget"] == "#notices"
        assert "<html" not in part.text
        await browser.sign_in(keys.secrets["edit-key"])  # in another tab
        answer = await browser.client.post(path, data=fields, headers=ORIGIN)
        assert (answer.status_code, answer.text) == (200, '周末"<b>&')


def test_an_application_without_the_console_has_none_of_its_routes() -> None:
    app = create_app(Engine(MemoryStore()), ServerSettings(console=False))
    assert not [route.path for route in app.routes if "console" in route.path]
