"""What is wrong with a rule file, where, and how to mend it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final, Literal

import msgspec

CODES: Final = {
    "unreadable-file": "a file or folder cannot be read",
    "no-rules": "the folder holds no rules at all",
    "ignored-file": "a file looks like a rule file, and is not read",
    "bad-encoding": "the file is not UTF-8",
    "bad-character": "the file holds a character that nobody can see",
    "too-large": "the file is larger than 5 MB",
    "too-deep": "more than 50 levels are nested",
    "bad-yaml": "the text is not YAML",
    "unsupported-yaml": "a part of YAML that rule files do without: anchors, tags, documents",
    "duplicate-key": "a key is given twice in one mapping",
    "unknown-key": "a key that does not exist there",
    "missing-key": "a key that must be given is not",
    "duplicate-name": "a name is given twice",
    "bad-name": "a name that cannot be used",
    "unknown-name": "a name that nothing has",
    "unknown-field": "a field that nobody can provide",
    "unknown-operator": "an operator that does not exist",
    "wrong-type": "a number where a text must be, and the like",
    "bad-value": "a value that is impossible there",
    "bad-pattern": "a regular expression that RE2 does not accept",
    "bad-template": "a content template that cannot be used",
    "conflict": "two parts of the rules that cannot go together",
    "no-effect": "something that can never matter",
    "never-holds": "a condition that nobody can ever meet",
    "dead-part": "an alternative within a condition that nobody can ever meet",
    "always-holds": "a condition, or a part of one, that everybody always meets",
    "shadowed-rule": "a rule all of whose candidates another rule has removed already",
    "boost-of-excluded": "a boost of candidates that are removed whenever it applies",
    "empty-selector": "a rule that no candidate matches",
    "neutral-boost": "a boost by 1, which changes nothing",
    "set-cycle": "rules that set fields for each other in a circle",
    "unreached-state": "a state that nobody gets to, because of those before it",
    "no-catch-all": "states that leave some customers without any",
    "unshown-message": "a message that none of its placements can show",
    "unshown-channel": "a channel of a message that none of its placements has",
    "always-quiet": "a channel, or a message on it, that quiet hours keep silent all day",
    "never-worth-it": "a value that no threshold can be beaten with",
    "budget-mismatch": "a daily budget larger than the total",
    "unmet-cap": "a cap that no message can meet",
    "redundant-cap": "a cap that a stricter one makes needless",
    "holdouts-too-large": "control groups that leave nobody, or next to nobody, outside",
    "too-long": "a text that a channel will probably cut, or send in several parts",
    "unseen-field": "a field that no rule sets and no customer of the sample has",
}
"""Every code a diagnostic may have, and its meaning. Codes never change."""

WARNINGS: Final = frozenset(
    {
        "ignored-file",
        "no-effect",
        "dead-part",
        "always-holds",
        "shadowed-rule",
        "boost-of-excluded",
        "empty-selector",
        "neutral-boost",
        "set-cycle",
        "unreached-state",
        "no-catch-all",
        "unshown-message",
        "unshown-channel",
        "always-quiet",
        "never-worth-it",
        "budget-mismatch",
        "unmet-cap",
        "redundant-cap",
        "holdouts-too-large",
        "too-long",
        "unseen-field",
    }
)
"""The codes of warnings; all others are errors, and keep a policy from being used."""

Severity = Literal["error", "warning"]

_LONGEST_LINE = 1_000
_LISTED = 12


class Diagnostic(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong in the rule files.

    `line` and `column` count from 1, columns in characters; both are 0 where a file or folder as
    a whole is meant. An error keeps the policy from being used; a warning does not.
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
        """The place and reason, the line with a caret under the place, and the hint."""
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


def make_diagnostic(
    code: str,
    file: str,
    line: int,
    column: int,
    message: str,
    *,
    hint: str = "",
    severity: Severity = "error",
    source_line: str = "",
) -> Diagnostic:
    """A diagnostic; its source line is left out where it is too long to be shown."""
    return Diagnostic(
        code=code,
        file=file,
        line=line,
        column=column,
        message=message,
        hint=hint,
        severity=severity,
        source_line=source_line if len(source_line) <= _LONGEST_LINE else "",
    )


def render_all(diagnostics: Iterable[Diagnostic]) -> str:
    """All of them, one after another with a blank line between."""
    return "\n\n".join(diagnostic.render() for diagnostic in diagnostics)


def _blank(text: str) -> str:
    """Blanks as wide as the text on a terminal: Chinese takes two cells, combining marks none."""
    cells = 0
    for letter in text:
        if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
            continue
        cells += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
    return " " * cells


def nearest(word: str, options: Iterable[str]) -> str | None:
    """The option most like the word, upper and lower case being the same, or None."""
    by_lower = {option.lower(): option for option in reversed(list(options))}
    found = get_close_matches(word.lower(), by_lower, 1)
    return by_lower[found[0]] if found else None


def hint_for(word: str, options: Iterable[str]) -> str:
    """`did you mean "x"?`, or else what there is to choose from."""
    known = list(options)
    found = nearest(word, known)
    if found is not None:
        return f'did you mean "{found}"?'
    return one_of(known)


def one_of(options: Iterable[str]) -> str:
    """`one of a, b, c`, shortened where there are many."""
    known = list(options)
    if not known:
        return ""
    shown = ", ".join(known[:_LISTED])
    return f"one of {shown}{', …' if len(known) > _LISTED else ''}"
