"""Waits until local times and dates follow the customer, also while they wait."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from decision.core.clock import SECOND, to_micros
from decision.core.conditions import Clause
from decision.core.day_sets import DayRange
from decision.core.definition import Calendar, Settings
from decision.core.journeys.definition import End, Trigger, Wait, WaitFor, WaitUntil, WaitUntilDate
from tests.core.journeys.small import DAY, HOUR, MINUTE, MONDAY, Life, ask, journey, journeys_of

NINE = WaitUntil(name="nine", minute=9 * 60)


def at(text: str) -> int:
    return to_micros(datetime.fromisoformat(text))


def waiting(*steps: Any, now: str = "2026-11-23T00:00:00+00:00", **customer: Any) -> Life:
    life = Life(journeys_of(journey(*steps, ask("tip"))), at(now), **customer)
    life.event("go")
    life.step()
    return life


@pytest.mark.parametrize(
    ("zone", "now", "minute", "weekdays", "expected"),
    [
        ("Asia/Tokyo", "2026-11-22T12:00:00+00:00", 480, (0,), "2026-11-23T08:00:00+09:00"),
        ("Asia/Tokyo", "2026-11-22T23:30:00+00:00", 480, (0,), "2026-11-30T08:00:00+09:00"),
        ("America/New_York", "2027-03-13T15:00:00+00:00", 540, (), "2027-03-14T09:00:00-04:00"),
        ("America/New_York", "2026-10-31T15:00:00+00:00", 540, (), "2026-11-01T09:00:00-05:00"),
        ("Australia/Lord_Howe", "2026-10-03T00:00:00+00:00", 540, (), "2026-10-04T09:00:00+11:00"),
        ("Africa/Casablanca", "2025-02-22T12:00:00+00:00", 540, (), "2025-02-23T09:00:00+00:00"),
        ("Pacific/Apia", "2011-12-29T20:00:00+00:00", 540, (), "2011-12-31T09:00:00+14:00"),
        (None, "2026-11-22T12:00:00+00:00", 480, (0,), "2026-11-23T08:00:00+08:00"),
        ("Not/A_Zone", "2026-11-22T12:00:00+00:00", 480, (0,), "2026-11-23T08:00:00+08:00"),
    ],
)
def test_a_wait_until_a_time_ends_by_the_customers_clock(
    zone: str | None, now: str, minute: int, weekdays: tuple[int, ...], expected: str
) -> None:
    """Without a time zone, by that of the settings."""
    steps = (WaitUntil(name="w", minute=minute, weekdays=weekdays), ask("tip"))
    journeys = journeys_of(journey(*steps), settings=Settings(timezone="Asia/Shanghai"))
    life = Life(journeys, at(now), timezone=zone)
    life.event("go")
    life.pass_(20 * DAY)
    assert life.asked == [(at(expected), "tip")]


def test_a_wait_follows_the_customer_into_another_zone() -> None:
    """Not at nine by the old clock, nor at once: at the next nine by the new one."""
    life = waiting(NINE, timezone="Asia/Tokyo")  # it is 09:00 there: the run goes on at once
    assert len(life.asked) == 1
    for zone, expected in (
        ("America/New_York", "2026-11-23T09:00:00-05:00"),
        ("Asia/Kolkata", "2026-11-24T09:00:00+05:30"),
    ):
        life = waiting(NINE, now="2026-11-23T05:00:00+00:00", timezone="Asia/Tokyo")
        assert life.runs[0].wake == at("2026-11-24T09:00:00+09:00")
        life.change(timezone=zone)
        life.pass_(3 * DAY)
        assert life.asked == [(at(expected), "tip")]


def test_a_change_of_something_else_leaves_a_wait_as_it_is() -> None:
    life = waiting(NINE, timezone="Asia/Tokyo", now="2026-11-23T05:00:00+00:00")
    before = life.runs[0].wake
    life.change(city="Kyoto")
    life.change(timezone="Asia/Tokyo")
    life.event("see")
    assert life.runs[0].wake == before


def test_a_daily_tip_comes_once_a_day_however_it_is_written() -> None:
    """The next nine o'clock after one that was waited for is tomorrow's."""
    steps = [
        step
        for number in range(3)
        for step in (WaitUntil(name=f"w{number}", minute=540), ask(f"tip{number}"))
    ]
    life = Life(journeys_of(journey(*steps)))
    life.event("go")
    life.pass_(5 * DAY)
    assert [when for when, _ in life.asked] == [MONDAY + n * DAY + 9 * HOUR for n in range(3)]


@pytest.mark.parametrize(
    ("pause", "away", "expected"),
    [
        (8 * HOUR, 9 * HOUR + 5 * MINUTE, [9 * HOUR + 5 * MINUTE, DAY + 9 * HOUR]),
        (8 * HOUR, DAY + 6 * HOUR, [DAY + 6 * HOUR, DAY + 9 * HOUR]),
        (8 * HOUR, DAY + 10 * HOUR, [2 * DAY + 9 * HOUR, 3 * DAY + 9 * HOUR]),  # long away
        (10 * HOUR, DAY + 10 * HOUR - 1, [DAY + 10 * HOUR - 1, 2 * DAY + 9 * HOUR]),
        (10 * HOUR, 12 * HOUR, [DAY + 9 * HOUR, 2 * DAY + 9 * HOUR]),
    ],
)
def test_a_local_time_that_passed_while_nothing_ran_is_late_and_not_a_day_away(
    pause: int, away: int, expected: list[int]
) -> None:
    steps = (Wait(name="p", lasts=pause), NINE, ask("tip"), WaitUntil(name="w", minute=540))
    life = Life(journeys_of(journey(*steps, ask("more"))))
    life.event("go")
    life.step()
    life.now += away  # nobody looks meanwhile
    life.pass_(5 * DAY)
    assert [when - MONDAY for when, _ in life.asked] == expected


def test_a_run_that_begins_late_comes_to_a_local_time_when_it_was_to() -> None:
    life = Life(journeys_of(journey(NINE, ask("tip"))), MONDAY + 9 * HOUR - SECOND)
    life.event("go")
    life.now += 10 * MINUTE
    life.pass_(DAY)
    assert [when - MONDAY for when, _ in life.asked] == [9 * HOUR + 10 * MINUTE - SECOND]


RENEWAL = WaitUntilDate(name="renewal", field="customer.renewal", minute=9 * 60, shift=-3 * DAY)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-12-10", "2026-12-07T09:00:00+00:00"),
        ("2026-12-10T18:30:00+08:00", "2026-12-07T10:30:00+00:00"),
        ("2026-11-25", "2026-11-23T00:00:00+00:00"),
    ],
)
def test_a_wait_until_a_date_ends_so_long_before_it_and_at_once_if_that_is_past(
    value: str, expected: str
) -> None:
    life = waiting(RENEWAL, attributes={"renewal": value})
    life.pass_(60 * DAY)
    assert life.asked == [(at(expected), "tip")]


def test_a_date_that_is_put_off_or_brought_forward_moves_the_wait() -> None:
    life = waiting(RENEWAL, attributes={"renewal": "2026-12-10"})
    life.change(renewal="2027-01-10")
    life.pass_(30 * DAY)
    assert life.asked == []
    life.change(renewal="2026-12-30")
    life.pass_(30 * DAY)
    assert life.asked == [(at("2026-12-27T09:00:00+00:00"), "tip")]


@pytest.mark.parametrize("value", [None, "soon", 20261210, "2026-13-01", "2026-12-10T09:00:00"])
def test_a_date_that_becomes_unreadable_ends_the_run_then(value: object) -> None:
    life = waiting(RENEWAL, attributes={"renewal": "2026-12-10"})
    life.change(renewal=value)
    life.step()
    assert (life.ended, life.asked) == (["unreadable_date"], [])


def test_a_date_of_the_event_is_that_of_the_event_that_started_the_run() -> None:
    step = WaitUntilDate(name="w", field="event.visit", minute=540)
    life = Life(journeys_of(journey(step, ask("tip"))))
    life.event("go", visit="2026-11-30")
    life.step()
    life.event("go", visit="2026-12-30")
    life.pass_(60 * DAY)
    assert life.asked == [(at("2026-11-30T09:00:00+00:00"), "tip")]


def test_a_wait_for_a_calendar_that_is_over_ends_the_run_and_never_falls_through() -> None:
    days: DayRange = (datetime(2026, 11, 20, tzinfo=UTC).toordinal(),) * 2
    calendar = Calendar(name="festival", dates=(days,))
    step = WaitUntil(name="w", minute=540, calendar="festival")
    life = Life(journeys_of(journey(step, ask("tip")), calendars=(calendar,)))
    life.event("go")
    life.step()
    assert (life.ended, life.asked) == (["no_time"], [])


def test_a_run_goes_on_no_earlier_than_it_is_due_whatever_the_clock_did() -> None:
    life = waiting(Wait(name="pause", lasts=2 * HOUR))
    life.now -= HOUR
    life.step()
    life.until(MONDAY + 2 * HOUR - MINUTE)
    assert life.asked == []
    life.pass_(MINUTE)
    assert len(life.asked) == 1


BOUGHT = WaitFor(name="bought", trigger=Trigger(name="", event="buy"), within=HOUR, then="yes")


@pytest.mark.parametrize(
    ("happened", "step"), [(30 * MINUTE, "yes"), (HOUR, "yes"), (HOUR + MINUTE, "no")]
)
def test_an_event_in_time_counts_where_it_comes_before_the_run_went_on(
    happened: int, step: str
) -> None:
    """Nobody has looked since the wait was over: then it goes by when the event happened."""
    steps = (BOUGHT, ask("no", go="end"), ask("yes"), Wait(name="end", lasts=DAY))
    life = Life(journeys_of(journey(*steps)))
    life.event("go")
    life.step()
    life.now += 2 * HOUR
    life.event("buy", MONDAY + happened)
    life.step()
    assert [name for _, name in life.asked] == [step]


VIP = Trigger(name="", when=Clause("customer.vip", "eq", True))


def test_a_condition_that_is_waited_for_may_hold_already_become_true_or_never() -> None:
    steps = (WaitFor(name="vip", trigger=VIP, within=DAY, then="yes"), ask("no", go="end"))
    one = journey(*steps, ask("yes"), Wait(name="end", lasts=DAY))
    for vip, asked in ((True, (MONDAY, "yes")), (False, (MONDAY + DAY, "no"))):
        life = Life(journeys_of(one), attributes={"vip": vip})
        life.event("go")
        life.pass_(2 * DAY)
        assert life.asked == [asked]
    life = Life(journeys_of(one))
    life.event("go")
    life.pass_(HOUR)
    life.change(vip=True)
    life.step()
    assert life.asked == [(MONDAY + HOUR, "yes")]


def test_an_event_that_comes_before_the_step_is_entered_is_what_it_waits_for() -> None:
    life = Life(journeys_of(journey(BOUGHT, ask("no"), ask("yes"))))
    life.event("go")
    life.event("buy")
    life.step()
    assert [name for _, name in life.asked] == ["yes"]


def test_an_event_of_a_clock_that_is_ahead_counts_from_when_it_arrives() -> None:
    """It comes in time, though it says that it happened when the wait was over."""
    wait = WaitFor(name="w", trigger=Trigger(name="", event="buy"), within=HOUR, then="yes")
    one = journey(wait, End(name="no", reason="no"), End(name="yes", reason="yes"))
    life = Life(journeys_of(one))
    life.event("go", at=life.now + 5 * MINUTE)
    assert [run.started for run in life.runs] == [life.now]
    life.pass_(57 * MINUTE)
    life.event("buy", at=life.now + 5 * MINUTE)
    life.step()
    assert life.ended == ["yes"]


def test_a_wait_that_ends_on_the_dot_is_no_wait_for_that_time() -> None:
    """Thirty days after nine it is nine again: who waits until nine then goes on at once."""
    month = Wait(name="month", lasts=30 * DAY)
    life = waiting(NINE, month, WaitUntil(name="again", minute=9 * 60))
    life.pass_(60 * DAY)
    assert life.asked == [(at("2026-12-23T09:00:00+00:00"), "tip")]


def test_a_time_that_has_come_is_asked_at_once_a_day_also_where_nobody_waited_for_it() -> None:
    nine_again = WaitUntil(name="again", minute=9 * 60)
    for now in ("2026-11-23T09:00:00+00:00", "2026-11-23T09:00:59.999999+00:00"):
        life = waiting(NINE, ask("first"), nine_again, now=now)
        life.pass_(3 * DAY)
        assert life.asked == [(at(now), "first"), (at("2026-11-24T09:00:00+00:00"), "tip")]
