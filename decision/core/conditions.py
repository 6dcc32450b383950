"""Conditions: a tree of clauses, evaluated here and by the rule engine.

`compile_condition` is the plain evaluator: the reference for the rule engine (`rulebook`) in tests,
and what explanations are made of. A decision asks each conjunct once for all messages that need it
(see `policy_builder`).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

import msgspec
import re2

from decision.core.values import MISSING, Value, comparable, equal, in_words
from decision.core.versions import version_key

_ORDERED: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
VERSION_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "vgt": operator.gt,
    "vgte": operator.ge,
    "vlt": operator.lt,
    "vlte": operator.le,
    "veq": operator.eq,
    "vne": operator.ne,
}
"""Comparisons of versions, on their keys (see `versions`)."""
LONGEST_SEARCHED: Final = 10_000
"""Characters of a text in which `matches` looks for its pattern; in a longer one it finds nothing.

The text comes with a request, and all requests wait meanwhile: with the largest pattern that rules
may have, this takes a tenth of a second at worst.
"""

OPERATORS: Final = (
    *("eq", "ne", *_ORDERED, "in", "not_in", "contains", "matches", "exists"),
    *VERSION_OPERATORS,
)


class FieldOperand(msgspec.Struct, frozen=True):
    """A field in the place of a constant: `{lt: {field: events.cart_add.last_at}}`."""

    field: str

    def __str__(self) -> str:
        return self.field


class Clause(msgspec.Struct, frozen=True):
    """One comparison of a field: `field op value`.

    `value` is a constant, of lists a tuple, or a `FieldOperand`.
    """

    field: str
    op: str
    value: Any

    @property
    def operand(self) -> str | None:
        """The field that the field is compared with; None where it is a constant."""
        return self.value.field if isinstance(self.value, FieldOperand) else None


class All(msgspec.Struct, frozen=True):
    """Holds when every part holds; an empty one always holds."""

    parts: tuple[Condition, ...]


class AnyOf(msgspec.Struct, frozen=True):
    """Holds when at least one part holds; an empty one never holds."""

    parts: tuple[Condition, ...]


class Not(msgspec.Struct, frozen=True):
    """Holds exactly when its part does not."""

    part: Condition


Condition = Clause | All | AnyOf | Not
ALWAYS: Final = All(())
NEVER_HOLDS: Final = AnyOf(())

Test = Callable[[Sequence[Value]], bool]
"""A compiled condition: takes the slot values of one decision."""


def clauses(condition: Condition) -> Iterator[Clause]:
    """Every clause of the tree, in the order written."""
    match condition:
        case Clause():
            yield condition
        case Not(part):
            yield from clauses(part)
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from clauses(part)


def fields_read(condition: Condition) -> Iterator[str]:
    """Every field that the tree reads, also as an operand, in the order written.

    >>> list(fields_read(Clause("customer.age", "lt", FieldOperand("context.limit"))))
    ['customer.age', 'context.limit']
    """
    for clause in clauses(condition):
        yield clause.field
        if clause.operand is not None:
            yield clause.operand


def conjuncts(condition: Condition) -> Iterator[Condition]:
    """The parts that must all hold, those of nested `All`s one by one; of `ALWAYS` none.

    >>> a, b = Clause("customer.a", "eq", 1), Clause("customer.b", "eq", 1)
    >>> list(conjuncts(All((a, All((b,)))))) == [a, b]
    True
    """
    if isinstance(condition, All):
        for part in condition.parts:
            yield from conjuncts(part)
    else:
        yield condition


def holds(clause: Clause, value: Value, operand: Value = MISSING) -> bool:
    """Whether the clause holds for the field's value: the definition of every operator.

    `operand` is the value of the field that it is compared with, where there is one. A missing
    field makes every operator false, except `ne`, `not_in`, `vne` and `exists: false`, which are
    exact negations of `eq`, `in`, `veq` and `exists: true`.

    >>> adult = Clause("customer.age", "gte", 18)
    >>> holds(adult, 21), holds(adult, "21"), holds(adult, MISSING)
    (True, False, False)
    >>> younger = Clause("customer.age", "lt", FieldOperand("context.limit"))
    >>> holds(younger, 17, 18), holds(younger, 17, "18"), holds(younger, 17, MISSING)
    (True, False, False)

    Raises:
        ValueError: there is no such operator.
    """
    wanted = operand if isinstance(clause.value, FieldOperand) else clause.value
    match clause.op:
        case "eq":
            return equal(value, wanted)
        case "ne":
            return not equal(value, wanted)
        case "in":
            return _is_among(value, wanted)
        case "not_in":
            return not _is_among(value, wanted)
        case "exists":
            return (value is not MISSING) is wanted
        case "contains":
            if isinstance(value, list | tuple):
                if not isinstance(wanted, list | tuple) and wanted not in value:
                    return False  # many times faster, and equal values are never unequal to Python
                return any(equal(item, wanted) for item in value)
            return isinstance(value, str) and isinstance(wanted, str) and wanted in value
        case "matches":
            return _found(compiled_pattern(wanted), value)
        case "gt" | "gte" | "lt" | "lte":
            return comparable(value, wanted) and _ORDERED[clause.op](value, wanted)
        case op if op in VERSION_OPERATORS:
            return _compare_versions(op, version_key(value), version_key(wanted))
    raise ValueError(f"unknown operator {clause.op!r}; one of {', '.join(OPERATORS)}")


def _is_among(value: Value, several: Value) -> bool:
    """Whether a value is one of several; a field that has no list has none."""
    return isinstance(several, list | tuple) and any(equal(value, item) for item in several)


def _compare_versions(op: str, left: str | None, right: str | None) -> bool:
    if left is None or right is None:
        return op == "vne"
    return VERSION_OPERATORS[op](left, right)


@functools.lru_cache(4096)
def compiled_pattern(text: str) -> Any:
    """The pattern of a `matches`, compiled.

    Raises:
        re2.error: it is not a regular expression of RE2.
    """
    options = re2.Options()
    options.log_errors = False
    return re2.compile(text, options)


def _found(pattern: Any, value: Value) -> bool:
    if not isinstance(value, str) or len(value) > LONGEST_SEARCHED:
        return False
    try:
        return pattern.search(value) is not None
    except UnicodeEncodeError:  # half a surrogate pair: RE2 reads UTF-8, in which there is none
        return False


def compile_clause(clause: Clause, slot_of: Callable[[str], int]) -> Test:
    """`holds` for one clause as a closure over the field's slot, fast for the common kinds."""
    wanted, slot = clause.value, slot_of(clause.field)
    if isinstance(wanted, FieldOperand):
        return _compile_comparison(clause, slot, slot_of(wanted.field))
    text = isinstance(wanted, str)
    number = isinstance(wanted, int | float) and not isinstance(wanted, bool)
    match clause.op:
        case "eq" if text:
            return lambda values: bool(values[slot] == wanted)
        case "ne" if text:
            return lambda values: bool(values[slot] != wanted)
        case "eq" if isinstance(wanted, bool):
            return lambda values: values[slot] is wanted
        case "eq" if number:
            return lambda values: values[slot] == wanted and not isinstance(values[slot], bool)
        case "in" if all(isinstance(item, str) for item in wanted):
            words = frozenset(wanted)
            return lambda values: isinstance(values[slot], str) and values[slot] in words
        case "exists":
            return lambda values: (values[slot] is not MISSING) is wanted
        case "gte" if number:
            return lambda values: type(values[slot]) in _NUMBERS and values[slot] >= wanted
        case "gt" if number:
            return lambda values: type(values[slot]) in _NUMBERS and values[slot] > wanted
        case "lte" if number:
            return lambda values: type(values[slot]) in _NUMBERS and values[slot] <= wanted
        case "lt" if number:
            return lambda values: type(values[slot]) in _NUMBERS and values[slot] < wanted
        case "matches":
            pattern = compiled_pattern(wanted)
            return lambda values: _found(pattern, values[slot])
        case op if op in VERSION_OPERATORS:
            key = version_key(wanted)
            return lambda values: _compare_versions(op, version_key(values[slot]), key)
    return lambda values: holds(clause, values[slot])


