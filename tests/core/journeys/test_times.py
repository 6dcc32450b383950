"""When a local time comes next, held against walks through time minute by minute."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.calendar import changes, zone
from decision.core.clock import DAY, HOUR, MINUTE, from_micros, to_micros
from decision.core.day_sets import DaySet
from decision.core.journeys import times
from decision.core.journeys.times import (
    at_local,
    next_cron,
    next_date,
    next_local,
    on_date,
    parse_cron,
)

ZONES = (
    *("UTC", "Asia/Tokyo", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"),
    *("Pacific/Apia", "America/Sao_Paulo", "Africa/Cairo", "America/Havana", "Antarctica/Troll"),
    *("Pacific/Kwajalein", "Asia/Kathmandu", "America/Scoresbysund", "Asia/Beirut"),
)
YEARS = (to_micros(datetime(1990, 1, 1, tzinfo=UTC)), to_micros(datetime(2030, 1, 1, tzinfo=UTC)))


def instant(text: str) -> int:
    return to_micros(datetime.fromisoformat(text))


def local(at: int | None, name: str) -> str:
    assert at is not None
    return f"{from_micros(at).astimezone(zone(name)):%a %Y-%m-%d %H:%M %z}"


# ------------------------------------------------------------------------- the oracle


QUARTER = 15 * MINUTE


@lru_cache(maxsize=8)
def clock_of(name: str, first: int, last: int, step: int) -> list[tuple[int, datetime]]:
    """What a clock shows, minute by minute or by quarters of an hour, between two days."""
    place = zone(name)
    return [
        (at, from_micros(at).astimezone(place).replace(tzinfo=None))
        for at in range(first * DAY, last * DAY, step)
    ]


def walked(shown: list[tuple[int, datetime]], day: date, minute: int) -> int:
    """The instant of a local minute: the first time that a clock shows it, or more than it."""
    if all(seen.date() != day for _, seen in shown):
        return walked(shown, day + timedelta(days=1), minute)
    wanted = datetime.combine(day, datetime.min.time()) + timedelta(minutes=minute)
    exact = [at for at, seen in shown if seen == wanted]
    if exact:
        return exact[0]
    return next(at for (_, old), (at, new) in pairwise(shown) if old < wanted < new)


def days_shown(shown: list[tuple[int, datetime]]) -> list[date]:
    """The days that a zone has; the first and the last are cut off."""
    return list(dict.fromkeys(seen.date() for _, seen in shown))[1:-1]


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, int]:
    """A zone, and a time near a change of its clocks where it has one."""
    name = draw(st.sampled_from(ZONES))
    at = draw(st.integers(*YEARS))
    near = changes(zone(name), at, min(at + 250 * DAY, YEARS[1]))
    if near:
        at = draw(st.sampled_from(near)) + draw(st.integers(-50 * 60, 50 * 60)) * MINUTE
    return name, at + draw(st.sampled_from((0, 1, 30_000_000)))


@settings(max_examples=60, deadline=None)
@given(moments(), st.integers(0, 1439), st.integers(-1, 2))
def test_a_local_minute_is_the_first_instant_at_which_a_clock_shows_it(
    moment: tuple[str, int], minute: int, days: int
) -> None:
    name, at = moment
    day = from_micros(at).astimezone(zone(name)).date() + timedelta(days=days)
    since = (day - date(1970, 1, 1)).days
    shown = clock_of(name, since - 2, since + 4, MINUTE)
    assert at_local(zone(name), day, minute) == walked(shown, day, minute)


@settings(max_examples=60, deadline=None)
@given(moments(), st.integers(0, 95), st.sets(st.integers(0, 6), max_size=2))
def test_the_next_local_minute_is_the_one_that_a_walk_comes_to(
    moment: tuple[str, int], quarter: int, weekdays: set[int]
) -> None:
    (name, at), minute = moment, 15 * quarter
    shown = clock_of(name, at // DAY - 2, at // DAY + 16, QUARTER)
    due = (
        walked(shown, day, minute)
        for day in days_shown(shown)
        if not weekdays or day.weekday() in weekdays
    )
    expected = next(max(one, at) for one in due if one + MINUTE > at)
    assert next_local(zone(name), at, minute, sorted(weekdays)) == expected


@settings(max_examples=60, deadline=None)
@given(
    moments(),
    st.lists(st.sampled_from((0, 15, 30, 45)), min_size=1, max_size=2, unique=True),
    st.none() | st.lists(st.integers(0, 23), min_size=1, max_size=2, unique=True),
    st.none() | st.lists(st.integers(0, 6), min_size=1, max_size=3, unique=True),
)
def test_the_next_time_of_a_schedule_is_the_one_that_a_walk_comes_to(
    moment: tuple[str, int], minutes: list[int], hours: list[int] | None, weekdays: list[int] | None
) -> None:
    """Weekdays are cron's: 0 is Sunday."""
    name, at = moment

    def said(numbers: list[int] | None) -> str:
        return "*" if numbers is None else ",".join(map(str, numbers))

    shown = clock_of(name, at // DAY - 2, at // DAY + 10, QUARTER)
    expected = min(
        one
        for day in days_shown(shown)
        if weekdays is None or day.isoweekday() % 7 in weekdays
        for hour in (range(24) if hours is None else hours)
        for minute in minutes
        if (one := walked(shown, day, hour * 60 + minute)) > at
    )
    text = f"{said(minutes)} {said(hours)} * * {said(weekdays)}"
    assert next_cron(zone(name), at, parse_cron(text)) == expected


# ------------------------------------------------------------------------ known places


def test_monday_at_eight_in_tokyo_is_a_monday_there() -> None:
    sunday = instant("2026-11-22T20:00:00+09:00")
    monday = next_local(zone("Asia/Tokyo"), sunday, 8 * 60, [0])
    assert local(monday, "Asia/Tokyo") == "Mon 2026-11-23 08:00 +0900"
    assert local(monday, "UTC") == "Sun 2026-11-22 23:00 +0000"


def test_nine_stays_nine_in_new_york_over_both_changes() -> None:
    for start in ("2027-03-13T10:00:00-05:00", "2026-10-31T10:00:00-04:00"):
        found, at = [], instant(start)
        for _ in range(3):
            following = next_local(zone("America/New_York"), at, 9 * 60)
            found.append(local(following, "America/New_York")[15:20])
            assert following is not None
            at = following + MINUTE
        assert found == ["09:00"] * 3


def test_a_time_that_does_not_exist_is_the_first_that_does_and_of_two_the_first_counts() -> None:
    new_york = zone("America/New_York")
    gap = next_local(new_york, instant("2027-03-14T00:00:00-05:00"), 2 * 60 + 30)
    assert local(gap, "America/New_York") == "Sun 2027-03-14 03:00 -0400"
    fold = next_local(new_york, instant("2026-11-01T00:00:00-04:00"), 60 + 30)
    assert local(fold, "America/New_York") == "Sun 2026-11-01 01:30 -0400"
    second = next_local(new_york, instant("2026-11-01T01:10:00-05:00"), 60 + 30)
    assert local(second, "America/New_York") == "Mon 2026-11-02 01:30 -0500"


def test_half_an_hour_is_left_out_on_lord_howe() -> None:
    name = "Australia/Lord_Howe"
    gap = next_local(zone(name), instant("2026-10-04T00:00:00+10:30"), 2 * 60 + 15)
    assert local(gap, name) == "Sun 2026-10-04 02:30 +1100"
    assert local(next_local(zone(name), gap or 0, 9 * 60), name) == "Sun 2026-10-04 09:00 +1100"


def test_nine_stays_nine_in_casablanca_around_ramadan() -> None:
    name, at = "Africa/Casablanca", instant("2026-02-13T12:00:00+01:00")
    for _ in range(45):
        following = next_local(zone(name), at, 9 * 60)
        assert local(following, name)[15:20] == "09:00"
        at = (following or 0) + MINUTE


def test_samoa_had_no_30_december_2011() -> None:
    """A day that a zone left out is not a day; what falls on that date is kept on the next one."""
    apia = zone("Pacific/Apia")
    thursday = instant("2011-12-29T10:00:00-10:00")
    name = "Pacific/Apia"
    assert local(next_local(apia, thursday, 9 * 60), name) == "Sat 2011-12-31 09:00 +1400"
    assert local(next_local(apia, thursday, 9 * 60, [4]), name) == "Fri 2012-01-06 09:00 +1400"
    assert local(on_date(apia, date(2011, 12, 30), 9 * 60), name) == "Sat 2011-12-31 09:00 +1400"
    friday = next_cron(apia, thursday, parse_cron("0 9 * * fri"))
    assert local(friday, name) == "Fri 2012-01-06 09:00 +1400"


def test_that_very_minute_is_now_unless_it_was_waited_for() -> None:
    nine = instant("2026-11-23T09:00:00+00:00")
    utc = zone("UTC")
    assert next_local(utc, nine, 9 * 60) == nine
    assert next_local(utc, nine + 59_999_999, 9 * 60) == nine + 59_999_999
    assert next_local(utc, nine + MINUTE, 9 * 60) == nine + DAY
    assert next_local(utc, nine + 30_000_000, 9 * 60, passed=nine) == nine + DAY


def test_a_day_of_a_calendar_is_waited_for_and_none_comes_after_the_last() -> None:
    days = DaySet([(date(2027, 2, 5).toordinal(), date(2027, 2, 12).toordinal())])
    utc = zone("UTC")
    at = instant("2026-11-23T10:00:00+00:00")
    assert local(next_local(utc, at, 540, (), days), "UTC") == "Fri 2027-02-05 09:00 +0000"
    assert local(next_local(utc, at, 540, [0], days), "UTC") == "Mon 2027-02-08 09:00 +0000"
    assert next_local(utc, instant("2027-02-12T09:01:00+00:00"), 540, (), days) is None


def test_there_is_no_time_after_the_year_9999() -> None:
    last = instant("9999-12-31T10:00:00+00:00")
    assert next_local(zone("UTC"), last, 9 * 60) is None
    assert next_cron(zone("Pacific/Apia"), last, parse_cron("0 0 * * *")) is None
    assert next_date(zone("UTC"), last, date(1990, 12, 31), 0) is None
    assert on_date(zone("UTC"), date(9999, 12, 31), 0, 3 * DAY) is None


# ------------------------------------------------------------------------------- dates


def test_a_birthday_on_29_february_is_the_28th_in_other_years() -> None:
    at, found = instant("2026-01-01T00:00:00+00:00"), []
    for _ in range(4):
        at = next_date(zone("Asia/Tokyo"), at, date(2000, 2, 29), 9 * 60) or 0
        found.append(local(at, "Asia/Tokyo")[4:20])
    assert found == [
        *("2026-02-28 09:00", "2027-02-28 09:00", "2028-02-29 09:00", "2029-02-28 09:00"),
    ]


def test_days_before_a_date_are_days_of_the_calendar() -> None:
    """Three days before, over a change of the clocks: the time of day stays."""
    at = on_date(zone("America/New_York"), date(2027, 3, 15), 9 * 60, -3 * DAY)
    assert local(at, "America/New_York") == "Fri 2027-03-12 09:00 -0500"
    at = on_date(zone("America/New_York"), date(2027, 3, 15), 9 * 60, -3 * DAY - 2 * HOUR)
    assert local(at, "America/New_York") == "Fri 2027-03-12 07:00 -0500"


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.integers(*YEARS),
    st.dates(date(1950, 1, 1), date(2035, 1, 1)),
    st.integers(0, 1439),
    st.integers(-800, 800),
)
def test_the_next_anniversary_is_the_first_after_now_from_the_day_itself_on(
    name: str, at: int, day: date, minute: int, shift: int
) -> None:
    every = []
    for year in range(day.year, 2040):
        try:
            kept = day.replace(year=year)
        except ValueError:
            kept = date(year, 2, 28)
        every.append(on_date(zone(name), kept, minute, shift * DAY))
    expected = next((one for one in every if one is not None and one > at), None)
    assert next_date(zone(name), at, day, minute, shift * DAY) == expected


