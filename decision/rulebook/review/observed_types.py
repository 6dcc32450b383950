"""The types of the values in a sample of real data, and comparisons that they do not fit."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final, NamedTuple

import msgspec

from decision.core.conditions import VERSION_OPERATORS, Clause, Condition, clauses
from decision.core.definition import FieldLimit
from decision.core.fields import parse_field
from decision.core.journeys.definition import Journey
from decision.core.values import Value, in_words
from decision.rulebook.readings import as_yaml
from decision.rulebook.review.context import listed

SEGMENT: Final = "segment."
_TYPES: Final = (
    'values of different types never compare ("5" is not 5, "true" is not true): '
    "correct the data, or the condition"
)


_NEGATED: Final = ("ne", "not_in", "vne")


class Unread(msgspec.Struct, frozen=True):
    """How many values, out of how many, cannot be read as what rules take them for; and one."""

    count: int
    of: int
    example: Value


class ObservedFields(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen in a sample of customers, events and requests.

    `attributes` are names, and dotted paths into nested objects, of all `customers` in the sample.
    `event_types` and `context` are None if the sample does not show them; `properties` has only
    the event types for which it does. `types` is `customer.<path>`, `context.<path>` or
    `events.<type>.<path>` → what its values are: text, a number … `unread` has, for each of
    `observed_values.READERS`, the same paths → the values that it cannot read.
    `runs` is how many runs of journeys wait in each step, by `core.timers.tally_of`,
    `versions` are policies that decided, and `journeys` those of rules that were used with it.
    `sample` says what it is: `the 1,234 customers of a.csv`.
    """

    sample: str
    customers: int = 0
    attributes: frozenset[str] = frozenset()
    event_types: frozenset[str] | None = None
    properties: dict[str, frozenset[str]] = {}
    context: frozenset[str] | None = None
    types: dict[str, frozenset[str]] = {}
    unread: dict[str, dict[str, Unread]] = {}
    runs: dict[str, int] = {}
    versions: tuple[str, ...] = ()
    journeys: tuple[Journey, ...] = ()

    @property
    def segments(self) -> frozenset[str]:
        """The names of segments."""
        return frozenset(
            name.removeprefix(SEGMENT) for name in self.attributes if name.startswith(SEGMENT)
        )


def type_of(value: Any) -> str:
    """What a value is, in words."""
    if isinstance(value, bool):
        return "true or false"
    for kind, name in ((int | float, "a number"), (str, "text"), (list | tuple, "a list")):
        if isinstance(value, kind):
            return name
    return "an object"


class Finding(NamedTuple):
    """Something that the sample does not have: its name, the message, the hint and the code."""

    name: str
    message: str
    hint: str
    code: str = "unseen-field"


def _wanted(clause: Clause, known: ObservedFields) -> set[str]:
    """The types that the clause can be true for, or false by more than the type; empty if any."""
    operator, value = clause.op, clause.value
    if operator in VERSION_OPERATORS:
        return {"text", "a number"}
    if clause.operand is not None:
        listing = operator in ("in", "not_in", "contains")
        return set() if listing else set(types_of(clause.operand, known))
    if operator == "exists":
        return set()
    if operator == "contains":
        return {"a list", "text"} if isinstance(value, str) else {"a list"}
    if operator == "matches":
        return {"text"}
    several = isinstance(value, tuple) and operator in ("in", "not_in")
    return {type_of(one) for one in (value if several else (value,))}


