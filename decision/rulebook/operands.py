"""The constants that fields are compared with, as the core needs them."""

from __future__ import annotations

import re
from typing import Any, Final

import re2

from decision.core.clock import DAY, parse_duration, time_text
from decision.core.conditions import VERSION_OPERATORS, compiled_pattern
from decision.core.fields import parse_field
from decision.rulebook import readings
from decision.rulebook.checker import Checker
from decision.rulebook.comparisons import read_version
from decision.rulebook.doubtful import field_in, meant
from decision.rulebook.readings import as_yaml
from decision.rulebook.yaml_source import INVALID, Node

LARGEST_PATTERN: Final = 4_000
"""Instructions of RE2's program for a pattern: what searching costs for each byte, at worst."""


def read_constant(checker: Checker, operator: str, node: Node, what: str) -> Any:
    """The constant of an operator as the core needs it, or INVALID after an error."""
    value = node.value
    if value is INVALID:
        return INVALID  # the parser has said why
    match operator:
        case "in" | "not_in":
            if not isinstance(value, list):
                items = (
                    re.split("[,，、;；]\\s*", value) if isinstance(value, str) else [node.plain()]
                )
                hint = "write [a, b]" if value is None else f"write {as_yaml(items)}"
                if isinstance(value, str) and value in checker.names["calendars"]:
                    hint = f"write {as_yaml({f'time.in.{value}': operator == 'in'})}"
                checker.wrong_type(node, what, "a list", hint)
                return INVALID
            if not value:
                checker.error("bad-value", node.at, f"{what} is an empty list", "add a value")
                return INVALID
            return _constants(checker, node, what)
        case "exists":
            if not isinstance(value, bool):
                checker.wrong_type(node, what, "true or false")
                return INVALID
            return value
        case "matches":
            return _pattern(checker, node, what)
        case "gt" | "gte" | "lt" | "lte":
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                checker.wrong_type(node, what, "a number or text")
                return INVALID
            return value
        case _ if operator in VERSION_OPERATORS:
            return read_version(checker, operator, node, what)
        case "eq" | "ne" if isinstance(value, list):
            return _constants(checker, node, what)
    return _constant(checker, node, what)


def read_times(checker: Checker, operator: str, node: Node, what: str) -> Any:
    """Times as fields have them; INVALID after an error."""
    items = node.value if isinstance(node.value, list) else [node]
    for item in items:
        hint = ""
        if other := field_in(item.value):
            hint = "it is compared only with times, and with the last_at of other events"
            if parse_field(other).kind == "time":
                hint = meant(operator, item.value)
        if re.fullmatch("today|今天|heute|now", str(item.value), re.IGNORECASE):
            field = re.search(r"(\S+)\.last_at in ", what)
            hint = f"write {field[1]}.days_since: 0" if field else ""
        if length := readings.duration(str(item.value)):
            turned = "lte" if operator in ("gt", "gte") else "gte"
            hint = f"days are compared with days_since: {{{turned}: {_days(length)}}}"
        if hint:
            message = f'{what}: "{item.value}" is not a date or time'
            checker.error("bad-value", item.at, message, hint)
            return INVALID
    found = [checker.moment(item, what) for item in items]
    texts = tuple(time_text(one) for one in found if one is not None)
    if len(texts) < len(found):
        return INVALID
    return texts if isinstance(node.value, list) else texts[0]


def _days(length: str) -> int:
    return max(parse_duration(length) // DAY, 1)


def _constants(checker: Checker, node: Node, what: str) -> Any:
    found = [_constant(checker, item, f"an item of {what}") for item in node.value]
    return INVALID if any(item is INVALID for item in found) else tuple(found)


def _constant(checker: Checker, node: Node, what: str) -> Any:
    value = node.value
    if value is INVALID or (value is not None and not isinstance(value, dict | list)):
        return value
    hint = "write {exists: false} if the field must be missing" if value is None else ""
    if isinstance(value, dict) and "field" in value:
        hint = "for alternatives, write any: [{customer.a: {eq: {field: customer.b}}}, …]"
    checker.wrong_type(node, what, "text, a number, true or false", hint)
    return INVALID


def _pattern(checker: Checker, node: Node, what: str) -> Any:
    value = node.value
    if not isinstance(value, str):
        checker.wrong_type(node, what, "a regular expression, in quotes")
        return INVALID
    try:
        size = compiled_pattern(value).programsize
    except re2.error as error:
        reason = error.args[0] if error.args else "unknown"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        message = f"{what} is not a valid regular expression: {text}"
        hint = "use the syntax of RE2, which has no look-around and no back-references"
        checker.error("bad-pattern", node.at, message, hint)
        return INVALID
    if size > LARGEST_PATTERN and not checker.again:
        message = (
            f"{what} is a regular expression that takes too long: it has {size:,} steps; "
            f"{LARGEST_PATTERN:,} are allowed"
        )
        hint = "use smaller numbers in {…}, or write any: [{…}, {…}] with a part in each"
        checker.error("bad-pattern", node.at, message, hint)
        return INVALID
    return value
