"""`moments:` and `journeys:` of rule files, read and checked.

Times and durations are microseconds; a time of day is in local minutes. In a journey's conditions
`event.…` is the event that started the run, but for those of a `Trigger`, where it is the event
that came.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from decision.core.clock import DAY
from decision.core.conditions import ALWAYS, Condition
from decision.core.definition import Conditional, Definition, Selector
from decision.core.values import Value

MESSAGE: Final = "message."
"""Begins the types of events that are reported of messages."""

MOMENT: Final = "moment."
"""A moment happens as an event of the type `moment.<name>`."""


class Element(msgspec.Struct, frozen=True, kw_only=True):
    """One element of a pattern: `at_least` to `at_most` (None: any number) events of a type that
    `when`, which reads `event.…` alone, holds of. `absent`: no such event may come.
    """

    event: str
    when: Condition = ALWAYS
    at_least: int = 1
    at_most: int | None = 1
    absent: bool = False
    source: str = ""
    clause_sources: tuple[str, ...] = ()


class Moment(Definition, frozen=True, kw_only=True):
    """`moments:`. A pattern within a time since its first event; relaxed contiguity, skip past the
    last event. One that ends in an absent element happens when `within` is over.
    """

    pattern: tuple[Element, ...]
    within: int


class Trigger(Conditional, frozen=True, kw_only=True):
    """What starts or ends something: an event of a type for which `when` holds; without `event`,
    `when` becoming true of the customer. `name` is empty.
    """

    event: str | None = None


class SegmentStart(Definition, frozen=True, kw_only=True):
    """The customer enters a segment: `customer.segment.<segment>` becomes true."""

    segment: str


class DateStart(Definition, frozen=True, kw_only=True):
    """On a date of the customer, `field`, every year, at `minute` of the local day; `shift` µs
    earlier (negative) or later.
    """

    field: str
    minute: int
    shift: int = 0


class ScheduleStart(Conditional, frozen=True, kw_only=True):
    """By the five fields of cron, in local time, for whom `when` (the audience) holds then."""

    schedule: str


Start = Trigger | SegmentStart | DateStart | ScheduleStart


class Step(Definition, frozen=True, kw_only=True):
    """Base of all steps. After it comes `go`, or the next one of the file."""

    go: str | None = None


class Ask(Step, frozen=True, kw_only=True):
    """Asks for a decision at a placement, of the messages that `of` matches. While time alone is in
    the way, it is asked again, for up to `hold`.
    """

    placement: str
    of: Selector | None = None
    hold: int = 0


class Wait(Step, frozen=True, kw_only=True):
    """Waits for a time."""

    lasts: int


class WaitUntil(Step, frozen=True, kw_only=True):
    """Waits until the next local `minute` of the day on one of the `weekdays` (0 is Monday; none:
    all) that is in the `calendar`, if one is named; never less than no time: at that very minute it
    goes on at once.
    """

    minute: int
    weekdays: tuple[int, ...] = ()
    calendar: str | None = None


class WaitUntilDate(Step, frozen=True, kw_only=True):
    """Waits until a date or time that a field has, `customer.…` or `event.…`; `shift` µs earlier
    (negative) or later. A date without a time is at `minute` of the local day. One in the past goes
    on at once; one that cannot be read ends the run as `unreadable_date`. Of the date by which the
    journey starts every year, it is the one of the year in which the run started.
    """

    field: str
    minute: int = 0
    shift: int = 0


class WaitFor(Step, frozen=True, kw_only=True):
    """Waits for an event, at most `within`: then goes to `then`, else to `otherwise` (None: the
    next step of the file).
    """

    trigger: Trigger
    within: int
    then: str | None = None
    otherwise: str | None = None


class Branch(Step, frozen=True, kw_only=True):
    """Goes where the first condition that holds leads; where none does, on."""

    ways: tuple[tuple[Trigger, str], ...]


class Split(Step, frozen=True, kw_only=True):
    """Sends each customer along a variant, always the same for one seed."""

    seed: str
    variants: dict[str, float]
    ways: dict[str, str]


class SetAttributes(Step, frozen=True, kw_only=True):
    """Sets attributes, by name without `customer.`."""

    values: dict[str, Value]


class End(Step, frozen=True, kw_only=True):
    """Ends the run, for a reason that the file gives."""

    reason: str


AnyStep = Ask | Wait | WaitUntil | WaitUntilDate | WaitFor | Branch | Split | SetAttributes | End


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How many runs may start within `per` µs, and how many may be under way. None: any."""

    starts: int | None = None
    per: int = 1_000_000
    running: int | None = None


class Journey(Conditional, frozen=True, kw_only=True):
    """`journeys:`. `when` must hold at the start. One run for each value of the field `key`; None:
    one for a customer.

    `again` is None (never), 0 (always), or how long since the last start it must be. An ask that is
    later than `skip_after` is left out; None: asked however late.
    `moved` says where runs in a removed step go on.
    """

    start: Start
    steps: tuple[AnyStep, ...]
    key: str | None = None
    again: int | None = None
    goal: Trigger | None = None
    stop: Trigger | None = None
    skip_after: int | None = DAY
    limits: Limits = Limits()
    moved: dict[str, str] = msgspec.field(default_factory=dict)


EndReason = Literal[
    "goal", "stopped", "finished", "step_removed", "journey_removed", "unreadable_date", "no_time",
    "loop", "merged", "erased", "cancelled",
]  # fmt: skip
"""Why a run ended, unless its `end` step says so. `no_time`: the time waited for never comes, as of
a calendar that is over; `cancelled`: by `nextbest journeys stop`."""
