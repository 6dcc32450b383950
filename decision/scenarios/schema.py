"""What a scenario file may hold: a moment, a customer, a question, and the result expected.

This is the one definition of the form: files are read by it, errors name its keys, and the
descriptions of its keys are those of the JSON Schema.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from decision.core.clock import parse_duration
from decision.core.schema import (
    ConsentStates,
    Identifier,
    Moment,
    Name,
    Outcome,
    Properties,
    TriggerEvent,
)

MOST_TIMES = 10_000
AT_ONCE = "0s"


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of what a scenario file may hold."""


def keys_of(form: type[msgspec.Struct]) -> tuple[str, ...]:
    """The keys that may be written in a part of a scenario."""
    return tuple(field.encode_name for field in msgspec.structs.fields(form))


class PastContact(_Strict, frozen=True):
    """A contact the customer has had.

    It was of the purpose, category and tags that its message has now, unless they are given:
    then they are what it was when it was made, and the message need not exist any more.
    """

    message: Annotated[Name, Meta(description="The message that was given.")]
    channel: Annotated[Name, Meta(description="The channel it was given on.")]
    at: Annotated[Moment, Meta(description="When it was given.")]
    state: Annotated[
        Literal["confirmed", "released"],
        Meta(description="`released` counts for no cap: it failed, or was never shown."),
    ] = "confirmed"
    counts_until: Annotated[
        Moment | None, Meta(description="An unconfirmed reservation expires at this time.")
    ] = None
    purpose: Annotated[Name | None, Meta(description="Its purpose when it was made.")] = None
    category: Annotated[str | None, Meta(description="Its category when it was made.")] = None
    tags: Annotated[list[Name] | None, Meta(description="Its tags when it was made.")] = None


class NewEvent(_Strict, frozen=True):
    """An event of a step; with `times`, as many, each `every` earlier than the one before.

    Events about a contact (`message.dismissed` …) say which message and channel it was; after a
    step that gave the message they are about what that step gave, and confirm or release it.
    """

    type: Annotated[Name, Meta(description="The event's type, such as `purchase`.")]
    at: Annotated[
        Moment | None,
        Meta(description="When it happened; with `times`, the latest. Left out, now."),
    ] = None
    properties: Annotated[Properties, Meta(description="What the event says of itself.")] = {}
    message: Annotated[Name | None, Meta(description="The message that it is about.")] = None
    channel: Annotated[Name | None, Meta(description="The channel that it is about.")] = None
    times: Annotated[
        int, Meta(ge=1, le=MOST_TIMES, description="How often it happened, up to `at`.")
    ] = 1
    every: Annotated[
        str, Meta(description="The time between two of them, such as `1d`; `0s` is all at once.")
    ] = "1d"

    def moments(self, now: datetime | None = None) -> list[datetime]:
        """When it happened, the earliest first; `now` is the present."""
        step, at = timedelta(microseconds=self.every_micros()), self.at or now
        assert at is not None
        return [at - step * back for back in reversed(range(self.times))]

    def every_micros(self) -> int:
        """`every` in microseconds.

        Raises:
            ValueError: it is no duration.
        """
        return 0 if self.every == AT_ONCE else parse_duration(self.every)


class InJourney(_Strict, frozen=True):
    """Where the customer is in a journey. A wait there has begun at `since`; where it would be over
    by now, and in a step that does not wait, they stay."""

    step: Annotated[
        Name | None, Meta(description="The step that they are in; left out, the first one.")
    ] = None
    since: Annotated[
        Moment | None, Meta(description="Since when; left out, since `now` of the scenario.")
    ] = None


class PastEvent(NewEvent, frozen=True):
    """An event of the past, which starts no journey and is part of no moment."""

    at: Annotated[Moment, Meta(description="When it happened; with `times`, the latest of them.")]