# --------------------------------------------------------------------------- schedules


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 9 * * mon", ["Mon 11-23 09:00", "Mon 11-30 09:00"]),
        ("0 9 * * MON-fri", ["Mon 11-23 09:00", "Tue 11-24 09:00"]),
        ("0 9 * * 0", ["Sun 11-29 09:00", "Sun 12-06 09:00"]),
        ("0 9 * * 7", ["Sun 11-29 09:00", "Sun 12-06 09:00"]),
        ("0 9 * * fri-sun", ["Fri 11-27 09:00", "Sat 11-28 09:00"]),
        ("0 9 * * sat-mon", ["Mon 11-23 09:00", "Sat 11-28 09:00"]),
        ("0 9 * * mon-sun", ["Mon 11-23 09:00", "Tue 11-24 09:00"]),
        ("0 9 * * 5-7", ["Fri 11-27 09:00", "Sat 11-28 09:00"]),
        ("*/20 8-9 * * *", ["Mon 11-23 08:00", "Mon 11-23 08:20"]),
        ("5/20 8 * * *", ["Mon 11-23 08:05", "Mon 11-23 08:25"]),
        ("10-30/10,59 8 * * *", ["Mon 11-23 08:10", "Mon 11-23 08:20"]),
        ("0 9 1,15 * *", ["Tue 12-01 09:00", "Tue 12-15 09:00"]),
        ("0 9 1 jan,jul *", ["Fri 01-01 09:00", "Thu 07-01 09:00"]),
        ("0 9 29 2 *", ["Tue 02-29 09:00", "Sun 02-29 09:00"]),
        ("0 9 25 * thu", ["Wed 11-25 09:00", "Thu 11-26 09:00"]),
        ("0 9 */2 * thu", ["Thu 12-03 09:00", "Thu 12-17 09:00"]),
        ("0 9 29 2 */7", ["Sun 02-29 09:00", "Sun 02-29 09:00"]),
        ("0 9 31 * *", ["Thu 12-31 09:00", "Sun 01-31 09:00"]),
    ],
)
def test_schedules_are_those_of_cron(text: str, expected: list[str]) -> None:
    at, found = instant("2026-11-23T00:00:00+00:00"), []
    for _ in expected:
        at = next_cron(zone("UTC"), at, parse_cron(text)) or 0
        found.append(f"{from_micros(at):%a %m-%d %H:%M}")
    assert found == expected


