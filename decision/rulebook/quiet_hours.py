"""`quiet_hours` of a channel: one window, or a list of them."""

from __future__ import annotations

from typing import Final

from decision.core.conditions import ALWAYS, NEVER_HOLDS
from decision.core.definition import QuietHours
from decision.core.fields import WEEKDAYS
from decision.rulebook.checker import Checker
from decision.rulebook.conditions import read_when
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.yaml_source import Node

_GROUPS: Final = {"weekend": "[sat, sun]", "weekends": "[sat, sun]"} | dict.fromkeys(
    ("weekday", "weekdays", "workday", "workdays"), "[mon, tue, wed, thu, fri]"
)


def read_quiet_hours(checker: Checker, node: Node, what: str) -> tuple[QuietHours, ...]:
    """The windows of a channel."""
    if not isinstance(node.value, list):
        return (_window(checker, node, what),)
    if not node.value:
        checker.error("bad-value", node.at, f"{what} is an empty list", "delete the key")
    return tuple(_window(checker, item, what) for item in node.value)


def _window(checker: Checker, node: Node, what: str) -> QuietHours:
    with checker.entry(node, what) as entry:
        start = entry.require("from", Checker.clock, -1)
        end = entry.require("to", Checker.clock, -1, end=True)
        if start == end and start >= 0:
            message = f"{what} start and end at the same time, so they have no length"
            hint = 'write, for example, from: "22:00" and to: "08:00", or delete quiet_hours'
            if start == 0:
                hint = 'for the whole day, write to: "24:00"'
            checker.error("bad-value", node.at, message, hint)
        calendar = entry.read("in", Checker.name, None, "calendars")
        unless = read_when(entry, "unless", NEVER_HOLDS)
        written = entry.get("unless")
        if written is not None and unless == ALWAYS:
            message = f"{entry.label('unless')} always holds, so these quiet hours never do"
            checker.error("bad-value", written.key, message, "write a condition")
        weekdays = entry.read("on", _weekdays, ())
        return QuietHours(
            start=start,
            end=end,
            except_purposes=entry.read("except", Checker.references, (), "purposes", least=0),
            weekdays=weekdays if len(weekdays) < len(WEEKDAYS) else (),
            calendar=calendar,
            unless=unless,
            clause_sources=checker.places.clause_sources(unless),
            source=node.key.label,
        )


def _weekdays(checker: Checker, node: Node, what: str) -> tuple[int, ...]:
    found = []
    for name, place in checker.texts(node, what):
        if name in WEEKDAYS:
            found.append(WEEKDAYS.index(name))
            continue
        hint = hint_for(name, WEEKDAYS)
        if name.lower()[:3] in WEEKDAYS:
            hint = f'did you mean "{name.lower()[:3]}"?'
        elif name.lower() in _GROUPS:
            hint = f"write on: {_GROUPS[name.lower()]}"
        elif name in checker.names["calendars"]:
            hint = f"write in: {name}"
        checker.error("unknown-name", place, f'{what} cannot be "{name}"', hint)
    return tuple(sorted(found))