class Customer(_Strict, frozen=True):
    """The customer decided for.

    `experiments` chooses a customer who falls on those sides: `{holdout: true, copy-test: short}`.
    Without it and without a `customer_id`, the customer is in no control group.
    """

    customer_id: Annotated[
        Identifier | None, Meta(description="Who it is; left out, one is chosen.")
    ] = None
    attributes: Annotated[
        dict[Name, Any], Meta(description="What is stored about the customer; null: nothing is.")
    ] = {}
    timezone: Annotated[
        str | None, Meta(description="Where the customer lives; left out, settings.timezone.")
    ] = None
    consents: Annotated[
        ConsentStates, Meta(description="Purpose, then channel or `*`: `granted` or `denied`.")
    ] = {}
    reachable: Annotated[
        list[Name] | None, Meta(description="The only channels to reach the customer on.")
    ] = None
    unreachable: Annotated[list[Name], Meta(description="Channels that permanently bounced.")] = []
    contacts: Annotated[list[PastContact], Meta(description="What was given before.")] = []
    events: Annotated[list[PastEvent], Meta(description="What has happened before.")] = []
    derive: Annotated[
        bool,
        Meta(description="Whether these events count as derived ones; false: only if listed."),
    ] = True
    scores: Annotated[
        dict[Name, float], Meta(description="Scores now, whatever the events have added.")
    ] = {}
    journeys: Annotated[
        dict[Name, InJourney], Meta(description="The journeys that they are in, and where.")
    ] = {}
    experiments: Annotated[
        dict[Name, str | bool],
        Meta(description="The side in each experiment: a variant, or whether a control group."),
    ] = {}


class Ask(_Strict, frozen=True):
    """What is asked: the fields of a decision request."""

    placement: Annotated[Name, Meta(description="The touchpoint that asks.")]
    channels: Annotated[
        list[Name] | None, Meta(description="Only these of the placement's channels.")
    ] = None
    event: Annotated[TriggerEvent | None, Meta(description="The event that asks.")] = None
    context: Annotated[Properties, Meta(description="What the app knows of the moment.")] = {}
    limit: Annotated[
        int, Meta(ge=1, le=100, description="How many different messages at most.")
    ] = 1
    dry_run: Annotated[bool, Meta(description="Reserve and count nothing.")] = False
    ask_again: Annotated[
        bool, Meta(description="Ask again by itself where time alone is in the way.")
    ] = False


class Change(_Strict, frozen=True):
    """What changes of the customer; what is left out stays, a null deletes."""

    attributes: Annotated[
        dict[Name, Any], Meta(description="New values of attributes; null deletes.")
    ] = {}
    timezone: Annotated[
        str | UnsetType | None, Meta(description="Where the customer lives from now on.")
    ] = UNSET
    consents: Annotated[
        ConsentStates, Meta(description="Purpose, then channel or `*`: `granted` or `denied`.")
    ] = {}
    reachable: Annotated[
        list[Name] | UnsetType | None,
        Meta(description="The only channels to reach the customer on from now on."),
    ] = UNSET


class ExpectedAsk(_Strict, frozen=True):
    """What a journey asked for, and what it got; what is left out may be anything."""

    journey: Annotated[Name | None, Meta(description="The journey that asked.")] = None
    step: Annotated[Name | None, Meta(description="The step of the journey.")] = None
    at: Annotated[Moment | None, Meta(description="When it asked.")] = None
    outcome: Annotated[Outcome | None, Meta(description="`selected`, `fallback` or `none`.")] = None
    message: Annotated[Name | None, Meta(description="The message given.")] = None
    channel: Annotated[Name | None, Meta(description="The channel it is given on.")] = None
    reason: Annotated[
        str | UnsetType | None, Meta(description="The reason code of the whole decision.")
    ] = UNSET
    reasons: Annotated[
        dict[Name, str | None],
        Meta(description="The reason code of message/channel, or of a message; null: chosen."),
    ] = {}
    content: Annotated[dict[Name, Any], Meta(description="A part of the message's content.")] = {}


class Expect(_Strict, frozen=True):
    """What must come out; what is left out may be anything."""

    outcome: Annotated[Outcome | None, Meta(description="`selected`, `fallback` or `none`.")] = None
    message: Annotated[Name | None, Meta(description="The (first) message given.")] = None
    channel: Annotated[Name | None, Meta(description="The channel it is given on.")] = None
    messages: Annotated[list[Name] | None, Meta(description="All messages given, in order.")] = None
    forbidden: Annotated[
        list[Name], Meta(description="Messages, or message/channel, that must not be given.")
    ] = msgspec.field(default_factory=list, name="not")
    reasons: Annotated[
        dict[Name, str | None],
        Meta(
            description="The reason code of message/channel, or of a message on every channel "
            "asked for; null is for what was chosen."
        ),
    ] = {}
    content: Annotated[
        dict[Name, Any], Meta(description="A part of the first message's content.")
    ] = {}
    fields: Annotated[
        dict[Name, Any],
        Meta(description="Values of fields, as the business rules left them; null is missing."),
    ] = {}
    reason: Annotated[
        str | UnsetType | None, Meta(description="The reason code of the whole decision.")
    ] = UNSET
    not_before: Annotated[
        Moment | UnsetType | None, Meta(description="When a candidate could pass again.")
    ] = UNSET
    asks: Annotated[
        list[ExpectedAsk] | UnsetType,
        Meta(description="All that journeys asked in this step, in order; `[]`: nothing."),
    ] = UNSET
    journeys: Annotated[
        dict[Name, str | list[Name] | None],
        Meta(
            description="Where a journey's run stands: its step; else why the last one ended "
            "(`goal`, `stopped`, …); null: none was started. Of several runs, a list of steps."
        ),
    ] = {}
    moments: Annotated[
        list[Name] | UnsetType,
        Meta(description="All moments that happened in this step, in order; `[]`: none."),
    ] = UNSET


