"""What journeys can do in no time, from any state of a customer: one step after another.

The order is that of `core.journeys`: a run goes on until it asks, waits or ends; then others react
to what it has set.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from decision.core.conditions import Condition
from decision.core.journeys.compiled import in_segment
from decision.core.journeys.definition import (
    AnyStep,
    Ask,
    Branch,
    End,
    Journey,
    SegmentStart,
    SetAttributes,
    Split,
    Trigger,
    Wait,
    WaitFor,
    WaitUntil,
)
from decision.rulebook.journeys.graph import following
from decision.rulebook.review.context import ReviewContext
from decision.rulebook.review.flow import Decider, Flow, Spot, reads, unclear_after

Move = tuple[bool, Flow]
"""What a state may become; whether that is certain for some customer."""


def start_of(journey: Journey) -> Condition | None:
    """The condition that starts a journey when it becomes true; None: something else does."""
    match journey.start:
        case SegmentStart(segment=segment):
            return in_segment(segment)
        case Trigger(event=None, when=when):
            return when
    return None


def is_wait(step: AnyStep) -> bool:
    """Whether time passes in a step each time: a date may be past, a condition may hold already."""
    return isinstance(step, Wait | WaitUntil) or (
        isinstance(step, WaitFor) and step.trigger.event is not None
    )


class Walk:
    """Walks through some journeys of a policy, `among` which a circle may be.

    `started` are the journeys that start, and `ended` the waits that end, by what may be reported
    of a message: nobody knows whether there is one.
    """

    def __init__(
        self,
        context: ReviewContext,
        among: Iterable[Journey],
        started: Collection[str],
        ended: Collection[Spot],
    ) -> None:
        self.started: Final = started
        self.ended: Final = ended
        self.journeys: Final = {one.name: one for one in among}
        self.following: Final = {name: following(one) for name, one in self.journeys.items()}
        self.steps: Final = {
            (one.name, step.name): step for one in self.journeys.values() for step in one.steps
        }
        given = {
            f"customer.{name}"
            for step in self.steps.values()
            if isinstance(step, SetAttributes)
            for name in step.values
        }
        asks = any(isinstance(step, Ask) for step in self.steps.values())
        families = ("journey.", "contacts.", "events.message.") if asks else ("journey.",)
        self.decider: Final = Decider(context, unclear_after(context, given), families)

    def moves(self, flow: Flow) -> Iterator[Move]:
        """What becomes of a state by the next step of the run that goes on."""
        spot = flow.due[0]
        if flow.before is None:
            flow = flow._replace(before=(flow.known, flow.told), sets=frozenset())
        journey, worlds = self.journeys[spot[0]], [(True, flow)]
        for trigger in (journey.goal, journey.stop):
            if trigger is None or trigger.event is not None:
                continue
            left: list[Move] = []
            for sure, world in worlds:
                for holds, known, after in self.decider.decided(world, trigger.when):
                    if holds:
                        yield from self._stops(known and sure, after)
                    else:
                        left.append((known and sure, after))
            worlds = left
        for sure, world in worlds:
            for known, after in self._step(world, spot, self.steps[spot]):
                yield known and sure, after

    def _step(self, flow: Flow, spot: Spot, step: AnyStep) -> Iterator[Move]:
        then = self.following[spot[0]][spot[1]]
        match step:
            case SetAttributes(values=values):
                named = {f"customer.{name}": value for name, value in values.items()}
                told = tuple(one for one in flow.told if not reads(one, named))
                sets = flow.sets | named.keys()
                flow = flow._replace(known={**flow.known, **named}, told=told, sets=sets)
                yield from self._goes(True, flow, then)
            case Branch(ways=ways):
                yield from self._branches(True, flow, [(way.when, go) for way, go in ways], then)
            case Split(variants=variants, ways=split):
                name = f"/{spot}"
                taken = [flow.known[name]] if name in flow.known else list(variants)
                for variant in taken:
                    world = flow._replace(known={**flow.known, name: variant})
                    yield from self._goes(True, world, split.get(str(variant), then))
            case Ask():
                for sure, world in self._stops(True, flow, (spot,)):
                    rest = ((spot[0], then),) if then is not None else ()
                    world = world._replace(due=(*rest, *world.due[1:]))
                    yield sure, world
                    for name in self.journeys:
                        if name in self.started and not self._has_run(world, name):
                            yield False, world._replace(due=(*world.due, self._first(name)))
                    for one in sorted(world.waiting & set(self.ended)):
                        yield False, self._let_go(world, one)
            case WaitFor() if not is_wait(step):
                for holds, sure, world in self.decider.decided(flow, step.trigger.when):
                    if holds:
                        yield from self._goes(sure, world, step.then or then)
                    else:
                        yield from self._stops(sure, world, waits=spot)
            case _ if is_wait(step):
                yield from self._stops(True, flow, waits=spot)
                if isinstance(step, WaitFor) and spot in self.ended:
                    yield from self._goes(False, flow, step.then or then)
            case End():
                yield from self._stops(True, flow)
            case _:  # a date may be past
                yield from self._goes(True, flow, then)

    def _branches(
        self, sure: bool, flow: Flow, ways: list[tuple[Condition, str]], then: str | None
    ) -> Iterator[Move]:
        if not ways:
            yield from self._goes(sure, flow, then)
            return
        (when, go), *rest = ways
        for holds, known, world in self.decider.decided(flow, when):
            if holds:
                yield from self._goes(known and sure, world, go)
            else:
                yield from self._branches(known and sure, world, rest, then)

    def _goes(self, sure: bool, flow: Flow, then: str | None) -> Iterator[Move]:
        """The first run is before its next step."""
        if then is None:
            yield from self._stops(sure, flow)
        else:
            yield sure, flow._replace(due=((flow.due[0][0], then), *flow.due[1:]))

    def _stops(
        self,
        sure: bool,
        flow: Flow,
        rest: tuple[Spot, ...] = (),
        waits: Spot | None = None,
    ) -> Iterator[Move]:
        """The first run goes on no more, but for `rest`: others react to what it has set."""
        waiting = flow.waiting if waits is None else flow.waiting | {waits}
        worlds = [(sure, flow._replace(due=(*rest, *flow.due[1:]), waiting=waiting))]
        if flow.sets:
            for spot in sorted(waiting):
                worlds = list(self._reacts(worlds, spot))
            for name in self.journeys:
                worlds = list(self._starts(worlds, name))
        for known, world in worlds:
            yield known, world._replace(before=None, sets=frozenset())

    def _reacts(self, worlds: list[Move], spot: Spot) -> Iterator[Move]:
        """A run that waits ends, or goes on, where its condition holds now."""
        journey, step = self.journeys[spot[0]], self.steps[spot]
        for sure, flow in worlds:
            left = [(sure, flow)]
            for trigger in (journey.goal, journey.stop):
                if trigger is None or trigger.event is not None:
                    continue
                todo, left = left, []
                for known, world in todo:
                    for holds, certain, after in self.decider.decided(world, trigger.when):
                        if holds:
                            after = after._replace(waiting=after.waiting - {spot})
                            yield known and certain, after
                        else:
                            left.append((known and certain, after))
            for known, world in left:
                if not isinstance(step, WaitFor) or is_wait(step):
                    yield known, world
                    continue
                for holds, certain, after in self.decider.decided(world, step.trigger.when):
                    yield known and certain, self._let_go(after, spot) if holds else after

    def _let_go(self, flow: Flow, spot: Spot) -> Flow:
        """What a run waits for has come."""
        step = self.steps[spot]
        assert isinstance(step, WaitFor)
        then = step.then or self.following[spot[0]][spot[1]]
        due = flow.due if then is None else (*flow.due, (spot[0], then))
        return flow._replace(due=due, waiting=flow.waiting - {spot})

    def _starts(self, worlds: list[Move], name: str) -> Iterator[Move]:
        """A journey starts where its condition has become true, again and again."""
        journey = self.journeys[name]
        condition = start_of(journey)
        for sure, flow in worlds:
            if condition is None or journey.again != 0 or self._has_run(flow, name):
                yield sure, flow
                continue
            for became, known, world in self.decider.became(flow, condition):
                if not became:
                    yield known and sure, world
                    continue
                for holds, certain, after in self.decider.decided(world, journey.when):
                    due = (*after.due, self._first(name)) if holds else after.due
                    yield known and certain and sure, after._replace(due=due)

    def _first(self, name: str) -> Spot:
        return name, self.journeys[name].steps[0].name

    def _has_run(self, flow: Flow, name: str) -> bool:
        return any(spot[0] == name for spot in (*flow.due, *flow.waiting))
