"""Diagrams of journeys: everything is in them, nothing lies on anything else."""

from __future__ import annotations

import doctest
import importlib
import xml.etree.ElementTree as ET
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.conditions import Clause
from decision.core.definition import Selector
from decision.core.journeys.definition import (
    AnyStep,
    Ask,
    Branch,
    Journey,
    Split,
    Trigger,
    Wait,
    WaitFor,
)
from decision.diagrams.chart import chart_of
from decision.diagrams.layout import Layout, layout
from decision.diagrams.mermaid import mermaid
from decision.diagrams.svg import svg

SVG = "{http://www.w3.org/2000/svg}"


def journey(*steps: AnyStep, name: str = "welcome") -> Journey:
    goal = Trigger(name="", event="purchase")
    return Journey(name=name, start=Trigger(name="", event="follow"), goal=goal, steps=steps)


def when(field: str, value: object, go: str) -> tuple[Trigger, str]:
    return Trigger(name="", when=Clause(field, "eq", value)), go  # type: ignore[arg-type]


WELCOME = journey(
    Ask(name="你好", placement="outbound", of=Selector(tags=("a<b",)), hold=3_600_000_000),
    WaitFor(
        name="bought",
        trigger=Trigger(name="", event="purchase"),
        within=7_200_000_000,
        then="which",
    ),
    Wait(name="1. rest", lasts=60_000_000),
    Branch(name="which", ways=(when("customer.tier", 'say "gold"', "bought"),)),
    Split(name="test", seed="s", variants={"a": 0.5, "b": 0.5}, ways={"a": "1. rest"}),
)


def test_a_journey_is_written_as_mermaid_with_every_way_and_no_sign_that_it_would_misread() -> None:
    assert (
        mermaid(chart_of(WELCOME, {"bought": 1200, "which": 1}))
        == """\
flowchart TD
  n0(["start<br/>follow"])
  subgraph steps["welcome"]
    n1["你好<br/>asks at outbound for tags a#60;b, held for up to 1h"]
    n2("bought<br/>waits for purchase, up to 2h<br/>1,200 here")
    n3("1#46; rest<br/>waits 1m")
    n4{{"which<br/>1 here"}}
    n5{{"test"}}
    n6(["finished"])
  end
  n0 --> n1
  n1 --> n2
  n2 -->|"it came"| n4
  n2 -->|"after 2h"| n3
  n3 --> n4
  n4 -->|"customer.tier = say #34;gold#34;"| n2
  n4 -->|"else"| n5
  n5 -->|"a 50%"| n3
  n5 -->|"b 50%"| n6
  steps -. "purchase" .-> goal(["goal"])
"""
    )


def test_ways_that_are_never_taken_are_not_drawn_and_those_that_meet_are_one() -> None:
    always = (Trigger(name=""), "b")
    chart = chart_of(
        journey(
            Branch(name="a", ways=(when("customer.x", 1, "b"), always, when("customer.y", 1, "a"))),
            Wait(name="b", lasts=1_000_000),
        )
    )
    assert [(one.source, one.target, one.label) for one in chart.arrows] == [
        (0, 1, ""),
        (1, 2, "customer.x = 1 / else"),
        (2, 3, ""),
    ]


def test_the_picture_is_well_formed_and_has_every_name_and_an_arrow_for_each_way() -> None:
    steps = [*WELCOME.steps, Wait(name="<&>\"'", lasts=1_000_000, go="<&>\"'")]
    chart = chart_of(journey(*steps, name="新客 & more"))
    root = ET.fromstring(svg(chart))
    texts = [one.text for one in root.iter(f"{SVG}text")]
    assert {"你好", "bought", "1. rest", "<&>\"'", "新客 & more", "goal: purchase"} <= {*texts}
    arrows = [one for one in root.iter(f"{SVG}path") if one.get("marker-end")]
    assert len(arrows) == len(chart.arrows)
    assert svg(chart) == svg(chart)


def test_a_long_name_is_wrapped_and_a_long_text_is_cut() -> None:
    words = "customer." + "x" * 400
    chart = chart_of(
        journey(
            Wait(name="提醒还没有下单的客人" * 6, lasts=1_000_000),
            Branch(name="b", ways=(when(words, 1, "c"),)),
            Wait(name="c", lasts=1_000_000),
        )
    )
    root = ET.fromstring(svg(chart))
    width = float(root.get("width") or 0)
    assert width < 700
    assert all(len(one.text or "") < 60 for one in root.iter(f"{SVG}text"))


sizes = st.tuples(st.integers(20, 260), st.integers(20, 90))
label_sizes = st.one_of(st.just((0, 0)), st.tuples(st.integers(10, 150), st.integers(12, 40)))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[tuple[int, int, tuple[int, int]]]]:
    boxes = draw(st.lists(sizes, min_size=1, max_size=9))
    place = st.integers(0, len(boxes) - 1)
    ways = draw(st.lists(st.tuples(place, place), max_size=14, unique=True))
    return boxes, [(source, target, draw(label_sizes)) for source, target in ways]


@given(graphs())
def test_no_box_and_no_label_lies_on_another_and_arrows_meet_the_boxes(
    graph: tuple[list[tuple[int, int]], list[tuple[int, int, tuple[int, int]]]],
) -> None:
    boxes, edges = graph
    found = layout(boxes, edges)
    proper = [number for number, (source, target, _) in enumerate(edges) if source != target]
    places = [(*centre, *size) for centre, size in zip(found.centres, boxes, strict=True)]
    places += [
        (*found.labels[number], *edges[number][2]) for number in proper if edges[number][2][0]
    ]
    for (x, y, w, h), (x2, y2, w2, h2) in combinations(places, 2):
        assert abs(x - x2) >= (w + w2) / 2 - 0.01 or abs(y - y2) >= (h + h2) / 2 - 0.01
    for x, y, w, h in places:
        assert x - w / 2 > -0.01 and x + w / 2 < found.width + 0.01
        assert y - h / 2 > -0.01 and y + h / 2 < found.height + 0.01
    for number in proper:
        source, target, _ = edges[number]
        _meets(found, source, boxes[source], found.routes[number][0])
        _meets(found, target, boxes[target], found.routes[number][-1])
        _avoids(found, boxes, found.routes[number])


def _meets(found: Layout, box: int, size: tuple[int, int], point: tuple[float, float]) -> None:
    """A point is on the upper or the lower side of a box."""
    (x, y), (width, height) = found.centres[box], size
    assert abs(point[0] - x) <= width / 2
    assert abs(abs(point[1] - y) - height / 2) < 0.01


def _avoids(found: Layout, boxes: list[tuple[int, int]], route: list[tuple[float, float]]) -> None:
    """Its bends are in no box."""
    for x, y in route[1:-1]:
        for (at, down), (width, height) in zip(found.centres, boxes, strict=True):
            assert abs(x - at) >= width / 2 or abs(y - down) >= height / 2 - 0.01


@pytest.mark.parametrize("name", ["layout", "mermaid", "svg", "chart"])
def test_examples_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"decision.diagrams.{name}"))
    assert found.failed == 0
