"""Journeys that go on without end in no time: by their steps, or by what they set for others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise, product
from typing import Final, NamedTuple

from decision.core.conditions import ALWAYS, Clause, Condition
from decision.core.event_effects import RELEASING, SENT
from decision.core.journeys.definition import (
    MOMENT,
    Ask,
    Journey,
    SetAttributes,
    Trigger,
    WaitFor,
    WaitUntilDate,
)
from decision.rulebook.journeys.graph import following, graph_of, reached
from decision.rulebook.review.context import ReviewContext, listed, size_of
from decision.rulebook.review.flow import Flow, Spot, reads, unclear_after
from decision.rulebook.review.walk import Walk, is_wait, start_of

_SECTION: Final = "journeys"
_MOST_MOVES: Final = 2_000
_MOST_WAYS: Final = 8
"""Of those that wait when a circle begins: which step each journey waits in."""


_MOST_OTHERS: Final = 10
"""Steps of other circles of a connected group that a hint names."""


class _Round(NamedTuple):
    """The steps of a circle; whether it is `sure` that some customers go through it without end."""

    way: list[Spot]
    sure: bool


def review_endless(context: ReviewContext) -> None:
    """Refuses journeys that go in a circle without a wait, and warns of those that may."""
    graph = _Graph(context)
    seen: set[Spot] = set()
    for spot in graph.steps:
        if spot in seen:
            continue
        after = reached(graph.after, graph.after[spot])
        circle = [one for one in after if spot in reached(graph.after, graph.after[one])]
        seen.update(circle)
        if spot in after and (found := _search(context, graph, sorted(circle, key=graph.place))):
            _say(context, graph, found, [one for one in graph.steps if one in circle])


class _Graph:
    """Which steps may follow in no time on which, of all journeys: `after`.

    `started` are the journeys that start, and `ended` the waits that end, by reports on messages.
    """

    def __init__(self, context: ReviewContext) -> None:
        self.context = context
        self.journeys: Final = {one.name: one for one in context.definition.journeys}
        self.steps: Final = {
            (one.name, step.name): step for one in self.journeys.values() for step in one.steps
        }
        self.order: Final = {spot: place for place, spot in enumerate(self.steps)}
        self.after: Final[dict[Spot, list[Spot]]] = {}
        reported = _made_of(context, {*SENT, *RELEASING})
        self.started: Final = [
            one.name
            for one in self.journeys.values()
            if isinstance(one.start, Trigger) and one.start.event in reported and one.again == 0
        ]
        self.ended: Final = [
            spot
            for spot, step in self.steps.items()
            if isinstance(step, WaitFor) and step.trigger.event in reported
        ]
        for journey in self.journeys.values():
            within = graph_of(journey)
            for step in journey.steps:
                spot = journey.name, step.name
                own = [] if is_wait(step) else [(journey.name, name) for name in within[step.name]]
                if isinstance(step, SetAttributes):
                    own += self._set_off(step)
                elif isinstance(step, Ask):
                    own += [(name, self.journeys[name].steps[0].name) for name in self.started]
                    own += self.then(self.ended)
                self.after[spot] = own

    def place(self, spot: Spot) -> int:
        """Its place in the rule files."""
        return self.order[spot]

    def _set_off(self, step: SetAttributes) -> Iterator[Spot]:
        """What may start, or go on, by what a step sets."""
        given = {f"customer.{name}": value for name, value in step.values.items()}
        unclear, solver = unclear_after(self.context, given), self.context.solver
        touched = {*given, *unclear}
        clear = [Clause(name, "eq", given[name]) for name in given if name not in unclear]

        def may(condition: Condition) -> bool:
            solver.allow(size_of(condition) + len(clear))
            return reads(condition, touched) and solver.can_hold(condition, *clear)

        for journey in self.journeys.values():
            start = start_of(journey)
            if start is not None and journey.again == 0 and may(start):
                yield journey.name, journey.steps[0].name
            for one in journey.steps:
                if isinstance(one, WaitFor) and not is_wait(one) and may(one.trigger.when):
                    yield from self.then([(journey.name, one.name)])

    def then(self, spots: Iterable[Spot]) -> list[Spot]:
        """Where runs go on that wait no more."""
        found = []
        for name, waits in spots:
            step = self.steps[name, waits]
            assert isinstance(step, WaitFor)
            then = step.then or following(self.journeys[name])[waits]
            found += [] if then is None else [(name, then)]
        return found


def _made_of(context: ReviewContext, types: set[str]) -> set[str]:
    """These types of events, and those that count as them or happen by them alone, at once."""
    found, definition = set(types), context.definition
    while True:
        new = {
            one.name for one in definition.events if one.of in found and one.for_customer is None
        }
        for moment in definition.moments:
            needed = {element.event for element in moment.pattern if not element.absent}
            if needed <= found and not moment.pattern[-1].absent:
                new.add(f"{MOMENT}{moment.name}")
        if new <= found:
            return found
        found |= new


def _search(context: ReviewContext, graph: _Graph, circle: list[Spot]) -> _Round | None:
    """A circle among some steps, one that is sure before one that may be."""
    names = dict.fromkeys(name for name, _ in circle)
    walk = Walk(context, [graph.journeys[name] for name in names], graph.started, graph.ended)
    moves, doubtful = _MOST_MOVES, None
    for spot, told in (each for name in names for each in _entries(graph.journeys[name])):
        for waiting in _waiting(graph, spot, circle):
            found, moves = _rounds(walk, Flow((spot,), waiting, told), moves)
            if found is not None and found.sure:
                return found
            doubtful = doubtful or found
            if moves <= 0:
                return doubtful or _Round(circle, sure=False)
    return doubtful


def _entries(journey: Journey) -> Iterator[tuple[Spot, tuple[Condition, ...]]]:
    """Where a run may be when time stands still: at the start, or behind a step that took time;
    with what is true then."""
    told = (start_of(journey) or ALWAYS, journey.when)
    yield (journey.name, journey.steps[0].name), tuple(one for one in told if one != ALWAYS)
    graph = graph_of(journey)
    for name in journey.moved.values():
        yield (journey.name, name), ()
    found = reached(graph, [journey.steps[0].name, *journey.moved.values()])
    for step in journey.steps:
        holds = isinstance(step, Ask) and step.hold > 0
        lasts = holds or is_wait(step) or isinstance(step, WaitFor | WaitUntilDate)
        for then in graph[step.name] if lasts and step.name in found else ():
            yield (journey.name, then), ()


def _waiting(graph: _Graph, spot: Spot, circle: list[Spot]) -> Iterator[frozenset[Spot]]:
    """Who may wait for others when a circle begins: one run of each journey that is in it."""
    within = set(circle)
    waits: dict[str, list[Spot]] = {}
    for one, step in graph.steps.items():
        lets_go = one[0] != spot[0] and isinstance(step, WaitFor)
        if lets_go and not within.isdisjoint(graph.then([one])):
            waits.setdefault(one[0], []).append(one)
    for number, ways in enumerate(product(*([*own, None] for own in waits.values()))):
        if number == _MOST_WAYS:
            return
        yield frozenset(one for one in ways if one is not None)


def _rounds(walk: Walk, begin: Flow, most: int) -> tuple[_Round | None, int]:
    """The first state that comes again, and how many moves are left."""
    doubtful: _Round | None = None
    path: dict[str, int] = {begin.key: 0}
    trail: list[tuple[Spot, bool]] = []
    done: set[str] = set()
    stack = [(begin, walk.moves(begin))]
    while stack and most > 0:
        flow, moves = stack[-1]
        most -= 1
        move = next(moves, None)
        if move is None:
            stack.pop()
            done.add(flow.key)
            path.pop(flow.key)
            trail = trail[: len(stack) - 1]
            continue
        sure, after = move
        key = after.key
        if key in path:
            lap = [*trail[path[key] :], (flow.due[0], sure)]
            found = _Round([spot for spot, _ in lap], all(known for _, known in lap))
            if found.sure:
                return found, most
            doubtful = doubtful or found
        elif key not in done and after.due:
            path[key] = len(stack)
            trail.append((flow.due[0], sure))
            stack.append((after, walk.moves(after)))
    return doubtful, most


def _say(context: ReviewContext, graph: _Graph, found: _Round, group: list[Spot]) -> None:
    way = list(dict.fromkeys(found.way))
    first = min(way, key=graph.place)
    way = way[way.index(first) :] + way[: way.index(first)]
    names = list(dict.fromkeys(name for name, _ in way))
    what = f"journey{'s' if len(names) > 1 else ''} {listed([_quoted(name) for name in names])}"
    verb = ("goes" if len(names) == 1 else "go") if found.sure else "may go"
    hint = "put a wait between them, such as pause: {wait: 1d}"
    within = {name: graph_of(graph.journeys[name]) for name in names}
    if all(
        one[0] == to[0] and to[1] in within[one[0]][one[1]] for one, to in pairwise([*way, first])
    ):
        shown = " → ".join(step for _, step in [*way, first])
        place = context.places.key(_SECTION, names[0], "steps", way[-1][1], "go")
    else:
        told = [f"{name}.{step} ({graph.steps[name, step].source})" for name, step in way]
        shown = " → ".join([*told, ".".join(first)])
        hint += f", or let {first[0]} start less often: again: 1d"
        place = context.places.key(_SECTION, first[0], "start")
    if any(isinstance(graph.steps[spot], WaitUntilDate) for spot in way):
        hint += "; a date that is past is no wait"
    if others := [spot for spot in group if spot not in way and spot[0] not in names]:
        told = [f"{name}.{step} ({graph.steps[name, step].source})" for name, step in others]
        more = f" and {len(told) - _MOST_OTHERS} more" if len(told) > _MOST_OTHERS else ""
        hint += f"; other circles with these go through {', '.join(told[:_MOST_OTHERS])}{more}"
    message = f"{what} {verb} in a circle without a wait: {shown}"
    if found.sure:
        context.report.error("endless-loop", place, message, hint)
    else:
        context.report.warn(place, message, hint, "possible-loop")


def _quoted(name: str) -> str:
    return f'"{name}"'
