"""What a report measures: events of a type, and the numbers that one of their properties has."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from decision.analytics.reports.asking import Question, about, not_there
from decision.analytics.reports.source import Source
from decision.archive.log_columns import Amount
from decision.core.definition import Metric
from decision.core.errors import InputError
from decision.core.said import Said


class Measure(NamedTuple):
    """Events of a type; `path` is the JSON pointer of the property with the amount, or None."""

    event: str
    path: str | None


class MetricQuestion(Question, frozen=True, kw_only=True):
    """A question that may name a metric of the rules."""

    metric: Annotated[
        str,
        about("One of metrics: of the rules: its event and its value count.", "NAME", of="metrics"),
    ] = ""


def metric_named(source: Source, name: str) -> Metric:
    """A metric of the rules.

    Raises:
        InputError: there is none of that name.
    """
    known = {one.name: one for one in source.policy.metrics} if source.policy else {}
    if name not in known:
        raise not_there("metric", Said("metric"), name, known)
    return known[name]


def measure(event: str, amount: str) -> Measure:
    """The events of a type, with the amount that a property has; an empty name: with none."""
    own = amount.removeprefix("event.")
    return Measure(event, Amount(event, own).path if own else None)


def only_one(source: Source, metric: str, **others: str) -> Measure | None:
    """The measure of a metric, where one is named; None: it is not.

    Raises:
        InputError: another option says the same, or there is no such metric.
    """
    if not metric:
        return None
    for name, given in others.items():
        if given:
            raise InputError("metric", Said("give it or %(other)s, not both", other=name))
    found = metric_named(source, metric)
    return measure(found.event, found.value or "")
