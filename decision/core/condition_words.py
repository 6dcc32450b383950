"""Conditions in words: what each clause demands, what it met, and what kept one from holding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from decision.core.clock import time_in_zone, to_micros
from decision.core.conditions import (
    LONGEST_SEARCHED,
    VERSION_OPERATORS,
    All,
    AnyOf,
    Clause,
    Condition,
    Not,
    clauses,
    holds,
)
from decision.core.fields import at_path, local_date, measured_date
from decision.core.values import MISSING, Value, in_words
from decision.core.versions import is_version

_IN_WORDS = {
    "eq": ("must be {}", "must not be {}"),
    "ne": ("must not be {}", "must be {}"),
    "gt": ("must be more than {}", "must not be more than {}"),
    "gte": ("must be at least {}", "must not be at least {}"),
    "lt": ("must be less than {}", "must not be less than {}"),
    "lte": ("must be at most {}", "must not be at most {}"),
    "in": ("must be one of {}", "must be none of {}"),
    "not_in": ("must be none of {}", "must be one of {}"),
    "contains": ("must contain {}", "must not contain {}"),
    "matches": ("must match {}", "must not match {}"),
    "vgt": ("must be a version after {}", "must not be a version after {}"),
    "vgte": ("must be version {} or later", "must not be version {} or later"),
    "vlt": ("must be a version before {}", "must not be a version before {}"),
    "vlte": ("must be version {} or earlier", "must not be version {} or earlier"),
    "veq": ("must be version {}", "must not be version {}"),
    "vne": ("must not be version {}", "must be version {}"),
}
"""What a clause demands, and what it demands under `not`."""
_OF_TIMES = {
    "gt": ("must be after {}", "must not be after {}"),
    "gte": ("must be at or after {}", "must not be at or after {}"),
    "lt": ("must be before {}", "must not be before {}"),
    "lte": ("must be at or before {}", "must not be at or before {}"),
}
"""The same where two texts are compared: dates and times are texts."""


_NO_ATTRIBUTES: Final[Mapping[str, Any]] = {}


def is_time(field: str) -> bool:
    """Whether a field's value is a time, see `fields.Field`."""
    return field.startswith("events.") and field.endswith(".last_at")


def shown(field: str, value: Value, wanted: Iterable[Clause] = (), zone: tzinfo = UTC) -> str:
    """The value of a field in words: of a score two decimals, where these say enough; a time as it
    is in a time zone, or in UTC where that has no such year; with a note where it is no version
    and `wanted` compares versions.

    >>> shown("score.interest", 20.4181), shown("customer.height", 20.4181)
    ('20.42', '20.4181')
    >>> shown("context.app", "unknown", [Clause("context.app", "vgte", "3.10.0")])
    '"unknown", which is no version'
    """
    wanted = tuple(wanted)
    versions = any(clause.op in VERSION_OPERATORS for clause in wanted)
    if versions and value is not MISSING and not is_version(value):
        return f"{in_words(value)}, which is no version"
    if field.startswith("score.") and isinstance(value, float):
        rounded = round(value, 2)
        if all(holds(clause, rounded) is holds(clause, value) for clause in wanted):
            return f"{rounded:.2f}"
    if is_time(field) and isinstance(value, str):
        return time_in_zone(to_micros(datetime.fromisoformat(value)), zone)
    return in_words(value)


def _no_date(
    field: str, value: Value, attributes: Mapping[str, Any], zone: tzinfo = UTC
) -> str | None:
    """What a measure of a date was to be made of, where that is no date; None for all others.

    >>> _no_date("customer.birthday.anniversary_in", MISSING, {"birthday": "2008/2/29"})
    'customer.birthday is "2008/2/29", which is no date'
    """
    measured = measured_date(field) if value is MISSING else None
    stored = MISSING if measured is None else at_path(attributes, measured[0])
    if measured is None or stored is MISSING or local_date(stored, zone) is not None:
        return None
    return f"customer.{measured[0]} is {in_words(stored)}, which is no date"


