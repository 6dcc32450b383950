"""The console over the memory store, with a small policy; keys where a test asks for them."""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import msgspec
import playwright.sync_api
import pytest
from playwright.sync_api import Page

from decision.console.sessions import cookie_name
from decision.core.ports import Store
from decision.core.schema import (
    ConsentStatement,
    ConsentUpdate,
    CustomerUpdate,
    DecisionRequest,
    Event,
)
from decision.observability import configure_logging
from decision.server.audit import LastPseudonyms, audit, entry_of
from decision.server.keys.entries import ApiKey, make_key
from decision.server.settings import ServerSettings
from tests.api.conftest import RULES, Api, running
from tests.console.site import Site
from tests.console.watching import CHROMIUM, Watched

_TOKEN = re.compile(r'name="csrf" value="([^"]+)"')
ORIGIN = {"origin": "http://localhost"}


@pytest.fixture(autouse=True)
def _logging() -> None:
    configure_logging("error")


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A folder with a small policy."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "rules.yaml").write_text(RULES)
    return folder


class Browser:
    """What a browser does with pages, in a few words; without script."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.client = api.client
        self.client.headers["accept"] = "text/html"

    @property
    def cookie(self) -> str:
        """The name of the cookie that has the session."""
        return cookie_name(ServerSettings())

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def token(self, path: str = "/console/sign-in") -> str:
        """The token of the forms of a page."""
        page = await self.client.get(path, follow_redirects=True)
        found = _TOKEN.search(page.text)
        assert found, page.text
        return unescape(found[1])

    async def post(
        self, path: str, headers: dict[str, str] | None = None, **fields: str
    ) -> httpx.Response:
        """A form of our own page."""
        if "csrf" not in fields:
            fields["csrf"] = await self.token()
        return await self.client.post(path, data=fields, headers={**ORIGIN, **(headers or {})})

    async def sign_in(self, key: str, **fields: str) -> httpx.Response:
        return await self.post("/console/sign-in", key=key, **fields)


class KeysInFile:
    """A keys file, and the secrets of its keys by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.secrets: dict[str, str] = {}
        self.entries: dict[str, ApiKey] = {}

    def add(self, name: str, scopes: Sequence[str], **fields: Any) -> str:
        secret, entry = make_key(name, scopes, **fields)
        self.secrets[name], self.entries[name] = secret, entry
        self.write()
        return secret

    def revoke(self, name: str) -> None:
        del self.entries[name]
        self.write()

    def write(self) -> None:
        self.path.write_text(json.dumps(msgspec.to_builtins(list(self.entries.values()))))


@pytest.fixture
def keys(tmp_path: Path) -> KeysInFile:
    """A keys file with a key of each scope of the console, and one without any."""
    found = KeysInFile(tmp_path / "keys.yaml")
    for scope in ("view", "edit", "publish", "operate", "admin", "decide"):
        found.add(f"{scope}-key", [scope])
    return found


@asynccontextmanager
async def browsing(
    rules: Path, keys: KeysInFile | None = None, store: Store | None = None, **settings: Any
) -> AsyncIterator[Browser]:
    """A browser at a server."""
    if keys is not None:
        settings["api_keys_file"] = str(keys.path)
    async with running(rules, store, **{"console": True, **settings}) as api:
        yield Browser(api)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[playwright.sync_api.Browser]:
    """The Chromium of this machine: none is downloaded.

    For a module, in which no test is asynchronous, and no longer: while it lives, no other event
    loop can run in this thread. Of tests that run side by side one has it at a time: several took
    the time from those beside them that need their answers within a second.
    """
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    lock = tmp_path_factory.getbasetemp().parent / "chromium.lock"
    with lock.open("w") as held, playwright.sync_api.sync_playwright() as started:
        fcntl.flock(held, fcntl.LOCK_EX)
        playwright.sync_api.expect.set_options(timeout=30_000)  # machines may be busy
        found = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield found
        found.close()


@pytest.fixture
def page(chromium: playwright.sync_api.Browser) -> Iterator[Page]:
    """An empty page of a browser without cookies."""
    context = chromium.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A server without keys, with the sample's rules, for the session."""
    with Site(Path(__file__).parents[2] / "rules") as found:
        found.run(_filled(found))
        yield found


async def _filled(site: Site) -> None:
    """Entries of the audit as long as they can be."""
    store = site.engine.runtime.store
    names = LastPseudonyms(store)
    for by in ("ann", "周" * 200, "x" * 200, "<b>li</b>"):
        entry = entry_of("rules.publish", by, target="v-" + "0f" * 40, reason=by * 2, command=True)
        await audit(store, names, entry)
    await _met(site)


async def _met(site: Site) -> None:
    """A customer of whom much is known, with names as long as they can be."""
    engine = site.engine
    attributes = {"first_name": "<b>li</b>", "last_name": "周" * 200, "tags": ["tea", "x" * 200]}
    aliases = {"email": "li@example.com", "phone": "+8613800000000"}
    await engine.customers.update("li", CustomerUpdate(attributes=attributes, aliases=aliases))
    said: ConsentUpdate = {
        name: {"*": ConsentStatement(state="granted", source="shop", evidence="x" * 300)}
        for name in engine.snapshot.policy.purposes
    }
    await engine.customers.set_consents("li", said)
    await engine.events.record([Event(type="purchase", customer_id="li", value=3)])
    for placement in ("outbound", "app_home"):
        await engine.decide(DecisionRequest(placement=placement, customer_id="li"))


@pytest.fixture(scope="session")
def keyed_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, KeysInFile]]:
    """A server with keys, for the session."""
    folder = tmp_path_factory.mktemp("keyed") / "rules"
    folder.mkdir()
    (folder / "rules.yaml").write_text(RULES)
    keys = KeysInFile(folder.parent / "keys.yaml")
    for scope in ("view", "edit", "admin"):
        keys.add(f"{scope}-key", [scope])
    with Site(folder, keys.path) as found:
        yield found, keys


@pytest.fixture
def watched(page: Page, site: Site) -> Iterator[Watched]:
    """A page at the server without keys; at its end nothing may have gone wrong."""
    found = Watched(page, site.url)
    yield found
    found.check()


@pytest.fixture
def keyed(page: Page, keyed_site: tuple[Site, KeysInFile]) -> Iterator[Watched]:
    """A page at the server with keys."""
    found = Watched(page, keyed_site[0].url)
    yield found
    found.check()
