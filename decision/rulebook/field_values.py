"""The values that fields are compared with: possible ones, and ones that were hardly meant."""

from __future__ import annotations

import re
from datetime import date
from typing import Any, Final

from decision.core.conditions import Clause
from decision.core.fields import WEEKDAYS, Field, measured_date
from decision.core.journeys.again import AGAIN, STEP
from decision.core.values import in_words
from decision.rulebook import readings
from decision.rulebook.checker import Checker
from decision.rulebook.collector import kind_of
from decision.rulebook.comparisons import IN_WORDS
from decision.rulebook.diagnostics import hint_for, one_of
from decision.rulebook.doubtful import doubtful, is_of_version, meant
from decision.rulebook.namesakes import steps_of
from decision.rulebook.readings import as_yaml
from decision.rulebook.sent_events import not_derived
from decision.rulebook.yaml_source import Node

_EXACT: Final = frozenset({"eq", "ne", "in", "not_in"})
_ORDERED: Final = frozenset({"gt", "gte", "lt", "lte"})
_KINDS: Final[dict[str, tuple[tuple[type, ...], tuple[str, ...], str]]] = {
    "number": ((int, float), ("gt", "gte", "lt", "lte"), "write digits, without quotes"),
    "text": (
        (str,),
        ("gt", "gte", "lt", "lte", "contains", "matches"),
        "write text; put digits, true and false in quotes",
    ),
    "time": (
        (str,),
        ("gt", "gte", "lt", "lte"),
        "write a time such as 2026-11-21T10:00:00+08:00",
    ),
    "boolean": ((bool,), (), "write true or false, without quotes"),
}
"""Kind of a field → the types of its values, the operators that it has besides `_EXACT`, and how to
write a value."""


_MONTH_AND_DAY: Final = re.compile("([0-9]{1,2})[-/.月]([0-9]{1,2})日?")


def _of_field(checker: Checker, name: str, value: Any) -> str:
    """A hint for a value of the wrong type, by what the field is."""
    if variants := checker.variants.get(name.removeprefix("experiment.")):
        return f"use {one_of(variants)}"
    word = str(value).lower()
    if measured_date(name) and word in ("today", "now", "今天", "heute"):
        return "write 0"
    if name.startswith("score."):
        return "write {gte: 10}, with a number"
    return ""


def fits(checker: Checker, field: Field, operator: str, node: Node) -> bool:
    """Checks that the field can have values of this type."""
    if operator == "exists" or field.kind == "any":
        return True
    name, kind = field.name, field.kind
    types, usable, fix = _KINDS[kind]
    words = IN_WORDS[kind]
    if operator not in (*_EXACT, *usable):
        message = f'"{operator}" cannot be used with {name}, which is {words}'
        hint = f"use {', '.join(['eq', *usable])} or in"
        if kind == "boolean" and operator in _ORDERED:
            hint = "write true"
        checker.error("wrong-type", node.key, message, hint)
        return False
    good = True
    for item in node.value if operator in ("in", "not_in") else [node]:
        value = item.value
        if not isinstance(value, types) or isinstance(value, bool) is not (kind == "boolean"):
            message = f"{name} is {words}; it cannot be {kind_of(value)}"
            hint = meant(operator, value, kind) or _of_field(checker, name, value) or fix
            if name == "time.weekday" and (day := readings.weekday(str(value))):
                hint = f"write {day}"
            elif name == "time.hour" and (clock := readings.clock(str(value))):
                hint = f"write {int(clock[:2])}"
            checker.error("wrong-type", item.at, message, hint)
            good = False
        elif operator in _EXACT or (name == "time.date" and operator in _ORDERED):
            _known_value(checker, name, item)
    return good


