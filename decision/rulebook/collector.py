"""Collects what is wrong while rule files are read."""

from __future__ import annotations

from typing import Any

from decision.core.values import in_words
from decision.rulebook.diagnostics import Diagnostic
from decision.rulebook.yaml_source import INVALID, Node, Place


def kind_of(value: Any) -> str:
    """What a value is, in words: `the text "7d"`, `a list`."""
    match value:
        case None:
            return "empty"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return f"the text {in_words(value)}"
        case bool():
            return in_words(value)
    return f"the number {in_words(value)}"


class DiagnosticCollector:
    """Collects diagnostics.

    `complete` is false if a file could not be read: then the rest of the policy is not known, and
    there are no warnings.
    """

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []
        self.complete = True

    @property
    def failed(self) -> bool:
        """Whether there is any error so far."""
        return any(found.severity == "error" for found in self.diagnostics)

    def error(self, code: str, place: Place, message: str, hint: str = "") -> None:
        """Adds an error."""
        self.diagnostics.append(place.diagnostic(code, message, hint))

    def warn(self, place: Place, message: str, hint: str = "", code: str = "no-effect") -> None:
        """Adds a warning; most are about something that has no effect."""
        if self.complete:
            self.diagnostics.append(place.diagnostic(code, message, hint, "warning"))

    def wrong_type(self, node: Node, what: str, wanted: str, hint: str = "") -> None:
        """Adds an error about a value of the wrong type, unless it has a diagnostic already."""
        if node.value is not INVALID:
            message = f"{what} must be {wanted}; it is {kind_of(node.value)}"
            self.error("wrong-type", node.at, message, hint)
