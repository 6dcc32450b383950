"""Pages of journeys: who waits where, and pausing, resuming, stopping them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from decision.core.schema import Event
from decision.store import MemoryStore
from tests.console.conftest import Browser, KeysInFile, browsing

pytestmark = pytest.mark.anyio


RULES = """
settings: {timezone: Asia/Shanghai, currency: CNY, exploration: "off"}
purposes: {marketing: {consent: opt_in}}
channels: {push: {cost: 0.01}}
placements: {crm: {channels: [push], delivery: gateway}}
messages:
  hello: {purpose: marketing, channels: [push], value: 1, content: {title: 你好}}
journeys:
  welcome:
    start: {event: sign_up}
    goal: {event: purchase}
    steps:
      wait: {wait: 1h}
      hello: {ask: crm}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "rules.yaml").write_text(RULES)
    return folder


async def entered(browser: Browser, *customers: str) -> None:
    engine = browser.api.engine
    for customer in customers:
        await engine.events.record([Event(type="sign_up", customer_id=customer)])
        await engine.stepping.run_due()


async def test_the_list_and_the_page_say_who_waits_where(rules: Path) -> None:
    async with browsing(rules) as browser:
        await entered(browser, "c-1", "客户<二>")
        page = await browser.get("/console/journeys")
        assert 'href="/console/journeys/welcome"' in page.text
        page = await browser.get("/console/journeys/welcome")
        assert page.status_code == 200
        assert "<svg" in page.text
        assert "style=" not in page.text
        assert "客户&lt;二&gt;" in page.text
        assert "There is no archive" in page.text


async def test_who_goes_on_next_are_no_runs_of_weeks_later(rules: Path) -> None:
    later = (
        RULES
        + """
  slow:
    start: {event: sign_up}
    steps:
      rest:  {wait: 30d}
      hello: {ask: crm}
"""
    )
    (rules / "rules.yaml").write_text(later)
    async with browsing(rules) as browser:
        await entered(browser, "c-1")
        link = "/console/customers/c-1"
        assert link in (await browser.get("/console/journeys/welcome")).text
        page = (await browser.get("/console/journeys/slow")).text
        assert link not in page and "1 more run is under way and goes on later" in page
        timeline = (await browser.get(link, **{"accept-language": "zh"})).text
        assert "由 事件 sign_up 开始" in timeline


async def test_a_journey_is_paused_with_a_reason_and_goes_on_again(rules: Path) -> None:
    store = MemoryStore()
    async with browsing(rules, store=store) as browser:
        path = "/console/journeys/welcome"
        refused = await browser.post(f"{path}/pause", why="  ")
        assert refused.status_code == 400
        done = await browser.post(f"{path}/pause", why="wrong <coupon>")
        assert (done.status_code, done.headers["location"]) == (303, path)
        page = await browser.get(path)
        assert "wrong &lt;coupon&gt;" in page.text
        home = (await browser.get("/console")).text
        notice = home[home.index("journey welcome has been paused for") :]
        assert notice[: notice.index("</p>")].endswith('<a href="/console/journeys">Look</a>')
        assert set(await store.held_journeys()) == {"welcome"}
        await browser.post(f"{path}/stop", why="over")
        assert (await store.held_journeys())["welcome"].ends
        await browser.post(f"{path}/resume")
        assert await store.held_journeys() == {}
        audit = await browser.get("/console/operations/audit")
        for word in ("journey.pause", "journey.stop", "journey.resume", "wrong &lt;coupon&gt;"):
            assert word in audit.text


async def test_who_may_only_look_sees_no_button_and_is_refused(
    rules: Path, keys: KeysInFile
) -> None:
    async with browsing(rules, keys) as browser:
        await browser.sign_in(keys.secrets["view-key"])
        page = await browser.get("/console/journeys/welcome")
        assert "/pause" not in page.text
        token = await browser.token("/console/journeys")
        refused = await browser.post("/console/journeys/welcome/pause", csrf=token, why="x")
        assert refused.status_code == 403


async def test_a_journey_that_is_not_there_is_a_page_of_its_own(rules: Path) -> None:
    async with browsing(rules) as browser:
        assert (await browser.get("/console/journeys/none")).status_code == 404
        assert (await browser.get("/console/journeys/%FF")).status_code == 404


async def test_a_policy_without_journeys_says_how_to_begin(rules: Path) -> None:
    text = RULES.partition("journeys:")[0]
    (rules / "rules.yaml").write_text(text)
    async with browsing(rules) as browser:
        assert "The rules have no journeys" in (await browser.get("/console/journeys")).text


async def test_the_archive_says_what_came_of_it(rules: Path, tmp_path: Path) -> None:
    """Without the archive's packages, or where nothing was archived, it says so."""
    settings: dict[str, Any] = {"archive": str(tmp_path / "archive")}
    (tmp_path / "archive").mkdir()
    async with browsing(rules, **settings) as browser:
        page = await browser.get("/console/journeys/welcome")
        assert "/console/journeys/welcome/report?range=month" in page.text
        part = await browser.get("/console/journeys/welcome/report", **{"hx-request": "true"})
        assert part.status_code == 200
        assert "<html" not in part.text
