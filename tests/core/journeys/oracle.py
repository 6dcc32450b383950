"""Journeys once more, as simply as they can be said: each run is a Python generator, which yields
what it waits for. It shares no code with what it judges, and knows UTC alone."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from decision.core.journeys import definition as d

Wait = tuple[int, str | None]
"""Until when, and what event ends it before; None: none does."""
DAY, MINUTE = 86_400_000_000, 60_000_000


@dataclass
class Walker:
    """A run under way."""

    journey: d.Journey
    key: str
    started: int
    about: dict[str, Any]
    woken_by: int
    waits: Generator[Wait, bool, str] | None = None
    until: int = 0
    event: str | None = None
    last: bool = False


@dataclass
class World:
    """One customer. `answers` says of (time, step) what comes of an ask: None, or `not_before`."""

    journeys: list[d.Journey]
    now: int
    attributes: dict[str, Any] = field(default_factory=dict)
    walkers: list[Walker] = field(default_factory=list)
    last: dict[tuple[str, str], int] = field(default_factory=dict)
    asks: list[tuple[int, str, str]] = field(default_factory=list)
    skips: list[tuple[int, str]] = field(default_factory=list)
    ends: list[tuple[int, str, str]] = field(default_factory=list)
    not_before: int | None = None

    def end(self, one: Walker, reason: str) -> None:
        self.walkers.remove(one)
        self.ends.append((self.now, one.journey.name, reason))

    def holds(self, when: Any, properties: dict[str, Any]) -> bool:
        """Of conditions there is `ALWAYS`, or one clause with `eq`."""
        if not hasattr(when, "field"):
            return True
        family, _, name = when.field.partition(".")
        found = (self.attributes if family == "customer" else properties).get(name)
        return type(found) is type(when.value) and found == when.value

    def end_if(self, one: Walker, trigger: d.Trigger, seen: dict[str, Any], reason: str) -> None:
        if self.holds(trigger.when, seen):
            self.end(one, reason)

    def event(self, kind: str, properties: dict[str, Any], at: int | None = None) -> None:
        at = self.now if at is None else at
        for one in list(self.walkers):
            for trigger, reason in ((one.journey.goal, "goal"), (one.journey.stop, "stopped")):
                recent = trigger is not None and at >= one.started - DAY
                named = trigger is not None and (
                    trigger.event is None or (trigger.event == kind and recent)
                )
                if trigger and named and one in self.walkers:
                    self.end_if(one, trigger, properties if trigger.event else {}, reason)
            waited = one.started - DAY <= at <= one.until
            if one in self.walkers and one.event == kind and one.waits and waited:
                one.woken_by = self.now
                one.until, one.event = self.now, None
                one.about["/came"] = True
                if one.last:
                    self.end(one, "finished")
        for journey in self.journeys:
            trigger = journey.start
            assert isinstance(trigger, d.Trigger)
            on_time = trigger.event == kind and self.now - at <= DAY
            if on_time and self.holds(trigger.when, properties):
                self.start(journey, properties)

    def change(self, attributes: dict[str, Any], own: Walker | None = None) -> None:
        self.attributes |= attributes
        for one in [one for one in self.walkers if one is not own]:
            for trigger, reason in ((one.journey.goal, "goal"), (one.journey.stop, "stopped")):
                if trigger and trigger.event is None and one in self.walkers:
                    self.end_if(one, trigger, {}, reason)

    def start(self, journey: d.Journey, properties: dict[str, Any]) -> None:
        key = properties.get(journey.key.partition(".")[2], "") if journey.key else ""
        here = [one for one in self.walkers if one.journey is journey and one.key == key]
        last = self.last.get((journey.name, key))
        soon = last is not None and (journey.again is None or abs(self.now - last) < journey.again)
        if here or soon or not self.holds(journey.when, properties) or len(self.walkers) >= 64:
            return
        self.last[journey.name, key] = self.now
        self.walkers.append(
            Walker(journey, key, self.now, dict(properties), self.now, None, self.now)
        )

    def settle(self) -> None:
        """Whoever is due goes on, the longest due first."""
        while due := [one for one in self.walkers if one.until <= self.now]:
            names = [one.name for one in self.journeys]
            one = min(
                due, key=lambda o: (o.until, o.started, names.index(o.journey.name), str(o.key))
            )
            try:
                if one.waits is None:
                    one.waits = self.walk(one)
                    one.until, one.event = next(one.waits)
                else:
                    came = bool(one.about.pop("/came", False))
                    if not came:
                        one.woken_by = one.until
                    one.until, one.event = one.waits.send(came)
            except StopIteration as done:
                self.end(one, done.value)

    def due(self) -> Iterator[int]:
        yield from (one.until for one in self.walkers)

    def walk(self, one: Walker) -> Generator[Wait, bool, str]:
        names = [step.name for step in one.journey.steps]
        at, hurried, passed = 0, 0, -MINUTE
        while True:
            stop, goal = one.journey.stop, one.journey.goal
            if goal and goal.event is None and self.holds(goal.when, {}):
                return "goal"
            if stop and stop.event is None and self.holds(stop.when, {}):
                return "stopped"
            if at == len(names):
                return "finished"
            if hurried == 100:
                return "loop"
            step: Any = one.journey.steps[at]
            go: str | None = step.go
            hurried += 1
            entered = self.now
            waits: int | None = None
            match step:
                case d.Ask():
                    while True:
                        skip = one.journey.skip_after
                        late = skip is not None and self.now - one.woken_by > skip
                        if late or (
                            self.now > entered + step.hold and self.now > entered and waits
                        ):
                            self.skips.append((self.now, step.name))
                            break
                        self.asks.append((self.now, one.journey.name, step.name))
                        again = self.not_before
                        if again is not None and self.now < entered + step.hold:
                            again = again if again > self.now else self.now + MINUTE
                        if again is None or not self.now < again <= entered + step.hold:
                            yield self.now, None
                            break
                        hurried, waits = 0, again
                        yield again, None
                case d.Wait():
                    waits = self.now + step.lasts
                    hurried = 0
                    yield waits, None
                case d.WaitUntil():
                    came = self.now if self.now - one.woken_by > DAY else one.woken_by
                    day = came // DAY * DAY
                    due = [day + n * DAY + step.minute * MINUTE for n in range(9)]
                    due = [
                        t for t in due if not step.weekdays or (t // DAY + 3) % 7 in step.weekdays
                    ]
                    due = [t for t in due if not t <= passed < t + MINUTE]
                    waits = max(came, next(t for t in due if t + MINUTE > came))
                    passed = waits
                    if waits > self.now:
                        hurried = 0
                        yield waits, None
                    one.woken_by = waits
                case d.WaitFor():
                    hurried = 0
                    one.last = not (step.then or go) and at + 1 == len(names)
                    happened = yield self.now + step.within, step.trigger.event
                    go = (step.then if happened else step.otherwise) or go
                case d.Branch():
                    ways = [to for test, to in step.ways if self.holds(test.when, one.about)]
                    go = ways[0] if ways else go
                case d.SetAttributes():
                    self.change(step.values, one)
                case d.End():
                    return step.reason
            at = names.index(go) if go else at + 1
