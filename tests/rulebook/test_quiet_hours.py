"""What the review says of quiet hours, and that reading them leaves nothing out."""

from __future__ import annotations

from datetime import date

import pytest

from decision.core.conditions import Clause
from decision.core.definition import QuietHours
from decision.rulebook.reader import load_files
from decision.rulebook.review.past import review_past

SHOP = """\
calendars: {may: {dates: [2027-05-01..2027-05-05]}, spring: {dates: [2027-05-02]}}
purposes: {ads: {consent: opt_in}, service: {consent: not_required}}
channels: {push: {quiet_hours: HERE}, email: {}}
placements: {outbound: {channels: [push, email]}}
messages: {sale: {purpose: ads, channels: [push, email], value: 1}}
"""
NIGHT = 'from: "22:00", to: "08:00"'
WHOLE = 'from: "00:00", to: "24:00"'


def shop(hours: str) -> str:
    return SHOP.replace("HERE", hours).replace("NIGHT", NIGHT).replace("WHOLE", WHOLE)


def found(hours: str) -> list[str]:
    result = load_files({"a.yaml": shop(hours)})
    return [f"{one.code}: {one.message} | {one.hint}" for one in result.diagnostics]


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        ("{WHOLE}", "always-quiet: channel \"push\" is quiet all day |"),
        ('[{from: "00:00", to: "12:00"}, {from: "12:00", to: "23:30"}]', "except for 30 minutes"),
        ("{NIGHT, unless: {time.hour: {gte: 0}}}", "always-holds: unless in quiet_hours of"),
        ("{NIGHT, unless: {time.hour: 3, placement: nowhere}}", 'no placement "nowhere"'),
        ("[{NIGHT}, {NIGHT, on: sat}]", "have no effect: 22:00 to 08:00 contains them"),
        ("[{WHOLE, in: may}, {NIGHT, in: spring}]", ""),
        ("[{WHOLE, in: may}, {from: 12:00, to: 18:00, in: spring}]", "have no effect"),
        ("[{WHOLE, in: spring}, {from: 12:00, to: 18:00, in: may}]", ""),
        ("[{NIGHT, except: [service]}, {NIGHT}]", "22:00 to 08:00 contains them"),
        ("[{NIGHT, except: [service]}, {NIGHT, on: [sat], except: []}]", ""),
        ("[{NIGHT, unless: {customer.vip: true}}, {NIGHT, on: [sat]}]", ""),
        (
            "[{NIGHT, unless: {customer.vip: true}}, {NIGHT, on: [sat], unless: {customer.vip: true}}]",
            "have no effect",
        ),
        ("[{WHOLE, on: [sat, sun]}, {NIGHT}]", ""),
        ("[{NIGHT}, {WHOLE, in: may}]", ""),
        ("{NIGHT, in: spring, on: mon}", "never hold: spring has no such weekday"),
        ("{NIGHT, in: spring, on: sun}", ""),
    ],
)  # fmt: skip
def test_a_window_without_effect_is_named(hours: str, words: str) -> None:
    """2 May 2027 is a Sunday."""
    said = found(hours)
    assert len(said) == bool(words), said
    assert words in "".join(said)


def test_every_key_of_a_window_is_read_with_its_place() -> None:
    hours = '\n  - {from: "21:00", to: "24:00", on: [sun, sat], in: may, except: service, unless: '
    text = shop(hours + "{time.in.spring: true}}\n ")
    result = load_files(
        {
            "a.yaml": text.replace("channels: {push: {", "channels:\n push:\n  ", 1).replace(
                "}, email: {}}", "\n email: {}", 1
            )
        }
    )
    assert result.definition is not None, result.diagnostics
    assert result.definition.channels[0].quiet_hours == (
        QuietHours(
            start=21 * 60,
            end=24 * 60,
            except_purposes=("service",),
            weekdays=(5, 6),
            calendar="may",
            unless=Clause("time.in.spring", "eq", True),
            clause_sources=("rules/a.yaml:6",),
            source="rules/a.yaml:6",
        ),
    )


def test_a_calendar_whose_days_are_all_over_is_named_on_the_day_after() -> None:
    result = load_files({"a.yaml": shop("{NIGHT}")})
    assert result.definition is not None
    found = [
        [one.message for one in review_past(result.definition, result.places, today)]
        for today in (date(2027, 5, 2), date(2027, 5, 3), date(2027, 5, 6))
    ]
    over = 'every day of calendar "{}" is over; the last was 2027-05-0{}'
    assert found == [
        [],
        [over.format("spring", 2)],
        [over.format("may", 5), over.format("spring", 2)],
    ]


def test_all_seven_weekdays_are_every_day() -> None:
    result = load_files({"a.yaml": shop("{NIGHT, on: [mon, tue, wed, thu, fri, sat, sun]}")})
    assert result.definition is not None
    assert result.definition.channels[0].quiet_hours[0].weekdays == ()


def test_ten_thousand_dates_are_read_and_the_overlaps_told() -> None:
    dates = ", ".join(
        f"{year}-{month:02}-{day:02}"
        for year in range(2027, 2057)
        for month in range(1, 13)
        for day in range(1, 29)
    )
    result = load_files({"a.yaml": "calendars: {all: {dates: [" + dates + ", 2030-02-03]}}"})
    assert [one.code for one in result.diagnostics] == ["no-effect"]
    assert result.definition is not None
    assert len(result.definition.calendars[0].dates) == 10_081


def test_a_fallback_is_held_back_by_any_window_that_does_not_except_it() -> None:
    text = shop("[{NIGHT, except: [service]}, {WHOLE, on: [sun], unless: {customer.vip: true}}]")
    text = text.replace("channels: [push, email]}}\nm", "channels: [push], fallback: hi}}\nm")
    text = text.replace(
        "value: 1}}", "value: 1}, hi: {purpose: service, channels: push, value: 1}}"
    )
    codes = [one.code for one in load_files({"a.yaml": text}).diagnostics]
    assert "unfit-fallback" in codes
