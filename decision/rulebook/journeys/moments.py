"""`moments:`: patterns of events."""

from __future__ import annotations

import re
from typing import Final

from decision.core.conditions import ALWAYS, Condition
from decision.core.events import LONGEST_WINDOW
from decision.core.journeys.definition import Element, Moment
from decision.rulebook.checker import Checker
from decision.rulebook.conditions import read_when
from decision.rulebook.journeys.triggers import event_of
from decision.rulebook.readings import as_yaml
from decision.rulebook.yaml_source import Node

MOST_ELEMENTS = 16
MOST_TIMES = 100
_OFTEN: Final = re.compile(r"(at least|at most|>=|<=|≥|≤)?\s*([1-9][0-9]?)\s*(?:x|times|次|\+)?")
_BOUNDS: Final = {
    **dict.fromkeys(("at least", ">=", "≥"), "at_least"),
    **dict.fromkeys(("at most", "<=", "≤"), "at_most"),
}


def read_moment(checker: Checker, name: str, node: Node) -> Moment:
    """One of `moments:`."""
    with checker.entry(node, f'moment "{name}"') as entry:
        return Moment(
            name=name,
            source=node.key.label,
            pattern=entry.require("pattern", _pattern, ()),
            within=entry.require("within", Checker.duration, 0, LONGEST_WINDOW),
        )


def _pattern(checker: Checker, node: Node, what: str) -> tuple[Element, ...] | None:
    if not isinstance(node.value, list):
        hint = "write [{event: cart_add}, {not: purchase}]"
        checker.wrong_type(node, what, "a list of events", hint)
        return None
    if not node.value:
        hint = "write [{event: cart_add}, {not: purchase}]"
        checker.error("bad-value", node.at, f"{what} is an empty list", hint)
        return None
    found = [_element(checker, item, f"an element of {what}") for item in node.value]
    return tuple(one for one in found if one is not None)


def _element(checker: Checker, node: Node, what: str) -> Element | None:
    with checker.entry(node, what) as entry:
        absent = entry.get("not")
        if absent is not None:
            if "when" in node.value and not isinstance(absent.value, dict):
                both = as_yaml({"event": absent.plain(), "when": node.value["when"].plain()})
                message = f'{what} cannot have "when" beside "not"'
                hint = f"write {{not: {{{both}}}}}"
                checker.error("unknown-key", node.value["when"].key, message, hint)
                entry.get("when")
            return _absent(checker, absent, entry.label("not"))
        event = event_of(entry)
        least, most = entry.read("times", _times, (1, 1))
        when = read_when(entry)
        if event is None:
            if isinstance(node.value, dict):
                message = f'{what} needs the key "event"'
                entry.lacks(message, "add event: purchase, or write {not: purchase}", "event")
            return None
        return Element(
            event=event,
            when=when,
            at_least=least,
            at_most=most,
            source=node.at.label,
            clause_sources=checker.places.clause_sources(when),
        )


def _absent(checker: Checker, node: Node, what: str) -> Element | None:
    """`purchase`, or `{event: purchase, when: {…}}`."""
    when: Condition = ALWAYS
    if isinstance(node.value, dict):
        with checker.entry(node, what) as entry:
            event = event_of(entry)
            when = read_when(entry)
            if event is None:
                message = f'{what} needs the key "event"'
                entry.lacks(message, "add event: purchase", "event")
    else:
        event = checker.event(node, what)
    if event is None:
        return None
    return Element(
        event=event,
        when=when,
        absent=True,
        source=node.at.label,
        clause_sources=checker.places.clause_sources(when),
    )


def _times(checker: Checker, node: Node, what: str) -> tuple[int, int | None] | None:
    """`3`, or `{at_least: 1, at_most: 5}`."""
    if not isinstance(node.value, dict):
        if isinstance(node.value, str) and (found := _OFTEN.fullmatch(node.value)):
            fix = found[2] if not found[1] else f"{{{_BOUNDS[found[1]]}: {found[2]}}}"
            checker.wrong_type(node, what, "a number of times", f"write {fix}")
            return None
        number = checker.whole(node, what, 1, MOST_TIMES)
        return None if number is None else (number, number)
    with checker.entry(node, what) as entry:
        least = entry.read("at_least", Checker.whole, 1, 1, MOST_TIMES)
        most = entry.read("at_most", Checker.whole, None, 1, MOST_TIMES)
        if not node.value:
            hint = "write {at_least: 2}, or a number such as 3"
            entry.lacks(f"{what} is empty", hint, "at_least", "at_most")
        if most is not None and most < least:
            message = f"{what} has at_most: {most}, which is less than at_least: {least}"
            checker.error(
                "bad-value", node.at, message, f"write {{at_least: {most}, at_most: {least}}}"
            )
            return None
    return least, most
