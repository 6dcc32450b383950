"""Caps: how often customers may be contacted."""

from __future__ import annotations

import re
from typing import Any, Final, cast, get_args

from decision.core.contact_policy import EVER
from decision.core.definition import CalendarPeriod, Cap, FieldLimit, Selector
from decision.core.fields import UnknownField, parse_field
from decision.rulebook import readings
from decision.rulebook.checker import Checker
from decision.rulebook.comparisons import IN_WORDS
from decision.rulebook.conditions import read_when
from decision.rulebook.doubtful import field_in
from decision.rulebook.field_names import known_field
from decision.rulebook.mapping_reader import MappingReader
from decision.rulebook.sections import choices
from decision.rulebook.selectors import read_filter
from decision.rulebook.yaml_source import Node

COUNTS: Final = (
    r"time\.hour|contacts\..+|events\..+\.(count(_[0-9]+[smhd](\.[^.]+)?)?|active_days_[0-9]+d)"
)
"""Fields that are a whole number for everybody."""
_PERIODS: Final = get_args(CalendarPeriod)
_PERIOD_WORDS: Final = {
    f"{before}{word}": period
    for period, words in {
        "day": ("day", "daily", "天", "日", "自然日"),
        "week": ("week", "weekly", "周", "星期", "自然周"),
        "month": ("month", "monthly", "月", "自然月"),
    }.items()
    for word in words
    for before in (
        "",
        "calendar ",
        "per ",
        "a ",
        "every ",
        "each ",
        "this ",
        "每",
        "每个",
        "本",
        "当",
    )
}
"""What people write → a calendar period."""
_RATE: Final = re.compile(r"([0-9]+)(?:x|次|\s+times?)?\s*(?:/|per|a|every|每)\s*(.+)")
"""A number with its period: `1/day`, `2 per week`."""
_ALWAYS: Final = (
    *("ever", "once ever", "forever", "always", "lifetime"),
    *("all time", "once", "never again", "永久", "终身", "一直", "永远"),
)


def read_cap(checker: Checker, name: str, node: Node) -> Cap:
    """One of `caps:`."""
    with checker.entry(node, f'cap "{name}"') as entry:
        return Cap(
            name=name,
            source=node.key.label,
            when=(when := read_when(entry)),
            clause_sources=checker.places.clause_sources(when),
            of=entry.require("of", read_filter, Selector()),
            at_most=cast(Any, entry.require("at_most", _at_most, 1)),
            within=cast(Any, entry.require("within", _within, 0)),
            per=cast(Any, entry.read("per", Checker.choice, None, choices(Cap, "per"))),
        )


def _at_most(checker: Checker, node: Node, what: str) -> int | FieldLimit | None:
    value = node.plain()
    only = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else value
    if name := field_in(only):
        default = value[only] if isinstance(value, dict) and type(value[only]) is int else 3
        hint = f"write {{field: {name}, default: {default}}}"
        checker.wrong_type(node, what, "a number, or a field that has it", hint)
        return None
    if isinstance(value, dict) and (cases := [one for one in value if _names_a_field(str(one))]):
        first = cases[0]
        fix = f"when: {{{readings.as_yaml({first: True})}}}, at_most: {value[first]}"
        hint = f"a cap has one number; write a cap for each, the first with {fix}"
        checker.wrong_type(node, what, "a number, or a field that has it", hint)
        return None
    if isinstance(value, dict):
        with checker.entry(node, what) as entry:
            return _field_limit(checker, entry)
    if isinstance(value, str) and (found := _RATE.fullmatch(value)):
        period = _PERIOD_WORDS.get(found[2].lower())
        length = f"calendar {period}" if period else readings.duration(found[2])
        if length:
            hint = f"write at_most: {found[1]}, within: {length}"
            checker.wrong_type(node, what, "a number", hint)
            return None
    return checker.whole(node, what)


def _names_a_field(text: str) -> bool:
    try:
        parse_field(text)
    except UnknownField:
        return False
    return True


def _field_limit(checker: Checker, entry: MappingReader) -> FieldLimit | None:
    """The field of a limit; its default is needed where the field may have no such number."""
    written = entry.need("field")
    default = entry.read("default", Checker.whole, None, 0)
    name = checker.text(written, entry.label("field")) if written is not None else None
    if written is None or name is None:
        return None
    known_field(checker, name, written.at)
    if not _names_a_field(name):
        return None
    kind = parse_field(name).kind
    if kind in ("text", "boolean", "time"):
        message = f"{entry.what} needs a number; {name} is {IN_WORDS[kind]}"
        hint = "use a field that is a number, such as customer.weekly_limit"
        checker.error("conflict", written.at, message, hint)
        return None
    if entry.get("default") is None and re.fullmatch(COUNTS, name) is None:
        message = f'{entry.what} needs the key "default"'
        hint = (
            f"write {{field: {name}, default: 3}}; the default is for customers whose {name} is "
            "missing or no whole number"
        )
        entry.lacks(message, hint, "default", place=written.key)
    return FieldLimit(name, default or 0)


def _within(checker: Checker, node: Node, what: str) -> int | str | None:
    value = node.value
    if value == EVER:
        return EVER
    if isinstance(value, str) and not value[:1].isdigit():
        first, _, period = value.partition(" ")
        if first == "calendar" and period in _PERIODS:
            return period
        hint = "write 7d, calendar day, calendar week, calendar month or ever"
        if value in _PERIODS:
            hint = f"write calendar {value}"
        elif meant := _PERIOD_WORDS.get(value.lower().replace("_", " ").replace("-", " ")):
            hint = f"write calendar {meant}"
        elif value.lower() in _ALWAYS:
            hint = "write within: ever"
        elif length := readings.duration(value):
            hint = f"write {length}"
        elif "year" in value.lower() or "年" in value:
            hint += "; no cap is of a year"
        checker.error("bad-value", node.at, f'{what} cannot be "{value}"', hint)
        return None
    return checker.duration(node, what)
