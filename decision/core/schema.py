"""What goes in and out of a decision: the records of the HTTP API, the command line and the log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Identifier = Annotated[str, Meta(min_length=1, max_length=256)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Moment = Annotated[datetime, Meta(tz=True)]
Properties = dict[Name, Any]

Outcome = Literal["selected", "fallback", "none"]


class Alias(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An identifier of a customer other than `customer_id`: an e-mail address, a cookie."""

    type: Name
    value: Identifier


class TriggerEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The event that asks for a decision. With an `id` it is also recorded."""

    type: Name
    id: Identifier | None = None
    at: Moment | None = None
    properties: Properties = {}


class DecisionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Asks what to say next to one customer at one placement.

    Exactly one of `customer_id` and `alias` is given. With `ask_again`, for placements with
    `delivery: gateway`, what is answered `none` is asked again by itself, at `not_before` if that
    is within a day. A `dry_run` may have `at`, at most a year from now: what would come then, by
    what is stored now. Offline it is the clock of any request.
    """

    placement: Name
    customer_id: Identifier | None = None
    alias: Alias | None = None
    request_id: Identifier | None = None
    event: TriggerEvent | None = None
    context: Properties = {}
    channels: Annotated[list[Name], Meta(max_length=100)] | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 1
    explain: bool = False
    dry_run: bool = False
    ask_again: bool = False
    deadline_ms: Annotated[int, Meta(ge=1, le=60_000)] | None = None
    at: Moment | None = None


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """One message on one channel that the caller is to give. `model_version` is there where several
    models scored in the decision: it has scored this message, or none has, where it is null."""

    message: str
    channel: str
    content: dict[str, Any]
    response_probability: float | None = None
    priority: float | None = None
    selection_probability: float | None = None
    reserved_until: datetime | None = None
    model_version: str | msgspec.UnsetType | None = msgspec.UNSET


class ExplanationRow(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one candidate. `reason` is null for what was selected. `uplift` is what the
    model says that it adds over silence; null where priorities are of the response probability.
    """

    message: str
    channel: str
    reason: str | None
    detail: str | None = None
    source: str | None = None
    response_probability: float | None = None
    value: float | None = None
    uplift: float | None = None
    lever: float | None = None
    cost: float | None = None
    priority: float | None = None
    selection_probability: float | None = None


class AskedBy(msgspec.Struct, frozen=True, kw_only=True):
    """The step of a journey that asked, and its line in the rule files."""

    journey: str
    step: str
    source: str | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a decision request. `asked_by` is there where a journey asked, and the decision
    is looked up."""

    decision_id: str
    customer_id: str
    placement: str
    decided_at: datetime
    outcome: Outcome
    selections: list[Selection]
    policy_version: str
    request_id: str | None = None
    reason: str | None = None
    not_before: datetime | None = None
    degraded: list[str] = []
    model_version: str | None = None
    explanation: list[ExplanationRow] | None = None
    asked_by: AskedBy | msgspec.UnsetType = msgspec.UNSET


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something that happened to or was done by a customer.

    `customer_id` or `alias` names the customer. Events about a contact carry `decision_id`,
    and `message` where the decision had several. An event without `id` is never a duplicate.
    """

    type: Name
    customer_id: Identifier | None = None
    alias: Alias | None = None
    id: Identifier | None = None
    at: Moment | None = None
    properties: Properties = {}
    decision_id: Identifier | None = None
    message: Name | None = None
    value: float | None = None


class Rejected(msgspec.Struct, frozen=True):
    """An event that was not accepted: its place in the request, and why."""

    index: int
    detail: str


class Notice(msgspec.Struct, frozen=True):
    """Something about an event that was accepted: its place in the request, and what to look at."""

    index: int
    detail: str


class EventsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the events of one request.

    `notices`, if any, say what accepted events do not do: nothing reads the type, but one that
    differs in capitals or signs alone; or what should name a customer cannot be an id.
    """

    accepted: int
    duplicates: int
    rejected: list[Rejected] = []
    notices: list[Notice] | msgspec.UnsetType = msgspec.UNSET


class CustomerUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A change of a customer; what is left out stays, a null deletes.

    `reachable` does not take back a permanent bounce. `unreachable` does: it is the channels that
    stay so, and a channel left out of it is tried again.
    """

    attributes: dict[Name, Any] = {}
    timezone: str | msgspec.UnsetType | None = msgspec.UNSET
    aliases: dict[Name, Identifier | None] = {}
    reachable: list[Name] | msgspec.UnsetType | None = msgspec.UNSET
    unreachable: list[Name] | msgspec.UnsetType = msgspec.UNSET


class RefusedAlias(msgspec.Struct, frozen=True):
    """An alias that leads to another customer, and was therefore left there."""

    type: str
    value: str
    detail: str


ConsentState = Literal["granted", "denied"]
ConsentStates = dict[Name, dict[Name, ConsentState | None]]
"""Purpose → channel (or `*`) → `granted`, `denied`, or null for none."""


class ConsentStatement(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """A consent with the time and place where the customer stated it, and what proves it.

    Left out, `at` is now and `source` the name of the API key.
    """

    state: ConsentState
    at: Moment | None = None
    source: Name | None = None
    evidence: Annotated[str, Meta(max_length=4096)] | None = None


ConsentUpdate = dict[Name, dict[Name, ConsentState | ConsentStatement | None]]
"""Purpose → channel (or `*`) → `granted`, `denied`, or null to forget."""
