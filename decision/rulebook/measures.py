"""`metrics:` and `funnels:`: what reports measure, by name."""

from __future__ import annotations

from typing import Any, Final, cast

from decision.core.clock import DAY
from decision.core.definition import Funnel, Metric
from decision.rulebook.checker import Checker
from decision.rulebook.sections import choices
from decision.rulebook.yaml_source import Node

LONGEST: Final = 366 * DAY
"""The longest time that a report may look for what comes after something."""
MOST_STEPS: Final = 20
BETTER: Final = choices(Metric, "better")
MEASURES: Final = choices(Metric, "measure")
ORDERS: Final = choices(Funnel, "order")


def read_metric(checker: Checker, name: str, node: Node) -> Metric:
    """One of `metrics:`."""
    with checker.entry(node, f'metric "{name}"') as entry:
        value = entry.read("value", _property, None)
        measure = entry.read("measure", Checker.choice, "total", MEASURES)
        if measure == "average" and value is None:
            message = f'the metric "{name}" averages nothing'
            checker.error("bad-value", node.key, message, "add value: amount")
        if measure == "share" and value is not None:
            message = f'the metric "{name}" is a share of customers, and has no value'
            checker.error("bad-value", node.key, message, "leave out value, or measure")
        return Metric(
            name=name,
            source=node.key.label,
            event=entry.require("event", Checker.event, ""),
            value=value,
            measure=cast(Any, measure),
            within=entry.read("within", Checker.duration, None, LONGEST),
            better=cast(Any, entry.read("better", Checker.choice, "more", BETTER)),
        )


def read_funnel(checker: Checker, name: str, node: Node) -> Funnel:
    """One of `funnels:`."""
    with checker.entry(node, f'funnel "{name}"') as entry:
        return Funnel(
            name=name,
            source=node.key.label,
            steps=entry.require("steps", _steps, ()),
            within=entry.require("within", Checker.duration, 0, LONGEST),
            order=cast(Any, entry.read("order", Checker.choice, "ordered", ORDERS)),
        )


def _steps(checker: Checker, node: Node, what: str) -> tuple[str, ...]:
    """Types of events; one type may be several steps."""
    items = checker.items(node, what)
    found = [checker.event(item, f"a step of {what}") for item in items]
    if 0 < len(items) < 2:
        message = f"{what} has one step; a funnel has two or more"
        checker.error("bad-value", node.at, message, "add what comes after it")
    if len(items) > MOST_STEPS:
        message = f"{what} has {len(items)} steps; {MOST_STEPS} are allowed"
        checker.error("bad-value", node.at, message, "leave some out")
    return tuple(one for one in found if one is not None)


def _property(checker: Checker, node: Node, what: str) -> str | None:
    """A property of an event, by its name alone."""
    name = checker.text(node, what)
    if name is not None and name.startswith("event."):
        short = name.removeprefix("event.")
        message = f"{what} is the name of a property, without event."
        checker.error("bad-value", node.at, message, f"write value: {short}")
    return name