_NUMBERS = frozenset({int, float})


def _compile_comparison(clause: Clause, slot: int, other: int) -> Test:
    """The closure for a clause that compares two fields."""
    match clause.op:
        case "eq":
            return lambda values: equal(values[slot], values[other])
        case "ne":
            return lambda values: not equal(values[slot], values[other])
        case "gt" | "gte" | "lt" | "lte":
            compare = _ORDERED[clause.op]
            return lambda values: (
                comparable(values[slot], values[other]) and compare(values[slot], values[other])
            )
    return lambda values: holds(clause, values[slot], values[other])


def compile_condition(
    condition: Condition,
    slot_of: Callable[[str], int],
    compile_leaf: Callable[[Clause, Callable[[str], int]], Test] = compile_clause,
) -> Test:
    """The plain evaluator of a tree: a function of the slot values of one decision.

    `compile_leaf` makes the evaluator of each clause, in the order in which they are written.

    >>> test = compile_condition(Not(Clause("customer.age", "gte", 18)), ["customer.age"].index)
    >>> test([17]), test([18])
    (True, False)
    """
    match condition:
        case Clause():
            return compile_leaf(condition, slot_of)
        case Not(part):
            inner = compile_condition(part, slot_of, compile_leaf)
            return lambda values: not inner(values)
        case All(parts):
            tests = tuple(compile_condition(part, slot_of, compile_leaf) for part in parts)
            if len(tests) == 1:
                return tests[0]
            return lambda values: all(test(values) for test in tests)
        case AnyOf(parts):
            tests = tuple(compile_condition(part, slot_of, compile_leaf) for part in parts)
            return lambda values: any(test(values) for test in tests)


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


