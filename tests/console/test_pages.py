"""Pages show what there is, whatever somebody wrote into it, and say what is wrong."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.console import PAGES as PAGE_MODULES
from decision.console import Console
from decision.console.answers import Answer
from decision.console.console import path_text
from decision.core.errors import NotFound
from decision.observability import configure_logging
from decision.server.audit import LastPseudonyms, audit, entry_of
from decision.store import MemoryStore
from tests.console.conftest import browsing

pytestmark = pytest.mark.anyio
HTML = "<script>alert(1)</script>\"'<img src=x onerror=alert(1)>"
LONG = "周" * 200


async def noted(store: MemoryStore, **fields: Any) -> None:
    names = LastPseudonyms(store)
    given = {"action": "rules.publish", "by": "ann", **fields}
    await audit(store, names, entry_of(given.pop("action"), given.pop("by"), **given))


async def test_html_in_what_somebody_wrote_is_text(rules: Path) -> None:
    store = MemoryStore()
    async with browsing(rules, None, store) as browser:
        await noted(store, by=HTML, action=HTML, target=HTML, reason=HTML + LONG)
        page = await browser.client.get(
            "/console/operations/audit", params={"by": HTML, "action": HTML, "page": HTML}
        )
        assert page.status_code == 200
        assert "<script>alert" not in page.text and "<img src=x" not in page.text
        assert page.text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 6
        assert LONG in page.text
        for path in (f"/console/{HTML}", "/console/sign-in?next=" + HTML):
            page = await browser.client.get(path, follow_redirects=True)
            assert "<script>alert" not in page.text and "<img src=x" not in page.text


async def test_the_audit_is_filtered_and_paged_by_its_address(rules: Path) -> None:
    store = MemoryStore()
    async with browsing(rules, None, store) as browser:
        page = await browser.get("/console/operations/audit")
        assert "Nothing was noted yet" in page.text
        for n in range(120):
            await noted(store, by=f"p{n % 2}", target=f"v{n}-")
        page = await browser.get("/console/operations/audit")
        assert "120 entries" in page.text and "Page 1 of 3" in page.text
        assert page.text.index("v119-") < page.text.index("v118-") < page.text.index("v70-")
        assert "v69-" not in page.text
        page = await browser.get("/console/operations/audit?by=p1&page=2")
        assert "60 entries" in page.text and "Page 2 of 2" in page.text
        assert "v19-" in page.text and "v18-" not in page.text
        assert "by=p1" in page.text
        for odd in ("0", "-1", "99", "x", "1e9", "９"):
            assert (await browser.get(f"/console/operations/audit?page={odd}")).status_code == 200


async def test_changes_can_be_seen_without_looks_and_lead_to_what_was_changed(rules: Path) -> None:
    store = MemoryStore()
    async with browsing(rules, None, store) as browser:
        await noted(store, action="customer.view", target="p-1")
        await noted(store, action="console.sign-in")
        for action, target in (
            ("draft.save", "0d3e20 messages/tea.yaml"),
            ("policy.publish", "5c1d9f"),
            ("journey.pause", f"周 {HTML}"),
            ("model.promote", "engagement/c7f2"),
        ):
            await noted(store, action=action, target=target)
        page = await browser.get("/console/operations/audit?action=changes")
        assert "4 entries" in page.text and "p-1" not in page.text
        for path in (
            "rules/drafts/0d3e20",
            "rules/history",
            "journeys/%E5%91%A8%20",
            "models/version?version=engagement%2Fc7f2",
        ):
            assert f'href="/console/{path}' in page.text, path
        assert HTML not in page.text


def odd_pages(console: Console) -> list[ControllerRouterHandler]:
    """Pages that do what a page may do wrong."""

    @get("/odd/{name:str}")
    async def odd(request: Request[Any, Any, Any]) -> Answer:
        name = path_text(request, "name")
        if name == "missing":
            raise NotFound("no such thing")
        if name == "broken":
            raise RuntimeError("secret-4711")
        if name == "slow":
            await console.work(stop.wait, 0.05)
        return Answer(name.encode())

    stop = threading.Event()
    console.linked.add("/console/customers")
    return [odd]


@pytest.fixture
def _odd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decision.console.PAGES", (*PAGE_MODULES, odd_pages))


@pytest.mark.usefixtures("_odd")
async def test_an_error_is_a_page_in_the_language_of_whoever_looks(
    rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("error")
    async with browsing(rules) as browser:
        for name, status, english, chinese in [
            ("missing", 404, "Not found", "未找到"),
            ("broken", 500, "The server failed", "服务器出错"),
            ("slow", 503, "This takes longer than 0 s.", "处理时间超过"),
            ("%ff", 404, "percent-encoded", "百分号编码"),
            ("x" * 2000, 404, "The address is too long.", "地址过长。"),
        ]:
            page = await browser.get(f"/console/odd/{name}")
            assert page.status_code == status
            assert english in page.text and "secret-4711" not in page.text
            assert 'id="search"' in page.text  # the shell is there
            page = await browser.get(f"/console/odd/{name}", **{"accept-language": "zh"})
            assert chinese in page.text and english not in page.text
            part = await browser.get(f"/console/odd/{name}", **{"hx-request": "true"})
            assert part.status_code == status and "<html" not in part.text
            assert part.headers["hx-retarget"] == "#notices"
    assert "request_failed" in capsys.readouterr().err


@pytest.mark.usefixtures("_odd")
async def test_pages_that_never_end_do_not_keep_others_from_being_shown(rules: Path) -> None:
    async with browsing(rules) as browser:
        slow = [browser.get("/console/odd/slow") for _ in range(9)]
        answers = await asyncio.gather(*slow)
        assert {answer.status_code for answer in answers} == {503}
        assert (await browser.get("/console")).status_code == 200


async def test_an_asset_is_kept_for_ever_and_packed_for_whoever_takes_that(rules: Path) -> None:
    async with browsing(rules) as browser:
        page = await browser.get("/console")
        name = page.text.partition('<script src="')[2].partition('"')[0]
        packed = await browser.get(name)
        assert packed.headers["content-encoding"] == "gzip"
        plain = await browser.get(name, **{"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert packed.content == plain.content  # httpx unpacks it
        for one in (packed, plain):
            assert one.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert one.headers["content-type"] == "text/javascript; charset=utf-8"
            assert "set-cookie" not in one.headers
        for odd in ("../console.py", "..%2Fconsole.py", "manifest.json", ""):
            assert (await browser.get(f"/console/assets/{odd}")).status_code == 404
