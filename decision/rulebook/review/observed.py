"""Fields in rules that no customer has, or has of another type, by a sample of real data.

A rule about `customer.lifetime_spent` is well formed but never applies if the attribute is called
`lifetime_spend`. Only data can show it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from decision.core.conditions import VERSION_OPERATORS, Clause, clauses
from decision.core.definition import FieldLimit, PolicyDefinition
from decision.core.fields import STATE_FIELD, measured_date, parse_field
from decision.core.values import in_words
from decision.rulebook.collector import DiagnosticCollector
from decision.rulebook.content import needed_fields
from decision.rulebook.diagnostics import Diagnostic, hint_for
from decision.rulebook.review.context import conditions_of, listed
from decision.rulebook.source_map import SourceMap
from decision.rulebook.yaml_source import Place

_SEGMENT: Final = "segment."
_TYPES: Final = (
    'values of different types never compare ("5" is not 5, "true" is not true): '
    "correct the data, or the condition"
)


class ObservedFields(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen in a sample of customers, events and requests.

    `attributes` are names, and dotted paths into nested objects, of all `customers` in the sample.
    `event_types` and `context` are None if the sample does not show them; `properties` has only
    the event types for which it does. `types` is `customer.<path>`, `context.<path>` or
    `events.<type>.<path>` → what its values are: text, a number … `sample` says what it is:
    `the 1,234 customers of a.csv`.
    """

    sample: str
    customers: int = 0
    attributes: frozenset[str] = frozenset()
    event_types: frozenset[str] | None = None
    properties: dict[str, frozenset[str]] = {}
    context: frozenset[str] | None = None
    types: dict[str, frozenset[str]] = {}

    @property
    def segments(self) -> frozenset[str]:
        """The names of segments."""
        return frozenset(
            name.removeprefix(_SEGMENT) for name in self.attributes if name.startswith(_SEGMENT)
        )


def type_of(value: Any) -> str:
    """What a value is, in words."""
    if isinstance(value, bool):
        return "true or false"
    for kind, name in ((int | float, "a number"), (str, "text"), (list | tuple, "a list")):
        if isinstance(value, kind):
            return name
    return "an object"


class _Finding(NamedTuple):
    """Something that the sample does not have: its name, the message, the hint and the code."""

    name: str
    message: str
    hint: str
    code: str = "unseen-field"


def review_fields(
    definition: PolicyDefinition, places: SourceMap, known: ObservedFields
) -> list[Diagnostic]:
    """A warning for every field, event type and property that is not in the sample, or never of
    the type that it is compared with.

    Fields that a rule sets count as known. Each message, state, rule or other definition gets one
    warning per field, in the order of the files.
    """
    report = DiagnosticCollector()
    said = set()
    derived = frozenset(one.name for one in definition.events)
    for name in sorted(derived & (known.event_types or frozenset())):
        report.warn(
            places.key("events", name),
            f'{known.sample} have events of the type "{name}", which are refused from now on, '
            "because the rules derive it",
            "give the derived event another name",
            "unseen-field",
        )
    if known.event_types is not None:
        known = msgspec.structs.replace(known, event_types=known.event_types | derived)
    found = sorted(_findings(definition, places, known), key=lambda one: one[0].order)
    for place, owner, (name, message, hint, code) in found:
        if (owner, name, code) not in said:
            said.add((owner, name, code))
            report.warn(place, message, hint, code)
    return report.diagnostics