def is_time(field: str) -> bool:
    """Whether a field's value is a time, see `fields.Field`."""
    return field.startswith("events.") and field.endswith(".last_at")


def shown(field: str, value: Value, wanted: Iterable[Clause] = (), zone: tzinfo = UTC) -> str:
    """The value of a field in words: of a score two decimals, where these say enough; a time as it
    is in a time zone.

    >>> shown("score.interest", 20.4181), shown("customer.height", 20.4181)
    ('20.42', '20.4181')
    """
    if field.startswith("score.") and isinstance(value, float):
        rounded = round(value, 2)
        if all(holds(clause, rounded) is holds(clause, value) for clause in wanted):
            return f"{rounded:.2f}"
    if is_time(field) and isinstance(value, str):
        return datetime.fromisoformat(value).astimezone(zone).isoformat(" ")
    return in_words(value)


def clause_in_words(
    clause: Clause,
    value: Value,
    negated: bool = False,
    operand: Value = MISSING,
    zone: tzinfo = UTC,
) -> str:
    """`events.purchase.count_2h is 1, must be 0`.

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
        other = shown(clause.operand, operand, zone=zone)
        wanted = wanted.format(f"{clause.operand}, which is {other}")
    else:
        words = _OF_TIMES.get(clause.op) if is_time(clause.field) else None
        constant = shown(clause.field, clause.value, zone=zone)
        if not is_time(clause.field):
            constant = in_words(clause.value)
        wanted = (words or _IN_WORDS[clause.op])[negated].format(constant)
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
            failed = holds(condition, value, operand) is negated
            return [clause_in_words(condition, value, negated, operand, zone)] if failed else []
        case Not(part):
            return failures(part, values, slot_of, not negated, zone)
        case All(parts) | AnyOf(parts):
            found = [failures(part, values, slot_of, negated, zone) for part in parts]
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
    return [
        f"{field} is {shown(field, values[slot_of(field)], wanted, zone)}"
        for field, wanted in asked.items()
    ]