def _known_value(checker: Checker, name: str, node: Node) -> None:
    """Checks that a state, placement, variant, day or hour exists."""
    value, place = node.value, node.at
    match name:
        case "customer.state":
            if checker.names["states"]:
                checker.reference(value, "states", place)
        case "placement":
            checker.reference(value, "placements", place)
        case "event.type":
            checker.event_type(value, place)
            not_derived(checker, value, place, "event.type cannot be", "event.type: ")
        case "time.weekday":
            if value not in WEEKDAYS:
                message = f'time.weekday cannot be "{value}"'
                meant = readings.weekday(value)
                hint = f"write {meant}" if meant else hint_for(value, WEEKDAYS)
                checker.error("unknown-name", place, message, hint)
        case "time.hour":
            if not 0 <= value <= 23 or value != int(value):
                message = f"time.hour cannot be {in_words(value)}"
                checker.error("bad-value", place, message, "write a whole number from 0 to 23")
        case "time.date":
            if not _is_date(value):
                message = f'time.date cannot be "{value}", which is not a date'
                found = readings.day(value)
                hint = f'write "{found}"' if found else "write it like 2026-11-21"
                first, dots, last = value.partition("..")
                if value in checker.names["calendars"]:
                    hint = f"write time.in.{value}: true"
                elif yearly := _MONTH_AND_DAY.fullmatch(value):
                    pattern = f"-{yearly[1]:0>2}-{yearly[2]:0>2}$"
                    hint = f"for that day of every year, write {{{as_yaml({'matches': pattern})}}}"
                if dots and (start := readings.day(first)) and (end := readings.day(last)):
                    hint = f"write {{{as_yaml({'gte': start, 'lte': end})}}}"
                checker.error("bad-value", place, message, hint)
        case _ if measured := measured_date(name):
            if value != int(value) or (measured[1] == "anniversary_in" and not 0 <= value <= 365):
                most = " from 0 to 365" if measured[1] == "anniversary_in" else ""
                message = f"of a date, {name} is never {in_words(value)}"
                hint = f"{name} is a whole number{most}"
                checker.warn(place, message, hint, "doubtful-comparison")
        case _ if name.startswith("journey.") and name.endswith(".step"):
            steps = steps_of(checker.names, name.removeprefix("journey.").removesuffix(".step"))
            if steps and value not in steps:
                message = f'{name} cannot be "{value}": there is no such step'
                checker.error("unknown-name", place, message, hint_for(value, steps))
        case _ if name.startswith("experiment."):
            variants = checker.variants.get(name.removeprefix("experiment."))
            if variants and value not in variants:
                message = f'{name} cannot be "{value}"'
                checker.error("unknown-name", place, message, hint_for(value, variants))


def warn_of_doubts(checker: Checker, name: str, operator: str, node: Node) -> None:
    """Warns of values that are probably not what was meant."""
    for item in node.value if isinstance(node.value, list) else [node]:
        if doubt := _version_as_number(name, operator, item):
            checker.warn(item.at, *doubt, "doubtful-comparison")
        if doubt := doubtful(operator, item.value, item.quoted, name):
            checker.warn(item.at, *doubt, "doubtful-comparison")
        if operator in _EXACT and (doubt := _no_asker(checker, name, item.value)):
            checker.warn(item.at, *doubt, "doubtful-comparison")


def _no_asker(checker: Checker, name: str, value: Any) -> tuple[str, str] | None:
    """What is doubtful about a journey or a step that is to ask and is not there, and a hint. Where
    there are no journeys, the caller may say it."""
    journeys = checker.names["journeys"]
    if not journeys or name not in ("context.journey", "context.step"):
        return None
    what, known = name.removeprefix("context."), [*journeys, AGAIN]
    if what == "step":
        known = [STEP, *(step for one in journeys for step in steps_of(checker.names, one))]
    if value in known:
        return None
    said = f"{name} is never {in_words(value)}: no journey has that name"
    if what == "step":
        said = f"{name} is never {in_words(value)}: no journey has a step of that name"
    names = dict.fromkeys(one for one in known if one not in (AGAIN, STEP))
    return said, hint_for(str(value), names)


def _version_as_number(name: str, operator: str, node: Node) -> tuple[str, str] | None:
    """What is doubtful about a number that a version is compared with, and a hint."""
    value, ordered = node.value, operator in _ORDERED
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_of_version(name):
        return None
    if isinstance(value, int) and not ordered:
        return None
    line = node.source.line(node.line)[node.column - 1 :]
    written = re.match("[0-9.]*", line)
    text = readings.in_quotes(written[0] if written and written[0] else in_words(value))
    exact = {"eq": "veq", "ne": "vne", **{one: f"v{one}" for one in _ORDERED}}
    fix = f"{{{exact[operator]}: {text}}}" if operator in exact else text
    message = f"{name} is compared with the number {in_words(value)}, and no version is a number"
    if isinstance(value, float):
        message += "; 3.10 and 3.1 are one number"
    return message, f"for versions, write {fix}"


def check_range(checker: Checker, name: str, found: list[Clause], node: Node, what: str) -> None:
    """Checks that some value is between two bounds."""
    lows = [part for part in found if part.op in ("gt", "gte")]
    highs = [part for part in found if part.op in ("lt", "lte")]
    for low in lows:
        for high in highs:
            a, b = low.value, high.value
            if isinstance(a, str) is not isinstance(b, str) or low.operand or high.operand:
                continue
            if a > b or (a == b and (low.op, high.op) != ("gte", "lte")):
                message = f"no value is both {low.op} {in_words(a)} and {high.op} {in_words(b)}"
                hint = "change one of them, or write any: [{…}, {…}] if one is enough"
                checker.error("bad-value", node.at, f"{name} in {what}: {message}", hint)


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
