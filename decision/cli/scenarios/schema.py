"""What a scenario file may hold: a moment, a customer, what is asked, and what must come out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from decision.core.clock import parse_duration
from decision.core.schema import (
    ConsentUpdate,
    Identifier,
    Moment,
    Name,
    Outcome,
    Properties,
    TriggerEvent,
)

_MOST_TIMES = 10_000


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of what a scenario file may hold."""


class PastContact(_Strict, frozen=True):
    """A contact the customer has had. `released` counts for no cap."""

    message: Name
    channel: Name
    at: Moment
    state: Literal["confirmed", "released"] = "confirmed"


class PastEvent(_Strict, frozen=True):
    """An event of the past; with `times`, as many, each `every` earlier than the one before.

    Events about a contact (`message.dismissed` …) say which message and channel it was; after a
    step that gave the message they are about what that step gave, and confirm or release it.
    """

    type: Name
    at: Moment
    properties: Properties = {}
    message: Name | None = None
    channel: Name | None = None
    times: Annotated[int, Meta(ge=1, le=_MOST_TIMES)] = 1
    every: str = "1d"

    def moments(self) -> list[datetime]:
        """When it happened, the earliest first."""
        step = timedelta(microseconds=parse_duration(self.every))
        return [self.at - step * back for back in reversed(range(self.times))]


class Customer(_Strict, frozen=True):
    """The customer decided for.

    `experiments` chooses a customer who falls on those sides: `{holdout: true, copy-test: short}`.
    Without it and without a `customer_id`, the customer is in no control group.
    """

    customer_id: Identifier | None = None
    attributes: dict[Name, Any] = {}
    timezone: str | None = None
    consents: ConsentUpdate = {}
    reachable: list[Name] | None = None
    unreachable: list[Name] = []
    contacts: list[PastContact] = []
    events: list[PastEvent] = []
    experiments: dict[Name, str | bool] = {}


class Ask(_Strict, frozen=True):
    """What is asked: the fields of a decision request."""

    placement: Name
    channels: list[Name] | None = None
    event: TriggerEvent | None = None
    context: Properties = {}
    limit: Annotated[int, Meta(ge=1, le=100)] = 1
    dry_run: bool = False


class Expect(_Strict, frozen=True):
    """What must come out; what is left out may be anything.

    `not` lists messages or `message/channel` that must not be chosen; `reasons` gives the reason
    code of `message/channel`, or of a message on every channel asked for; null is for what was
    chosen; `content` is a part of the first
    message's content; `messages` are all that is chosen, in order.
    """

    outcome: Outcome | None = None
    message: Name | None = None
    channel: Name | None = None
    messages: list[Name] | None = None
    forbidden: list[Name] = msgspec.field(default_factory=list, name="not")
    reasons: dict[Name, str | None] = {}
    content: dict[Name, Any] = {}
    reason: str | UnsetType | None = UNSET
    not_before: Moment | UnsetType | None = UNSET


class Step(_Strict, frozen=True):
    """One question in a row. `now` left out is that of the step before; `events` come first."""

    ask: Ask
    expect: Expect
    now: Moment | None = None
    events: list[PastEvent] = []


class Spent(_Strict, frozen=True):
    """How much of a message's budget was given before: ever, and today."""

    total: Annotated[int, Meta(ge=0)] = 0
    per_day: Annotated[int, Meta(ge=0)] = 0


class Scenario(_Strict, frozen=True):
    """One scenario: either `ask` and `expect`, or `steps` of them."""

    name: Annotated[str, Meta(min_length=1, max_length=500)]
    now: Moment
    customer: Customer = Customer()
    spent: dict[Name, Spent] = {}
    ask: Ask | None = None
    expect: Expect | None = None
    steps: list[Step] = []

    def in_steps(self) -> list[Step]:
        """The questions in order, however they were written."""
        if self.ask is not None and self.expect is not None:
            return [Step(ask=self.ask, expect=self.expect)]
        return self.steps
