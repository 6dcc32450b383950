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
from decision.core.said import Joined, Said, marked
from decision.core.values import MISSING, Value, in_words
from decision.core.versions import is_version

_IN_WORDS = {
    "eq": (marked("must be %(value)s"), marked("must not be %(value)s")),
    "ne": (marked("must not be %(value)s"), marked("must be %(value)s")),
    "gt": (marked("must be more than %(value)s"), marked("must not be more than %(value)s")),
    "gte": (marked("must be at least %(value)s"), marked("must not be at least %(value)s")),
    "lt": (marked("must be less than %(value)s"), marked("must not be less than %(value)s")),
    "lte": (marked("must be at most %(value)s"), marked("must not be at most %(value)s")),
    "in": (marked("must be one of %(value)s"), marked("must be none of %(value)s")),
    "not_in": (marked("must be none of %(value)s"), marked("must be one of %(value)s")),
    "contains": (marked("must contain %(value)s"), marked("must not contain %(value)s")),
    "matches": (marked("must match %(value)s"), marked("must not match %(value)s")),
    "vgt": (
        marked("must be a version after %(value)s"),
        marked("must not be a version after %(value)s"),
    ),
    "vgte": (
        marked("must be version %(value)s or later"),
        marked("must not be version %(value)s or later"),
    ),
    "vlt": (
        marked("must be a version before %(value)s"),
        marked("must not be a version before %(value)s"),
    ),
    "vlte": (
        marked("must be version %(value)s or earlier"),
        marked("must not be version %(value)s or earlier"),
    ),
    "veq": (marked("must be version %(value)s"), marked("must not be version %(value)s")),
    "vne": (marked("must not be version %(value)s"), marked("must be version %(value)s")),
}
"""What a clause demands, and what it demands under `not`."""
_OF_TIMES = {
    "gt": (marked("must be after %(value)s"), marked("must not be after %(value)s")),
    "gte": (marked("must be at or after %(value)s"), marked("must not be at or after %(value)s")),
    "lt": (marked("must be before %(value)s"), marked("must not be before %(value)s")),
    "lte": (marked("must be at or before %(value)s"), marked("must not be at or before %(value)s")),
}
"""The same where two texts are compared: dates and times are texts."""
_OF_FIELDS = {
    "vgte": (
        marked("must be version %(value)s, or later"),
        marked("must not be version %(value)s, or later"),
    ),
    "vlte": (
        marked("must be version %(value)s, or earlier"),
        marked("must not be version %(value)s, or earlier"),
    ),
}
"""The same where a version is another field's, and is said after it."""


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
        return Said("%(value)s, which is no version", value=in_words(value))
    if field.startswith("score.") and isinstance(value, float):
        rounded = round(value, 2)
        if all(holds(clause, rounded) is holds(clause, value) for clause in wanted):
            return f"{rounded:.2f}"
    if is_time(field) and isinstance(value, str):
        return time_in_zone(to_micros(datetime.fromisoformat(value)), zone)
    return _value(value)


def _value(value: Value) -> str:
    """A value as explanations print it."""
    return Said("missing") if value is MISSING or value is None else in_words(value)


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
    field = f"customer.{measured[0]}"
    return Said("%(field)s is %(value)s, which is no date", field=field, value=in_words(stored))


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
        unread = Said(
            " (not searched: it has more than %(n)s characters)", n=f"{LONGEST_SEARCHED:,}"
        )
    if clause.op == "exists":
        wanted = Said("must exist") if clause.value is not negated else Said("must not exist")
    elif clause.operand is not None:
        texts = isinstance(value, str) or isinstance(operand, str)
        words = _OF_FIELDS.get(clause.op) or (_OF_TIMES.get(clause.op) if texts else None)
        found = shown(clause.operand, operand, [clause], zone)
        other = Said("%(field)s, which is %(value)s", field=clause.operand, value=found)
        if lacking := _no_date(clause.operand, operand, attributes, zone):
            other = Said("%(field)s (%(why)s)", field=clause.operand, why=lacking)
        wanted = Said((words or _IN_WORDS[clause.op])[negated], value=other)
    else:
        words = _OF_TIMES.get(clause.op) if is_time(clause.field) else None
        constant = shown(clause.field, clause.value, zone=zone)
        if not is_time(clause.field):
            constant = _value(clause.value)
        wanted = Said((words or _IN_WORDS[clause.op])[negated], value=constant)
    if lacking := _no_date(clause.field, value, attributes, zone):
        return Said(
            "%(lacking)s; %(field)s %(wanted)s", lacking=lacking, field=clause.field, wanted=wanted
        )
    told = shown(clause.field, value, [_with_constant(clause, operand)], zone)
    return Said(
        "%(field)s is %(value)s%(unread)s, %(wanted)s",
        field=clause.field,
        value=told,
        unread=unread,
        wanted=wanted,
    )


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
            either = Joined(" | ", [Joined("; ", lines) for lines in found]) or Said("nothing")
            return [Said("none of: %(either)s", either=either)]


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
        or Said("%(field)s is %(value)s", field=field, value=shown(field, value, wanted, zone))
        for field, value, wanted in found
    ]
