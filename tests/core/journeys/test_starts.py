"""What starts a run, how often, and when it does not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from decision.core.clock import from_micros, to_micros
from decision.core.conditions import Clause
from decision.core.definition import DerivedEvent, Rule
from decision.core.journeys.definition import (
    DateStart,
    ScheduleStart,
    SegmentStart,
    SetAttributes,
    Trigger,
    Wait,
    WaitUntilDate,
)
from decision.core.journeys.runs import standing, tally
from decision.core.journeys.starts import due_starts
from decision.core.journeys.state import (
    MOST_KEPT,
    MOST_KEPT_IN_ALL,
    MOST_RUNS,
    MOST_STARTED,
    size_kept,
)
from decision.core.journeys.waits import next_wake
from tests.core.journeys.small import DAY, HOUR, MINUTE, MONDAY, Life, ask, journey, journeys_of

PAUSE = Wait(name="pause", lasts=30 * DAY)


def at(text: str) -> int:
    return to_micros(datetime.fromisoformat(text))


def test_one_run_is_under_way_for_each_key_and_none_starts_twice() -> None:
    life = Life(journeys_of(journey(PAUSE, key="event.cart")))
    for cart in ("a", "b", "a", 7, None):
        life.event("go", **({} if cart is None else {"cart": cart}))
    assert sorted(run.key for run in life.runs) == ["", "7", "a", "b"]
    assert len({run.id for run in life.runs}) == 4


def test_the_same_start_has_the_same_id_whoever_makes_it() -> None:
    one, other = (Life(journeys_of(journey(PAUSE))) for _ in range(2))
    one.event("go")
    other.now += HOUR
    other.event("go")
    assert one.runs[0].id == other.runs[0].id


@pytest.mark.parametrize(
    ("again", "days", "started"), [(None, [1, 400], 1), (0, [1, 1], 3), (2 * DAY, [1, 1], 2)]
)
def test_again_says_how_long_it_takes_until_the_next_run(
    again: int | None, days: list[int], started: int
) -> None:
    life = Life(journeys_of(journey(ask("hello"), again=again)))
    life.event("go")
    life.step()
    for count in days:
        life.pass_(count * DAY)
        life.event("go")
        life.step()
    assert len(life.asked) == started


def test_an_event_a_year_late_starts_nothing_and_ends_nothing() -> None:
    """Last year's purchases that are loaded during a run are not what it was for."""
    life = Life(journeys_of(journey(PAUSE, goal=Trigger(name="", event="buy"))))
    life.event("go", life.now - 365 * DAY)
    assert life.runs == []
    life.event("go")
    life.event("buy", life.now - 365 * DAY)
    assert life.ended == []
    life.event("buy", life.now - DAY // 2)
    assert life.ended == ["goal"]


def test_a_thousand_runs_of_one_customer_are_refused_beyond_the_bound_and_said() -> None:
    life = Life(journeys_of(journey(PAUSE, key="event.cart", again=None)))
    before = standing(life.document)
    for number in range(1_000):
        life.event("go", cart=f"cart-{number}")
    assert len(life.runs) == MOST_RUNS
    assert sum(one.refused == "runs" for one in life.log) == 1_000 - MOST_RUNS
    counts = tally(before, life.document, life.log)
    assert counts == {"j\0pause": MOST_RUNS, "j\0!runs": 1_000 - MOST_RUNS}


def test_what_is_kept_of_last_starts_is_bounded_and_never_of_runs_without_a_key() -> None:
    keyed = journey(ask("hello"), name="k", key="event.cart", again=None)
    plain = journey(ask("hello"), name="p", again=None)
    life = Life(journeys_of(plain, keyed))
    for number in range(2 * MOST_STARTED):
        life.event("go", cart=f"cart-{number}")
        life.step()
    assert life.document.journeys is not None
    assert len(life.document.journeys.started) == MOST_STARTED
    assert "p\0" in life.document.journeys.started
    assert [step for _, step in life.asked].count("hello") == 1 + 2 * MOST_STARTED


def test_of_a_large_event_so_much_is_kept_as_fits() -> None:
    life = Life(journeys_of(journey(PAUSE, key="event.cart")))
    life.event("go", cart="c" * 5_000, note="n" * (2 * MOST_KEPT), sku="tea")
    assert life.runs[0].about == {"sku": "tea"}
    assert len(life.runs[0].key) < 100


def test_a_derived_event_starts_a_run_for_each_of_its_entries() -> None:
    derived = DerivedEvent(name="line", of="order", each="items")
    one = journey(PAUSE, start=Trigger(name="", event="line"), key="event.sku")
    life = Life(journeys_of(one, events=(derived,)))
    life.event("order", items=[{"sku": "tea"}, {"sku": "rum"}])
    assert sorted((run.key, run.about["sku"]) for run in life.runs) == [
        ("rum", "rum"),
        ("tea", "tea"),
    ]


def test_entering_a_segment_starts_a_run_and_being_in_it_does_not() -> None:
    life = Life(journeys_of(journey(ask("hello"), start=SegmentStart(name="", segment="vip"))))
    for inside in (False, True, True, False, True):
        life.change(**{"segment.vip": inside})
        life.step()
    assert len(life.asked) == 2


def test_a_segment_that_a_rule_gives_is_entered_by_the_event_that_makes_the_rule_hold() -> None:
    rule = Rule(
        name="vip",
        when=Clause("customer.spend", "gte", 100),
        set={"customer.segment.vip": True},
    )
    one = journey(ask("hello"), start=SegmentStart(name="", segment="vip"))
    life = Life(journeys_of(one, rules=(rule,)))
    for spend in (10, 200, 300):
        life.change(spend=spend)
        life.step()
    assert len(life.asked) == 1


def test_a_step_that_sets_a_segment_starts_the_journey_of_that_segment() -> None:
    first = journey(SetAttributes(name="mark", values={"segment.vip": True}))
    second = journey(ask("vip"), name="v", start=SegmentStart(name="", segment="vip"))
    life = Life(journeys_of(first, second))
    life.event("go")
    life.step()
    assert [step for _, step in life.asked] == ["vip"]


BIRTHDAY = journey(
    ask("congratulate"), start=DateStart(name="", field="customer.birthday", minute=540)
)


def test_a_birthday_on_29_february_is_kept_at_nine_local_time_every_year() -> None:
    life = Life(
        journeys_of(BIRTHDAY),
        at("2026-01-01T00:00:00+00:00"),
        attributes={"birthday": "2000-02-29"},
        timezone="Asia/Tokyo",
    )
    life.change()
    life.until(at("2029-01-01T00:00:00+00:00"))
    assert [from_micros(when) for when, _ in life.asked] == [
        datetime(2026, 2, 28, tzinfo=UTC),
        datetime(2027, 2, 28, tzinfo=UTC),
        datetime(2028, 2, 29, tzinfo=UTC),
    ]


@pytest.mark.parametrize("birthday", ["1990-03-02", "1990-03-02T07:30:00Z"])
def test_a_wait_for_the_birthday_that_started_the_run_is_for_the_one_of_that_year(
    birthday: str,
) -> None:
    """Not for the day of birth, which is past."""
    wish = WaitUntilDate(name="wish", field="customer.birthday", minute=450)
    gift = WaitUntilDate(name="gift", field="customer.birthday", minute=450, shift=2 * DAY)
    start = DateStart(name="", field="customer.birthday", minute=540, shift=-7 * DAY)
    one = journey(ask("early"), wish, ask("greet"), gift, ask("late"), start=start)
    life = Life(
        journeys_of(one), at("2026-01-01T00:00:00+00:00"), attributes={"birthday": birthday}
    )
    life.change()
    life.until(at("2027-12-31T00:00:00+00:00"))
    assert [(f"{from_micros(when):%Y-%m-%d %H:%M}", step) for when, step in life.asked] == [
        (f"{year}-{day}", step)
        for year in (2026, 2027)
        for day, step in (
            ("02-23 09:00", "early"), ("03-02 07:30", "greet"), ("03-04 07:30", "late"),
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("renewal", "moved", "asked"),
    [
        ("2026-03-02", None, "2026-03-02"),  # the date itself
        ("2026-03-02", "2027-03-02", "2027-03-02"),  # renewed meanwhile
        ("2025-12-30", None, "2025-12-30"),  # across the turn of the year
    ],
)
def test_a_date_of_this_year_or_a_later_one_is_waited_for_as_it_is(
    renewal: str, moved: str | None, asked: str
) -> None:
    due = WaitUntilDate(name="due", field="customer.renewal", minute=540)
    start = DateStart(name="", field="customer.renewal", minute=540, shift=-7 * DAY)
    one = journey(due, ask("call"), start=start, again=None)
    life = Life(journeys_of(one), at("2025-12-01T00:00:00+00:00"), attributes={"renewal": renewal})
    life.change()
    life.until(at(f"{renewal}T00:00:00+00:00"))
    if moved is not None:
        life.change(renewal=moved)
    life.until(at("2027-06-01T00:00:00+00:00"))
    assert [f"{from_micros(when):%Y-%m-%d}" for when, _ in life.asked] == [asked]


def test_a_birthday_is_one_also_for_who_flies_back_over_the_date_line() -> None:
    life = Life(
        journeys_of(BIRTHDAY),
        at("2026-03-01T00:00:00+00:00"),
        attributes={"birthday": "1990-03-02"},
        timezone="Asia/Tokyo",
    )
    life.change()
    life.until(at("2026-03-02T01:00:00+00:00"))
    life.change(timezone="America/New_York")
    life.pass_(3 * DAY)
    assert len(life.asked) == 1
    life.pass_(365 * DAY)
    assert len(life.asked) == 2


def test_a_clock_that_was_wrong_by_a_year_does_not_keep_starts_back_for_a_year() -> None:
    start = ScheduleStart(name="", schedule="0 9 * * *")
    life = Life(journeys_of(journey(ask("daily"), start=start, again=HOUR)))
    life.now += 365 * DAY
    life.change()
    life.step()
    life.now -= 365 * DAY
    life.pass_(3 * DAY)
    assert len(life.asked) == 3


@pytest.mark.parametrize("birthday", [None, "soon", 7, "2000-02-30", True, ["2000-03-01"]])
def test_a_birthday_that_cannot_be_read_starts_nothing_and_sets_no_timer(birthday: object) -> None:
    life = Life(journeys_of(BIRTHDAY), attributes={"birthday": birthday})
    life.change()
    assert next_wake(life.journeys, life.document, life.now) is None
    life.pass_(400 * DAY)
    assert life.asked == []


def test_a_schedule_starts_for_whom_the_audience_holds_then() -> None:
    start = ScheduleStart(name="", schedule="0 9 * * mon", when=Clause("customer.vip", "eq", True))
    life = Life(journeys_of(journey(ask("weekly"), start=start)), attributes={"vip": False})
    life.change()
    life.pass_(DAY)
    life.change(vip=True)
    life.pass_(14 * DAY)
    life.change(vip=False)
    life.pass_(14 * DAY)
    assert [when for when, _ in life.asked] == [
        MONDAY + 7 * DAY + 9 * HOUR,
        MONDAY + 14 * DAY + 9 * HOUR,
    ]


def test_a_schedule_is_not_kept_for_who_was_not_known_then_nor_a_day_late() -> None:
    one = journey(ask("daily"), start=ScheduleStart(name="", schedule="0 9 * * *"))
    life = Life(journeys_of(one), MONDAY + 10 * HOUR)
    life.change()
    life.step()
    assert life.asked == []
    life.now += 3 * DAY  # nobody looked: the latest of them that is less than a day late counts
    life.step()
    assert len(life.asked) == 1


def test_customers_who_were_never_looked_at_start_by_the_timer_that_somebody_else_set() -> None:
    """A walk over all customers sets timers without writing to anybody."""
    one = journey(ask("daily"), start=ScheduleStart(name="", schedule="0 9 * * *"))
    life = Life(journeys_of(one))
    wake = next_wake(life.journeys, life.document, life.now)
    assert wake == MONDAY + 9 * HOUR
    life.now = wake + MINUTE
    life.step()
    life.step()
    assert [when for when, _ in life.asked] == [wake + MINUTE]


def test_a_clock_that_steps_back_an_hour_starts_nothing_twice() -> None:
    one = journey(ask("hourly"), start=ScheduleStart(name="", schedule="0 * * * *"))
    life = Life(journeys_of(one))
    life.change()
    life.pass_(3 * HOUR)
    assert len(life.asked) == 3
    life.now -= HOUR
    assert due_starts(life.journeys, life.document, life.now) == []
    life.pass_(HOUR - MINUTE)
    assert len(life.asked) == 3
    life.pass_(HOUR + MINUTE)
    assert len(life.asked) == 4


def test_nobody_is_looked_at_who_is_merged_away() -> None:
    life = Life(journeys_of(BIRTHDAY), attributes={"birthday": "2000-02-28"})
    life.document.moved_to = "anna"
    assert next_wake(life.journeys, life.document, life.now) is None


def test_all_that_runs_keep_of_events_is_bounded_and_what_is_beyond_is_said() -> None:
    life = Life(journeys_of(journey(Wait(name="pause", lasts=DAY), key="event.cart")))
    for number in range(30):
        life.event("go", cart=str(number), note="x" * 1_900)
    assert size_kept(life.runs) <= MOST_KEPT_IN_ALL < size_kept(life.runs) + 2_000
    refused = [one.refused for one in life.log if one.refused]
    assert refused == ["size"] * (30 - len(life.runs))
    life.pass_(DAY)
    life.event("go", cart="later", note="x")
    assert [run.key for run in life.runs] == ["later"]
