"""Quiet hours hold and end as a look at every minute says, over days, calendars and clock changes."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.calendar import zone as known
from decision.core.clock import DAY, HOUR, MINUTE, from_micros
from decision.core.conditions import AnyOf, Clause, Condition
from decision.core.contact_policy import NEVER
from decision.core.day_sets import DaySet
from decision.core.definition import Calendar, Channel, Experiment, QuietHours
from decision.core.explanation import explain
from decision.core.policy_builder import compile_policy
from decision.core.quiet_hours import QuietWindow, in_words
from tests.core import oracle
from tests.core.small import ask, at, customer, definition, reasons

ZONES = {
    "America/New_York": ["2026-03-08", "2026-11-01"],
    "Europe/London": ["2026-03-29", "2026-10-25"],
    "Asia/Shanghai": ["2026-06-01"],
    "America/Havana": ["2026-03-08", "2026-11-01"],  # back from 01:00 to 00:00: midnight twice
    "Asia/Beirut": ["2026-03-29", "2026-10-25"],  # forward at 00:00, back to 23:00 the day before
    "Australia/Lord_Howe": ["2026-04-05", "2026-10-04"],  # half an hour
    "Pacific/Apia": ["2011-12-30"],  # a day that never was
    "America/St_Johns": ["2010-11-07"],  # back from 00:01 to 23:01
}
PLACES = [(name, day) for name, days in ZONES.items() for day in days]


def minutes_of(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def hours_of(start: str, end: str, **more: Any) -> QuietHours:
    return QuietHours(start=minutes_of(start), end=minutes_of(end), **more)


def first_free(
    windows: list[QuietHours], calendar: Calendar, now: int, zone: ZoneInfo, limit: int
) -> int | None:
    """The first whole minute from now on outside all, else None; now itself where it is."""
    here = definition(calendars=(calendar,))
    moment = now
    while moment < limit:
        if not any(oracle.is_quiet(here, one, moment, zone) for one in windows):
            return moment
        moment = moment - moment % MINUTE + MINUTE
    return None


@st.composite
def weeks(draw: st.DrawFn) -> tuple[list[QuietHours], Calendar, int, ZoneInfo]:
    name, day = draw(st.sampled_from(PLACES))
    zone, middle = known(name), date.fromisoformat(day)
    first = middle + timedelta(days=draw(st.integers(-2, 1)))
    last = first + timedelta(days=draw(st.integers(0, 3)))
    calendar = Calendar(name="festival", dates=((first.toordinal(), last.toordinal()),))
    clock = st.one_of(
        st.sampled_from([0, 23 * 60, 60, 90, 120, 150]),
        st.integers(0, 1439),
    )
    window = st.builds(
        QuietHours,
        start=clock,
        end=st.one_of(clock, st.just(1440)),
        weekdays=st.sampled_from([(), (middle.weekday(),), (5, 6), (0, 2, 4)]),
        calendar=st.sampled_from([None, "festival"]),
    ).filter(
        lambda one: (
            one.start != one.end
            and (one.end - one.start < 1200 or bool(one.weekdays or one.calendar))
        )
    )
    whole = st.builds(
        QuietHours,
        start=st.just(0),
        end=st.just(1440),
        weekdays=st.sampled_from([(5, 6), (middle.weekday(),)]),
    )
    windows = draw(st.lists(st.one_of(window, whole), min_size=1, max_size=3))
    now = at(f"{day}T00:00:00+00:00") + draw(st.integers(-30 * 60, 30 * 60)) * MINUTE
    return windows, calendar, now + draw(st.sampled_from([0, 1, 17_000_001])), zone


@given(weeks())
@settings(deadline=None, max_examples=300)
def test_not_before_is_the_first_minute_outside_every_window(
    week: tuple[list[QuietHours], Calendar, int, ZoneInfo],
) -> None:
    windows, calendar, now, zone = week
    channels = (Channel(name="push", quiet_hours=tuple(windows)), Channel(name="email"))
    policy = compile_policy(definition(channels=channels, calendars=(calendar,)))
    verdict = ask(policy, customer(timezone=str(zone), reachable=["push"]), now)
    expected = first_free(windows, calendar, now, zone, now + 9 * DAY)
    if expected == now:
        assert reasons(policy, verdict)["offer/push"] is None
    elif expected is not None:
        assert verdict.reason == "quiet_hours"
        assert verdict.not_before == expected
    else:
        assert verdict.not_before is None or verdict.not_before >= now + 9 * DAY


@pytest.mark.parametrize("name", ["America/New_York", "Asia/Beirut"])
@pytest.mark.parametrize(
    ("start", "end"), [("22:00", "08:00"), ("01:30", "02:30"), ("02:15", "01:15")]
)
def test_a_window_ends_at_the_first_instant_outside_around_each_change(
    name: str, start: str, end: str
) -> None:
    zone, hours = known(name), hours_of(start, end)
    window, here = QuietWindow("push", 0, hours, 1), definition()
    for day in ZONES[name]:
        for step in range(-30, 31):
            for shift in (-1, 0, 1, 17 * MINUTE):
                now = at(f"{day}T00:00:00+00:00") + step * HOUR + shift
                found = window.ends(now, zone)
                assert not oracle.is_quiet(here, hours, found, zone)
                if found > now:
                    assert oracle.is_quiet(here, hours, found - 1, zone)
                    minutes = range(now, found, 7 * MINUTE)
                    assert all(oracle.is_quiet(here, hours, one, zone) for one in minutes)


def detail(policy: Any, verdict: Any) -> str | None:
    rows = {f"{one.message}/{one.channel}": one for one in explain(policy, verdict)}
    return rows["offer/push"].detail


def quiet(*windows: QuietHours, calendars: tuple[Calendar, ...] = (), **more: Any) -> Any:
    channels = (Channel(name="push", quiet_hours=windows), Channel(name="email"))
    return compile_policy(definition(channels=channels, calendars=calendars, **more))


DAYS = Calendar(
    name="spring-festival",
    dates=((date(2027, 2, 5).toordinal(), date(2027, 2, 12).toordinal()),),
)
IN_SHANGHAI: dict[str, Any] = {"timezone": "Asia/Shanghai", "reachable": ["push"]}


def test_a_festival_of_eight_days_and_the_nights_around_it_are_waited_for() -> None:
    """5 to 12 February 2027: from Thursday night until Saturday morning a week later."""
    night = hours_of("22:00", "08:00")
    policy = quiet(night, hours_of("00:00", "24:00", calendar="spring-festival"), calendars=(DAYS,))
    verdict = ask(policy, customer(**IN_SHANGHAI), at("2027-02-04T22:00:00+08:00"))
    assert verdict.not_before == at("2027-02-13T08:00:00+08:00")
    inside = ask(policy, customer(**IN_SHANGHAI), at("2027-02-12T12:00:00+08:00"))
    assert detail(policy, inside) == (
        "it is 12:00 on 2027-02-12, fri in Asia/Shanghai, push is quiet from 00:00 to 24:00 "
        "in spring-festival"
    )


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    policy = quiet(hours_of("22:00", "08:00", weekdays=(5,)))
    for moment, reason in [
        ("2026-11-21T07:00", None),  # Saturday morning belongs to Friday
        ("2026-11-21T22:00", "quiet_hours"),
        ("2026-11-22T07:59", "quiet_hours"),
        ("2026-11-22T08:00", None),
        ("2026-11-22T22:00", None),
    ]:
        verdict = ask(policy, customer(**IN_SHANGHAI), at(f"{moment}:00+08:00"))
        assert reasons(policy, verdict)["offer/push"] == reason, moment


def test_the_end_of_the_day_is_written_as_24_00() -> None:
    policy = quiet(hours_of("22:00", "24:00"))
    verdict = ask(policy, customer(**IN_SHANGHAI), at("2026-11-21T23:59:59+08:00"))
    assert verdict.not_before == at("2026-11-22T00:00:00+08:00")


def test_a_channel_that_is_always_quiet_opens_never() -> None:
    policy = quiet(hours_of("00:00", "24:00"))
    verdict = ask(policy, customer(**IN_SHANGHAI), at("2026-11-21T23:59:59+08:00"))
    assert (verdict.reason, verdict.not_before) == ("quiet_hours", None)


def test_windows_that_leave_no_minute_of_the_week_between_them_open_never() -> None:
    working = hours_of("00:00", "12:00"), hours_of("12:00", "00:00", weekdays=(0, 1, 2, 3, 4))
    policy = quiet(*working, hours_of("11:59", "00:00", weekdays=(5, 6)))
    verdict = ask(policy, customer(**IN_SHANGHAI), at("2026-11-21T23:59:59+08:00"))
    assert (verdict.reason, verdict.not_before) == ("quiet_hours", None)
    policy = quiet(*working, hours_of("11:59", "23:59", weekdays=(5, 6)))
    verdict = ask(policy, customer(**IN_SHANGHAI), at("2026-11-23T00:00:00+08:00"))
    assert verdict.not_before == at("2026-11-28T23:59:00+08:00")


def test_windows_that_follow_each_other_on_ten_thousand_days_are_given_up_soon() -> None:
    first = date(2026, 11, 1).toordinal()
    long = Calendar(name="x", dates=((first, first + 10_000),))
    halves = hours_of("00:00", "12:00", calendar="x"), hours_of("12:00", "00:00", calendar="x")
    policy = quiet(*halves, calendars=(long,))
    verdict = ask(policy, customer(**IN_SHANGHAI), at("2026-11-21T12:00:00+08:00"))
    assert (verdict.reason, verdict.not_before) == ("quiet_hours", None)


def test_what_lifts_a_window_is_read_as_the_rules_left_it_and_as_the_calendar_goes_on() -> None:
    """For `not_before`, the day that lifts the window comes before its end."""
    eleventh = Calendar(name="double-11", dates=((date(2026, 11, 11).toordinal(),) * 2,))
    lifted = Clause("time.in.double-11", "eq", True)
    vip = Clause("customer.vip", "eq", True)
    policy = quiet(hours_of("22:00", "08:00", unless=AnyOf((lifted, vip))), calendars=(eleventh,))
    eve, day = at("2026-11-10T23:00:00+08:00"), at("2026-11-11T23:00:00+08:00")
    verdict = ask(policy, customer(**IN_SHANGHAI), eve)
    assert verdict.not_before == at("2026-11-11T00:00:00+08:00")
    assert detail(policy, verdict) == (
        "it is 23:00 in Asia/Shanghai, push is quiet from 22:00 to 08:00; unless none of: "
        "time.in.double-11 is false, must be true | customer.vip is missing, must be true"
    )
    assert ask(policy, customer(**IN_SHANGHAI), day).outcome == "selected"
    assert ask(policy, customer(attributes={"vip": True}, **IN_SHANGHAI), eve).chosen


def test_quiet_hours_that_a_variant_lifts_expose_everybody_who_reaches_them() -> None:
    test = Experiment(name="late", seed="s", variants={"a": 0.5, "b": 0.5})
    late = Clause("experiment.late", "eq", "a")
    policy = quiet(hours_of("22:00", "08:00", unless=late), experiments=(test,))
    night = at("2026-11-21T23:00:00+08:00")
    for number in range(8):
        someone = customer(customer_id=f"c{number}", **IN_SHANGHAI)
        verdict = ask(policy, someone, night)
        variant = policy.variant("late", f"c{number}")
        assert verdict.experiments == {"late": variant}
        assert (verdict.reason == "quiet_hours") is (variant == "b")


@pytest.mark.parametrize(
    "condition", [Clause("customer.vip", "eq", True), Clause("experiment.x", "exists", True)]
)
def test_a_fallback_needs_a_channel_on_which_no_window_can_hold_it(condition: Condition) -> None:
    """What lifts a window may not hold."""
    excepted = hours_of("22:00", "08:00", except_purposes=("service",))
    held = hours_of("00:00", "24:00", weekdays=(6,), unless=condition)
    assert Channel(name="push", quiet_hours=(excepted,)).what_holds("service") == ""
    assert Channel(name="push", quiet_hours=(excepted, held)).what_holds("service") == "quiet hours"


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=8), st.integers(-2, 80))
def test_a_set_of_days_holds_what_its_ranges_hold(pairs: list[tuple[int, int]], day: int) -> None:
    ranges = [(first, first + more) for first, more in pairs]
    here = DaySet(ranges)
    assert (day in here) is any(first <= day <= last for first, last in ranges)
    free = here.free_from(day)
    assert free not in here
    assert all(one in here for one in range(day, free))


def test_ten_thousand_days_are_jumped_over_and_not_walked() -> None:
    first = date(2026, 11, 1).toordinal()
    days = DaySet((first + index, first + index) for index in range(10_000))
    assert days.ranges == ((first, first + 9_999),)
    window = QuietWindow("push", 0, hours_of("00:00", "24:00", calendar="x"), 1, days)
    zone = known("Asia/Shanghai")
    end = from_micros(window.ends(at("2026-11-21T12:00:00+08:00"), zone)).astimezone(zone)
    assert end.toordinal() == first + 10_000


def test_a_window_until_the_end_of_time_has_no_end() -> None:
    days = DaySet([(1, date.max.toordinal())])
    window = QuietWindow("push", 0, hours_of("00:00", "24:00", calendar="x"), 1, days)
    assert window.ends(at("2026-11-21T12:00:00+08:00"), known("Asia/Shanghai")) == NEVER


def test_a_window_in_words() -> None:
    window = hours_of("00:00", "24:00", weekdays=(5, 6), calendar="spring-festival")
    assert in_words(window) == "00:00 to 24:00 on sat, sun in spring-festival"
