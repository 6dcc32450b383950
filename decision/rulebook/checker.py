"""Reads typed values from nodes. Errors become diagnostics, and reading goes on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from decision.core.clock import DAY
from decision.core.event_effects import CONTACT_EVENTS
from decision.core.journeys.definition import MOMENT
from decision.core.values import in_words
from decision.rulebook.diagnostics import hint_for, one_of
from decision.rulebook.mapping_reader import MappingReader
from decision.rulebook.quantities import QuantityReader
from decision.rulebook.readings import as_yaml
from decision.rulebook.source_map import SourceMap
from decision.rulebook.yaml_source import INVALID, Node, Place

LONGEST_PAUSE: Final = 366 * DAY
LONGEST_NAME: Final = 128
MOST_COMPARED: Final = 100
"""How many unknown names get the nearest known name as a hint; the rest get a list of names."""

NOUNS: Final = {
    "calendars": "calendar",
    "purposes": "purpose",
    "channels": "channel",
    "placements": "placement",
    "messages": "message",
    "caps": "cap",
    "budgets": "budget",
    "coupons": "coupon pool",
    "suppressions": "suppression",
    "events": "derived event",
    "scores": "score",
    "states": "state",
    "rules": "rule",
    "experiments": "experiment",
    "moments": "moment",
    "journeys": "journey",
    "metrics": "metric",
    "funnels": "funnel",
    "tags": "tag",
    "categories": "category",
    "contact_events": "message event",
}
"""Section → what one thing in it is called."""

_EMPTY: Final = "add an item, or delete the key"
_UNUSABLE_IN_NAMES = re.compile("[/*?\\[\\]\x00-\x1f\x7f-\x9f\u200b\u2060\ud800-\udfff]|^\\s|\\s$")


class Checker(QuantityReader):
    """What is known while a folder is checked: names by section, places, diagnostics.

    If a file could not be read (`complete` is false), an unknown name may be defined in that file,
    so it gets no diagnostic. `again`: the policy was in force once, and stays readable where a
    limit came later.
    """

    def __init__(self, *, again: bool = False) -> None:
        super().__init__()
        self.again = again
        self.names: dict[str, dict[str, Any]] = {section: {} for section in NOUNS}
        self.names["contact_events"] = dict.fromkeys(CONTACT_EVENTS)
        self.variants: dict[str, dict[str, float]] = {}
        self.places = SourceMap()
        self.contacts_named: list[tuple[str, str, Place]] = []
        self._missed = 0

    def entry(self, node: Node, what: str) -> MappingReader:
        """The keys of a mapping, to be read in a `with` block; keys not read there are unknown."""
        return MappingReader(self, node, what)

    def usable_name(self, name: str, place: Place, what: str) -> None:
        """Checks a new name; it must be visible and usable in a glob."""
        if len(name) > LONGEST_NAME:
            message = f"this {what} name has {len(name)} characters; {LONGEST_NAME} are allowed"
            self.error("bad-name", place, message, "shorten it")
        elif found := _UNUSABLE_IN_NAMES.search(name):
            shown = in_words(found[0]) if found[0].isprintable() else f"U+{ord(found[0]):04X}"
            message = f"{what} names cannot contain {shown}"
            self.error("bad-name", place, message, "use letters, digits, - and _")

    def reference(self, name: str, section: str, place: Place, meant: str = "") -> bool:
        """Whether something in that section has the name; if not, adds an error.

        `meant` is a hint that is better than the nearest name."""
        known = self.names[section]
        if name in known:
            return True
        if not self.complete:
            return False
        noun = NOUNS[section]
        if meant:
            self.error("unknown-name", place, f'there is no {noun} "{name}"', meant)
            return False
        others = [other for other, names in self.names.items() if name in names]
        self._missed += 1
        # Comparing a thousand wrong names with a thousand right ones would take half a minute.
        hint = hint_for(name, known) if self._missed <= MOST_COMPARED else f"use {one_of(known)}"
        if not known:
            hint = f"no {section} are defined"
        elif others and not hint.startswith("did"):
            hint = f'"{name}" is one of the {others[0]}; {hint}'
        self.error("unknown-name", place, f'there is no {noun} "{name}"', hint)
        return False

    def event_type(self, name: str, place: Place, hint: str = "") -> None:
        """Checks that an event of our own exists: `message.opened`, but not `message.open`."""
        if name.startswith("message."):
            self.reference(name, "contact_events", place, hint)
        elif name.startswith(MOMENT):
            self.reference(name.removeprefix(MOMENT), "moments", place)

    def event(self, node: Node, what: str) -> str | None:
        """The type of an event."""
        name = self.text(node, what)
        if name is not None:
            self.event_type(name, node.at)
            if f"message.{name}" in self.names["contact_events"]:
                message = (
                    f'"{name}" is an event of your own; what happens to messages is message.{name}'
                )
                self.warn(node.at, message, f"write message.{name}", "doubtful-value")
        return name

    def name(self, node: Node, what: str, section: str) -> str | None:
        """The name of one thing of a section."""
        if not isinstance(node.value, str) and not _as_text(node).startswith("write "):
            self.wrong_type(node, what, "a name", hint_for("", self.names[section]))
            return None
        name = self.text(node, what)
        if name is not None:
            self.reference(name, section, node.at)
        return name

    def text(self, node: Node, what: str) -> str | None:
        """A text that is not empty."""
        if not isinstance(node.value, str):
            self.wrong_type(node, what, "text", _as_text(node))
            return None
        if not node.value.strip():
            self.error("bad-value", node.at, f"{what} is an empty text", "write a text")
            return None
        return node.value

    def choice(self, node: Node, what: str, options: Iterable[str]) -> str | None:
        """One of a few words."""
        known = list(options)
        value = node.value
        if isinstance(value, str) and value in known:
            return value
        hint = hint_for(str(value), known)
        if len(known) == 1 and not hint.startswith("did"):
            hint = f"write {known[0]}"
        if not isinstance(value, str):
            self.wrong_type(node, what, one_of(known), hint if len(known) == 1 else "")
        else:
            self.error("bad-value", node.at, f'{what} cannot be "{value}"', hint)
        return None

    def items(self, node: Node, what: str, *, least: int = 1) -> list[Node]:
        """The nodes of a list, or a single value as a list of one."""
        value = node.value
        if value is None or isinstance(value, dict):
            self.wrong_type(node, what, "a list of names")
            return []
        if not isinstance(value, list):
            return [] if value is INVALID else [node]
        if len(value) < least:
            self.error("bad-value", node.at, f"{what} is an empty list", _EMPTY)
        return value

    def texts(self, node: Node, what: str, *, least: int = 1) -> list[tuple[str, Place]]:
        """Texts and their places, without repeats."""
        found: dict[str, Place] = {}
        for item in self.items(node, what, least=least):
            text = self.text(item, what)
            if text is None:
                continue
            if text in found:
                message = f'{what} contains "{text}" twice'
                self.error("duplicate-name", item.at, message, "delete one of them")
            found.setdefault(text, item.at)
        return list(found.items())

    def references(self, node: Node, what: str, section: str, *, least: int = 1) -> tuple[str, ...]:
        """Names of things in a section; unknown names get an error."""
        found = self.texts(node, what, least=least)
        for name, place in found:
            self.reference(name, section, place)
        return tuple(name for name, _ in found)


def _as_text(node: Node) -> str:
    """A hint for a value where a text is needed: the text in it, or quotes around it."""
    value = node.plain()
    if isinstance(value, list | dict):
        inner = [*value.values()] if isinstance(value, dict) else value
        texts = [one for one in inner if isinstance(one, str)]
        return f"write {as_yaml(texts[0])}" if len(texts) == len(inner) == 1 else ""
    return "" if value is None or isinstance(value, bool) else "put it in quotes"