def clause_in_words(
    clause: Clause,
    value: Value,
    negated: bool = False,
    operand: Value = MISSING,
    zone: tzinfo = UTC,
    attributes: Mapping[str, Any] = _NO_ATTRIBUTES,
) -> str:
    """`events.purchase.count_2h is 1, must be 0`.

    `attributes` are the customer's, to say why a measure of a date is missing.

    >>> from decision.core.conditions import FieldOperand
    >>> since = Clause("customer.seen", "gt", FieldOperand("customer.left"))
    >>> clause_in_words(since, "2026-11-01", operand="2026-11-21")
    'customer.seen is "2026-11-01", must be after customer.left, which is "2026-11-21"'
    """
    unread = ""
    if clause.op == "matches" and isinstance(value, str) and len(value) > LONGEST_SEARCHED:
        unread = f" (not searched: it has more than {LONGEST_SEARCHED:,} characters)"
    if clause.op == "exists":
        wanted = "must exist" if clause.value is not negated else "must not exist"
    elif clause.operand is not None:
        texts = isinstance(value, str) or isinstance(operand, str)
        words = _OF_TIMES.get(clause.op) if texts else None
        wanted = (words or _IN_WORDS[clause.op])[negated].replace("{} or", "{}, or")
        other = f", which is {shown(clause.operand, operand, [clause], zone)}"
        if lacking := _no_date(clause.operand, operand, attributes, zone):
            other = f" ({lacking})"
        wanted = wanted.format(f"{clause.operand}{other}")
    else:
        words = _OF_TIMES.get(clause.op) if is_time(clause.field) else None
        constant = shown(clause.field, clause.value, zone=zone)
        if not is_time(clause.field):
            constant = in_words(clause.value)
        wanted = (words or _IN_WORDS[clause.op])[negated].format(constant)
    if lacking := _no_date(clause.field, value, attributes, zone):
        return f"{lacking}; {clause.field} {wanted}"
    told = shown(clause.field, value, [_with_constant(clause, operand)], zone)
    return f"{clause.field} is {told}{unread}, {wanted}"


def _with_constant(clause: Clause, operand: Value) -> Clause:
    """The clause with the value of the field that it compares with."""
    return clause if clause.operand is None else Clause(clause.field, clause.op, operand)


def failures(
    condition: Condition,
    values: Sequence[Value],
    slot_of: Callable[[str], int],
    negated: bool = False,
    zone: tzinfo = UTC,
    attributes: Mapping[str, Any] = _NO_ATTRIBUTES,
) -> list[str]:
    """In words, exactly the clauses that keep the condition from holding; empty where it holds.

    Where one of several would do, they are one line: `none of: … | …`. With `negated`, those that
    keep its negation from holding.

    >>> failures(Clause("customer.age", "gte", 18), [17], ["customer.age"].index)
    ['customer.age is 17, must be at least 18']
    """
    match condition:
        case Clause():
            value = values[slot_of(condition.field)]
            other = condition.operand
            operand = MISSING if other is None else values[slot_of(other)]
            if holds(condition, value, operand) is not negated:
                return []
            return [clause_in_words(condition, value, negated, operand, zone, attributes)]
        case Not(part):
            return failures(part, values, slot_of, not negated, zone, attributes)
        case All(parts) | AnyOf(parts):
            found = [failures(part, values, slot_of, negated, zone, attributes) for part in parts]
            if isinstance(condition, All) is not negated:
                return [line for lines in found for line in lines]
            if not all(found):
                return []
            if len(found) == 1:
                return found[0]
            return ["none of: " + (" | ".join("; ".join(lines) for lines in found) or "nothing")]


def facts_of(
    condition: Condition,
    values: Sequence[Value],
    slot_of: Callable[[str], int],
    zone: tzinfo = UTC,
    attributes: Mapping[str, Any] = _NO_ATTRIBUTES,
) -> list[str]:
    """In words, the value of each field that the condition names, once each."""
    asked: dict[str, list[Clause]] = {}
    for clause in clauses(condition):
        operand: Value = MISSING
        if clause.operand is not None:
            operand = values[slot_of(clause.operand)]
        asked.setdefault(clause.field, []).append(_with_constant(clause, operand))
        if clause.operand is not None:
            asked.setdefault(clause.operand, [])
    found = [(field, values[slot_of(field)], wanted) for field, wanted in asked.items()]
    return [
        _no_date(field, value, attributes, zone)
        or f"{field} is {shown(field, value, wanted, zone)}"
        for field, value, wanted in found
    ]