def _findings(
    definition: PolicyDefinition, places: SourceMap, known: ObservedFields
) -> Iterator[tuple[Place, tuple[str, str], _Finding]]:
    """(place, (section, name) of the definition, finding) for all that the sample lacks."""
    given = {field for rule in definition.rules for field in rule.set}
    for section, name, _, condition in conditions_of(definition):
        owner = (section, name)
        for clause in clauses(condition):
            other = clause.operand
            if clause.field not in given:
                found = _of_clause(clause, known) or _of_type(clause, known)
                if found and found.name == clause.field:
                    yield places.field(clause), owner, found
                elif found:
                    yield places.operand(clause, found.name), owner, found
            if other is not None and other not in (*given, clause.field):
                found = _of_clause(Clause(other, "exists", True), known)
                if found:
                    yield places.operand(clause, other), owner, found
    for cap in definition.caps:
        limit = cap.at_most
        if isinstance(limit, FieldLimit) and limit.field not in given:
            place = places.value("caps", cap.name, "at_most", "field")
            lacking = _of_clause(Clause(limit.field, "exists", True), known)
            if lacking := lacking or _no_number(limit, known):
                yield place, ("caps", cap.name), lacking
    for message in definition.messages:
        place = places.value("messages", message.name, "content")
        for name in (*message.printed, *needed_fields(message.content)):
            printed = None if name in given else _of_clause(Clause(name, "exists", True), known)
            if printed:
                yield place, ("messages", message.name), printed
    events: list[tuple[str, str, tuple[str | int, ...], str]] = [
        *(("suppressions", one.name, ("event",), one.event) for one in definition.suppressions),
        *(
            ("messages", one.name, ("goal", "event"), one.goal.event)
            for one in definition.messages
            if one.goal
        ),
        *(
            ("channels", channel.name, ("reply_window", at, "opened_by"), window.opened_by)
            for channel in definition.channels
            for at, window in enumerate(channel.reply_windows)
        ),
        *(("events", one.name, ("of",), one.of) for one in definition.events),
        *(
            ("scores", one.name, ("adds", kind), kind)
            for one in definition.scores
            for kind in one.adds
        ),
    ]
    for section, name, path, event in events:
        if found := _of_event(event, event, known):
            yield places.value(section, name, *path), (section, name), found


def _of_clause(clause: Clause, known: ObservedFields) -> _Finding | None:
    family, _, rest = clause.field.partition(".")
    match family:
        case "customer" if clause.field != STATE_FIELD and known.customers:
            return _of_attribute(clause.field, rest, known)
        case "events":
            return _of_measure(clause.field, known)
        case "event" if rest == "type":
            several = clause.op in ("in", "not_in") and clause.operand is None
            values = clause.value if several else (clause.value,)
            texts = (value for value in values if isinstance(value, str))
            if clause.op in ("eq", "ne", "in", "not_in"):
                return next((use for one in texts if (use := _of_event(one, one, known))), None)
        case "event" if known.properties:
            options = frozenset().union(*known.properties.values())
            return _missing(clause.field, rest, "event", "has the property", options, known)
        case "context" if known.context is not None:
            return _missing(clause.field, rest, "request", "has the context", known.context, known)
    return None


def _of_attribute(field: str, name: str, known: ObservedFields) -> _Finding | None:
    measured = measured_date(field)
    if measured and name not in known.attributes:
        return _of_date(field, measured[0], known)
    if name.startswith(_SEGMENT):
        segment = name.removeprefix(_SEGMENT)
        return _missing(field, segment, "customer", "is in the segment", known.segments, known)
    return _missing(field, name, "customer", "has the attribute", known.attributes, known)


def _of_date(field: str, name: str, known: ObservedFields) -> _Finding | None:
    if found := _missing(field, name, "customer", "has the attribute", known.attributes, known):
        return found
    seen = known.types.get(f"customer.{name}", frozenset())
    if not seen or "text" in seen:
        return None
    message = (
        f"customer.{name} is {listed(sorted(seen))} in all of {known.sample} that have it, "
        f"so {field} has no value"
    )
    return _Finding(field, message, "a date is a text such as 2026-11-21", "unseen-type")


def _of_measure(field: str, known: ObservedFields) -> _Finding | None:
    parsed = parse_field(field)
    kind = parsed.event_type or ""
    if found := _of_event(kind, field, known):
        return found
    if kind not in known.properties:
        return None
    for name in (*parsed.measure.sums, *parsed.measure.last):
        options = known.properties[kind]
        if found := _missing(field, name, f"event {kind}", "has the property", options, known):
            return found
    return None


