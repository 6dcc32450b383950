"""Errors of the YAML parser in plain words."""

from __future__ import annotations

import re
from typing import Final

from ruamel.yaml.error import MarkedYAMLError

_QUOTES: Final = "put quotes around the whole text"
_OPEN_QUOTE: Final = ("a quote is opened here and never closed", "add the closing quote")

_NO_COLON: Final = "a colon is missing after this key"
_KEY_AND_VALUE: Final = re.compile(r"\s*([\w.-]+)(?:\s*[:=]\s*|\s+)(\S.*?)\s*")
"""A key and its value on one line, with a colon without a space, an equals sign or nothing."""

_NEAR: Final = 200
"""Characters before an error that are looked at, so that a very long line takes no longer."""

_BRACKETS: Final = re.compile(r"[\w.][(\[]?\[$|\w\.\[$")
_TWO_PAIRS: Final = re.compile(r"([\w.-]+): ([^,{}\[\]]*?[\s;]) *([\w.-]+):$")

_KNOWN: Final = (
    # (what the parser says, message, hint)
    ("character '\\t' that cannot start", "a tab is not allowed here", "indent with spaces only"),
    *(
        (f"character '{sign}' that cannot", f"a text cannot start with {sign}", _QUOTES)
        for sign in "@`%|>"
    ),
    (
        "mapping values are not allowed",
        "a colon is not allowed here",
        "check the indentation and the line above (use : and not ：), or put quotes around a text "
        'with ": " in it',
    ),
    (
        "sequence entries are not allowed",
        "a list cannot start here",
        "put each - on its own line, indented under its key",
    ),
    ("could not find expected ':'", _NO_COLON, "write key: value"),
    ("found unexpected end of stream", *_OPEN_QUOTE),
    ("found unexpected document separator", *_OPEN_QUOTE),
    ("expected ',' or ']'", "a comma or ] is missing before this", "add it"),
    ("expected ',' or '}'", "a comma or } is missing before this", "add it"),
    (
        "expected <block end>, but found '<scalar>'",
        "this text is not expected here",
        "check the indentation, or put double quotes around the whole text",
    ),
    (
        "expected <block end>",
        "the indentation does not match the lines above",
        "start keys of the same level in the same column, and close all quotes above",
    ),
    (
        "expected the node content, but found '<stream end>'",
        "the file ends before a bracket is closed",
        "add the missing ] or }",
    ),
    ("expected the node content", "a value is missing before this", "add the value"),
    (
        "unknown escape character",
        "the letter after this backslash has no special meaning",
        "use single quotes, or write \\\\ for one backslash",
    ),
    ("expected alphabetic or numeric character", "a text cannot start with * or &", _QUOTES),
)


def explain(error: MarkedYAMLError, text: str = "") -> tuple[int, int, str, str]:
    """The line and column (from 1), message and hint for an error of the parser."""
    problem = str(error.problem or error.context or "not YAML")
    message, hint = next(
        (found for words, *found in _KNOWN if words in problem),
        [f"this is not valid YAML: {problem}", ""],
    )
    mark = error.problem_mark or error.context_mark
    if message.startswith("a comma or ") and mark is not None:
        written = _line(text, mark.line)[max(0, mark.column - _NEAR) : mark.column + 1]
        if _BRACKETS.search(written):
            message = "a name cannot have brackets"
            hint = (
                "to count certain events, define what they are: events: {tea: {of: purchase, "
                "when: {event.category: tea}}}; each: items goes through a list"
            )
        elif found := _TWO_PAIRS.search(written):
            hint = f"write {found[1]}: {found[2].rstrip('; ')}, {found[3]}: …"
        elif (start := error.context_mark) is not None and start.line < mark.line:
            opened = _line(text, start.line)
            if opened and not opened.rstrip().endswith((",", "{", "[")):
                mark = start
                message = f"{opened[mark.column]} is opened here and not closed in its line"
                hint = f"add {'}' if opened[mark.column] == '{' else ']'} at the end of the line"
    if (message, hint) == _OPEN_QUOTE:
        mark = error.context_mark or mark
    if message == _NO_COLON:
        mark = error.context_mark or mark
        written = _line(text, mark.line) if mark is not None else ""
        if found := _KEY_AND_VALUE.fullmatch(written):
            message = "a space is missing after the colon" if ":" in written else message
            hint = f"write {found[1]}: {found[2]}"
    return getattr(mark, "line", 0) + 1, getattr(mark, "column", 0) + 1, message, hint


def _line(text: str, number: int) -> str:
    """A line, counted from 0."""
    lines = text.splitlines()
    return lines[number] if number < len(lines) else ""
