"""What the customers of the soak go through: everybody waits, and each kind goes on in its own way.

Customer number 0, 20, 40, … is of the first kind, and so on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from decision.core.clock import SECOND
from decision.core.records import DecisionRecord, EventRecord, JourneyRecord

KINDS: Final = (
    *("ask", "ask", "ask", "goal", "visit", "far", "calm", "edit"),
    *("wait",) * 12,
)
"""15 % ask; 5 % each reach the goal, get what they wait for, have a far timer, are in a journey that
is paused, and in one that is edited meanwhile; the others' waits just end."""

STARTS: Final = {"calm": "calm", "edit": "edit"}
EARLY: Final = {"goal": "purchase", "visit": "visit", "far": "purchase"}
"""Kind → the event that comes before its timer, or after, as it happens."""

LISTENS: Final = 180
"""Seconds for which a visit is waited for."""

_RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {service: {consent: not_required}}
channels: {push: {}}
placements: {outbound: {channels: [push]}}
messages:
  hello: {purpose: service, tags: [hello], channels: [push], value: 2, content: {title: Hello}}
  other: {purpose: service, channels: [push], value: 9, content: {title: Other}}
journeys:
  welcome:
    start: {event: follow}
    goal: {event: purchase}
    steps:
      pause: {wait: WAITs}
      choose:
        branch:
          - {when: {event.kind: ask}, go: hello}
          - {when: {event.kind: visit}, go: listen}
          - {when: {event.kind: far}, go: far}
          - {go: done}
      hello: {ask: outbound, of: {tags: [hello]}}
      done: {end: finished}
      listen: {wait_for: {event: visit, within: LISTENSs}, then: came, else: missed}
      came: {end: came}
      missed: {end: missed}
      far: {wait: 3h}
      late: {end: finished}
  calm:
    start: {event: calm}
    steps:
      pause: {wait: WAITs}
      done: {end: finished}
  edited:
    start: {event: edit}
    MOVED
    steps:
      first: {wait: WAITs}
      SECOND: {wait: 60s}
      done: {end: finished}
"""


def rules(wait: int, *, edited: bool = False) -> str:
    """The rule file; `wait` in seconds. An edit gives a step another name."""
    second, moved = ("third", "moved: {second: third}") if edited else ("second", "")
    text = _RULES.replace("WAIT", str(wait)).replace("LISTENS", str(LISTENS))
    return text.replace("SECOND", second).replace("MOVED", moved)


def kind_of(number: int) -> str:
    """What a customer is like."""
    return KINDS[number % len(KINDS)]


def start_of(number: int) -> dict[str, Any]:
    """The event that starts a customer's run."""
    kind = kind_of(number)
    kind_of_event = STARTS.get(kind, "follow")
    return event(number, kind_of_event) | {"properties": {"kind": kind}}


def event(number: int, kind: str) -> dict[str, Any]:
    """An event of a customer, always with the same id."""
    return {"id": f"{kind}-{number}", "type": kind, "customer_id": f"c-{number}"}


class Told(msgspec.Struct):
    """What the log has of one customer, in order: ids of events, `+step`, `?step`, `!reason`.

    `times` says of each when it was, in microseconds, by the clock of whoever did it.
    """

    said: list[str] = []
    times: dict[str, int] = {}
    runs: set[str] = msgspec.field(default_factory=set)
    requests: Counter[str | None] = msgspec.field(default_factory=Counter)
    made: list[str] = []
    told: list[str | None] = []

    def event(self, one: EventRecord) -> None:
        """Takes in an event."""
        self._say(one.event_id, one.at)

    def decision(self, one: DecisionRecord) -> None:
        """Takes in a decision."""
        assert "store" not in one.degraded
        self.requests[one.request_id] += 1
        self.made.append(one.decision_id)

    def journey(self, one: JourneyRecord) -> None:
        """Takes in what was done to a run."""
        self.runs.add(one.run)
        for step in one.steps:
            self._say(f"+{step.partition(':')[0]}", one.at)
        if one.asked is not None:
            self._say(f"?{one.asked}", one.at)
            self.told.append(one.decision_id)
        if one.ended is not None:
            self._say(f"!{one.ended}", one.at)

    def _say(self, what: str, at: int) -> None:
        self.said.append(what)
        self.times[what] = at


def wrong(number: int, told: Told) -> Iterator[str]:
    """What is wrong with what came of a customer: lost, or done twice."""
    kind, said = kind_of(number), told.said
    yield from (f"{what} {times} times" for what, times in Counter(said).items() if times > 1)
    if len(told.runs) != 1:
        yield f"{len(told.runs)} runs"
    if told.made != told.told or set(told.requests.values()) - {1}:
        yield f"decisions {told.made}, told {told.told}, requests {dict(told.requests)}"
    own = {start_of(number)["id"], *(f"{EARLY[one]}-{number}" for one in {kind} & EARLY.keys())}
    events = {one for one in said if one[0] not in "+?!"}
    if events != own:
        yield f"events {events}"
    steps = [one for one in said if one[0] in "+?!"]
    if steps not in _WAYS[kind]:
        yield f"went {' '.join(steps)}"
    elif (early := EARLY.get(kind)) and not _in_time(told, f"{early}-{number}"):
        yield f"in this order: {told.times}"


def _in_time(told: Told, came: str) -> bool:
    """Whether a run ended by an event exactly where the event came in time."""
    said, order = told.said, told.said.index
    end = next(one for one in said if one[0] == "!")
    match end:
        case "!goal" | "!came":
            return order(came) < order(end)
        case "!missed":
            late = told.times[came] > told.times["+listen"] + LISTENS * SECOND
            return late or not order("+listen") < order(came) < order("+missed")
        case _:
            return order(came) > order(end)


_GOAL = [["!goal"], ["+pause", "!goal"], ["+pause", "+choose", "+done", "!finished"]]
_WAYS: Final[Mapping[str, list[list[str]]]] = {
    "wait": [["+pause", "+choose", "+done", "!finished"]],
    "ask": [["+pause", "+choose", "+hello", "?hello", "+done", "!finished"]],
    "goal": _GOAL,
    "visit": [
        ["+pause", "+choose", "+listen", "+came", "!came"],
        ["+pause", "+choose", "+listen", "+missed", "!missed"],
    ],
    "far": [
        *(["!goal"], ["+pause", "!goal"], ["+pause", "+choose", "+far", "!goal"]),
        ["+pause", "+choose", "+far", "+late", "!finished"],
    ],
    "calm": [["+pause", "+done", "!finished"]],
    "edit": [["+first", f"+{name}", "+done", "!finished"] for name in ("second", "third")],
}
"""Kind → the ways that there are."""
