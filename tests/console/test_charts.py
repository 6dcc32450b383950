"""Charts are SVG without inline style, with the same numbers beside them as a table."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.analytics.reports.answering import Bars, OverTime
from decision.console.chart_axes import date_ticks, number_ticks
from decision.console.charts import Series, band, bars, stacked
from decision.console.language import language
from decision.console.report_charts import figures, picture_file
from decision.core.said import Said

ENGLISH, CHINESE = language("en"), language("zh")
BEGIN = datetime(2026, 11, 21, tzinfo=UTC)
HOURS = [BEGIN + timedelta(hours=n) for n in range(24)]


def parsed(chart: str) -> ElementTree.Element:
    assert "style=" not in chart and "<script" not in chart
    return ElementTree.fromstring(chart)


def test_stacked_bars_stand_on_each_other_and_are_told_as_a_table() -> None:
    series = [Series("selected", [3] * 24), Series("<none>", [1, None] * 12)]
    chart = stacked(
        "Decisions", HOURS, series, CHINESE, zone="Asia/Shanghai", step=timedelta(hours=1)
    )
    tree = parsed(chart)
    rects = [one for one in tree.iter("rect") if "y" in one.attrib]
    assert len(rects) == 24 + 12
    first, above = [one for one in rects if one.get("x") == rects[0].get("x")]
    assert abs(float(above.get("y")) + float(above.get("height")) - float(first.get("y"))) < 0.11
    assert len(tree.findall(".//tbody/tr")) == 24
    assert "&lt;none&gt;" in chart and "Asia/Shanghai" in chart


def test_a_line_is_broken_where_nothing_is_known() -> None:
    values = [0.1, 0.2, None, 0.4, None, 0.3, 0.2]
    chart = band(
        "Rate",
        HOURS[:7],
        Series("rate", values),
        ENGLISH,
        low=[0.05] * 7,
        high=[0.5] * 7,
        percent=True,
    )
    tree = parsed(chart)
    assert len(tree.findall(".//polyline")) == 2 and len(tree.findall(".//circle")) == 1
    assert len(tree.findall(".//polygon")) == 1
    assert "50.0%" in chart


def test_bars_have_their_numbers_beside_them_and_say_where_there_are_none() -> None:
    tree = parsed(bars("Reasons", [("capped", 1200), ("quiet", 300), ("no", 0)], ENGLISH))
    assert [one.get("width") for one in tree.iter("rect")] == ["100.00", "25.00", "0.00"]
    assert "1,200" in "".join(tree.itertext())
    assert "No decision yet." in bars("Reasons", [], ENGLISH, none="No decision yet.")


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("days", [0, 1, 60])
def test_a_chart_of_a_report_is_the_same_picture_in_a_page_and_in_a_file(
    days: int, stacked: bool
) -> None:
    """The file has its title, its legend and its colours with it."""
    many = [date(2026, 9, 1) + timedelta(days=n) for n in range(days)]
    rows = [(Said("customers"), [float(n) for n in range(days)]), ("<b>x", [None] * days)]
    for chart in (OverTime(Said("Steps"), many, rows, stacked), Bars(Said("Steps"), rows_of(days))):
        [figure] = figures([chart], CHINESE, "Asia/Shanghai")
        parsed(figure)
        file = picture_file(chart, CHINESE, "Asia/Shanghai")
        tree = ElementTree.fromstring(file)
        assert "步骤" in "".join(tree.itertext()) and "Steps" not in file
        shapes = [one.tag.rpartition("}")[2] for one in tree.iter()]
        drawn = re.findall("<(polyline|circle|rect)", figure.partition("<ul")[0])
        assert len(drawn) <= sum(shape in ("polyline", "circle", "rect") for shape in shapes)
        if isinstance(chart, OverTime):
            assert "客户" in file and "&lt;b&gt;x" in file


def rows_of(many: int) -> list[tuple[str, float]]:
    return [(f"name {n} " * 9, n / 3) for n in range(many)]


def test_nothing_to_draw_is_drawn_as_well() -> None:
    parsed(stacked("Nothing", [], [], ENGLISH))
    parsed(stacked("Nothing", HOURS, [Series("a", [None] * 24)], ENGLISH))
    parsed(band("One", HOURS[:1], Series("a", [5]), ENGLISH))


@given(st.floats(min_value=1e-9, max_value=1e15))
def test_the_numbers_of_an_axis_are_few_rise_evenly_and_reach_the_largest(most: float) -> None:
    ticks = number_ticks(most)
    assert ticks[0] == 0 and 2 <= len(ticks) <= 6
    assert ticks[-1] >= most * 0.999
    steps = {round((b - a) / ticks[1], 6) for a, b in itertools.pairwise(ticks)}
    assert steps == {1.0}


@given(st.integers(1, 400 * 24 * 60), st.sampled_from(["UTC", "Asia/Shanghai", "Europe/Berlin"]))
def test_the_dates_of_an_axis_are_few_and_between_its_ends(minutes: int, zone: str) -> None:
    begin = datetime(2026, 3, 28, 5, 17, tzinfo=UTC)
    end = begin + timedelta(minutes=minutes)
    ticks = date_ticks(begin, end, zone, ENGLISH.locale)
    assert len(ticks) <= 26
    assert all(begin <= at <= end for at, _ in ticks)
    assert all(re.search(r"\d", text) for _, text in ticks)
