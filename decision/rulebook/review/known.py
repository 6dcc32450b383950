"""Fields that rules ask for and nobody has: held against what a sample of real data has.

A rule about `customer.lifetime_spent` is well formed, and never holds where the attribute is
called `lifetime_spend`. Only data can tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from decision.core.conditions import Clause, Condition, clauses
from decision.core.definition import PolicyDefinition
from decision.core.fields import STATE_FIELD, parse_field
from decision.rulebook.diagnostics import Diagnostic, hint_for, make_diagnostic

_SEGMENT: Final = "segment."


class KnownFields(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen in a sample of customers, events and requests.

    `attributes` are names, and dotted paths into nested objects, of all `customers` looked at.
    `event_types` and `context` are None where the sample cannot tell, and `properties` lacks the
    event types of which it cannot. `sample` says in words what was looked at: `the 1,234 customers
    of customers.csv`.
    """

    sample: str
    customers: int = 0
    attributes: frozenset[str] = frozenset()
    event_types: frozenset[str] | None = None
    properties: dict[str, frozenset[str]] = {}
    context: frozenset[str] | None = None

    @property
    def segments(self) -> frozenset[str]:
        """The names of segments."""
        return frozenset(
            name.removeprefix(_SEGMENT) for name in self.attributes if name.startswith(_SEGMENT)
        )


class _Use(NamedTuple):
    """Something that a definition asks for: what is complained about, and what there is."""

    token: str
    message: str
    hint: str


def review_fields(definition: PolicyDefinition, known: KnownFields) -> list[Diagnostic]:
    """A warning for every field, event type and property that rules ask for and nobody has.

    What a rule sets is there. Each is said once for every message, state, rule or other definition
    that asks for it, in the order of the files.
    """
    given = {field for rule in definition.rules for field in rule.set}
    places = _Places(definition)
    found: dict[tuple[str, str], Diagnostic] = {}
    for source, use in _uses(definition, known, given):
        if (source, use.token) not in found:
            file, line, column, text = places.of(source, use.token)
            found[source, use.token] = make_diagnostic(
                "unseen-field",
                file,
                line,
                column,
                use.message,
                hint=use.hint,
                severity="warning",
                source_line=text,
            )
    return sorted(found.values(), key=lambda one: (one.file, one.line, one.column))


def _uses(
    definition: PolicyDefinition, known: KnownFields, given: set[str]
) -> Iterator[tuple[str, _Use]]:
    """(source, what) of everything asked for that the sample does not have."""
    whens: list[tuple[str, Condition]] = [
        *((state.source, state.when) for state in definition.states),
        *((message.source, message.when) for message in definition.messages),
        *((rule.source, rule.when) for rule in definition.rules),
    ]
    for source, when in whens:
        for clause in clauses(when):
            if clause.field not in given and (use := _of_clause(clause, known)):
                yield source, use
    events = [(one.source, one.event) for one in definition.suppressions]
    events += [(one.source, one.goal.event) for one in definition.messages if one.goal]
    events += [
        (channel.source, window.opened_by)
        for channel in definition.channels
        for window in channel.reply_windows
    ]
    for source, event in events:
        if use := _of_event(event, event, known):
            yield source, use


def _of_clause(clause: Clause, known: KnownFields) -> _Use | None:
    family, _, rest = clause.field.partition(".")
    match family:
        case "customer" if clause.field != STATE_FIELD and known.customers:
            return _of_attribute(clause.field, rest, known)
        case "events":
            return _of_measure(clause.field, known)
        case "event" if rest == "type":
            values = clause.value if clause.op in ("in", "not_in") else (clause.value,)
            texts = (value for value in values if isinstance(value, str))
            if clause.op in ("eq", "ne", "in", "not_in"):
                return next((use for one in texts if (use := _of_event(one, one, known))), None)
        case "event" if known.properties:
            options = sorted({name for names in known.properties.values() for name in names})
            return _missing(clause.field, rest, "event", "has the property", options, known)
        case "context" if known.context is not None:
            options = sorted(known.context)
            return _missing(clause.field, rest, "request", "has the context", options, known)
    return None


def _of_attribute(field: str, name: str, known: KnownFields) -> _Use | None:
    if name.startswith(_SEGMENT):
        segment = name.removeprefix(_SEGMENT)
        options = sorted(known.segments)
        return _missing(field, segment, "customer", "is in the segment", options, known)
    return _missing(field, name, "customer", "has the attribute", sorted(known.attributes), known)


def _of_measure(field: str, known: KnownFields) -> _Use | None:
    parsed = parse_field(field)
    kind = parsed.event_type or ""
    if found := _of_event(kind, field, known):
        return found
    if kind not in known.properties:
        return None
    for name in (*parsed.measure.sums, *parsed.measure.last):
        options = sorted(known.properties[kind])
        if found := _missing(field, name, f"event {kind}", "has the property", options, known):
            return found
    return None


def _of_event(kind: str, token: str, known: KnownFields) -> _Use | None:
    """Events about contacts come from us, and may not have happened yet."""
    if known.event_types is None or not kind or kind.startswith("message."):
        return None
    return _missing(token, kind, "event", "is of the type", sorted(known.event_types), known)


def _missing(
    token: str, name: str, noun: str, verb: str, options: list[str], known: KnownFields
) -> _Use | None:
    if name in options:
        return None
    who = f"none of {known.sample}" if noun == "customer" else f"no {noun} of {known.sample}"
    message = f'{who} {verb} "{name}"'
    return _Use(token, message, hint_for(name, options))


class _Places:
    """Finds again where something was written, from the definition's `file:line` on."""

    def __init__(self, definition: PolicyDefinition) -> None:
        self._lines = {name: text.split("\n") for name, text in definition.files.items()}

    def of(self, source: str, token: str) -> tuple[str, int, int, str]:
        """(file, line, column, text of the line) of the token; of the definition if need be."""
        file, _, number = source.rpartition(":")
        lines = self._lines.get(file.partition("/")[2], [])
        first = int(number) if number.isdigit() else 0
        whole = re.compile(rf"(?<![\w.-]){re.escape(token)}(?![\w-])")
        for at in range(max(1, first), len(lines) + 1):
            if found := whole.search(lines[at - 1]):
                return file, at, found.start() + 1, lines[at - 1]
        text = lines[first - 1] if 0 < first <= len(lines) else ""
        return file, first, len(text) - len(text.lstrip()) + 1 if text else 0, text
