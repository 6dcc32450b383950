"""Pages of experiments and reports: from the archive, or a sentence that says what is missing."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from html import unescape
from pathlib import Path
from typing import Any, cast

import pytest

from decision.archive.archiver import Archiver
from decision.archive.folder import ArchiveFolder
from decision.children import Child
from decision.core.schema import DecisionRequest, Event
from decision.store import MemoryStore
from tests.console.conftest import Browser, KeysInFile, browsing

pytestmark = pytest.mark.anyio
pytest.importorskip("pyarrow")

TESTS = """
experiments:
  nobody: {share: 50%, seed: hold}
  colour: {variants: {red: 50%, "<b>blue": 50%}, seed: colour-1}
rules:
  louder: {when: {experiment.colour: red}, boost: {messages: offer}, by: 2}
metrics:
  buyers: {event: purchase, measure: share, within: 7d}
"""
PARTS = (
    "experiments/found?range=all",
    "reports/found?kind=retention",
    "reports/found?kind=segments",
)


@pytest.fixture
def tested(rules: Path) -> Path:
    file = rules / "rules.yaml"
    file.write_text(file.read_text() + TESTS)
    return rules


async def archived(browser: Browser, archive: Path) -> None:
    engine = browser.api.engine
    for number in range(12):
        customer = f"c-{number}"
        await browser.api.consent(customer)
        await engine.decide(DecisionRequest(placement="outbound", customer_id=customer))
        bought = Event(type="purchase", customer_id=customer, properties={"amount": 10 + number})
        await engine.events.record([bought])
    archive.mkdir()
    folder = ArchiveFolder(archive)
    with folder.claimed():
        archiver = Archiver(folder, cast(Any, engine.runtime.store), clock=engine.runtime.clock)
        await archiver.open()
        await archiver.run()


async def test_the_archive_says_who_was_in_which_variant(tested: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    async with browsing(tested, store=MemoryStore(), archive=str(archive)) as browser:
        page = await browser.get("/console/experiments")
        for words in ("colour", "&lt;b&gt;blue 50.0%", "control group", 'aria-busy="true"'):
            assert words in page.text, words
        await archived(browser, archive)
        part = await browser.get("/console/experiments/found?range=all", **{"hx-request": "true"})
        assert part.status_code == 200 and "<html" not in part.text
        assert "12 decisions of 12 customers" in part.text
        assert "colour" in part.text and "<b>blue" not in part.text
        page = await browser.get("/console/experiments")
        for name in ("nobody", "colour"):
            [asked] = re.findall(rf'hx-get="([^"]*/headline[?]name={name})"', page.text)
            told = await browser.get(asked, **{"hx-request": "true"})
            assert told.status_code == 200 and "<html" not in told.text
            assert "Nothing can be said yet" in told.text, told.text
            assert (await browser.get(asked)).headers["location"].endswith(f"?name={name}")
        page = await browser.get("/console/experiments/found?from=1999-01-01&to=1999-01-02")
        assert "No decision of this range" in page.text


async def test_reports_come_as_pages_and_as_json(tested: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    async with browsing(tested, store=MemoryStore(), archive=str(archive)) as browser:
        await archived(browser, archive)
        page = await browser.get("/console/reports/found?kind=segments")
        assert "12 customers with such an event" in page.text and "style=" not in page.text
        found = json.loads((await browser.get("/console/reports/data?kind=segments")).text)
        assert found["customers"] == 12
        page = await browser.get("/console/reports/found?kind=retention&weeks=3")
        assert "No customer has a week that is over" in page.text
        found = json.loads((await browser.get("/console/reports/data?weeks=3")).text)
        assert found["treated"] + found["holdout"] == 12 and len(found["weeks"]) == 3
        odd = await browser.get("/console/reports/found?kind=segments&event=<i>none")
        assert "has no event" in odd.text and "<i>none" not in odd.text
        odd = await browser.get("/console/reports/found?kind=segments&zone=Mars/Base")
        assert "Mars/Base is not a time zone" in odd.text
        assert (await browser.get("/console/reports?kind=<i>&weeks=x")).status_code == 200


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("there", [False, True])
async def test_without_an_archive_each_part_says_what_to_do(
    rules: Path, tmp_path: Path, part: str, there: bool
) -> None:
    settings: dict[str, Any] = {"archive": str(tmp_path)} if there else {}
    async with browsing(rules, **settings) as browser:
        page = await browser.get(f"/console/{part}")
        assert page.status_code == 200
        says = ("nextbest archive", "there are no decisions") if there else ("--archive DIR",)
        assert any(words in page.text for words in says), page.text
        data = await browser.get("/console/reports/data")
        assert data.status_code == 303


@pytest.mark.parametrize("asked", ["from=soon", "from=2026-11-02&to=2026-11-01", "zone=Mars"])
async def test_a_bad_range_is_said(rules: Path, tmp_path: Path, asked: str) -> None:
    async with browsing(rules, archive=str(tmp_path)) as browser:
        page = await browser.get(f"/console/experiments/found?{asked}")
        assert any(
            words in page.text
            for words in ("is not a date", "ends before it begins", "is not a time zone")
        )


async def test_they_need_the_scope_view(rules: Path, keys: KeysInFile) -> None:
    async with browsing(rules, keys) as browser:
        for part in PARTS:
            assert (await browser.get(f"/console/{part}")).status_code == 303


async def test_each_experiment_leads_to_the_report_on_what_it_brings(
    tested: Path, tmp_path: Path
) -> None:
    async with browsing(tested, store=MemoryStore(), archive=str(tmp_path)) as browser:
        page = (await browser.get("/console/experiments")).text
        [way, *_] = re.findall(r'href="(/console/reports/experiment[^"]*)"', page)
        assert "name=" in way
        assert (await browser.get(way.replace("&amp;", "&"))).status_code == 200


async def test_while_many_files_are_counted_pages_say_how_far_it_is_and_share_one_child(
    tested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without script as well; what the child has made is not made again."""
    archive, started, may_end = tmp_path / "archive", list[bytes](), threading.Event()
    run = Child.run

    def waiting(self: Child, data: bytes, time_limit: float) -> tuple[bytes, bytes, int]:
        started.append(data)
        assert may_end.wait(60)
        return run(self, data, time_limit)

    monkeypatch.setattr(Child, "run", waiting)
    monkeypatch.setattr("decision.console.archive.FEW", 0)
    monkeypatch.setattr("decision.console.archive.PATIENCE", 0.01)
    async with browsing(tested, store=MemoryStore(), archive=str(archive)) as browser:
        await archived(browser, archive)
        for _ in range(2):
            page = await browser.get("/console/experiments/found?range=all")
            assert "files. Later looks are quick" in page.text and page.headers["refresh"] == "2"
        part = await browser.get("/console/experiments/found", **{"hx-request": "true"})
        assert 'hx-trigger="load delay:1s"' in part.text and "<html" not in part.text
        assert (await browser.get("/console/reports/data")).status_code == 303
        may_end.set()
        async with asyncio.timeout(60):
            while "Later looks" in page.text:
                page = await browser.get("/console/experiments/found?range=all")
        assert "12 decisions of 12 customers" in page.text and "refresh" not in page.headers
        wanted = [data for data in started if b'"timezone":null' in data]
        assert len(wanted) == 1
    assert list(archive.glob("_summaries/decisions-*/*.summary"))


