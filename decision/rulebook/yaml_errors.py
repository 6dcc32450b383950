"""Errors of the YAML parser in plain words."""

from __future__ import annotations

from typing import Final

from ruamel.yaml.error import MarkedYAMLError

_QUOTES: Final = "put quotes around the whole text"
_OPEN_QUOTE: Final = ("a quote is opened here and never closed", "add the closing quote")

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
    ("could not find expected ':'", "a colon is missing after this key", "write key: value"),
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


def explain(error: MarkedYAMLError) -> tuple[int, int, str, str]:
    """The line and column (from 1), message and hint for an error of the parser."""
    problem = str(error.problem or error.context or "not YAML")
    message, hint = next(
        (found for words, *found in _KNOWN if words in problem),
        [f"this is not valid YAML: {problem}", ""],
    )
    mark = error.problem_mark or error.context_mark
    if (message, hint) == _OPEN_QUOTE:
        mark = error.context_mark or mark
    return getattr(mark, "line", 0) + 1, getattr(mark, "column", 0) + 1, message, hint
