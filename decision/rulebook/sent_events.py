"""Where only events that are sent can be named: nobody sends a derived event."""

from __future__ import annotations

from decision.rulebook.checker import Checker
from decision.rulebook.yaml_source import Node, Place


def root_of(checker: Checker, name: str) -> str:
    """The type of the events that are sent, of which a derived event is made as written."""
    seen = {name}
    while isinstance(node := checker.names["events"].get(name), Node):
        of = node.value.get("of") if isinstance(node.value, dict) else None
        if of is None or not isinstance(of.value, str) or of.value in seen:
            break
        seen.add(name := of.value)
    return name


def not_derived(checker: Checker, name: str, place: Place, what: str, key: str) -> None:
    """An error where a derived event is named, with the event that it is made of as the fix."""
    if name in checker.names["events"]:
        message = f'{what} "{name}", because nobody sends a derived event'
        checker.error("unknown-name", place, message, f"write {key}{root_of(checker, name)}")