def _of_event(kind: str, token: str, known: ObservedFields) -> _Finding | None:
    """Message events come from nextbest itself, and may not have happened yet."""
    if known.event_types is None or not kind or kind.startswith("message."):
        return None
    return _missing(token, kind, "event", "has the type", known.event_types, known)


def _missing(
    token: str, name: str, noun: str, verb: str, options: Collection[str], known: ObservedFields
) -> _Finding | None:
    if name in options:
        return None
    who = f"none of {known.sample}" if noun == "customer" else f"no {noun} of {known.sample}"
    message = f'{who} {verb} "{name}"'
    return _Finding(token, message, hint_for(name, sorted(options)))


def _of_type(clause: Clause, known: ObservedFields) -> _Finding | None:
    """A comparison that no value in the sample has the type for."""
    operator, value = clause.op, clause.value
    if found := _not_summed(clause.field, known):
        return found
    seen = _types_of(clause.field, known)
    operands = value if isinstance(value, tuple) and operator in ("in", "not_in") else (value,)
    wanted = {type_of(one) for one in operands}
    if clause.operand is not None:
        wanted = set(_types_of(clause.operand, known))
        if not wanted or operator in ("in", "not_in", "contains"):
            return None
    elif operator == "contains":
        wanted = {"a list", "text"} if isinstance(value, str) else {"a list"}
    elif operator == "matches":
        wanted = {"text"}
    elif operator in VERSION_OPERATORS:
        wanted = {"text", "a number"}
    if operator == "exists" or not seen or seen & wanted:
        return None
    result = "always holds" if operator in ("ne", "not_in", "vne") else "never holds"
    shown = in_words(list(value) if isinstance(value, tuple) else value)
    if clause.operand is not None:
        shown += f", which is {listed(sorted(wanted))},"
    message = (
        f"{clause.field} is {listed(sorted(seen))} in all of {known.sample} that have it, "
        f"so {operator} {shown} {result}"
    )
    return _Finding(clause.field, message, _TYPES, "unseen-type")


def _no_number(limit: FieldLimit, known: ObservedFields) -> _Finding | None:
    """A cap's number from a field that is never a number in the sample."""
    seen = _types_of(limit.field, known)
    if not seen or "a number" in seen:
        return None
    message = (
        f"{limit.field} is {listed(sorted(seen))} in all of {known.sample} that have it, "
        f"so the default, {limit.default}, always counts"
    )
    hint = f"store whole numbers in {limit.field}, or read another field"
    return _Finding(limit.field, message, hint, "unseen-type")


def _types_of(field: str, known: ObservedFields) -> frozenset[str]:
    """The types of the values that the sample has of a field; empty where it does not show them."""
    match field.partition("."):
        case ("customer" | "context", _, _):
            return known.types.get(field, frozenset())
        case ("event", _, rest):
            names = [f"events.{kind}.{rest}" for kind in known.properties]
        case ("events", _, _):
            parsed = parse_field(field)
            names = [f"events.{parsed.event_type}.{last}" for last in parsed.measure.last]
        case _:
            return frozenset()
    return frozenset().union(*(known.types.get(name, ()) for name in names))


def _not_summed(field: str, known: ObservedFields) -> _Finding | None:
    """A sum of a property that is never a number."""
    if not field.startswith("events."):
        return None
    parsed = parse_field(field)
    for name in (f"events.{parsed.event_type}.{summed}" for summed in parsed.measure.sums):
        seen = known.types.get(name, frozenset())
        if seen and "a number" not in seen:
            text = f"{name} is {listed(sorted(seen))} in {known.sample}, so nothing can be added up"
            return _Finding(field, text, _TYPES, "unseen-type")
    return None
