"""`quiet_hours` of a channel: one window, or a list of them."""

from __future__ import annotations

from typing import Any

from decision.core.conditions import ALWAYS, NEVER_HOLDS
from decision.core.definition import QuietHours
from decision.core.fields import WEEKDAYS
from decision.rulebook import readings
from decision.rulebook.checker import Checker
from decision.rulebook.conditions import read_when
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.namesakes import asked, several_days
from decision.rulebook.readings import as_yaml
from decision.rulebook.yaml_source import Node


def read_quiet_hours(checker: Checker, node: Node, what: str) -> tuple[QuietHours, ...]:
    """The windows of a channel."""
    if not isinstance(node.value, list):
        return (_window(checker, node, what),)
    if not node.value:
        checker.error("bad-value", node.at, f"{what} is an empty list", "delete the key")
    return tuple(_window(checker, item, what) for item in node.value)


def _window(checker: Checker, node: Node, what: str) -> QuietHours:
    with checker.entry(node, what) as entry:
        whole_day = entry.get("from") is None and entry.get("to") is None
        if whole_day and isinstance(node.value, dict):
            message = f'{what} needs the keys "from" and "to"'
            entry.lacks(message, 'for the whole day, add from: "00:00", to: "24:00"', "from", "to")
        need = entry.read if whole_day else entry.require
        start = need("from", Checker.clock, -1)
        end = need("to", Checker.clock, -1, end=True)
        if start == end and start >= 0:
            message = f"{what} start and end at the same time, so they have no length"
            hint = 'write, for example, from: "22:00" and to: "08:00", or delete quiet_hours'
            if start == 0:
                hint = 'for the whole day, write to: "24:00"'
            checker.error("bad-value", node.at, message, hint)
        calendar = entry.read("in", read_calendar_name, None)
        unless = read_when(entry, "unless", NEVER_HOLDS)
        written = entry.get("unless")
        if written is not None and unless == ALWAYS:
            message = f"{entry.label('unless')} always holds, so these quiet hours never do"
            checker.error("bad-value", written.key, message, "write a condition")
        weekdays = entry.read("on", read_weekdays, ())
        return QuietHours(
            start=start,
            end=end,
            except_purposes=entry.read("except", _purposes, ()),
            weekdays=weekdays if len(weekdays) < len(WEEKDAYS) else (),
            calendar=calendar,
            unless=unless,
            clause_sources=checker.places.clause_sources(unless),
            source=node.key.label,
        )


def read_calendar_name(checker: Checker, node: Node, what: str) -> str | None:
    """The name of one calendar."""
    names = node.plain()
    if isinstance(names, list) and len(names) > 1:
        windows = ", ".join(f"{{…, in: {name}}}" for name in names)
        checker.wrong_type(node, what, "one calendar", f"write a window for each: [{windows}]")
        return None
    return checker.name(node, what, "calendars")


def _purposes(checker: Checker, node: Node, what: str) -> tuple[str, ...]:
    """The purposes of `except`; who or when is excepted is said by `unless`."""
    value = node.plain()
    names, known = checker.names, checker.names["purposes"]
    if isinstance(value, dict) and "purpose" not in value:
        checker.wrong_type(node, what, "a list of purposes", f"write {as_yaml({'unless': value})}")
        return ()
    listed = value if isinstance(value, list) else [value]
    others = [one for one in listed if isinstance(one, str) and one not in known]
    conditions = [asked(one, names) for one in others]
    if len(others) == 1 and others[0].startswith("customer."):
        conditions = [{others[0]: True}]
    if others and len(others) == len(listed) and all(conditions):
        several: dict[str, Any] = {"any": conditions} if len(conditions) > 1 else conditions[0]
        message = f"{what} has purposes; {others[0]} is none"
        hint = f"write {as_yaml({'unless': several})}"
        checker.error("unknown-name", node.at, message, hint)
        return ()
    return checker.references(node, what, "purposes", least=0)


def read_weekdays(checker: Checker, node: Node, what: str) -> tuple[int, ...]:
    """Days of the week, from 0, Monday."""
    found = []
    for name, place in checker.texts(node, what):
        if name in WEEKDAYS:
            found.append(WEEKDAYS.index(name))
            continue
        hint = hint_for(name, WEEKDAYS)
        if days := several_days(name):
            hint = f"write {as_yaml({'on': days})}"
            if isinstance(node.value, list):
                hint = f"write {', '.join(days)}"
        elif (day := readings.weekday(name)) and not name.isdigit():
            hint = f'did you mean "{day}"? write {day}'
        elif readings.day(name):
            date = f"{{days: {{dates: [{readings.day(name)}]}}}}"
            hint = f"put dates into a calendar, calendars: {date}, and write in: days"
        elif name in checker.names["calendars"]:
            hint = f"write in: {name}"
        checker.error("unknown-name", place, f'{what} cannot be "{name}"', hint)
    return tuple(sorted(found))
