"""Derived events and scores."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Final

from decision.core.clock import format_duration
from decision.core.conditions import ALWAYS, Condition, clauses, holds
from decision.core.definition import DerivedEvent, PolicyDefinition, Score
from decision.core.derived import MOST_STEPS
from decision.core.fields import UnknownField, parse_field
from decision.core.journeys.definition import MOMENT
from decision.core.scores import LONGEST_HALF_LIFE, SHORTEST_HALF_LIFE
from decision.rulebook import readings
from decision.rulebook.checker import Checker
from decision.rulebook.conditions import read_when
from decision.rulebook.mapping_reader import MappingReader
from decision.rulebook.sent_events import not_derived, root_of
from decision.rulebook.yaml_source import Node, Place

_EVENT: Final = "event."
_FILTERED: Final = re.compile(
    r"([\w.-]+)\s+(?:where|with|when|if)\s+(?:event\.)?([\w.-]+)\s*(?:==?|:|is)\s*([\w.-]+)"
)
"""`purchase where category = tea`."""


def read_event(checker: Checker, name: str, node: Node) -> DerivedEvent:
    """One of `events:`."""
    if name.startswith("message."):
        text = f'a derived event cannot be called "{name}": message events come from nextbest'
        checker.error("bad-name", node.key, text, f"call it {name.removeprefix('message.')}")
    if name.startswith(MOMENT):
        text = f'a derived event cannot be called "{name}": such events are moments'
        checker.error("bad-name", node.key, text, f"call it {name.removeprefix(MOMENT)}")
    with checker.entry(node, f'derived event "{name}"') as entry:
        found = DerivedEvent(
            name=name,
            source=node.key.label,
            of=entry.require("of", _source, ""),
            each=entry.read("each", _list_property, None),
            when=(when := read_when(entry)),
            clause_sources=checker.places.clause_sources(when),
            for_customer=entry.read("for", _customer_property, None),
        )
        _only_the_event(checker, name, when)
        _type_is_known(checker, entry, found)
        _is_list(checker, entry, found)
        if found.of and found.when == ALWAYS and "when" not in entry.node.value:
            _does_nothing(checker, entry, found)
    return found


def _source(checker: Checker, node: Node, what: str) -> str | None:
    """The type of the event that another one is made of."""
    if isinstance(node.value, list):
        first = next((one.value for one in node.value if isinstance(one.value, str)), "purchase")
        hint = f"write of: {first}, and a derived event of its own for each other"
        checker.wrong_type(node, what, "the type of one event", hint)
        return None
    name = checker.event(node, what)
    if name is not None:
        if not _plain_type(checker, name, node.at, f'{what} cannot be "{name}"', "of: "):
            return None
        if found := _FILTERED.fullmatch(name):
            message = f'{what} is "{name}", which is read as the type of one event'
            fix = f"{{of: {found[1]}, when: {{event.{found[2]}: {found[3]}}}}}"
            checker.warn(node.at, message, f"write {fix}", "doubtful-value")
    return name


def _plain_type(checker: Checker, name: str, place: Place, what: str, key: str) -> bool:
    """Whether it is an event's type; an error where a field was written in its place."""
    if not name.startswith("events."):
        return True
    kind = name.removeprefix("events.")
    if _is_field(name):
        kind = parse_field(name).event_type or kind
    checker.error("bad-value", place, f"{what}: it needs a type of event", f"write {key}{kind}")
    return False


def _does_nothing(checker: Checker, entry: MappingReader, found: DerivedEvent) -> None:
    if found.each is None and found.for_customer is None and entry.node.value.keys() <= {"of"}:
        message = f"{entry.what} counts the same as {found.of}"
        hint = f"add when, each or for; or use {found.of} itself"
        checker.warn(entry.node.key, message, hint)


def _list_property(checker: Checker, node: Node, what: str) -> str | None:
    name = checker.text(node, what)
    if name is not None and name.startswith(_EVENT):
        message = f'{what} is the name of a property; it cannot start with "event."'
        checker.error("bad-value", node.at, message, f"write each: {_plain_path(name)}")
        return None
    if name is not None and (plain := _plain_path(name)) != name:
        message = f'{what} is "{name}", which is read as the name of one property'
        checker.warn(node.at, message, f"write each: {plain}", "doubtful-value")
    return name


def _plain_path(name: str) -> str:
    """The name of a list, without what other languages write for its entries.

    >>> _plain_path("event.items[]"), _plain_path("$.cart.items[*]"), _plain_path("items.0")
    ('items', 'cart.items', 'items')
    """
    name = re.sub(r"\[[^\]]*\]|\.(?:[0-9]+|\*)$", "", name.removeprefix("$.").removeprefix(_EVENT))
    return name or "items"