async def test_days_and_break_downs_are_in_the_address_and_the_json_has_the_same(
    tested: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    async with browsing(tested, store=MemoryStore(), archive=str(archive)) as browser:
        await archived(browser, archive)
        page = await browser.get("/console/reports?kind=retention&by=placement&from=2020-01-01")
        for words in ('value="2020-01-01"', "by=placement&amp;from=2020-01-01", "First decision"):
            assert words in page.text or words.replace("by=placement&amp;", "") in page.text, words
        asked = "kind=retention&by=placement&range=week&weeks=2"
        page = await browser.get(f"/console/reports/found?{asked}")
        assert "Share that came back, by first decision" in page.text and "outbound" in page.text
        [address] = re.findall(r'href="(/console/reports/data[^"]*)"', page.text)
        found = json.loads((await browser.get(unescape(address))).text)
        [group] = found["groups"]
        assert (found["by"], group["name"]) == ("placement", "outbound")
        assert group["treated"] + group["holdout"] == 12
        page = await browser.get("/console/reports/found?kind=retention&to=2020-01-01")
        assert "No customer had their first decision then" in page.text
        page = await browser.get("/console/reports/found?kind=segments&to=2020-01-01")
        assert "until 2019-12-31" in page.text or "until 2020-01-01" in page.text
        page = await browser.get(
            "/console/reports/found?kind=retention&from=2020-02-01&to=2020-01-01"
        )
        assert "ends before it begins" in page.text

        asked = "range=all&by=message&placement=outbound"
        page = await browser.get(f"/console/experiments/found?{asked}")
        [address] = re.findall(r'href="(/console/experiments/data[^"]*)"', page.text)
        found = json.loads((await browser.get(unescape(address))).text)
        assert (found["by"], found["placement"]) == ("message", "outbound")
        assert sum(one["decisions"] for one in found["exposures"]) <= found["decisions"] == 12
        page = await browser.get("/console/experiments/found?placement=<i>nowhere")
        assert "no decision has the placement" in page.text and "<i>nowhere" not in page.text
        assert (await browser.get("/console/experiments/data?zone=Mars")).status_code == 303
