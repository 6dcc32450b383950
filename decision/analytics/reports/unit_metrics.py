"""Metrics of units: what customers did within a time after something, and within one before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from decision.analytics.queries import queries
from decision.analytics.reports.asking import Question, about, duration
from decision.analytics.reports.event_amounts import metric_named
from decision.analytics.reports.naming import check, check_property
from decision.analytics.reports.source import PACKAGE, Source
from decision.archive.log_columns import Amount
from decision.archive.tables import files
from decision.core.clock import DAY
from decision.core.definition import Metric
from decision.core.errors import InputError
from decision.core.local_days import END
from decision.core.said import Said

BEFORE: Final = 28 * DAY
"""How long before counts as what was known beforehand, in microseconds."""


class Measures(Question, frozen=True, kw_only=True):
    """What is measured: metrics of the rules, or an event that is named here."""

    metric: Annotated[
        list[str],
        about(
            "Which of metrics: of the rules, with commas between. Left out: all of them.",
            of="metrics",
        ),
    ] = msgspec.field(default_factory=list)
    event: Annotated[
        str,
        about(
            "In place of metrics: the share of customers with this event.",
            "TYPE",
            of="events",
            afterwards=True,
        ),
    ] = ""
    value: Annotated[
        str,
        about(
            "With --event: the sum of this property for each customer.", "PROPERTY", of="properties"
        ),
    ] = ""
    within: Annotated[
        str, about("How long after counts: 48h, 7d. Left out: as the metric says.", "TIME")
    ] = ""


def metrics_of(source: Source, question: Measures) -> list[Metric]:
    """The metrics that a question means.

    Raises:
        InputError: there are none, or not that one.
    """
    within = duration("within", question.within) if question.within else None
    if question.event:
        if question.metric:
            raise InputError("event", Said("give metrics or an event, not both"))
        named = question.value or question.event
        found = [
            Metric(
                name=named,
                source="",
                event=question.event,
                value=question.value or None,
                measure="total" if question.value else "share",
            )
        ]
    else:
        if question.value:
            raise InputError("value", Said("it needs event: the type of the events that have it"))
        found = [metric_named(source, name) for name in dict.fromkeys(question.metric)]
        if not found and source.policy:
            found = list(source.policy.metrics)
    if not found:
        raise InputError(
            "metric",
            Said(
                "the rules have no metrics; write metrics: {revenue: {event: purchase, value: "
                "amount, within: 7d}}, or give an event"
            ),
        )
    check(source, "events", "event", [one.event for one in found], afterwards=True)
    for one in found:
        if one.value:
            check_property(source, "value" if question.value else "", one.value, one.event)
    if within is not None:
        found = [msgspec.structs.replace(one, within=within) for one in found]
    return found


def take_events(source: Source, metrics: Sequence[Metric], before: int = BEFORE) -> None:
    """Makes `happened` of the events of metrics, around the range."""
    after = max(END if one.within is None else one.within for one in metrics)
    source.take(before=before, after=after, once=sorted({one.event for one in metrics}))


def measure(source: Source, metric: Metric, before: int = BEFORE, end: int = END) -> None:
    """Makes the table `measured` (unit, y, n, x) of the table `units`; `end`: nothing after it."""
    source.database.execute(_query("amount"))
    source.database.execute(
        _query("measured"),
        {
            "event": metric.event,
            "path": None if metric.value is None else Amount("", metric.value).path,
            "share": metric.measure == "share",
            "before": before,
            "end": end,
            "within": END if metric.within is None else metric.within,
        },
    )


def known_until(source: Source) -> int:
    """Up to when the archive knows what happened: when the last record came in, or was made."""
    came = source.database.value(_query("until"))
    source.database.view_dataset("latest", files(source.archive, "decisions")[-1:], "decisions")
    decided = source.database.value("SELECT max(epoch_us(decided_at)) FROM latest")
    return int(max(came or 0, decided or 0))


def _query(name: str) -> str:
    return queries(PACKAGE, "unit_metrics.sql")[name]
