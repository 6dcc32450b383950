"""The syntax of content templates: Jinja's, with names that hold hyphens or begin with digits.

Rule files allow `copy-test` and `tea-line` as names. Jinja would read a subtraction, which
templates do not have; so after a dot such a name is one name: `experiment.copy-test` is
`experiment['copy-test']`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from jinja2 import TemplateSyntaxError, nodes
from jinja2.lexer import TokenStream
from jinja2.sandbox import ImmutableSandboxedEnvironment

from decision.core.errors import NextbestError

LONGEST_TEXT: Final = 10_000
"""Characters of a template, and of what it renders."""

_LOOSE: Final = ("customer", "event", "context")
"""Families whose names nobody defines: what looks like arithmetic with numbers is none of them."""

_Token = tuple[int, str, str]


class TemplateError(NextbestError, ValueError):
    """A template that cannot be used; `line` is counted from 1 within the template."""

    def __init__(self, message: str, line: int = 1, hint: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.hint = hint


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's parser over tokens in which names with hyphens are joined."""

    def _tokenize(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> TokenStream:
        tokens = list(self.lexer.tokeniter(source, name, filename, state))
        return TokenStream(self.lexer.wrap(_joined(tokens), name, filename), name, filename)


_PARSER: Final = _Environment(keep_trailing_newline=True)


@lru_cache(maxsize=8)  # compiled and looked at in turn; nobody changes the tree
def parse(text: str) -> nodes.Template:
    """The syntax tree of a template.

    Raises:
        TemplateError: it cannot be read.
    """
    if len(text) > LONGEST_TEXT:
        message = f"the template has {len(text):,} characters; {LONGEST_TEXT:,} are allowed"
        raise TemplateError(message, hint="shorten it")
    try:
        return _PARSER.parse(text)
    except TemplateSyntaxError as error:
        message = f"the template is incomplete or incorrect: {error.message}"
        raise TemplateError(message, error.lineno) from None
    except (ValueError, OverflowError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise TemplateError(f"the template cannot be read: {reason}") from None


def is_template(text: str) -> bool:
    """Whether the text is more than plain text."""
    return "{{" in text or "{%" in text or "{#" in text


def _joined(tokens: list[_Token]) -> Iterator[_Token]:
    place, family = 0, ""
    while place < len(tokens):
        line, kind, text = tokens[place]
        place += 1
        if kind == "name":
            family = text
        name: list[str] = []
        if kind == "operator" and text == ".":
            name = _name(tokens, place, family)
            place += len(name)
        if len(name) > 1:
            yield line, "operator", "["
            yield line, "string", f"'{''.join(name)}'"
            yield line, "operator", "]"
        else:
            yield line, kind, text
            yield from tokens[place - len(name) : place]


def _name(tokens: list[_Token], place: int, family: str) -> list[str]:
    """The pieces of the name that begins there, with nothing between them."""
    found: list[str] = []
    for _, kind, text in tokens[place:]:
        if kind not in ("name", "integer") and (kind, text) != ("operator", "-"):
            break
        found.append(text)
    while found and found[-1] == "-":
        found.pop()
    if family in _LOOSE and len(found) > 2 and found[-2] == "-":
        follows = tokens[place + len(found)][2] if place + len(found) < len(tokens) else ""
        if found[-1].isdigit() or (found[-1] in _LOOSE and follows == "."):
            return found[:-2]  # customer.points-1, customer.a-customer.b
    return found
