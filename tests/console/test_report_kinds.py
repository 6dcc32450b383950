"""A page for each kind of report: its question as a form, its answer as charts, tables and files."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import threading
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("duckdb")

from decision.analytics.reports import KINDS, Report
from decision.console.errors import PageError
from decision.console.report_kinds import counting
from decision.console.report_kinds.counting import Reports, Waiting
from decision.core.errors import InputError
from decision.core.said import Said
from decision.store import MemoryStore
from tests.analytics.reports.whole import write_whole
from tests.console.conftest import Browser, KeysInFile, browsing

pytestmark = pytest.mark.anyio
FUNNEL = "/console/reports/funnel"
STEPS = "steps=page_view&steps=purchase&within=7d"
FUNNELS = """
funnels:
  buy: {steps: [page_view, purchase], within: 7d}
metrics:
  revenue: {event: purchase, value: amount}
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whole(tmp_path_factory.mktemp("whole") / "log")


def example_of(page: str) -> str:
    [address] = re.findall(r'href="(/console/reports/[^"]*)">An example', page)
    return unescape(address)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_has_a_page_whose_form_is_its_question(
    rules: Path, archive: Path, kind: str
) -> None:
    """Its example answers with a sentence, a table, JSON, charts as files, and how else to ask."""
    async with browsing(rules, archive=str(archive)) as browser:
        assert f'href="/console/reports/{kind}"' in (await browser.get("/console/reports")).text
        page = await browser.get(f"/console/reports/{kind}")
        assert page.status_code == 200 and 'aria-busy="true"' in page.text
        for option in KINDS[kind].options:
            assert f'name="{option.name}"' in page.text, option.name
        address = example_of(page.text)
        path, _, query = address.partition("?")
        page = await browser.get(f"{path}/found?{query}")
        assert "<table>" in page.text and 'class="sentence"' in page.text, page.text
        assert "style=" not in page.text and "<b>ios" not in page.text
        found = json.loads((await browser.get(f"{path}/data?{query}")).text)
        assert found["kind"] == kind
        for n in range(page.text.count(f"{path}/chart/") // 2):
            picture = await browser.get(f"{path}/chart/{n}?{query}")
            assert picture.headers["content-type"] == "image/svg+xml"
            assert ElementTree.fromstring(picture.text).tag == "{http://www.w3.org/2000/svg}svg"
            drawn = await browser.get(f"{path}/chart/{n}.png?{query}")
            assert drawn.headers["content-type"] == "image/png" and drawn.content[:4] == b"\x89PNG"
        for other in (99, "x", "0.gif"):
            assert (await browser.get(f"{path}/chart/{other}?{query}")).status_code == 404
        [command, url, _] = (
            unescape(text) for text in re.findall(r'<pre tabindex="0">([^<]*)</pre>', page.text)
        )
        assert shlex.split(command)[:3] == ["nextbest", "report", kind]
        assert f"--log {archive}" in command
        answer = await browser.client.get(url)
        assert answer.status_code == 200 and answer.json()["query"] == found["query"]


async def test_no_english_sentence_is_on_a_chinese_page(rules: Path, archive: Path) -> None:
    async with browsing(rules, archive=str(archive)) as browser:
        for asked in (f"funnel/found?{STEPS}", "paths/found?steps=1", "funnel/found?steps=buy,by"):
            page = await browser.get(f"/console/reports/{asked}", **{"accept-language": "zh"})
            body = page.text.partition("<main")[2]
            body = re.sub(r"<datalist.*?</datalist>|<pre.*?</pre>", "", body, flags=re.S)
            text = " ".join(re.findall(r">([^<]*)<", body))
            assert 'lang="en"' not in body
            for words in ("customers", "went all", "ever came", "whole number", "Not complete"):
                assert words not in text, words


async def test_a_mistake_is_said_beside_its_field_with_the_nearest_name(
    rules: Path, archive: Path
) -> None:
    (rules / "funnels.yaml").write_text(FUNNELS)
    async with browsing(rules, archive=str(archive)) as browser:
        for asked, field, said in (
            ("steps=page_vew,purchas", "steps", 'did you mean "page_view"?'),
            ("funnel=buuy", "funnel", 'did you mean "buy"?'),
            (f"{STEPS}&within=1week", "within", "is not a duration"),
            (f"{STEPS}&from=soon", "from", "is not a day"),
            (f"{STEPS}&timezone=Asia/Shangai", "timezone", 'did you mean "Asia/Shanghai"?'),
            (f"{STEPS}&order=strickt", "order", 'did you mean "strict"?'),
            (f"{STEPS}&groups=0", "groups", "write a whole number from 1 to 1000"),
        ):
            page = await browser.get(f"{FUNNEL}/found?{asked}")
            place = f'<small id="field-{field}-about" class="bad">'
            beside = unescape(page.text.partition(place)[2].partition("</small>")[0])
            assert said in beside, (asked, beside)
            assert f'<a href="#field-{field}">' in page.text
            part = await browser.get(f"{FUNNEL}/found?{asked}", **{"hx-request": "true"})
            assert part.headers["hx-retarget"] == "#asked" and said in unescape(part.text)
            assert "<html" not in part.text
            for file in ("data", "chart/0"):
                assert (await browser.get(f"{FUNNEL}/{file}?{asked}")).status_code == 303


async def test_a_form_offers_the_names_of_the_policy_and_a_funnel_can_be_asked_by_name(
    rules: Path, archive: Path
) -> None:
    (rules / "funnels.yaml").write_text(FUNNELS)
    async with browsing(rules, archive=str(archive)) as browser:
        page = await browser.get(FUNNEL)
        for of, name in (("events", "page_view"), ("funnels", "buy"), ("zones", "customer")):
            offered = page.text.partition(f'<datalist id="names-{of}">')[2].partition("</data")[0]
            assert f'<option value="{name}">' in offered
        page = await browser.get(f"{FUNNEL}/found?funnel=buy")
        assert "9 of 12 customers went all the way" in page.text


async def test_an_address_has_all_of_a_question_and_a_range_by_its_name(
    rules: Path, archive: Path
) -> None:
    async with browsing(rules, archive=str(archive)) as browser:
        page = await browser.get(f"{FUNNEL}?{STEPS}&range=week&exclude=&exclude=return")
        kept = "steps=page_view%2Cpurchase&within=7d&exclude=return"
        address = f"{FUNNEL}/found?{kept}&range=week"
        assert f'hx-get="{address}"' in page.text.replace("&amp;", "&")
        assert (
            'name="range" value="week"' in page.text and 'aria-current="page">7 days' in page.text
        )
        assert '<a href="/console/reports/funnel?' in page.text
        page = await browser.get(f"{FUNNEL}/found?{STEPS}&range=week")
        assert re.search(r"from=20\d\d-", page.text)  # the question elsewhere is of these days
        page = await browser.get(f"{FUNNEL}?{STEPS}&range=week&from=2026-11-20")
        assert 'name="range"' not in page.text and 'value="2026-11-20"' in page.text
        odd = await browser.get(f"{FUNNEL}?steps=<i>&range=<i>&by=%00&groups=x")
        assert odd.status_code == 200 and "<i>" not in odd.text


async def test_without_an_archive_or_for_another_kind_a_page_says_what_to_do(
    rules: Path, tmp_path: Path, keys: KeysInFile
) -> None:
    async with browsing(rules) as browser:
        for path in ("reports", "reports/funnel", "reports/funnel/found?steps=a,b"):
            assert "--archive DIR" in (await browser.get(f"/console/{path}")).text, path
        assert (await browser.get(f"{FUNNEL}/data?{STEPS}")).status_code == 303
        page = await browser.get("/console/reports/funel")
        assert page.status_code == 404 and "There are: funnel" in page.text
    async with browsing(rules, archive=str(tmp_path)) as browser:
        page = await browser.get(f"{FUNNEL}/found?{STEPS}")
        assert (
            "nextbest archive --out" in page.text and 'class="notice bad"><p><span' not in page.text
        )
    async with browsing(rules, keys, MemoryStore()) as browser:
        for part in ("", "/found", "/data", "/chart/0"):
            assert (await browser.get(f"{FUNNEL}{part}?{STEPS}")).status_code == 303
        await browser.sign_in(keys.secrets["view-key"])
        assert (await browser.get(FUNNEL)).status_code == 200


async def test_a_question_is_counted_once_for_its_figures_its_json_and_its_charts(
    rules: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = 0
    make = KINDS["funnel"].make

    def counts(*asked: Any) -> Any:
        nonlocal counted
        counted += 1
        return make(*asked)

    monkeypatch.setitem(KINDS, "funnel", KINDS["funnel"]._replace(make=counts))
    async with browsing(rules, archive=str(archive)) as browser:
        parts = ("found", "found", "data", "chart/0")
        answers = await asyncio.gather(*(browser.get(f"{FUNNEL}/{part}?{STEPS}") for part in parts))
        assert [answer.status_code for answer in answers] == [200] * 4 and counted == 1
        await browser.get(f"{FUNNEL}/data?{STEPS}&groups=3")
        assert counted == 2


async def test_a_long_question_says_how_long_it_takes_and_comes_by_itself(
    rules: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, make = threading.Event(), KINDS["funnel"].make

    def slow(*asked: Any) -> Any:
        assert may_end.wait(60)
        return make(*asked)

    monkeypatch.setitem(KINDS, "funnel", KINDS["funnel"]._replace(make=slow))
    monkeypatch.setattr(counting, "PATIENCE", 0.05)
    async with browsing(rules, archive=str(archive)) as browser:
        part = await browser.get(f"{FUNNEL}/found?{STEPS}", **{"hx-request": "true"})
        assert 'hx-trigger="load delay:1s"' in part.text and "<progress" in part.text
        page = await browser.get(f"{FUNNEL}/found?{STEPS}")
        assert page.headers["refresh"] == "2" and "It ends when you leave" in page.text
        assert (await browser.get(f"{FUNNEL}/data?{STEPS}")).status_code == 303
        may_end.set()
        await _until_there(browser)


async def _until_there(browser: Browser) -> None:
    async with asyncio.timeout(60):
        while "went all the way" not in (await browser.get(f"{FUNNEL}/found?{STEPS}")).text:
            await asyncio.sleep(0.05)


class Query:
    """A source whose only query goes on until it is interrupted."""

    def __init__(self) -> None:
        self.interrupted = threading.Event()
        self.database = self.connection = self

    def interrupt(self) -> None:
        self.interrupted.set()

    def count(self, opened: Any) -> Any:
        opened(self)
        if not self.interrupted.wait(60):
            raise AssertionError("nobody ended it")
        raise RuntimeError("INTERRUPT Error")


async def never() -> None:
    await asyncio.Event().wait()


async def test_who_leaves_ends_the_counting_and_not_for_another_who_waits() -> None:
    reports, query, leaves = Reports("it"), Query(), asyncio.Event()

    async def leave() -> None:
        await leaves.wait()

    first = asyncio.create_task(reports.get("a", query.count, leave()))
    other_leaves = asyncio.Event()

    async def leave_later() -> None:
        await other_leaves.wait()

    second = asyncio.create_task(reports.get("a", query.count, leave_later()))
    await asyncio.sleep(0.05)
    leaves.set()
    assert isinstance(await first, Waiting)
    await asyncio.sleep(0.05)
    assert not query.interrupted.is_set()
    other_leaves.set()
    await second
    async with asyncio.timeout(60):
        assert await asyncio.to_thread(query.interrupted.wait, 60)
    found = await reports.get("a", lambda _: Report(1, ()), never())  # while the old one ends
    assert isinstance(found, Report) and found.answer == 1


async def test_who_asks_no_more_ends_it_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "PATIENCE", 0.01)
    monkeypatch.setattr(counting, "LEFT", 0.02)
    reports, query = Reports("it"), Query()
    assert isinstance(await reports.get("a", query.count, never()), Waiting)
    assert await asyncio.to_thread(query.interrupted.wait, 60)


async def test_few_are_counted_at_once_and_of_too_many_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counting, "PATIENCE", 0.05)
    reports, queries = Reports("it"), [Query() for _ in range(counting.MOST)]
    waits = [
        await reports.get(number, query.count, never()) for number, query in enumerate(queries)
    ]
    assert sum(isinstance(one, Waiting) and one.turn for one in waits) == counting.AT_ONCE
    with pytest.raises(PageError) as refused:
        await reports.get("one more", queries[0].count, never())
    assert refused.value.status == 503
    for query in queries:
        query.interrupt()


async def test_an_error_is_not_kept() -> None:
    reports = Reports("it")

    def wrong(_: Any) -> Report:
        raise InputError("steps", Said("a step is empty; take the comma out"))

    with pytest.raises(InputError):
        await reports.get("a", wrong, never())
    found = await reports.get("a", lambda _: Report(1, ()), never())
    assert isinstance(found, Report) and found.answer == 1
