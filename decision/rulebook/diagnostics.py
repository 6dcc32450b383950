"""What is wrong with a rule file, where, and how to fix it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final, Literal

import msgspec

Severity = Literal["error", "warning"]

_CODES: Final[dict[str, tuple[Severity, str]]] = {
    "unreadable-file": ("error", "a file or folder cannot be read"),
    "no-rules": ("error", "the folder has no rules"),
    "ignored-file": ("warning", "a file looks like a rule file but is not read"),
    "bad-encoding": ("error", "the file is not UTF-8"),
    "bad-character": ("error", "a character that is invisible, or looks like another one"),
    "too-large": ("error", "the file is larger than 5 MB"),
    "too-deep": ("error", "more than 50 levels of nesting"),
    "bad-yaml": ("error", "the text is not valid YAML"),
    "unsupported-yaml": (
        "error",
        "YAML that rule files do not allow: anchors, tags, several documents",
    ),
    "duplicate-key": ("error", "a key appears twice in one mapping"),
    "unknown-key": ("error", "a key that does not exist here"),
    "missing-key": ("error", "a required key is missing"),
    "duplicate-name": ("error", "a name is used twice"),
    "bad-name": ("error", "a name that is not allowed"),
    "unknown-name": ("error", "a name that does not exist"),
    "unknown-field": ("error", "a field that does not exist"),
    "unknown-operator": ("error", "an operator that does not exist"),
    "wrong-type": ("error", "a value of the wrong type, such as a number instead of text"),
    "bad-value": ("error", "a value that is not allowed here"),
    "bad-pattern": ("error", "a regular expression that RE2 does not accept"),
    "bad-template": ("error", "a content template that cannot be used"),
    "conflict": ("error", "two parts of the rules that cannot be combined"),
    "no-effect": ("warning", "something that has no effect"),
    "never-holds": ("error", "a condition that can never be true"),
    "dead-part": ("warning", "an alternative in a condition that can never be true"),
    "always-holds": ("warning", "a condition, or a part of one, that is always true"),
    "shadowed-rule": ("warning", "a rule that removes only what other rules already remove"),
    "boost-of-excluded": ("warning", "a boost of messages that another rule always removes"),
    "empty-selector": ("warning", "a rule that matches no message"),
    "neutral-boost": ("warning", "a boost by 1, which changes nothing"),
    "endless-loop": ("error", "steps of journeys that go in a circle without a wait"),
    "possible-loop": ("warning", "steps of journeys that may go in a circle without a wait"),
    "unreached-step": ("warning", "a step of a journey that no run can reach"),
    "undelivered-ask": ("warning", "a journey that asks where nobody sends what is chosen"),
    "unanswered-ask": ("warning", "a step of a journey that asks, and that no message can answer"),
    "ends-at-once": ("warning", "a journey whose runs end when they start"),
    "set-cycle": ("warning", "rules that set fields for each other in a circle"),
    "unreached-state": (
        "warning",
        "a state that no customer can reach, because of the states above it",
    ),
    "no-catch-all": ("warning", "states that leave some customers without a state"),
    "unshown-message": ("warning", "a message that no placement can show"),
    "unshown-channel": ("warning", "a channel of a message that none of its placements has"),
    "unfit-fallback": ("error", "a fallback that needs consent, or that something can hold back"),
    "always-quiet": ("warning", "a channel, or a message on it, that quiet hours stop all day"),
    "never-worth-it": ("warning", "a priority that can never be above its threshold"),
    "budget-mismatch": ("warning", "a daily budget that is larger than the total"),
    "unmet-budget": ("warning", "a budget that counts no message, or a channel without a cost"),
    "budget-too-small": ("warning", "a budget that is smaller than the cost of one contact"),
    "redundant-budget": ("warning", "a budget that another budget makes unnecessary"),
    "unused-pool": ("warning", "a coupon pool from which no message gives codes"),
    "unprinted-coupon": ("warning", "a message that takes a coupon code and does not say it"),
    "unmet-cap": ("warning", "a cap that matches no message"),
    "redundant-cap": ("warning", "a cap that another cap makes unnecessary"),
    "holdouts-too-large": ("warning", "control groups that leave few or no customers outside"),
    "shared-seed": (
        "warning",
        "experiments or splits with one seed, whose groups are not independent",
    ),
    "rough-share": ("warning", "a share that is finer than customers can be divided"),
    "too-long": (
        "warning",
        "a text that may be too long for a channel, or needs several SMS",
    ),
    "foreign-placeholder": ("warning", "a placeholder that is printed as it is"),
    "doubtful-key": ("warning", "a key of a content that is probably another one"),
    "doubtful-template": ("warning", "a template that prints something else than it seems to"),
    "doubtful-comparison": ("warning", "a comparison that is probably not what was meant"),
    "doubtful-value": ("warning", "a value that is probably not what was meant"),
    "expired-message": ("warning", "a message whose time is over; check --strict allows it"),
    "removed-step": ("warning", "runs of a journey that wait in a step which is gone"),
    "unseen-type": ("warning", "a comparison with a type that no value in the data has"),
    "mixed-types": (
        "warning",
        "a comparison that some values in the data have another type for",
    ),
    "unread-value": (
        "warning",
        "values in the data that are no version, date or number, where the rules need one",
    ),
    "unseen-field": ("warning", "a field that no rule sets and no customer in the data has"),
}

CODES: Final = {code: meaning for code, (_, meaning) in _CODES.items()}
"""Every code of a diagnostic, and its meaning. Codes never change."""

WARNINGS: Final = frozenset(code for code, (kind, _) in _CODES.items() if kind == "warning")
"""The codes of warnings. All others are errors: a policy with an error is not used."""

RULE_ENGINE: Final = "rule-engine"
"""The code of what the trial in the rule engine finds, which no file shows by itself."""

_LISTED = 12


class Diagnostic(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong in the rule files.

    `line` and `column` count from 1, columns in characters; both are 0 for a whole file or folder.
    With an error the policy is not used; with a warning it is.
    """

    code: str
    file: str
    message: str
    severity: Severity = "error"
    line: int = 0
    column: int = 0
    hint: str = ""
    source_line: str = ""

    @property
    def place(self) -> str:
        """`file:line:column`."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def render(self) -> str:
        """The place and what is wrong, the line with a caret, and the hint."""
        text = f"{self.place}: {self.severity}: {self.message} [{self.code}]"
        if self.source_line:
            number = str(self.line)
            text += f"\n  {number} | {self.source_line.expandtabs(1)}"
            text += f"\n  {' ' * len(number)} | {_blank(self.source_line[: self.column - 1])}^"
        return f"{text}\n  hint: {self.hint}" if self.hint else text

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain data, ready for JSON."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def render_all(diagnostics: Iterable[Diagnostic]) -> str:
    """All of them, with a blank line between two."""
    return "\n\n".join(diagnostic.render() for diagnostic in diagnostics)


def _blank(text: str) -> str:
    """Spaces as wide as the text on a terminal: Chinese takes two cells, combining marks none."""
    cells = 0
    for letter in text:
        if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
            continue
        cells += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
    return " " * cells


def nearest(word: str, options: Iterable[str]) -> str | None:
    """The option most like the word, or None; upper and lower case are the same."""
    by_lower = {option.lower(): option for option in reversed(list(options))}
    found = get_close_matches(word.lower(), by_lower, 1)
    return by_lower[found[0]] if found else None


def hint_for(word: str, options: Iterable[str]) -> str:
    """`did you mean "x"?`, or else the options."""
    known = list(options)
    if found := nearest(word, known):
        return f'did you mean "{found}"?'
    return f"use {one_of(known)}" if known else ""


def one_of(options: Iterable[str]) -> str:
    """`one of a, b, c`, shortened if there are many; a single option alone."""
    known = list(options)
    shown = ", ".join(known[:_LISTED]) + (", …" if len(known) > _LISTED else "")
    return f"one of {shown}" if len(known) > 1 else shown