def _customer_property(checker: Checker, node: Node, what: str) -> str | None:
    """`event.inviter_id` → `inviter_id`."""
    name = checker.text(node, what)
    if name is None:
        return None
    if not name.startswith(_EVENT) or name == _EVENT:
        message = f'{what} cannot be "{name}": it is a property of the event, with a customer\'s id'
        part = (re.findall(r"[\w-]+", name.removeprefix(_EVENT)) or ["inviter_id"])[-1]
        checker.error("bad-value", node.at, message, f"write for: event.{part}")
        return None
    path = name.removeprefix(_EVENT)
    if (plain := _plain_path(path)) != path:
        message = f'{what} is "{name}", which is read as the name of one property'
        hint = f"for each in the list, write each: {plain}, for: event.value"
        checker.warn(node.at, message, hint, "doubtful-value")
    return path


def _type_is_known(checker: Checker, entry: MappingReader, found: DerivedEvent) -> None:
    """Warns of conditions on `event.type`, which is always the one that the event is made of."""
    for clause in clauses(found.when):
        if clause.field != "event.type" or not found.of:
            continue
        values = clause.value if isinstance(clause.value, tuple) else (clause.value,)
        others = [one for one in values if isinstance(one, str) and one != found.of]
        hint = "delete it"
        if clause.op in ("eq", "in") and others:
            line = {"of": others[0]} | {
                key: node.plain()
                for key, node in entry.node.value.items()
                if key in ("each", "for")
            }
            name = found.name if not holds(clause, found.of) else f"{found.name}-2"
            hint = f"for {others[0]}, write {name}: {{{readings.as_yaml(line)}}}"
        message = f"here event.type is always {found.of}, as {entry.what} is made of it alone"
        checker.warn(checker.places.field(clause), message, hint, "doubtful-comparison")


def _is_list(checker: Checker, entry: MappingReader, found: DerivedEvent) -> None:
    """Warns of `for` that names the list which `each` goes through: that stays the whole list."""
    name, each = found.for_customer or "", found.each
    if each is None or (name != each and not name.startswith(f"{each}.")):
        return
    message = (
        f"each goes through {each}, so its entries are the event, and event.{name} names nobody"
    )
    part = name.removeprefix(each).removeprefix(".") or "value"
    place = entry.node.value["for"].at
    checker.warn(place, message, f"write for: event.{part}", "doubtful-value")


def _only_the_event(checker: Checker, name: str, when: Condition) -> None:
    """What counts must not depend on when it is looked at, or in which order events arrive."""
    for field, place in checker.places.fields_read(when):
        if field.startswith(_EVENT) or not _is_field(field):
            continue
        checker.error(
            "unknown-field",
            place,
            f'a derived event cannot use {field}: it counts once and for good, and "'
            f'{field}" can change',
            "move it to the when of what reads the event, such as when: "
            f"{{events.{name}.count_7d: {{gte: 1}}, {field}: …}}",
        )


def _is_field(name: str) -> bool:
    try:
        parse_field(name)
    except UnknownField:
        return False  # has an error already
    return True


def read_score(checker: Checker, name: str, node: Node) -> Score:
    """One of `scores:`."""
    with checker.entry(node, f'score "{name}"') as entry:
        return Score(
            name=name,
            source=node.key.label,
            adds=entry.require("adds", _adds, {}),
            half_life=entry.require("half_life", _half_life, SHORTEST_HALF_LIFE),
        )


def _adds(checker: Checker, node: Node, what: str) -> dict[str, float | str]:
    if node.value == {}:
        message = f"{what} must be a mapping of events and numbers; it is empty"
        checker.error("wrong-type", node.at, message, "write {page_view: 1}")
        return {}
    if not isinstance(node.value, dict):
        items = node.value if isinstance(node.value, list) else [node]
        shown = [f"{one.value}: 1" for one in items[:3] if isinstance(one.value, str)]
        hint = f"write {{{', '.join(shown or ['page_view: 1'])}}}"
        checker.wrong_type(node, what, "a mapping of events and numbers", hint)
        return {}
    found: dict[str, float | str] = {}
    for kind, item in node.value.items():
        checker.event_type(kind, item.key)
        _plain_type(checker, kind, item.key, f'{what} cannot name "{kind}"', "")
        added = _amount(checker, item, f"{kind} in {what}")
        if added is not None:
            found[kind] = added
    return found


