"""Fields in rules that no customer has, or has of another type, by a sample of real data.

A rule about `customer.lifetime_spent` is well formed but never applies if the attribute is called
`lifetime_spend`. Only data can show it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from decision.core.conditions import Clause, clauses
from decision.core.definition import FieldLimit, PolicyDefinition
from decision.core.fields import STATE_FIELD, measured_date, parse_field
from decision.core.journeys.definition import MOMENT
from decision.rulebook.collector import DiagnosticCollector
from decision.rulebook.content import needed_fields
from decision.rulebook.diagnostics import Diagnostic, hint_for
from decision.rulebook.review.context import conditions_of, listed
from decision.rulebook.review.event_types import event_types_named
from decision.rulebook.review.observed_journeys import (
    dates_named,
    fields_named,
    fields_set,
)
from decision.rulebook.review.observed_types import (
    SEGMENT,
    Finding,
    ObservedFields,
    asked_types,
    mixed_types,
    never_added,
    no_number,
    of_type,
)
from decision.rulebook.review.observed_values import (
    no_date,
    no_limit,
    unread_by_condition,
    unread_by_derived,
    unread_by_filter,
)
from decision.rulebook.source_map import SourceMap
from decision.rulebook.template_filters import filtered_fields
from decision.rulebook.yaml_source import Place


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
) -> Iterator[tuple[Place, tuple[str, str], Finding]]:
    """(place, (section, name) of the definition, finding) for all that the sample lacks."""
    given = {field for rule in definition.rules for field in rule.set}
    given |= fields_set(definition.journeys)
    for section, name, _, condition in conditions_of(definition):
        owner = (section, name)
        asked, unread = asked_types(condition, known), unread_by_condition(condition, known)
        for clause in clauses(condition):
            other = clause.operand
            if clause.field not in given:
                found = _of_clause(clause, known) or of_type(clause, known)
                found = found or unread.get(clause.field)
                found = found or mixed_types(clause, asked[clause.field], known)
                if found and found.name == clause.field:
                    yield places.field(clause), owner, found
                elif found:
                    yield places.operand(clause, found.name), owner, found
            if other is not None and other not in (*given, clause.field):
                found = _of_clause(Clause(other, "exists", True), known) or unread.get(other)
                if found:
                    yield places.operand(clause, other), owner, found
    for cap in definition.caps:
        limit = cap.at_most
        if isinstance(limit, FieldLimit) and limit.field not in given:
            place = places.value("caps", cap.name, "at_most", "field")
            lacking = _of_clause(Clause(limit.field, "exists", True), known)
            if lacking := lacking or no_number(limit, known) or no_limit(limit, known):
                yield place, ("caps", cap.name), lacking
    for message in definition.messages:
        place = places.value("messages", message.name, "content")
        for name in (*message.printed, *needed_fields(message.content)):
            printed = None if name in given else _of_clause(Clause(name, "exists", True), known)
            if printed:
                yield place, ("messages", message.name), printed
        for filtered, name in filtered_fields(message.content):
            if name not in given and (found := unread_by_filter(name, filtered, known)):
                yield place, ("messages", message.name), found
    for event in definition.events:
        if event.each is None and event.of in known.properties:
            own = {event.of: known.properties[event.of]}
            only = msgspec.structs.replace(known, properties=own)
            unread = unread_by_condition(event.when, only)
            for clause in clauses(event.when):
                found = of_type(clause, only) or unread.get(clause.field)
                if found:
                    yield places.field(clause), ("events", event.name), found
        for key, found in unread_by_derived(event, known):
            yield places.value("events", event.name, key), ("events", event.name), found
    for section, name, path, field in fields_named(definition):
        lacking = None if field in given else _of_clause(Clause(field, "exists", True), known)
        if lacking:
            yield places.value(section, name, *path), (section, name), lacking
    for section, name, path, kind, added in _added(definition):
        if found := _of_added(kind, added, known):
            yield places.value(section, name, *path), (section, name), found
    for section, name, path, field, result in dates_named(definition):
        if field not in given and (found := no_date(field, result, known)):
            yield places.value(section, name, *path), (section, name), found
    for section, name, path, kind in event_types_named(definition):
        if found := _of_event(kind, kind, known):
            yield places.value(section, name, *path), (section, name), found


def _added(
    definition: PolicyDefinition,
) -> Iterator[tuple[str, str, tuple[str, ...], str, str]]:
    """(section, name, path, type of event, property) of all that scores and metrics add up."""
    for score in definition.scores:
        for kind, adds in score.adds.items():
            if isinstance(adds, str):
                yield "scores", score.name, ("adds", kind, "property"), kind, adds
    for metric in definition.metrics:
        if metric.value is not None:
            yield "metrics", metric.name, ("value",), metric.event, metric.value


def _of_added(kind: str, name: str, known: ObservedFields) -> Finding | None:
    """A property that no event has, or that is never a number. `value` is not only a property."""
    if name == "value" or kind not in known.properties:
        return None
    options = known.properties[kind]
    lacking = _missing(name, name, f"event {kind}", "has the property", options, known)
    return lacking or never_added(name, kind, name, known)


def _of_clause(clause: Clause, known: ObservedFields) -> Finding | None:
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


def _of_attribute(field: str, name: str, known: ObservedFields) -> Finding | None:
    measured = measured_date(field)
    if measured and name not in known.attributes:
        return _of_date(field, measured[0], known)
    if name.startswith(SEGMENT):
        segment = name.removeprefix(SEGMENT)
        return _missing(field, segment, "customer", "is in the segment", known.segments, known)
    return _missing(field, name, "customer", "has the attribute", known.attributes, known)


def _of_date(field: str, name: str, known: ObservedFields) -> Finding | None:
    if found := _missing(field, name, "customer", "has the attribute", known.attributes, known):
        return found
    seen = known.types.get(f"customer.{name}", frozenset())
    if not seen or "text" in seen:
        return None
    message = (
        f"customer.{name} is {listed(sorted(seen))} in all of {known.sample} that have it, "
        f"so {field} has no value"
    )
    return Finding(field, message, "a date is a text such as 2026-11-21", "unseen-type")


def _of_measure(field: str, known: ObservedFields) -> Finding | None:
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


def _of_event(kind: str, token: str, known: ObservedFields) -> Finding | None:
    """Message events and moments come from nextbest itself, and may not have happened yet."""
    if known.event_types is None or not kind or kind.startswith(("message.", MOMENT)):
        return None
    return _missing(token, kind, "event", "has the type", known.event_types, known)


def _missing(
    token: str, name: str, noun: str, verb: str, options: Collection[str], known: ObservedFields
) -> Finding | None:
    if name in options:
        return None
    who = f"none of {known.sample}" if noun == "customer" else f"no {noun} of {known.sample}"
    message = f'{who} {verb} "{name}"'
    return Finding(token, message, hint_for(name, sorted(options)))
