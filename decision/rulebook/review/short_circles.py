"""Circles of steps that ask, and wait for so short a time that a customer is asked all day long."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final

from decision.core.clock import DAY, MINUTE, SECOND
from decision.core.journeys.definition import (
    AnyStep,
    Ask,
    Journey,
    Wait,
    WaitFor,
    WaitUntil,
    WaitUntilDate,
)
from decision.rulebook.journeys.graph import graph_of, reached
from decision.rulebook.review.context import ReviewContext

ENOUGH: Final = 10 * MINUTE
"""What a circle with an ask waits in all, at least."""


def review_short_circles(context: ReviewContext) -> None:
    """Warns of circles with an ask that wait for less than `ENOUGH`, once for each journey."""
    for journey in context.definition.journeys:
        found = min(_circles(journey), default=None)
        if found is None or not 0 < found[0] < ENOUGH:  # without a wait it is endless
            continue
        waits, way = found
        place = context.places.key("journeys", journey.name, "steps", way[-1], "go")
        message = (
            f'journey "{journey.name}" asks in a circle that waits for {waits // SECOND} s in all: '
            f"{' → '.join([*way, way[0]])}; a customer may be asked {DAY // waits} times a day"
        )
        hint = (
            "wait longer, such as pause: {wait: 1d}; to ask again once nothing is in the way, "
            "give the ask a hold: {ask: …, hold: 1d}"
        )
        context.report.warn(place, message, hint, "possible-loop")


def _circles(journey: Journey) -> Iterator[tuple[int, list[str]]]:
    """(how long it waits, steps) of the shortest circle through each step that asks."""
    graph, steps = graph_of(journey), {step.name: step for step in journey.steps}
    for name in reached(graph, [journey.steps[0].name]):
        if not isinstance(steps[name], Ask):
            continue
        todo: list[tuple[int, list[str]]] = [(0, [name])]
        done: set[str] = set()
        while todo:
            waits, way = heappop(todo)
            if len(way) > 1 and way[-1] == name:
                yield waits, way[:-1]
                break
            if len(way) > 1 and way[-1] in done:
                continue
            done.add(way[-1])
            for then in graph[way[-1]]:
                heappush(todo, (waits + _lasts(steps[way[-1]]), [*way, then]))


def _lasts(step: AnyStep) -> int:
    match step:
        case Wait(lasts=lasts):
            return lasts
        case WaitFor(within=within):
            return within
        case WaitUntil() | WaitUntilDate():
            return ENOUGH
    return 0
