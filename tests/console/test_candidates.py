"""The page of candidates: its state is in its address, and it says what it counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from decision.core.schema import DecisionRequest
from decision.store import MemoryStore
from tests.analytics.candidates.made import PAIRS, POLICY, Made, Way, archive, of
from tests.console.conftest import Browser, KeysInFile, browsing

pytestmark = pytest.mark.anyio
pytest.importorskip("pyarrow")

PATH = "/console/candidates"
HTML = "<script>alert(1)</script>"


def one(number: int) -> Made:
    """A decision between the first two messages, which the first one won."""
    ways = [Way("quiet_hours") for _ in PAIRS]
    for place, probability in ((0, 0.5), (2, 0.4)):
        ways[place] = Way("outranked", probability, scored=True)
        ways[place].priority = float(probability * POLICY.message_values[place])
    ways[0].reason = None
    return of(ways, [0], number=number)


@pytest.fixture
def archived(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    archive(folder, [one(number) for number in range(7)])
    return folder


async def counts(browser: Browser, status: int = 200, **asked: Any) -> str:
    page = await browser.get(f"{PATH}/found?{urlencode({'range': 'all', **asked})}")
    assert page.status_code == status, page.text
    return page.text


async def test_the_page_is_drawn_at_once_and_its_counts_are_loaded(
    rules: Path, archived: Path
) -> None:
    async with browsing(rules, archive=str(archived)) as browser:
        page = await browser.get(f"{PATH}?view=win-loss&range=all&placement=desk")
        assert f'hx-get="{PATH}/found?view=win-loss&amp;range=all&amp;placement=desk"' in page.text
        assert 'aria-busy="true"' in page.text
        part = await browser.get(f"{PATH}/found?range=all", **{"hx-request": "true"})
        assert part.status_code == 200
        assert "<html" not in part.text and "style=" not in part.text


async def test_counts_of_the_archive_say_what_they_are_of(rules: Path, archived: Path) -> None:
    first, second = PAIRS[0][0], PAIRS[2][0]
    async with browsing(rules, archive=str(archived)) as browser:
        text = await counts(browser, zone="Asia/Tokyo")
        for words in ("7 decisions are counted", "from the archive", "Asia/Tokyo", "quiet hours"):
            assert words in text, words
        assert first in text
        text = await counts(browser, view="win-loss", message=second)
        assert "Lost to" in text and first in text
        text = await counts(browser, view="sensitivity", message=first)
        assert "7 with a choice are compared" in text and "It loses" in text
        for by in ("category", "channel", "candidate", "placement", "day"):
            assert "7 decisions are counted" in await counts(browser, by=by)
        days: dict[str, Any] = {"from": "1999-01-01", "to": "1999-01-02"}
        empty = await counts(browser, **days)
        assert "No decision to count" in empty and "Jan 1, 1999" in empty


async def test_the_same_counts_come_as_json(rules: Path, archived: Path) -> None:
    async with browsing(rules, archive=str(archived)) as browser:
        for view in ("funnel", "win-loss", "sensitivity"):
            answer = await browser.get(f"{PATH}/data?range=all&view={view}")
            assert answer.status_code == 200
            assert f'filename="{view}.json"' in answer.headers["content-disposition"]
            assert json.loads(answer.text)["about"]["decisions"] == 7


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"from": "yesterday"}, "yesterday is not a date"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "ends before it begins"),
        ({"zone": "Mars/Base"}, "Mars/Base is not a time zone"),
        ({"placement": HTML}, "no decision has the placement &lt;script&gt;"),
        ({"variant": "b"}, "a variant needs its experiment"),
        ({"by": "segment"}, "rows by segment need the field"),
        ({"segment": "event.city"}, "is not stored with customers"),
        ({"message": "a", "category": "b"}, "it cannot be kept beside"),
        ({"view": "win-loss", "message": HTML * 40}, "no decision has the message"),
    ],
)
async def test_what_cannot_be_counted_is_said_in_place_of_the_counts(
    rules: Path, archived: Path, asked: dict[str, str], says: str
) -> None:
    async with browsing(rules, archive=str(archived)) as browser:
        text = await counts(browser, 400, **asked)
        assert says in text
        assert "<script>alert" not in text
        page = await browser.get(f"{PATH}?{urlencode(asked)}")
        assert page.status_code == 200 and "<script>alert" not in page.text
        data = await browser.get(f"{PATH}/data?{urlencode({'range': 'all', **asked})}")
        assert data.status_code == 303 and data.headers["location"].startswith(f"{PATH}/found?")


@pytest.mark.parametrize("there", [True, False])
async def test_without_an_archive_the_newest_decisions_of_the_log_are_counted(
    rules: Path, tmp_path: Path, there: bool
) -> None:
    settings: dict[str, Any] = {} if there else {"archive": str(tmp_path / "none")}
    async with browsing(rules, store=MemoryStore(), **settings) as browser:
        text = await counts(browser)
        assert "the log has no decisions yet" in text and "No decision to count" in text
        says = "start the server with --archive DIR" if there else "is not there"
        assert says in text
    async with browsing(rules, store=MemoryStore(), **settings) as browser:
        for customer in ("c-1", "c-2"):
            await browser.api.engine.decide(
                DecisionRequest(placement="app_home", customer_id=customer)
            )
        text = await counts(browser)
        assert "2 decisions are counted" in text and "from the store&#39;s log" in text
        assert "hello" in text


async def test_missing_packages_are_named_with_the_command_that_installs_them(
    rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decision.installation.find_spec", lambda name: None)
    async with browsing(rules) as browser:
        text = await counts(browser)
        assert "Packages are missing on the server" in text
        assert "duckdb" in text and "install" in text


async def test_the_page_needs_the_scope_view(rules: Path, keys: KeysInFile) -> None:
    async with browsing(rules, keys) as browser:
        assert (await browser.get(f"{PATH}/found")).status_code == 303
        await browser.sign_in(keys.secrets["decide-key"])
        assert (await browser.get(f"{PATH}/data")).status_code in (303, 403)