class Step(_Strict, frozen=True):
    """A step: time goes by, events come, the customer is changed, something is asked, in this
    order. What the steps before it gave has been given. What is due by time is done at its time.
    """

    ask: Annotated[Ask | UnsetType, Meta(description="What is asked.")] = UNSET
    expect: Annotated[Expect | UnsetType, Meta(description="What must come out.")] = UNSET
    now: Annotated[
        Moment | None, Meta(description="The present; left out, that of the step before.")
    ] = None
    at: Annotated[Moment | None, Meta(description="The same as `now`: time goes by until it.")] = (
        None
    )
    wait: Annotated[
        str | None, Meta(description="How much time goes by since the step before, such as `2h`.")
    ] = None
    events: Annotated[
        list[NewEvent], Meta(description="What has happened since the step before.")
    ] = []
    customer: Annotated[Change | UnsetType, Meta(description="What changes of the customer.")] = (
        UNSET
    )

    def ends(self, before: datetime) -> datetime:
        """The present of this step, after that of the step before.

        Raises:
            ValueError: `wait` is no duration.
            OverflowError: there is no such time.
        """
        if self.wait is not None:
            wait = 0 if self.wait == AT_ONCE else parse_duration(self.wait)
            return before + timedelta(microseconds=wait)
        return self.at or self.now or before

    @property
    def expected(self) -> Expect:
        """What must come out; anything, where nothing is said."""
        return Expect() if self.expect is UNSET else self.expect


class Spent(_Strict, frozen=True):
    """How much of a message's budget was given before."""

    total: Annotated[int, Meta(ge=0, description="How often it was given, ever.")] = 0
    per_day: Annotated[int, Meta(ge=0, description="How often it was given today.")] = 0


Amount = Annotated[float, Meta(ge=0)]
Probability = Annotated[float, Meta(ge=0, le=1)]


class Scenario(_Strict, frozen=True):
    """One scenario: either `ask` and `expect`, or `steps` of them; with a `table`, one a row."""

    name: Annotated[
        str, Meta(min_length=1, max_length=500, description="What must hold, in one sentence.")
    ]
    now: Annotated[Moment, Meta(description="The present, such as 2026-11-21T10:00:00+08:00.")]
    customer: Annotated[Customer, Meta(description="Who is decided for.")] = Customer()
    spent: Annotated[
        dict[Name, Spent | Amount],
        Meta(
            description="What of each message's budget is gone; of one of `budgets`, the amount of "
            "money or the number of contacts, in the period of now."
        ),
    ] = {}
    coupons: Annotated[
        dict[Name, Annotated[int, Meta(ge=0, le=1000)]],
        Meta(
            description="How many codes are left in a pool of `coupons`. Left out: as many as it "
            "takes. They are called CODE-1, CODE-2, …"
        ),
    ] = {}
    probabilities: Annotated[
        dict[Name, Probability],
        Meta(
            description="Response probabilities of message/channel, instead of "
            "settings.starting_probability."
        ),
    ] = {}
    ask: Annotated[Ask | UnsetType, Meta(description="What is asked.")] = UNSET
    expect: Annotated[Expect | UnsetType, Meta(description="What must come out.")] = UNSET
    steps: Annotated[list[Step], Meta(description="Several questions, one after another.")] = []
    table: Annotated[
        list[dict[str, Any]],
        Meta(
            description="A test a row: each column says what is different there, such as "
            "`customer.country`, `events.purchase.days_since`, `channels`, `expect`."
        ),
    ] = []

    def in_steps(self) -> list[Step]:
        """The questions in order, however they were written."""
        if self.ask is not UNSET and self.expect is not UNSET:
            return [Step(ask=self.ask, expect=self.expect)]
        return self.steps
