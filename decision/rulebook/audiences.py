"""The condition of an audience: a file of its own, read and checked as the conditions of rules are.

The file has a condition, as under `when` of a message, or the key `when` alone. It can ask for what
is known of customers; nobody asks for a decision, so there is no event, context or placement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from decision.core.audience import OF_REQUESTS
from decision.core.clock import format_duration
from decision.core.conditions import ALWAYS, Condition, fields_read
from decision.core.definition import PolicyDefinition
from decision.core.events import Measure
from decision.core.fields import Field, UnknownField, parse_field
from decision.core.narrowing import what_decides
from decision.rulebook.characters import explained
from decision.rulebook.checker import Checker
from decision.rulebook.conditions import read_condition
from decision.rulebook.diagnostics import Diagnostic, nearest
from decision.rulebook.field_names import check_contacts, known_field
from decision.rulebook.reader import SECTIONS, LoadResult
from decision.rulebook.review.conditions import review_condition
from decision.rulebook.review.context import ReviewContext
from decision.rulebook.yaml_source import Place, Source, read_yaml

_WHAT: Final = "the audience"
_INSTEAD: Final = {
    "event": "write what happened before, such as events.purchase.count_7d: {gte: 1}",
    "context": "use an attribute of the customer, such as customer.country",
    "placement": "delete it; nobody asks at a placement",
}


class Kept(msgspec.Struct, frozen=True):
    """What is kept of customers: of each type of events, and for how long contacts (µs)."""

    measures: Mapping[str, Measure]
    contacts: int


class ReadAudience(msgspec.Struct, frozen=True):
    """A condition that was read; None where there is any error."""

    condition: Condition | None
    diagnostics: list[Diagnostic]


def read_audience(name: str, data: bytes | str, rules: LoadResult, kept: Kept) -> ReadAudience:
    """Reads the condition of an audience; `name` is the file's in messages. It never raises.

    `rules` are read without an error. A condition on what nobody keeps is an error: it would hold
    for other customers than it says.
    """
    definition = rules.definition
    assert definition is not None
    checker = _checker(rules, definition)
    source = read_yaml(name, data)
    checker.diagnostics.extend(source.diagnostics)
    node = source.root
    condition: Condition | None = None
    if node is not None and isinstance(node.value, dict) and list(node.value) == ["when"]:
        node = node.value["when"]
    if node is not None and node.value is not None:
        condition = read_condition(checker, node, _WHAT)
        checker.places.nodes = {"audiences": {"": node}}
        check_contacts(checker)
        if condition is not None:
            for field, place in checker.places.fields_read(condition):
                _check_field(checker, definition, field, place, kept)
            if not checker.failed and condition != ALWAYS:
                context = ReviewContext(checker, definition, checker.places)
                review_condition(context, "audiences", "", _WHAT, condition)
    elif not checker.failed:
        place = Place(source, 1, 1)
        hint = "write a condition, such as customer.country: CN; {} is everybody"
        checker.error("bad-value", place, f"{name} has no condition", hint)
    found = sorted(map(explained, checker.diagnostics), key=lambda one: (one.line, one.column))
    return ReadAudience(None if checker.failed else condition, found)


def check_columns(names: Iterable[str], rules: LoadResult, kept: Kept) -> list[Diagnostic]:
    """What is wrong with fields that are to be told of customers; the same as in a condition."""
    definition = rules.definition
    assert definition is not None
    checker = _checker(rules, definition)
    place = Place(Source("--fields"), 0, 0)
    for name in names:
        if known_field(checker, name, place, "a column") is not None:
            _check_field(checker, definition, name, place, kept)
    check_contacts(checker)
    return checker.diagnostics


def _checker(rules: LoadResult, definition: PolicyDefinition) -> Checker:
    """A checker that knows the names of a policy."""
    checker = Checker()
    for section in SECTIONS:
        checker.names[section].update(rules.places.nodes[section])
    for message in definition.messages:
        checker.names["tags"].update(dict.fromkeys(message.tags))
        if message.category:
            checker.names["categories"][message.category] = None
    for experiment in definition.experiments:
        if experiment.variants:
            checker.variants[experiment.name] = experiment.variants
    return checker


def _check_field(
    checker: Checker, definition: PolicyDefinition, name: str, place: Place, kept: Kept
) -> None:
    try:
        field = parse_field(name)
    except UnknownField:
        return  # has an error already
    family = name.partition(".")[0]
    if family in OF_REQUESTS:
        message = f"an audience cannot use {name}: it comes with a request, and nobody asks here"
        checker.error("unknown-field", place, message, _INSTEAD[family])
        return
    if problem := _not_kept(field, definition, kept):
        message, hint = problem
        checker.error("unknown-field", place, message, hint)
    for one in what_decides(definition, [name]):
        asked = [read for read in fields_read(one.when) if read.partition(".")[0] in OF_REQUESTS]
        if asked:
            message = (
                f"{name} depends on {asked[0]} ({one.source}), which has no value here: nobody asks"
            )
            checker.warn(place, message, "compare it with what does not need a request")


def _not_kept(field: Field, definition: PolicyDefinition, kept: Kept) -> tuple[str, str] | None:
    """What is not kept of a field, and what to do; None where it is known of everybody."""
    if field.contacts_window > kept.contacts:
        longest = format_duration(kept.contacts)
        message = f"{field.name} needs contacts of a longer time than the {longest} that are kept"
        return message, f"ask for {longest} at most, or add a cap with that time to the rules"
    wanted = {one: Measure() for one in (field.event_type, field.beside) if one is not None}
    if field.event_type is not None:
        wanted[field.event_type] = field.measure
    for kind, measure in wanted.items():
        have = kept.measures.get(kind)
        if have is None or have | measure != have:
            what = f"events of the type {kind}" if have is None else field.name
            near = None if have is not None else nearest(kind, kept.measures)
            fix = f"read {field.name} in a rule, put the rules in force, and run nextbest rebuild"
            hint = fix if near is None else f'did you mean "{near}"?'
            return f"nobody keeps {what}: neither rules nor model read it", hint
    return None