@pytest.mark.parametrize(
    "text", ["* * * * *", "*/5 * * * *", "0 9 29 2 *", "59 23 * * sun", "0 0 29 2 */7"]
)
@pytest.mark.parametrize("hour", [0, 5, 6, 7, 23])
def test_the_clock_is_asked_a_few_times_for_any_schedule_and_hour(
    monkeypatch: pytest.MonkeyPatch, text: str, hour: int
) -> None:
    """Also in the hour that is shown twice, 1 November 2026, from 5:00 to 7:00 UTC."""
    asked: list[int] = []

    def counting(at: tzinfo, day: date, minute: int) -> int:
        asked.append(minute)
        return at_local(at, day, minute)

    monkeypatch.setattr(times, "at_local", counting)
    after = instant("2026-11-01T00:59:00+00:00") + hour * HOUR
    assert next_cron(zone("America/New_York"), after, parse_cron(text)) is not None
    assert len(asked) <= 16


def test_each_minute_of_an_hour_that_is_shown_twice_comes_once() -> None:
    new_york, at = zone("America/New_York"), instant("2026-11-01T05:57:00+00:00")
    found = []
    for _ in range(4):
        at = next_cron(new_york, at, parse_cron("* * * * *")) or 0
        found.append(f"{from_micros(at):%H:%M}")
    assert found == ["05:58", "05:59", "07:00", "07:01"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0 9 * *", "has 4 fields"),
        ("0 0 9 * * mon", "has 6 fields"),
        ("60 9 * * *", "'60' is no minute; write 0 to 59"),
        ("0 24 * * *", "'24' is no hour"),
        ("0 9 0 * *", "'0' is no day; write 1 to 31"),
        ("0 9 * 13 *", "'13' is no month"),
        ("0 9 * * 8", "'8' is no weekday"),
        ("0 9 * * monday", "'monday' is no weekday; write mon"),
        ("0 9 * * mun", "'mun' is no weekday; write 0 to 7, or a name such as sat"),
        ("0 9 * June *", "'june' is no month; write jun"),
        ("30-10 9 * * *", "'30-10' is no minute: it has nothing in it"),
        ("0-5/0 9 * * *", "'0-5/0' is no minute"),
        ("-5 9 * * *", "'-5' is no minute"),
        ("0, 9 * * *", "'' is no minute"),
        ("٣ 9 * * *", "'٣' is no minute"),
        ("0 9 30 2 *", "never comes"),
        ("0 9 31 2,4,6,9,11 *", "never comes"),
        ("@daily", "has 1 fields"),
    ],
)
def test_what_is_no_schedule_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_cron(text)
