"""Attributes that rules set, and that other conditions and texts read by another name or type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from decision.core.conditions import Clause, clauses
from decision.core.values import in_words
from decision.rulebook.readings import as_yaml
from decision.rulebook.review.context import ReviewContext, conditions_of, listed
from decision.rulebook.review.observed_types import type_of
from decision.rulebook.yaml_source import Place

_CODE: Final = "doubtful-comparison"
_ORDERED: Final = ("gt", "gte", "lt", "lte")
_EXACT: Final = ("eq", "ne", "in", "not_in")


def review_attributes(context: ReviewContext) -> None:
    """Warns of names and values that are nearly those that rules set, and of types never set."""
    given: defaultdict[str, list[Any]] = defaultdict(list)
    for rule in context.definition.rules:
        for field, value in rule.set.items():
            given[field].append(value)
    if not given:
        return
    for _, _, _, condition in conditions_of(context.definition):
        for clause in clauses(condition):
            for name, place in context.places.fields_read(clause):
                _name(context, name, place, given)
            if clause.field in given and clause.operand is None:
                _value(context, clause, given[clause.field])
    for message in context.definition.messages:
        place = context.places.value("messages", message.name, "content")
        for name in message.printed:
            _name(context, name, place, given)


def _name(context: ReviewContext, name: str, place: Place, given: Iterable[str]) -> None:
    start = "customer."
    known = [one for one in given if is_slip(name.removeprefix(start), one.removeprefix(start))]
    near = known if name.startswith(start) and name not in given else []
    if near:
        message = f"no rule sets {name}, but rules set {near[0]}"
        context.report.warn(place, message, f"write {near[0]}", _CODE)


def _value(context: ReviewContext, clause: Clause, values: list[Any]) -> None:
    texts = list(dict.fromkeys(value for value in values if isinstance(value, str)))
    told = listed([in_words(value) for value in dict.fromkeys(map(_hashable, values))])
    several = isinstance(clause.value, tuple) and clause.op in ("in", "not_in")
    operands = clause.value if several else (clause.value,)
    types = {type_of(value) for value in values}
    if clause.op == "exists" or "a list" in types or "an object" in types:
        return
    for operand in operands:
        near = [one for one in texts if isinstance(operand, str) and is_slip(operand, one)]
        if clause.op in _EXACT and operand not in texts and near:
            place = context.places.operand(clause, operand)
            message = f"no rule sets {clause.field} to {in_words(operand)}; rules set {told}"
            context.report.warn(place, message, f"write {near[0]}", _CODE)
            return
    place = context.places.condition(clause, "rules", "")
    if clause.op in (*_EXACT, *_ORDERED) and types.isdisjoint(map(type_of, operands)):
        message = (
            f"rules set {clause.field} to {told}, which is {listed(sorted(types))}; it is never "
            f"compared with {listed(sorted(set(map(type_of, operands))))}"
        )
        hint = f"write {as_yaml({clause.field: values[0]})}"
        if clause.op in _ORDERED:
            hint = f"write {{{as_yaml({'in': sorted(texts)})}}}" if texts else ""
        context.report.warn(place, message, hint, _CODE)
    elif clause.op in _ORDERED and clause.value in texts and len(texts) > 1:
        message = f"{clause.field} is a text; {clause.op} compares texts letter by letter"
        hint = f"write {{{as_yaml({'in': [clause.value]})}}}; list all that are meant"
        context.report.warn(place, message, hint, _CODE)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def is_slip(written: str, meant: str) -> bool:
    """Whether a name is another one with one letter too many, too few, wrong or exchanged.

    Digits and short names are not compared: `tier1` is not `tier2`.

    >>> is_slip("teir", "tier"), is_slip("glod", "gold"), is_slip("a1", "a2")
    (True, True, False)
    """
    if written == meant or min(len(written), len(meant)) < 4 or abs(len(written) - len(meant)) > 1:
        return False
    start = 0
    while start < min(len(written), len(meant)) and written[start] == meant[start]:
        start += 1
    one, other = written[start:], meant[start:]
    if any(sign.isdigit() for sign in (*one[:1], *other[:1])):
        return False
    return (
        one[1:] == other[1:]
        or one[1:] == other
        or one == other[1:]
        or (one[:2] == other[1::-1] and one[2:] == other[2:])
    )
