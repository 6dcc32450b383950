"""What fields can be compared with: which fields go together, and which texts are versions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any, Final

from decision.core.conditions import VERSION_OPERATORS, FieldOperand
from decision.core.fields import Field
from decision.core.versions import LONGEST_VERSION, is_version
from decision.rulebook.checker import Checker
from decision.rulebook.doubtful import field_in
from decision.rulebook.yaml_source import INVALID, Node, Place

IN_WORDS: Final = {
    "number": "a number",
    "text": "text",
    "boolean": "true or false",
    "time": "a time",
}
"""Kind of a field → what messages call its values."""

_ORDERED: Final = ("gt", "gte", "lt", "lte")
_OF_TIMES: Final = (*_ORDERED, "eq", "ne")
_COMPARED: Final = re.compile(r"([<>]=?|==?|!=)\s*(.*)")
_RANGE: Final = re.compile(r"([~^])\s*v?([0-9]+)((?:\.[0-9]+)*)")
_OPERATORS: Final = {">": "vgt", ">=": "vgte", "<": "vlt", "<=": "vlte", "!=": "vne"}
_WILD: Final = re.compile(r"v?([0-9]+(?:\.[0-9]+)*)\.[xX*](\..*)?")
_PREFIX: Final = re.compile(r"\s*[A-Za-z]+\.?\s*(?=[0-9])")
_DIGITS: Final = re.compile(r"[0-9]+([.,_ ]+[0-9]+)*")


_CALCULATED: Final = re.compile(r"\s[+*/×]\s")
_NO_FIELD: Final = {
    "exists": ("true or false", "write true or false; another field needs a line of its own"),
    "matches": ("a regular expression, in quotes", "to look for another field, use contains"),
}
"""Operators that compare with no field: what they need, and what to use instead."""


def read_operand(
    checker: Checker,
    field: Field | None,
    operator: str,
    node: Node,
    what: str,
    known: Callable[[str, Place], Field | None],
) -> Any:
    """The field that a field is compared with, or INVALID after an error.

    `node` has a mapping. `known` finds a field by its name, and says what is wrong with it.
    """
    if operator in _NO_FIELD:
        checker.wrong_type(node, what, *_NO_FIELD[operator])
        return INVALID
    if "field" not in node.value:
        checker.wrong_type(node, what, "a value, or {field: …}", _near_field(node))
        return INVALID
    for key, extra in node.value.items():
        if key != "field":
            message = f'{what} cannot have the key "{key}" beside "field"'
            checker.error("unknown-key", extra.key, message, "delete it")
    written = node.value["field"]
    if isinstance(written.value, list):
        several = [one for one in written.plain() if isinstance(one, str)]
        rows = ", ".join(f"{{…: {{{operator}: {{field: {one}}}}}}}" for one in several[:3])
        checker.wrong_type(written, f"field in {what}", "text", f"one field each: any: [{rows}]")
        return INVALID
    if written.value is None:
        checker.wrong_type(written, f"field in {what}", "text", "write {field: customer.limit}")
    name = None if written.value is None else checker.text(written, f"field in {what}")
    if name is not None and name.startswith("{") and (named := field_in(name)):
        message = f"a field stands in a condition without braces: {name}"
        checker.error("bad-value", written.at, message, f"write {{field: {named}}}")
        return INVALID
    if name is not None and (name != name.strip() or _CALCULATED.search(name)):
        message = f'"{name}" is not one field; a value cannot be calculated'
        hint = f"write {{field: {_CALCULATED.split(name)[0].strip()}}}"
        checker.error("bad-value", written.at, message, hint)
        return INVALID
    other = known(name, written.at) if name is not None else None
    if other is None or field is None:
        return INVALID
    if problem := mismatch(field, operator, other):
        checker.error("conflict", written.at, *problem)
        return INVALID
    return FieldOperand(other.name)


def _near_field(node: Node) -> str:
    """`write {field: customer.b}` for `{feild: customer.b}` and `{customer.b: 1}`."""
    for key, one in node.value.items():
        for name in (one.value, key):
            if isinstance(name, str) and "." in name:
                return f"to compare with a field, write {{field: {name}}}"
    return "to compare with a field, write {field: customer.limit}"


def read_version(checker: Checker, operator: str, node: Node, what: str) -> Any:
    """A version such as 2.10.0, or INVALID after an error: it is certainly none."""
    value = node.value
    if isinstance(value, str):
        problem = no_version(operator, value)
        if not problem:
            return value
        message = f'{what} cannot be "{value[:80]}", which is not a version'
        checker.error("bad-value", node.at, message, problem)
    elif value is not INVALID:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        hint = 'write it like "2.10.0"'
        if number:
            line = node.source.line(node.line)[node.column - 1 :]
            digits = re.match("[0-9.]*", line)
            hint = f'write {{{operator}: "{(digits and digits[0]) or value}"}}'
            hint += "; without quotes, 2.10 is the number 2.1" if isinstance(value, float) else ""
        checker.wrong_type(node, what, "a version, in quotes", hint)
    return INVALID


def mismatch(field: Field, operator: str, other: Field) -> tuple[str, str] | None:
    """Why two fields cannot be compared so, and how to fix it; None if they can.

    Only what is known of every value counts: a field of the customer may be of any kind.
    """
    name, kind = field.name, field.kind
    for one in (field, other):
        words = IN_WORDS.get(one.kind)
        if words is None:
            continue
        if operator in VERSION_OPERATORS:
            return f"{one.name} is {words}, not a version", "compare a field that has a version"
        if operator in _ORDERED and one.kind == "boolean":
            return f"{one.name} is {words}, which has no order", "use eq or ne"
    if "time" in (kind, other.kind) and (kind != other.kind or operator not in _OF_TIMES):
        return (
            f"{name} and {other.name} do not compare with {operator}: "
            f"{(field if kind == 'time' else other).name} is a time",
            "compare it by gt, gte, lt, lte, eq or ne with the last_at of another event, or a time "
            "such as 2026-11-21T10:00:00+08:00; for days, compare days_since",
        )
    if operator in ("in", "not_in"):
        if other.kind == "any":
            return None
        message = (
            f'"{operator}" needs a field that is a list; {other.name} is {IN_WORDS[other.kind]}'
        )
        equal = "eq" if operator == "in" else "ne"
        return message, f"write {name}: {{{equal}: {{field: {other.name}}}}}"
    if operator == "contains":
        if kind in ("number", "boolean"):
            return f'"contains" cannot be used with {name}, which is {IN_WORDS[kind]}', "use eq"
        if kind == "any" or other.kind in ("any", "text"):
            return None
        return (
            f"{name} is text; it cannot contain {IN_WORDS[other.kind]}",
            "use a field that is text",
        )
    if "any" in (kind, other.kind) or kind == other.kind:
        return None
    message = (
        f"{name} is {IN_WORDS[kind]} and {other.name} is {IN_WORDS[other.kind]}; "
        "values of different types never compare"
    )
    return message, f"compare {name} with a field that is {IN_WORDS[kind]}"


def no_version(operator: str, given: str) -> str:
    """How to fix a text that is certainly no version; empty where it may be one.

    >>> no_version("vgte", "2.10.0-beta.1"), no_version("vgte", ">= 2.0")
    ('', 'write {vgte: "2.0"}')
    """
    if len(given) > LONGEST_VERSION:
        return f"a version has at most {LONGEST_VERSION} characters"
    text = unicodedata.normalize("NFKC", given)
    if found := _RANGE.fullmatch(text.strip()):
        minor = found[3].removeprefix(".").partition(".")[0]
        end = str(int(found[2]) + 1)
        if found[1] == "~" and minor:
            end = f"{found[2]}.{int(minor) + 1}"
        return f'write {{vgte: "{found[2]}{found[3]}", vlt: "{end}"}}'
    if found := _COMPARED.fullmatch(text.strip()):
        op = _OPERATORS.get(found[1], "veq")
        return f'write {{{op}: "{found[2] or "2.10.0"}"}}'
    if found := _WILD.fullmatch(text.strip()):
        start = found[1]
        before, dot, last = start.rpartition(".")
        following = f"{before}{dot}{int(last) + 1}"
        ranges = {
            "vgt": f'vgte: "{following}"',
            "vgte": f'vgte: "{start}"',
            "vlt": f'vlt: "{start}"',
            "vlte": f'vlt: "{following}"',
        }
        if operator in ranges:
            return f"write {{{ranges[operator]}}}"
        return f'for all of {start}, write {{vgte: "{start}", vlt: "{following}"}}'
    if is_version(given):
        return ""
    if version := version_in(text):
        return f'write {{{operator}: "{version}"}}'
    return f'a version starts with digits: write {{{operator}: "2.10.0"}}'


def version_in(text: str) -> str:
    """The version in a text that has something around it; empty where none is clear.

    >>> version_in("iOS 3.9.0"), version_in("3,9,0"), version_in("3.9 (42)"), version_in("web")
    ('3.9.0', '3.9.0', '3.9', '')
    """
    plain = _PREFIX.sub("", unicodedata.normalize("NFKC", text), 1).strip()
    plain = re.sub(r"(?<=[0-9]) +(?=[A-Za-z])", "-", plain)
    if _DIGITS.fullmatch(plain):
        return re.sub("[., _]+", ".", plain)
    if is_version(plain):
        return plain
    found = re.search(r"[0-9]+(\.[0-9]+)+", plain)
    return found[0] if found else ""
