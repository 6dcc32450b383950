"""Reads typed values from nodes. Errors become diagnostics, and reading goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from decision.core.clock import DAY
from decision.core.event_effects import CONTACT_EVENTS
from decision.core.values import in_words
from decision.rulebook.diagnostics import hint_for, one_of
from decision.rulebook.key_hints import meant_key
from decision.rulebook.misplaced import from_scalar, misplaced
from decision.rulebook.quantities import QuantityReader
from decision.rulebook.source_map import SourceMap
from decision.rulebook.yaml_source import INVALID, Node, Place

T = TypeVar("T")
D = TypeVar("D")

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

    def reference(self, name: str, section: str, place: Place) -> bool:
        """Whether something in that section has the name; if not, adds an error."""
        known = self.names[section]
        if name in known:
            return True
        if not self.complete:
            return False
        noun = NOUNS[section]
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

    def event_type(self, name: str, place: Place) -> None:
        """Checks that a message event exists: `message.opened`, but not `message.open`."""
        if name.startswith("message."):
            self.reference(name, "contact_events", place)

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
        name = self.text(node, what)
        if name is not None:
            self.reference(name, section, node.at)
        return name

    def text(self, node: Node, what: str) -> str | None:
        """A text that is not empty."""
        if not isinstance(node.value, str):
            is_number = isinstance(node.value, int | float)
            self.wrong_type(node, what, "text", "put it in quotes" if is_number else "")
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
        if not isinstance(value, str):
            self.wrong_type(node, what, one_of(known))
        else:
            message = f'{what} cannot be "{value}"'
            self.error("bad-value", node.at, message, hint_for(value, known))
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


class MappingReader:
    """The keys of one mapping. At the end of `with`, a key that was not read is unknown."""

    def __init__(self, checker: Checker, node: Node, what: str) -> None:
        self.checker = checker
        self.node = node
        self.what = what
        self._values: dict[str, Node] = node.value if isinstance(node.value, dict) else {}
        self._asked: dict[str, None] = {}

    def __enter__(self) -> MappingReader:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is not None:
            return
        if not isinstance(self.node.value, dict):
            hint = from_scalar(self.node.value, self._asked, self.checker.names)
            hint = hint or f"its keys are {', '.join(self._asked)}"
            if self.node.value is None:
                hint = "write {} if there is nothing to set"
            self.checker.wrong_type(self.node, self.what, "a mapping of keys and values", hint)
        for key, node in self._values.items():
            if key not in self._asked:
                hint = (
                    meant_key(self.what, key)
                    or misplaced(key, self.node, self._asked)
                    or hint_for(key, self._asked)
                )
                if ":" in key and key.split(":")[0] in self._asked:
                    hint = "put a space after the colon"
                message = f'{self.what} cannot have the key "{key}"'
                self.checker.error("unknown-key", node.key, message, hint)

    def get(self, key: str) -> Node | None:
        """The value of a key, or None if it is missing."""
        self._asked[key] = None
        return self._values.get(key)

    def need(self, key: str) -> Node | None:
        """The value of a required key."""
        found = self.get(key)
        if found is None and isinstance(self.node.value, dict):
            message = f'{self.what} needs the key "{key}"'
            self.checker.error("missing-key", self.node.key, message, f"add {key}: …")
        return found

    def label(self, key: str) -> str:
        """What messages call the value of a key."""
        return f"{key} of {self.what}"

    def read(
        self, key: str, read: Callable[..., T | None], default: D, *args: Any, **options: Any
    ) -> T | D:
        """What `read(checker, node, label, …)` makes of a key; the default if it is missing."""
        node = self.get(key)
        if node is None:
            return default
        found = read(self.checker, node, self.label(key), *args, **options)
        return default if found is None else found

    def require(
        self, key: str, read: Callable[..., T | None], default: D, *args: Any, **options: Any
    ) -> T | D:
        """`read` for a required key."""
        if self.need(key) is None:
            return default
        return self.read(key, read, default, *args, **options)
