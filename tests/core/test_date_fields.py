"""Measures of dates count by the customer's calendar, as somebody with a wall calendar would."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from decision.core import calendar
from decision.core.clock import to_micros
from decision.core.fields import DATE_MEASURES, FieldTable, Situation, parse_field
from decision.core.values import MISSING
from tests.core.small import customer

ZONES = ["UTC", "Asia/Shanghai", "America/New_York", "Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kathmandu"]  # fmt: skip


def read(value: Any, now: datetime, zone: str = "UTC", name: str = "birthday") -> list[Any]:
    """The four measures of an attribute, in the order of `DATE_MEASURES`."""
    document = customer(attributes={name: value})
    situation = Situation(document, "outbound", to_micros(now), calendar.zone(zone))
    return FieldTable(f"customer.{name}.{one}" for one in DATE_MEASURES).read(situation)


# ------------------------------------------------------------------ the oracle, which only counts


def is_celebrated(born: date, day: date) -> bool:
    if (born.month, born.day) == (2, 29) and (day + timedelta(days=1)).month == 3:
        return day.month == 2  # the last day of February
    return (born.month, born.day) == (day.month, day.day)


def counted(born: date, today: date) -> list[Any]:
    waited = 0
    while not is_celebrated(born, today + timedelta(days=waited)):
        waited += 1
    until = 0
    step = 1 if born > today else -1
    for until in range(0, 200 * 366 * step, step):
        if today + timedelta(days=until) == born:
            break
    age = 0
    day = max(born, today)
    while day > min(born, today):  # celebrations after the earlier and up to the later of the two
        age += is_celebrated(born, day)
        day -= timedelta(days=1)
    if born > today:  # rounded down: -1 from the day before it back to the same day a year before
        between = (today + timedelta(days=i) for i in range(1, (born - today).days))
        age = -1 - sum(is_celebrated(born, day) for day in between)
    return [until, -until, waited, age]


days = st.dates(date(1970, 1, 1), date(2060, 12, 31)) | st.sampled_from(
    [date(2000, 2, 29), date(2024, 2, 29), date(2023, 2, 28), date(2024, 2, 28), date(2024, 3, 1)]
)
seconds = st.integers(0, 86_399)


@settings(deadline=None, max_examples=150)
@given(days, days, seconds, st.sampled_from(ZONES))
@example(date(2000, 2, 29), date(2027, 2, 28), 0, "UTC")
@example(date(2000, 2, 29), date(2028, 2, 28), 0, "UTC")
@example(date(2000, 2, 29), date(2027, 3, 1), 0, "Asia/Shanghai")
@example(date(2024, 2, 28), date(2024, 2, 29), 0, "UTC")
def test_the_measures_of_a_date_are_what_counting_days_gives(
    born: date, day: date, second: int, zone: str
) -> None:
    now = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=second)
    today = now.astimezone(calendar.zone(zone)).date()
    assert read(born.isoformat(), now, zone) == counted(born, today)


@settings(deadline=None, max_examples=150)
@given(days, seconds, days, seconds, st.sampled_from(ZONES), st.integers(-14 * 4, 14 * 4))
def test_of_a_time_the_date_in_the_customers_zone_counts(
    day: date, second: int, other: date, later: int, zone: str, quarters: int
) -> None:
    offset = timedelta(minutes=15 * quarters)
    stored = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=second)
    now = datetime(other.year, other.month, other.day, tzinfo=UTC) + timedelta(seconds=later)
    sign, minutes = "-" if quarters < 0 else "+", abs(15 * quarters)
    text = f"{(stored + offset):%Y-%m-%dT%H:%M:%S}{sign}{minutes // 60:02}:{minutes % 60:02}"
    local = stored.astimezone(calendar.zone(zone)).date()
    assert read(text, now, zone) == read(local.isoformat(), now, zone)


NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "soon",
            "21/11/2026",
            "2026-1-2",
            "20261121",
            " 2026-11-21",
            "2026-11-21 ",
            "2026-11",
        ),
        *("2026-13-01", "2026-02-30", "2027-02-29", "0000-01-01", "10000-01-01", "-2026-01-01"),
        *("2026-11-21T10:00:00", "2026-11-21T10:00", "2026-11-21T25:00:00Z", "2026-11-21T"),
        *("٢٠٢٦-11-21", "2026-11-21\n", "２０２６-11-21", "2026-W47-6", "x" * 10_000),
        *(20261121, 1.5, True, False, None, [], ["2026-11-21"], {}, {"at": "2026-11-21"}),
    ],
)
def test_what_is_no_date_has_no_measure(value: Any) -> None:
    assert read(value, NOW) == [MISSING] * 4


@pytest.mark.parametrize(
    ("value", "until"),
    [
        ("2026-11-21T23:59:59.999999Z", 0),
        ("2026-11-22t00:00:00z", 1),
        ("2026-11-22 07:59:59+08:00", 0),
        ("0001-01-01", -739_940),
        ("9999-12-31", 2_912_118),
    ],
)
def test_every_form_of_a_date_is_read(value: str, until: int) -> None:
    assert read(value, NOW)[:2] == [until, -until]


def test_a_time_that_is_in_no_year_of_the_customers_calendar_has_no_measure() -> None:
    assert read("9999-12-31T23:59:59-12:00", NOW, "Pacific/Kiritimati") == [MISSING] * 4
    assert read("0001-01-01T00:00:00+14:00", NOW, "Etc/GMT+12") == [MISSING] * 4


def test_the_last_year_of_the_calendar_has_no_anniversary_after_it() -> None:
    last = datetime(9999, 12, 31, tzinfo=UTC)
    assert read("1990-06-01", last)[2:] == [MISSING, 8009]
    assert read("1990-12-31", last)[2:] == [0, 8009]


def test_an_attribute_that_is_an_object_keeps_its_parts() -> None:
    """Data stored before there were measures means what it meant."""
    field = parse_field("customer.birthday.days_until")
    for attributes, found in (
        ({"birthday": {"days_until": 3}}, 3),
        ({"birthday": {"days_until": "soon"}}, "soon"),
        ({"birthday.days_until": 7, "birthday": "2026-11-21"}, 7),
        ({"birthday": {"other": 3}}, MISSING),
        ({"days_until": 3}, MISSING),
        ({"birthday": "2026-11-22"}, 1),
    ):
        document = customer(attributes=attributes)
        assert field.read(Situation(document, "", to_micros(NOW), UTC)) == found


def test_of_two_places_with_one_name_the_part_of_the_object_is_read_as_before() -> None:
    document = customer(attributes={"a.b": "2026-11-22", "a": {"b": {"days_until": 7}}})
    field = parse_field("customer.a.b.days_until")
    assert field.read(Situation(document, "", to_micros(NOW), UTC)) == 7


def test_a_date_may_lie_in_an_object() -> None:
    assert read({"start": "2026-11-20"}, NOW, name="contract") == [MISSING] * 4
    document = customer(attributes={"contract": {"start": "2026-11-20"}})
    field = parse_field("customer.contract.start.days_since")
    assert field.read(Situation(document, "", to_micros(NOW), UTC)) == 1


def test_a_segment_with_the_name_of_a_measure_is_a_segment() -> None:
    document = customer(attributes={"segment": {"days_since": True}})
    field = parse_field("customer.segment.days_since")
    assert (field.kind, field.read(Situation(document, "", 0, UTC))) == ("any", True)
