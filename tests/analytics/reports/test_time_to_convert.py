"""The time to convert is that of PostHog's cases, and of a plain count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.analytics.reports.made import Done, report, write, write_sight

SINGLE = [
    Done("a", "one", 0), Done("a", "two", 3600), Done("a", "three", 10_800),
    Done("b", "one", 0), Done("b", "two", 2220),
    Done("c", "one", 0), Done("c", "two", 82_800),
]  # fmt: skip
TWICE = [
    *(Done("a", "one", at) for at in (0, 3600, 10_800)),
    *(Done("b", "one", at) for at in (0, 2220)),
    *(Done("c", "one", at) for at in (0, 82_800)),
]
UNORDERED = [
    Done("a", "three", 0), Done("a", "one", 3600), Done("a", "two", 10_800),
    Done("b", "one", 0), Done("b", "two", 2220),
    Done("c", "two", 0), Done("c", "one", 82_800),
]  # fmt: skip
STRICT = [
    *SINGLE, Done("b", "blah", 2280), Done("b", "three", 2340),
    Done("d", "one", 0), Done("d", "blah", 90_000), Done("d", "two", 97_200),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "events", "asked", "bins", "average"),
    [
        (
            "test_auto_bin_count_single_step", SINGLE, {"steps": "one,two"},
            [(2220, 2), (42_510, 0), (82_800, 1)], 29_540,
        ),
        (
            "test_auto_bin_count_single_step_duplicate_events", TWICE, {"steps": "one,one"},
            [(2220, 2), (42_510, 0), (82_800, 1)], 29_540,
        ),
        (
            "test_custom_bin_count_single_step", SINGLE, {"steps": "one,two", "bins": 7},
            [(2220, 2), (13_732, 0), (25_244, 0), (36_756, 0), (48_268, 0), (59_780, 0),
             (71_292, 1), (82_804, 0)], 29_540,
        ),
        (
            "test_auto_bin_count_total", SINGLE, {"steps": "one,two,three"},
            [(10_800, 1), (10_860, 0)], 10_800,
        ),
        (
            "test_basic_strict", STRICT, {"steps": "one,two", "order": "strict"},
            [(2220, 2), (42_510, 0), (82_800, 1)], 29_540,
        ),
        (
            "test_basic_unordered", UNORDERED, {"steps": "one,two", "order": "any"},
            [(2220, 1), (42_510, 0), (82_800, 1)], None,
        ),
    ],
)  # fmt: skip
def test_posthogs_cases_have_their_numbers(
    tmp_path: Path,
    name: str,
    events: list[Done],
    asked: dict[str, Any],
    bins: list[tuple[int, int]],
    average: float | None,
) -> None:
    """In the unordered one PostHog asks for the first two of three steps; ours are the two."""
    found = report("time-to-convert", write(tmp_path, events), within="7d", **asked)
    if average is None:
        bins, average = [(2220, 2), (42_510, 0), (82_800, 1)], (7200 + 2220 + 82_800) / 3
    assert [(one.from_, one.customers) for one in found.bins] == bins, name
    assert found.average_seconds == average


def test_half_took_the_median_and_open_ones_are_told(tmp_path: Path) -> None:
    events = [Done(f"c-{n}", "one", 0) for n in range(5)]
    events += [Done(f"c-{n}", "two", n * 60) for n in range(1, 4)]
    found = report("time-to-convert", write(tmp_path, events), steps="one,two", within="1d")
    assert (found.customers, found.converted, found.open) == (5, 3, 2)
    assert (found.median_seconds, found.average_seconds) == (120, 120)
    assert any("2 of those who began can still come further" in one for one in found.incomplete)
    nobody = report("time-to-convert", tmp_path, steps="two,one", within="1d")
    assert (nobody.converted, nobody.median_seconds, nobody.bins) == (0, None, [])


def test_a_break_down_says_how_long_it_took_for_each(tmp_path: Path) -> None:
    """By what the chain began with, and by what decisions saw of the customer."""
    events = [Done("a", "one", 0, {"device": "phone"}), Done("a", "two", 100)]
    events += [Done("b", "one", 0, {"device": "phone"}), Done("b", "two", 300)]
    events += [Done("c", "one", 0, {"device": "phone"}), Done("d", "one", 0), Done("d", "two", 7)]
    archive = write(tmp_path, events)
    asked = {"steps": "one,two", "within": "1d"}
    found = report("time-to-convert", archive, **asked, by="event.device")
    figures = [
        (one.name, one.customers, one.converted, one.median_seconds, one.average_seconds)
        for one in found.groups
    ]
    assert figures == [("phone", 3, 2, 200, 200), (None, 1, 1, 7, 7)]
    write_sight(archive, "c", -5, city="Lyon")
    lyon = report("time-to-convert", archive, **asked, by="customer.city", groups=2).groups[1]
    assert (lyon.name, lyon.customers, lyon.converted, lyon.median_seconds) == ("Lyon", 1, 0, None)
    assert report("time-to-convert", archive, **asked).groups == []
