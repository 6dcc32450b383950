"""Home shows what was said lately, and what needs a look."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from decision.console.home import begin, by_day, largest, outcomes, totals
from decision.core.clock import DAY, HOUR, MINUTE, from_micros, to_micros
from decision.server.activity import Glance
from decision.store import MemoryStore
from tests.console.away import Unreachable
from tests.console.conftest import browsing

pytestmark = pytest.mark.anyio


async def test_home_says_what_to_do_where_nothing_was_decided(rules: Path) -> None:
    async with browsing(rules) as browser:
        page = await browser.get("/console")
        assert "Nothing was decided since" in page.text
        assert "make demo" in page.text


async def test_home_shows_what_was_counted_whatever_it_is_called(rules: Path) -> None:
    store = MemoryStore()
    async with browsing(rules, store=store) as browser:
        hour = browser.api.engine.runtime.clock() // HOUR
        counts = {
            "d\0outbound\0selected\0": 3,
            "d\0outbound\0none\0capped": 1,
            "s\0<b>offer</b>\0push": 3,
            "f\0capped": 7,
        }
        await store.add_counts(f"h{hour}", counts, 500, 60_000)
        await store.add_counts(f"e{hour}", {"e\0purchase": 2, "e": 5}, 100, 60_000)
        page = await browser.get("/console?range=day")
        assert "25.0%" in page.text
        assert "contact cap reached" in page.text
        assert "&lt;b&gt;offer&lt;/b&gt;" in page.text
        assert "<b>offer" not in page.text
        zh = await browser.get("/console?range=week", **{"accept-language": "zh-CN"})
        assert "已达频次上限" in zh.text
        odd = await browser.get("/console?range=%00x")
        assert odd.status_code == 200


_MIDNIGHT = to_micros(datetime(2027, 1, 1, tzinfo=ZoneInfo("Asia/Shanghai")))
"""That of the policy's zone: a new day, week by its days, month and year begin."""


@pytest.mark.parametrize("since", [MINUTE, 8 * HOUR + 1, DAY - 1])
async def test_home_shows_the_shortest_range_in_which_anything_happened(
    rules: Path, since: int
) -> None:
    store, now = MemoryStore(), _MIDNIGHT + since
    async with browsing(rules, store=store, clock=lambda: now) as browser:
        assert _tab((await browser.get("/console")).text) == "today"  # nothing happened at all
        for last, shown in (
            (_MIDNIGHT - 20 * DAY, "month"),
            (_MIDNIGHT - 3 * DAY, "week"),
            (_MIDNIGHT - 1, "day"),
            (now, "today"),
        ):
            counts = {"d\0outbound\0selected\0": 1}
            await store.add_counts(f"h{last // HOUR}", counts, 500, 60_000)
            page = (await browser.get("/console")).text
            assert _tab(page) == shown
            assert 'class="empty"' not in page
            today = (await browser.get("/console?range=today")).text
            assert _tab(today) == "today"
            leads = f'href="/console?range={shown}">See the last' in today
            empty = "Nothing was decided since" in today
            assert leads is empty is (shown != "today")


def _tab(page: str) -> str:
    """The range that is marked."""
    return re.findall(r'range=(\w+)" aria-current', page)[0]


async def test_a_store_that_does_not_answer_is_not_silence(rules: Path) -> None:
    store = Unreachable()
    async with browsing(rules, store=store) as browser:
        store.down = True
        page = await browser.get("/console")
        assert "The store does not answer: what was decided" in page.text
        assert "Nothing was decided" not in page.text


async def test_what_needs_a_look_stands_on_top(rules: Path) -> None:
    async with browsing(rules) as browser:
        (rules / "rules.yaml").write_text("messages: 3")
        await browser.client.post("/v1/policy/reload")
        page = await browser.get("/console")
        assert "newer rules are refused since" in page.text
        assert page.text.index("What needs a look") < page.text.index("What was said")


def test_ranges_begin_at_local_midnight_but_for_the_last_day() -> None:
    now = datetime(2026, 11, 27, 18, 30, tzinfo=UTC)
    assert begin("today", now) == datetime(2026, 11, 27, tzinfo=UTC)
    assert begin("day", now) == datetime(2026, 11, 26, 18, 30, tzinfo=UTC)
    assert begin("week", now) == datetime(2026, 11, 21, tzinfo=UTC)


def test_hours_are_put_together_to_local_days() -> None:
    def glance(hour: int, count: int) -> Glance:
        at = datetime(2026, 11, 26, hour, tzinfo=UTC)
        return Glance(at=at, decisions={("web", "none", "capped"): count})

    first, second = by_day([glance(14, 1), glance(15, 2), glance(16, 4)], "Asia/Shanghai")
    assert list(first.decisions.values()) == [3]
    assert list(second.decisions.values()) == [4]
    assert [one.values for one in outcomes([first, second], str)] == [[0, 0], [0, 0], [3, 4]]
    assert totals([first, second])["silent"] == 7


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "Pacific/Chatham"])
def test_a_week_has_seven_days_where_hours_begin_at_half_past(zone: str) -> None:
    now = datetime(2026, 11, 27, 0, 1, tzinfo=ZoneInfo(zone))
    first = to_micros(begin("week", now)) // HOUR * HOUR
    hours = [Glance(at=from_micros(one)) for one in range(first, to_micros(now), HOUR)]
    days = [one.at for one in by_day(hours, zone)]
    assert days == [begin("week", now) + timedelta(days=n) for n in range(7)]


def test_a_reason_that_is_not_known_is_shown_as_it_is() -> None:
    assert largest(Counter({"new_code": 2, "": 1}), str) == [("new_code", 2), ("not said", 1)]
