"""Deliveries: what became of messages that were chosen, how long it took, and why some failed.

Each message that a decision of the range chose is in one state. `queued`: nothing was told of it
yet, and its reservation goes on. `sent`: it was handed over, or seen. `failed`: it was refused or
bounced. `dropped`: it was not shown, because it might not go any more. `unknown`: its reservation
is over, and nothing was ever told. Opens and clicks of programs do not count.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final, Literal

import msgspec

from decision.analytics.queries import queries
from decision.analytics.reports.answering import (
    Answer,
    Bars,
    Column,
    OverTime,
    Row,
    Shown,
    Table,
    moment_text,
)
from decision.analytics.reports.asking import Question, about
from decision.analytics.reports.breakdown import name_of
from decision.analytics.reports.contacts import take_contacts, told_of_others
from decision.analytics.reports.kind import Kind
from decision.analytics.reports.periods import (
    PERIODS,
    Period,
    date_rows,
    first_day,
    week_shift,
)
from decision.analytics.reports.reasons import reason_text
from decision.analytics.reports.source import PACKAGE, Source
from decision.core.clock import SECOND, from_micros
from decision.core.said import Counted, Said, marked
from decision.core.schema import Moment

_STATES: Final = {
    "queued": marked("queued"),
    "sent": marked("sent"),
    "failed": marked("failed"),
    "dropped": marked("dropped"),
    "unknown": marked("unknown"),
}
_LATER: Final = {
    "delivered": marked("delivered"),
    "shown": marked("shown"),
    "opened": marked("opened"),
    "clicked": marked("clicked"),
}
_TIMES: Final = {
    "sent": marked("from the decision to sending"),
    "delivered": marked("from sending to delivery"),
    "opened": marked("from sending to opening"),
    "clicked": marked("from sending to a click"),
}


class DeliveriesQuestion(Question, frozen=True, kw_only=True):
    """What may be asked of deliveries."""

    by: Annotated[
        Literal["channel", "message", "placement", "gateway"],
        about(
            "What rows are of. A gateway is known where it reported something. Default: channel."
        ),
    ] = "channel"
    channel: Annotated[str, about("Of this channel alone.", "NAME", of="channels")] = ""
    message: Annotated[str, about("Of this message alone.", "NAME", of="messages")] = ""
    period: Annotated[Period, about("How long a period is, by the calendar. Default: day.")] = "day"
    groups: Annotated[int, about("How many groups, the largest first.", "N", ge=1, le=1000)] = 25


class DeliveryCounts(msgspec.Struct, frozen=True, kw_only=True):
    """`chosen` are queued, sent, failed, dropped and unknown together; the others are of those
    that were told to be so, whatever their state. Null: the name is not known, or it is of all."""

    name: str | None
    chosen: int
    queued: int
    sent: int
    failed: int
    dropped: int
    unknown: int
    delivered: int
    shown: int
    opened: int
    clicked: int
    replied: int
    converted: int
    bounced: int
    complained: int
    unsubscribed: int


class DeliveryTime(msgspec.Struct, frozen=True, kw_only=True):
    """How long it took until what `until` names: from the decision to `sent`, from there to others.

    Half were within `median_seconds`, nine of ten within `p90_seconds`.
    """

    until: str
    messages: int
    median_seconds: float
    p90_seconds: float


class DeliveryReason(msgspec.Struct, frozen=True, kw_only=True):
    """Why messages `failed` or were `dropped`, in the words of the provider or of nextbest.

    `name` is that of the group. `latest` is when the last of them was chosen.
    """

    name: str | None
    state: str
    reason: str | None
    messages: int
    latest: Moment


class DeliveryPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """The messages that were chosen in the period which starts on `begins`, by state."""

    begins: date
    queued: int
    sent: int
    failed: int
    dropped: int
    unknown: int


class Deliveries(Answer, frozen=True, kw_only=True):
    """`all` has no name; `groups` are the largest. `queued_since` is the choice of the oldest
    message that waits; null: none does."""

    query: DeliveriesQuestion
    all: DeliveryCounts
    groups: list[DeliveryCounts]
    times: list[DeliveryTime]
    reasons: list[DeliveryReason]
    periods: list[DeliveryPeriod]
    queued_since: Moment | None


def make(source: Source, question: DeliveriesQuestion) -> Deliveries:
    """Counts what became of messages."""
    events = take_contacts(source)
    database = source.database
    given = {"channel": question.channel or None, "message": question.message or None}
    database.execute(_query("own"), given)
    date_rows(source, "own_contacts", "dated_contacts")
    names = list(msgspec.structs.fields(DeliveryCounts))[1:]

    def counts(name: str | None, row: tuple[Any, ...]) -> DeliveryCounts:
        told = {field.name: count for field, count in zip(names, row, strict=True)}
        return DeliveryCounts(name=name, **told)

    query = _query("counts")
    together = database.rows(query.format(by="NULL"), {"most": 1})
    row: tuple[Any, ...] = together[0] if together else (None, *[0] * (len(names) + 1))
    customers, whole = row[1], row[2:]
    rows = database.rows(query.format(by=question.by), {"most": question.groups + 1})
    if len(rows) > question.groups:
        source.incomplete.append(Said("smaller groups are left out"))
    found = counts(None, whole)
    since = database.value(_query("waiting"))
    alone = question.channel or question.message
    _say(source, found, since, 0 if alone else told_of_others(source))
    [times] = database.rows(_query("times"))
    return Deliveries(
        **source.about("deliveries"),
        query=question,
        customers=customers,
        events=events,
        all=found,
        groups=[counts(name, tuple(row)) for name, _, *row in rows[: question.groups] if row[0]],
        times=[
            DeliveryTime(
                until=name,
                messages=messages,
                median_seconds=quantiles[0] / SECOND,
                p90_seconds=quantiles[1] / SECOND,
            )
            for name, messages, quantiles in zip(_TIMES, times[::2], times[1::2], strict=True)
            if messages
        ],
        reasons=[
            DeliveryReason(
                name=name, state=state, reason=reason, messages=messages, latest=from_micros(last)
            )
            for name, state, reason, messages, last in database.rows(
                _query("reasons").format(by=question.by)
            )
        ],
        periods=_periods(source, question),
        queued_since=None if since is None else from_micros(since),
    )


def _say(source: Source, found: DeliveryCounts, since: int | None, others: int) -> None:
    if since is not None:
        source.incomplete.append(
            Counted(
                "%(n)s message is still waiting, or nobody told yet: chosen %(time)s",
                "%(n)s messages are still waiting, or nobody told yet: the oldest chosen %(time)s",
                found.queued,
                time=moment_text(from_micros(since), source.span.home),
            )
        )
    if found.unknown:
        source.incomplete.append(
            Counted(
                "of %(n)s message nothing was ever told, and its reservation is over: is it the "
                "provider who does not report, or the app?",
                "of %(n)s messages nothing was ever told, and their reservations are over: is it "
                "the provider who does not report, or the app?",
                found.unknown,
            )
        )
    if others:
        source.incomplete.append(
            Counted(
                "%(n)s event about a message is not counted: it names no decision",
                "%(n)s events about messages are not counted: they name no decision",
                others,
            )
        )


def _periods(source: Source, question: DeliveriesQuestion) -> list[DeliveryPeriod]:
    """The states by period, those between the first and the last without messages included."""
    given = {"period": question.period, "week_shift": week_shift(source)}
    rows = {number: counts for number, *counts in source.database.rows(_query("periods"), given)}
    return [
        DeliveryPeriod(
            begins=first_day(source, question.period, number),
            **dict(zip(_STATES, rows.get(number, [0] * len(_STATES)), strict=True)),
        )
        for number in range(min(rows), max(rows) + 1)
    ] if rows else []  # fmt: skip


def show(found: Deliveries) -> Shown:
    """Deliveries for people."""
    columns = [Column(Said(_BY[found.query.by]), "text"), Column(Said("chosen"))]
    columns += [Column(Said(text)) for text in (*_STATES.values(), *_LATER.values())]
    rows: list[Row] = [
        [
            Said("all") if one is found.all else _name(found, one.name),
            one.chosen,
            *(getattr(one, name) for name in (*_STATES, *_LATER)),
        ]
        for one in (found.all, *found.groups)
    ]
    tables = [Table(Said("What became of messages"), columns, rows)]
    if found.times:
        timed = [Column(Said("time"), "text"), Column(Said("messages"))]
        timed += [Column(Said("half within"), "seconds"), Column(Said("90% within"), "seconds")]
        tables.append(
            Table(
                Said("Times"),
                timed,
                [
                    (Said(_TIMES[one.until]), one.messages, one.median_seconds, one.p90_seconds)
                    for one in found.times
                ],
            )
        )
    if found.reasons:
        why = [Column(Said(text), "text") for text in (_BY[found.query.by], "state", "reason")]
        told = [
            (
                _name(found, one.name),
                Said(_STATES[one.state]),
                reason_text(one.reason),
                one.messages,
                moment_text(one.latest, found.timezone, named=False),
            )
            for one in found.reasons
        ]
        why += [Column(Said("messages")), Column(Said("the latest"), "text")]
        tables.append(Table(Said("Why not"), why, told))
    by_period: list[Row] = [
        [f"{one.begins}", *(getattr(one, name) for name in _STATES)] for one in found.periods
    ]
    named = [Column(Said(PERIODS[found.query.period]), "text")]
    named += [Column(Said(text)) for text in _STATES.values()]
    tables.append(Table(Said("When they were chosen"), named, by_period))
    said = Said(
        "%(sent)s of %(n)s messages were sent",
        sent=f"{found.all.sent:,}",
        n=f"{found.all.chosen:,}",
    )
    bars = [(Said(text), getattr(found.all, name)) for name, text in (_STATES | _LATER).items()]
    over_time = OverTime(
        Said("When they were chosen"),
        [one.begins for one in found.periods],
        [
            (Said(text), [getattr(one, name) for one in found.periods])
            for name, text in sorted(_STATES.items(), key=lambda one: one[0] != "sent")
            if getattr(found.all, name)
        ],
        stacked=True,
    )
    return Shown([said], tables, [Bars(Said("Messages"), bars), over_time])


def _name(found: Deliveries, name: str | None) -> str:
    if name is None and found.query.by == "gateway":
        return Said("no gateway reported")
    return name_of(name)


_BY: Final = {
    "channel": marked("channel"),
    "message": marked("message"),
    "placement": marked("placement"),
    "gateway": marked("gateway"),
}


def _query(name: str) -> str:
    return queries(PACKAGE, "deliveries.sql")[name]


DELIVERIES: Final = Kind(
    name="deliveries",
    summary="What became of messages: sent, failed, opened; how long it took, and why not.",
    description=__doc__ or "",
    example="--by channel",
    question=DeliveriesQuestion,
    answer=Deliveries,
    make=make,
    show=show,
)