def _amount(checker: Checker, node: Node, what: str) -> float | str | None:
    if isinstance(node.value, dict):
        if len(node.value) == 1 and next(iter(node.value)) in ("of", "sum", "from"):
            other = next(iter(node.value.values())).value
            if isinstance(other, str):
                hint = f"write {{property: {other.removeprefix(_EVENT)}}}"
                checker.wrong_type(node, what, "a number or a property", hint)
                return None
        with checker.entry(node, what) as entry:
            name = entry.require("property", Checker.text, None)
        if name is not None and name.startswith(_EVENT):
            message = f'{what}: a property is named without "event."'
            hint = f"write {{property: {name.removeprefix(_EVENT)}}}"
            checker.error("bad-value", node.at, message, hint)
            return None
        return name
    if isinstance(node.value, str):
        hint = f"write {{property: {node.value.removeprefix(_EVENT)}}}, or a number"
        if digits := readings.number(node.value):
            hint = f"write {digits}, without quotes and units"
        elif found := re.fullmatch(r"(?:event\.)?([\w.-]+)\s*[-+*/×].*", node.value):
            hint = f"nothing can be calculated; write {{property: {found[1]}}}"
        checker.wrong_type(node, what, "a number or a property", hint)
        return None
    amount = checker.number(node, what)
    if amount == 0:
        message = f"{what} is 0, which adds nothing"
        checker.error("bad-value", node.at, message, "write another number, or delete the line")
        return None
    return amount


def _half_life(checker: Checker, node: Node, what: str) -> int | None:
    found = checker.duration(node, what, LONGEST_HALF_LIFE)
    if found is not None and found < SHORTEST_HALF_LIFE:
        least = format_duration(SHORTEST_HALF_LIFE)
        message = f"{what} is {node.value}; it must be at least {least}"
        hint = "for shorter times count events, such as events.page_view.count_5m"
        checker.error("bad-value", node.at, message, hint)
        return None
    return found


def check_events(checker: Checker, definition: PolicyDefinition) -> None:
    """Checks what derived events are made of, and where nothing but events that are sent counts."""
    known = {one.name: one for one in definition.events}
    circles: set[str] = set()
    for one in definition.events:
        chain = _chain(one, known)
        if chain[-1] == one.name:
            if circles.intersection(chain):
                continue  # said of the first of them
            circles.update(chain)
            place = checker.places.value("events", one.name, "of")
            message = f'derived event "{one.name}" is made of itself: {" → ".join(chain)}'
            hint = "write of: with an event that is sent, such as of: purchase"
            if len(chain) == 2:
                hint = f"give it a name of its own, such as {one.name}-line: {{of: {one.name}}}"
            checker.error("conflict", place, message, hint)
            continue
        if len(chain) - 1 > MOST_STEPS:
            place = checker.places.value("events", one.name, "of")
            message = (
                f'derived event "{one.name}" is the last of more than {MOST_STEPS} derived '
                "events that are made of one another"
            )
            hint = f"write of: {root_of(checker, one.name)}, with all conditions in one when"
            checker.error("conflict", place, message, hint)
            break  # said once, of the first
        lists = [known[name].each for name in chain if name in known and known[name].each]
        if one.each and len(lists) > 1:
            message = f'derived event "{one.name}" goes through a second list; {chain[1]} has one'
            hint = f"delete each, or write of: {root_of(checker, one.name)}"
            checker.error("conflict", checker.places.key("events", one.name, "each"), message, hint)
    for message_ in definition.messages:
        if message_.goal is not None:
            place = checker.places.value("messages", message_.name, "goal", "event")
            what = f'the goal of message "{message_.name}" cannot be'
            not_derived(checker, message_.goal.event, place, what, "event: ")

    if known:
        _check_spelling(checker, definition, known)


def _check_spelling(
    checker: Checker, definition: PolicyDefinition, known: dict[str, DerivedEvent]
) -> None:
    """Warns of types of events, in conditions and texts, that are nearly a derived event's."""
    sent = {one.of for one in definition.events} | {
        kind for score in definition.scores for kind in score.adds
    }
    places = checker.places
    read = [
        (field, places.value("messages", one.name, "content"))
        for one in definition.messages
        for field in one.printed
    ]
    for owner in (*definition.messages, *definition.states, *definition.rules):
        read += places.fields_read(owner.when)
    for field, place in read:
        if not field.startswith("events."):
            continue
        kind = field.removeprefix("events.").rpartition(".")[0]
        near = get_close_matches(kind, known, 1, 0.85)
        if near and kind not in sent | known.keys():
            message = f'no rule derives an event "{kind}", which is written like "{near[0]}"'
            hint = f"did you mean {field.replace(kind, near[0])}?"
            checker.warn(place, message, hint)


def _chain(one: DerivedEvent, known: dict[str, DerivedEvent]) -> list[str]:
    """What an event is made of, down to one that is sent, or to the first that comes again."""
    chain = [one.name]
    while chain[-1] in known and len(chain) <= MOST_STEPS + 1:
        source = known[chain[-1]].of
        if source in chain[1:]:
            break  # a circle further down: its own members say so
        chain.append(source)
        if source == one.name:
            break
    return chain
