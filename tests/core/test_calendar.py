"""Local days and periods are exact over a whole year, around each change of the clocks."""

from __future__ import annotations

import zoneinfo
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core import calendar
from decision.core.clock import DAY, HOUR, MINUTE, from_micros
from tests.core.small import at

ZONES = ["America/New_York", "Europe/London", "Asia/Shanghai"]
ODD_ZONES = [
    "America/Havana",  # back from 01:00 to 00:00: midnight twice
    "Asia/Beirut",  # forward at 00:00: no midnight
    "Australia/Lord_Howe",  # half an hour
    "Africa/Casablanca",
    "Pacific/Apia",
    "America/Scoresbysund",
]


@pytest.mark.parametrize("name", ZONES + ODD_ZONES)
def test_each_local_day_starts_at_its_first_instant(name: str) -> None:
    zone = ZoneInfo(name)
    day = date(2026, 1, 1)
    while day.year == 2026:
        start = calendar.day_start(day, zone)
        assert from_micros(start).astimezone(zone).date() == day
        earlier = [start - 1, start - MINUTE, start - HOUR]
        assert all(from_micros(t).astimezone(zone).date() < day for t in earlier)
        day += timedelta(days=1)


@given(
    name=st.sampled_from(ZONES + ODD_ZONES),
    now=st.integers(at("2026-01-01T00:00:00+00:00"), at("2027-01-01T00:00:00+00:00")),
    period=st.sampled_from(["day", "week", "month"]),
    week_starts=st.sampled_from(calendar.WEEKDAY_NAMES),
)
@settings(deadline=None, max_examples=500)
def test_a_period_holds_its_instant_and_meets_the_next(
    name: str, now: int, period: calendar.CalendarPeriod, week_starts: str
) -> None:
    zone = ZoneInfo(name)
    start = calendar.period_start(period, now, zone, week_starts)
    end = calendar.period_end(period, now, zone, week_starts)
    assert start <= now < end
    assert calendar.period_start(period, end, zone, week_starts) == end
    assert calendar.period_end(period, start - 1, zone, week_starts) == start
    days = {"day": 1, "week": 7, "month": 31}[period]
    assert end - start <= days * DAY + 2 * HOUR


def test_an_unknown_zone_is_an_error_that_names_it() -> None:
    for name in ("Asia/Shanghia", "", "../etc/passwd", "a" * 5000, "\x00"):
        with pytest.raises(ValueError, match="is not a time zone"):
            calendar.zone(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *((name, None) for name in ("localtime", "posixrules", "Factory", "CST-8", "zone.tab")),
        ("posix/Asia/Tokyo", "Asia/Tokyo"),
        ("right/UTC", "UTC"),
        ("/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        ("asia/shanghai", "Asia/Shanghai"),
        ("utc", "UTC"),
        (" Asia/Tokyo", "Asia/Tokyo"),
    ],
)
def test_only_names_of_the_iana_database_are_time_zones(name: str, meant: str | None) -> None:
    with pytest.raises(ValueError, match="is not a time zone") as refused:
        calendar.zone(name)
    if meant:
        assert f'did you mean "{meant}"?' in str(refused.value)


def test_a_time_zone_is_the_same_whatever_the_machine_has(tmp_path: Path) -> None:
    """Another file under the name, where the machine keeps its zones, changes nothing."""
    before = zoneinfo.TZPATH
    (tmp_path / "Asia").mkdir()
    data = files("tzdata").joinpath("zoneinfo", "America", "New_York").read_bytes()
    (tmp_path / "Asia" / "Samarkand").write_bytes(data)
    (tmp_path / "Mars").write_bytes(data)
    zoneinfo.reset_tzpath([str(tmp_path)])
    try:
        found = calendar.zone("Asia/Samarkand")
        local = from_micros(at("2026-01-01T00:00:00Z")).astimezone(found)
        assert (str(found), local.utcoffset()) == ("Asia/Samarkand", timedelta(hours=5))
        assert calendar.known_zone("Mars") is None
    finally:
        zoneinfo.reset_tzpath(before)


def test_every_time_zone_can_be_read() -> None:
    names = files("tzdata").joinpath("zones").read_text("utf-8").split()
    assert [name for name in names if calendar.known_zone(name) is None] == ["Factory"]
