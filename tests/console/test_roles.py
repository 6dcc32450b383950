"""Every address × every scope, from the table of routes: a new route is tried as it is added."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import pytest
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from decision.api.app import create_app
from decision.console.answers import CSP, redirect
from decision.console.forms import KEPT, SMALL
from decision.console.visitors import SCOPES
from decision.drafts.drafts import Drafts
from decision.engine import Engine
from decision.server.audit import DRAFTS, HISTORY, LOOKS, LastPseudonyms, audit, entries, entry_of
from decision.store import MemoryStore
from tests.console.addresses import EXAMPLES
from tests.console.conftest import ORIGIN, KeysInFile
from tests.console.test_rules import following, put

pytestmark = pytest.mark.anyio

HERE = {
    "/console/messages/{name}": "/console/messages/tips",
    "/console/messages/{name}/fate": "/console/messages/tips/fate",
    "/console/rules/files/{file}": "/console/rules/files/setup.yaml",
}
NAMED = {"{name}": "none", "{id}": "none", "{file}": "a.yaml", "{action}": "describe"}
MORE = {"/console/rules/drafts/{id}/do/{action}": {"comment", "approve", "return"}}
"""Actions that the scope `publish` allows as well."""


def handlers() -> list[tuple[str, str, HTTPRouteHandler]]:
    """Method, route and handler of all that the console answers."""
    found = []
    for route in create_app(Engine(MemoryStore())).routes:
        if isinstance(route, HTTPRoute) and route.path_format.startswith("/console"):
            for handler in route.route_handlers:
                methods = sorted(set(map(str, handler.http_methods)) & {"GET", "POST"})
                found += [(method, route.path_format, handler) for method in methods]
    return found


def address(path: str) -> str:
    found = HERE.get(path) or EXAMPLES.get(path) or path
    for name, value in {**NAMED, "{rejected}": "none"}.items():
        found = found.replace(name, value)
    return found


def test_what_changes_something_names_the_scope_that_it_needs() -> None:
    found = handlers()
    assert len(found) > 60
    for method, path, handler in found:
        scope = handler.opt.get("scope")
        scopes = {scope} if isinstance(scope, str) else set(scope or ())
        assert scopes <= SCOPES, path
        if method == "POST":
            assert scopes or handler.opt.get("public"), f"{path} is for nobody: name its scope"
            assert "view" not in scopes, f"{path} changes something"


async def test_every_address_lets_in_who_has_its_scope_and_nobody_else(
    tmp_path: Path, keys: KeysInFile
) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store, keys) as browser:
        for name in ("view", "edit", "publish", "operate", "admin"):
            browser.client.cookies.clear()
            assert (await browser.sign_in(keys.secrets[f"{name}-key"])).status_code == 303
            csrf = await browser.token("/console")
            for method, path, handler in handlers():
                if handler.opt.get("public") or handler.opt.get("asset"):
                    continue
                scope = handler.opt.get("scope", "view")
                needed = {scope} if isinstance(scope, str) else set(scope)
                allowed = name == "admin" or "view" in needed or name in needed
                if method == "POST":
                    answer = await browser.post(address(path), csrf=csrf)
                else:
                    answer = await browser.get(address(path))
                about = f"{name}: {method} {path} {answer.status_code}"
                if path in MORE and name == "publish":
                    assert answer.status_code == 403, about  # to describe is for editors
                    for action in MORE[path]:
                        own = address(path.replace("{action}", action))
                        assert (await browser.post(own, csrf=csrf)).status_code != 403, own
                    continue
                assert (answer.status_code != 403) is allowed, about
                assert answer.status_code not in (401, 500), about
                assert answer.headers["content-security-policy"] == CSP, about


async def test_who_has_not_signed_in_is_let_in_nowhere(tmp_path: Path, keys: KeysInFile) -> None:
    async with following(tmp_path, MemoryStore(), keys) as browser:
        csrf = await browser.token()
        for method, path, handler in handlers():
            if handler.opt.get("public") or handler.opt.get("asset"):
                continue
            if method == "POST":
                assert (await browser.post(address(path), csrf=csrf)).status_code == 401, path
            else:
                answer = await browser.get(address(path))
                assert answer.headers["location"].startswith("/console/sign-in?next="), path


async def test_of_those_who_are_not_signed_in_no_more_is_read_than_is_kept_for_them(
    tmp_path: Path, keys: KeysInFile
) -> None:
    async with following(tmp_path, MemoryStore(), keys) as browser:
        csrf = await browser.token()
        path = "/console/rules/drafts/none/edit/a.yaml"
        kept = await browser.post(path, csrf=csrf, text="# mine <b>\n" * 50_000)
        assert kept.status_code == 401 and kept.text.count("# mine &lt;b&gt;") == 50_000
        for size, own in ((KEPT, path), (SMALL, "/console/sign-in")):
            large = await browser.post(own, csrf=csrf, text="x" * size)
            assert large.status_code == 413 and "xxx" not in large.text
            assert large.headers["connection"] == "close"
        await browser.sign_in(keys.secrets["view-key"])
        csrf = await browser.token("/console")
        assert (await browser.post(path, csrf=csrf, text="x" * KEPT)).status_code == 403


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "http://[",
            "http://[::1",
            "//localhost",
            "http://",
            "localhost",
            "http://localhost@evil",
        ),
        *(
            "http://localhost:99999",
            "file://",
            "http://localhost\\@evil",
            "http://localhost, http://x",
        ),
    ],
)
async def test_an_origin_that_is_none_is_refused(
    tmp_path: Path, keys: KeysInFile, origin: str
) -> None:
    async with following(tmp_path, MemoryStore(), keys) as browser:
        for more in ({}, {"sec-fetch-site": "same-origin"}):
            answer = await browser.post("/console/view", {"origin": origin, **more}, theme="dark")
            assert answer.status_code == 403, origin


async def test_no_path_ends_a_header(tmp_path: Path) -> None:
    bad = "/console/x\r\nset-cookie: a=b\u5ba2\0"
    for answer in (redirect(bad), redirect(bad, htmx=True)):
        (where,) = {answer.headers.get("location"), answer.headers.get("hx-redirect")} - {None}
        assert where == "/console/x%0D%0Aset-cookie:%20a=b%E5%AE%A2%00"
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        for name in ("x%0d%0aset-cookie:%20a=b", "%E5%AE%A2", "..%2f..%2f%2fevil.example"):
            answer = await browser.get(f"/console/rules/drafts/{name}/add?file=a.yaml")
            assert answer.status_code == 404
        draft = await Drafts(store).create("winter", "li")
        answer = await browser.get(f"/console/rules/drafts/{draft.id}/add?file=%E5%AE%A2.yaml")
        assert answer.headers["location"].endswith("/edit/%E5%AE%A2.yaml")


async def test_what_people_wrote_is_not_lost_when_it_cannot_be_taken(
    tmp_path: Path, keys: KeysInFile
) -> None:
    store = MemoryStore()
    await put(store)
    draft = await Drafts(store).create("winter", "li")
    path = f"/console/rules/drafts/{draft.id}"
    mine, shown = "mine <b>" + "周" * 100, "mine &lt;b&gt;" + "周" * 100
    async with following(tmp_path, store, keys) as browser:
        await browser.sign_in(keys.secrets["admin-key"])
        csrf = await browser.token("/console")
        for own, status, fields in (
            (f"{path}/publish", 409, {"why": mine, "revision": "77"}),
            (f"{path}/do/approve", 409, {"comment": mine}),
            (f"{path}/do/comment", 400, {"comment": mine + "x" * 4_000}),
            (f"{path}/do/none", 404, {"comment": mine}),
            (f"{path}/edit/a.txt", 400, {"text": mine}),
            ("/console/rules/roll-back", 409, {"why": mine, "now": "else"}),
            ("/console/rules/drafts", 400, {"title": "", "why": mine}),
        ):
            answer = await browser.post(own, csrf=csrf, **fields)
            assert answer.status_code == status, (own, answer.text)
            assert shown in answer.text and "What you entered is still here" in answer.text, own
            assert "Send again" not in answer.text
        # A page that was opened before its browser had the cookie that it has now.
        answer = await browser.post(f"{path}/do/comment", csrf="another", comment=mine)
        assert answer.status_code == 403
        assert shown in answer.text and "Send again" in answer.text and csrf in answer.text
        evil = {"origin": "https://evil.example"}
        answer = await browser.post(f"{path}/do/comment", evil, csrf=csrf, comment=mine)
        assert answer.status_code == 403 and shown not in answer.text


async def test_entries_of_the_audit_are_short_and_those_of_which_there_are_many_stay_apart(
    tmp_path: Path, keys: KeysInFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    await put(store)
    draft = await Drafts(store).create("winter", "li")
    path = f"/console/rules/drafts/{draft.id}"
    monkeypatch.setattr("decision.server.audit.KEPT", 5)
    await audit(store, LastPseudonyms(store), entry_of("policy.publish", "ann", target="v1"))
    async with following(tmp_path, store, keys) as browser:
        for _ in range(6):
            await browser.sign_in(keys.secrets["edit-key"], csrf=await browser.token("/console"))
        csrf = await browser.token("/console")
        for _ in range(6):
            given = {"comment": "so", "old": "x" * 100_000}
            assert (await browser.post(f"{path}/do/comment", csrf=csrf, **given)).status_code == 303
        given = {"old": "x" * 190 + ".yaml", "seen": ""}
        assert (await browser.post(f"{path}/do/remove", csrf=csrf, **given)).status_code == 303
    found = await entries(store)
    assert [one.target for one in found if one.action == "policy.publish"] == ["v1"]
    assert max(len(one.target or "") for one in found) < 400
    kept = {name: len(await store.history(name)) for name in (HISTORY, LOOKS, DRAFTS)}
    assert kept == {HISTORY: 1, LOOKS: 5, DRAFTS: 5}


async def test_a_look_at_a_customer_s_texts_is_noted(tmp_path: Path) -> None:
    store = MemoryStore()
    await put(store)
    async with following(tmp_path, store) as browser:
        engine = browser.api.engine
        await browser.client.put("/v1/customers/li", json={"attributes": {"first_name": "Li"}})
        for page in ("/console/messages", "/console/messages/tips"):
            before = len(await entries(store))
            for customer in ("nobody", "", " li"):
                assert (await browser.get(f"{page}?{urlencode({'customer': customer})}")).is_success
            (found,) = (await entries(engine.runtime.store))[before:]
            assert (found.action, found.by) == ("customer.preview", "local")
            assert found.target and "li" not in found.target.split("-")


async def test_an_api_key_is_never_sent_back(tmp_path: Path, keys: KeysInFile) -> None:
    class Away(MemoryStore):
        async def put_session(self, name: str, data: bytes, lasts: int) -> None:
            from decision.core.errors import StoreUnavailable

            raise StoreUnavailable("gone")

    async with following(tmp_path, Away(), keys) as browser:
        secret = keys.secrets["view-key"]
        for headers in ({}, {"hx-request": "true"}):
            answer = await browser.post("/console/sign-in", headers, key=secret)
            assert answer.status_code == 503 and secret not in answer.text
        stale = await browser.client.post(
            "/console/sign-in", data={"key": secret, "csrf": "x"}, headers=ORIGIN
        )
        assert stale.status_code == 403 and secret not in stale.text
