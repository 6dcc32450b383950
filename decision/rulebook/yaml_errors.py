"""What a YAML parser complains about, in the words of people who do not parse YAML."""

from __future__ import annotations

from typing import Final

from ruamel.yaml.error import MarkedYAMLError

_QUOTES: Final = "put quotes around the whole text"

_KNOWN: Final = (
    # (what the parser says, at the place of the context?, message, hint)
    (
        "character '\\t' that cannot start",
        False,
        "a tab stands here",
        "use spaces; rule files are indented by spaces alone",
    ),
    ("character '@' that cannot", False, "a text cannot start with @", _QUOTES),
    ("character '`' that cannot", False, "a text cannot start with `", _QUOTES),
    ("character '%' that cannot", False, "a text cannot start with %", _QUOTES),
    ("character '|' that cannot", False, "a text cannot start with | here", _QUOTES),
    ("character '>' that cannot", False, "a text cannot start with > here", _QUOTES),
    (
        "mapping values are not allowed",
        False,
        "a colon stands where it cannot",
        'check the indentation and the line before, or put quotes around a text that holds ": "',
    ),
    (
        "sequence entries are not allowed",
        False,
        "a list cannot start here",
        "put each - on a line of its own, indented under its key",
    ),
    (
        "could not find expected ':'",
        False,
        "a colon is missing after this key",
        "write key: value",
    ),
    ("found unexpected end of stream", True, "a quote is opened here and never closed", ""),
    (
        "found unexpected document separator",
        True,
        "a quote is opened here and never closed",
        "",
    ),
    ("expected ',' or ']'", False, "a comma or ] is missing before this", ""),
    ("expected ',' or '}'", False, "a comma or } is missing before this", ""),
    (
        "expected <block end>, but found '<scalar>'",
        False,
        "more text stands here than was expected",
        "check the indentation, or put quotes around the whole text",
    ),
    (
        "expected <block end>",
        False,
        "this does not fit the lines before it",
        "things on one level start in one column",
    ),
    (
        "expected the node content, but found '<stream end>'",
        False,
        "the file ends before a bracket is closed",
        "",
    ),
    ("expected the node content", False, "a value is missing before this", ""),
    (
        "unknown escape character",
        False,
        "a backslash in double quotes is followed by a letter that means nothing",
        "use single quotes, or write \\\\ for a backslash",
    ),
    (
        "expected alphabetic or numeric character",
        False,
        "a text cannot start with * or &",
        _QUOTES,
    ),
)


def explain(error: MarkedYAMLError) -> tuple[int, int, str, str]:
    """Line and column from 1, the message and the hint for what the parser has raised."""
    problem = str(error.problem or error.context or "not YAML")
    for words, at_context, message, hint in _KNOWN:
        if words in problem:
            mark = error.context_mark if at_context else None
            return *_position(error, mark), message, hint
    return *_position(error, None), f"this is not YAML: {problem}", ""


def _position(error: MarkedYAMLError, preferred: object) -> tuple[int, int]:
    mark = preferred or error.problem_mark or error.context_mark
    line, column = getattr(mark, "line", 0), getattr(mark, "column", 0)
    return line + 1, column + 1
