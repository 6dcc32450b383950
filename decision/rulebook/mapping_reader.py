"""Reads the keys of one mapping; what is wrong with them is said once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from decision.rulebook.diagnostics import nearest, one_of
from decision.rulebook.key_hints import example, meant_key
from decision.rulebook.misplaced import from_scalar, misplaced
from decision.rulebook.readings import as_yaml
from decision.rulebook.yaml_source import Node, Place

if TYPE_CHECKING:
    from decision.rulebook.checker import Checker

T = TypeVar("T")
D = TypeVar("D")

_LONGEST_SHOWN: Final = 60
"""Characters of a key with its value that a hint repeats."""


class MappingReader:
    """The keys of one mapping. At the end of `with`, a key that was not read is unknown.

    A required key that is missing is not reported where an unknown key is, of which the hint says
    that it is meant: one mistake, one error.
    """

    def __init__(self, checker: Checker, node: Node, what: str) -> None:
        self.checker = checker
        self.node = node
        self.what = what
        self._values: dict[str, Node] = node.value if isinstance(node.value, dict) else {}
        self._asked: dict[str, None] = {}
        self._lacking: list[tuple[tuple[str, ...], Place, str, str]] = []

    def __enter__(self) -> MappingReader:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is not None:
            return
        if not isinstance(self.node.value, dict):
            hint = from_scalar(self.node.plain(), self._asked, self.checker.names)
            hint = hint or f"its keys are {', '.join(self._asked)}"
            if self.node.value is None:
                hint = "write {} if there is nothing to set"
            self.checker.wrong_type(self.node, self.what, "a mapping of keys and values", hint)
        unknown = [(key, node) for key, node in self._values.items() if key not in self._asked]
        hints = [self._hint(key) for key, _ in unknown]
        for (key, node), hint in zip(unknown, hints, strict=True):
            message = f'{self.what} cannot have the key "{key}"'
            self.checker.error("unknown-key", node.key, message, hint)
        for keys, place, message, hint in self._lacking:
            if not any(_means(given, key) for given in hints for key in keys):
                self.checker.error("missing-key", place, message, hint)

    def _hint(self, key: str) -> str:
        """A hint for an unknown key."""
        if ":" in key and key.split(":", maxsplit=1)[0] in self._asked:
            return "put a space after the colon"
        value = self._values[key].plain()
        for hint in (meant_key(self.what, key, value), misplaced(key, self.node, self._asked)):
            if hint and not any(hint.startswith(f'did you mean "{one}"') for one in self._values):
                return hint
        near = nearest(key, self._asked)
        if near is None:
            return f"use {one_of(self._asked)}"
        fix = as_yaml({near: value})
        shown = near not in self._values and len(fix) <= _LONGEST_SHOWN
        return f'did you mean "{near}"?' + (f" write {fix}" if shown else "")

    def get(self, key: str) -> Node | None:
        """The value of a key, or None if it is missing."""
        self._asked[key] = None
        return self._values.get(key)

    def need(self, key: str) -> Node | None:
        """The value of a required key."""
        found = self.get(key)
        if found is None and isinstance(self.node.value, dict):
            fix = example(self.what, key, self.checker.names)
            self.lacks(f'{self.what} needs the key "{key}"', f"add {fix}", key)
        return found

    def lacks(self, message: str, hint: str, *keys: str, place: Place | None = None) -> None:
        """An error about a missing key, unless an unknown one is a slip of one of `keys`."""
        self._lacking.append((keys, place or self.node.key, message, hint))

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


def _means(hint: str, key: str) -> bool:
    """Whether a hint for an unknown key says that another one is meant."""
    return hint.startswith((f'did you mean "{key}"', f"write {key}: "))