def asked_types(condition: Condition, known: ObservedFields) -> dict[str, set[str]]:
    """Field → the types that some clause of the condition is about."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for clause in clauses(condition):
        found[clause.field] |= _wanted(clause, known)
    return found


def mixed_types(clause: Clause, asked: set[str], known: ObservedFields) -> Finding | None:
    """A comparison that is about only some of the types that its field has in the sample.

    `asked` are the types that the condition asks for of this field. Events of several kinds may
    well have properties of one name, so these are not looked at.
    """
    seen = types_of(clause.field, known)
    others = seen - asked
    if not asked or not others or clause.op == "exists" or clause.field.startswith("event."):
        return None
    result = "always holds" if clause.op in _NEGATED else "never holds"
    message = (
        f"{clause.field} is {listed(sorted(seen))} among {known.sample}; "
        f"where it is {listed(sorted(others))}, {clause.op} {result}"
    )
    return Finding(clause.field, message, _both(clause, others), "mixed-types")


def _both(clause: Clause, others: frozenset[str]) -> str:
    """How to ask for the values that were stored as text as well."""
    values = clause.value if isinstance(clause.value, tuple) else (clause.value,)
    exact = {"eq": "in", "in": "in", "ne": "not_in", "not_in": "not_in"}.get(clause.op)
    plain = all(isinstance(one, bool | int | float) for one in values)
    if exact is None or clause.operand is not None or not plain or others != {"text"}:
        return f"store one type in {clause.field}: values of different types never compare"
    both = [*values, *(in_words(one) for one in values)]
    return f"store one type in {clause.field}; until then, write {{{as_yaml({exact: both})}}}"


def of_type(clause: Clause, known: ObservedFields) -> Finding | None:
    """A comparison that no value in the sample has the type for."""
    operator, value = clause.op, clause.value
    if found := _not_summed(clause.field, known):
        return found
    seen = types_of(clause.field, known)
    wanted = _wanted(clause, known)
    if not wanted or not seen or seen & wanted:
        return None
    result = "always holds" if operator in _NEGATED else "never holds"
    shown = in_words(list(value) if isinstance(value, tuple) else value)
    if clause.operand is not None:
        shown += f", which is {listed(sorted(wanted))},"
    message = (
        f"{clause.field} is {listed(sorted(seen))} in all of {known.sample} that have it, "
        f"so {operator} {shown} {result}"
    )
    return Finding(clause.field, message, _TYPES, "unseen-type")


def no_number(limit: FieldLimit, known: ObservedFields) -> Finding | None:
    """A cap's number from a field that is never a number in the sample."""
    seen = types_of(limit.field, known)
    if not seen or "a number" in seen:
        return None
    message = (
        f"{limit.field} is {listed(sorted(seen))} in all of {known.sample} that have it, "
        f"so the default, {limit.default}, always counts"
    )
    hint = f"store whole numbers in {limit.field}, or read another field"
    return Finding(limit.field, message, hint, "unseen-type")


def types_of(field: str, known: ObservedFields) -> frozenset[str]:
    """The types of the values that the sample has of a field; empty where it does not show them."""
    return frozenset().union(*(known.types.get(path, ()) for path in paths_of(field, known)))


def paths_of(field: str, known: ObservedFields) -> list[str]:
    """The paths of what a field reads, as the sample names them."""
    match field.partition("."):
        case ("customer" | "context", _, _):
            return [field]
        case ("event", _, rest):
            return [f"events.{kind}.{rest}" for kind in known.properties]
        case ("events", _, _):
            parsed = parse_field(field)
            return [f"events.{parsed.event_type}.{last}" for last in parsed.measure.last]
    return []


def _not_summed(field: str, known: ObservedFields) -> Finding | None:
    """A sum of a property that is never a number."""
    if not field.startswith("events."):
        return None
    parsed = parse_field(field)
    for summed in parsed.measure.sums:
        if found := never_added(field, parsed.event_type or "", summed, known):
            return found
    return None


def never_added(token: str, kind: str, name: str, known: ObservedFields) -> Finding | None:
    """A property of events that is added up, and is never a number in the sample."""
    path = f"events.{kind}.{name}"
    seen = known.types.get(path, frozenset())
    if not seen or "a number" in seen:
        return None
    text = f"{path} is {listed(sorted(seen))} in {known.sample}, so nothing can be added up"
    return Finding(token, text, _TYPES, "unseen-type")
