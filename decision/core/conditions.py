"""Conditions: a tree of clauses, evaluated here and by the rule engine.

`compile_condition` is the plain evaluator: the reference for the rule engine (`rulebook`) in tests.
Explanations are made of it (see `condition_words`). A decision asks each conjunct once for all
messages that need it (see `requirements`).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
import re2

from decision.core.values import MISSING, Value, comparable, equal
from decision.core.versions import version_key

ORDERED: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
"""Comparisons of numbers with numbers, and of texts with texts."""
NUMBERS: Final = frozenset({int, float})
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
    *("eq", "ne", *ORDERED, "in", "not_in", "contains", "matches", "exists"),
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
            return comparable(value, wanted) and ORDERED[clause.op](value, wanted)
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
            return lambda values: type(values[slot]) in NUMBERS and values[slot] >= wanted
        case "gt" if number:
            return lambda values: type(values[slot]) in NUMBERS and values[slot] > wanted
        case "lte" if number:
            return lambda values: type(values[slot]) in NUMBERS and values[slot] <= wanted
        case "lt" if number:
            return lambda values: type(values[slot]) in NUMBERS and values[slot] < wanted
        case "matches":
            pattern = compiled_pattern(wanted)
            return lambda values: _found(pattern, values[slot])
        case op if op in VERSION_OPERATORS:
            key = version_key(wanted)
            return lambda values: _compare_versions(op, version_key(values[slot]), key)
    return lambda values: holds(clause, values[slot])


def _compile_comparison(clause: Clause, slot: int, other: int) -> Test:
    """The closure for a clause that compares two fields."""
    match clause.op:
        case "eq":
            return lambda values: equal(values[slot], values[other])
        case "ne":
            return lambda values: not equal(values[slot], values[other])
        case "gt" | "gte" | "lt" | "lte":
            compare = ORDERED[clause.op]
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
