"""Where in a YAML text somebody is typing: by indentation and brackets, so that it also works while
the text is not valid YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

ITEM: Final = "-"
"""In a path: an item of a list."""

_DASH: Final = re.compile(r"\s*-(?=\s|$)")
_KEY: Final = re.compile(
    r"""\s*("(?:[^"\\]|\\.)*"\s*|'(?:[^']|'')*'\s*|[^\s#,\[\]{}"'|>@`%&*!](?:[^#:]|:(?!\s|$))*)"""
    r""":(?=\s|$)"""
)
"""No two parts can take the same character: a long line costs no more than its length."""

_LONGEST_LINE: Final = 10_000
_LONGEST_VALUE: Final = 100_000
_DEEPEST: Final = 50
"""Beyond these, which nobody writes by hand, nothing is proposed."""

_LONGER_TEXT: Final = re.compile(r"\s*[|>][+\-0-9]*\s*(#.*)?$")
_WORD: Final = re.compile(r"[\w./*?-]*")


class Position(NamedTuple):
    """The place in a text where somebody types `word`, which begins at column `start`, from 1.

    `path` leads there from the top: keys, and `-` for an item of a list. With `is_key` the word may
    be a key of a mapping there, beside the keys `others`; else it is a value. What it replaces
    ends before column `end`.
    """

    path: tuple[str, ...]
    is_key: bool
    others: frozenset[str]
    word: str
    start: int
    end: int


def position_at(lines: Sequence[str], line: int, column: int) -> Position | None:
    """The position at a line and column, both from 1; None in a comment or a text of many lines.

    >>> found = position_at(["messages:", "  tea:", "    channels: [pu"], 3, 18)
    >>> found.path, found.is_key, found.word
    (('messages', 'tea', 'channels', '-'), False, 'pu')
    """
    if not 1 <= line <= len(lines) or column > _LONGEST_LINE:
        return None
    before = lines[line - 1][: column - 1]
    here = _line(before)
    above = list(_above(lines, line - 1, here))
    if any(_LONGER_TEXT.match(one.rest) for one in above):
        return None
    path = [one.name for one in reversed(above)]
    opened = ""
    if above and above[0].rest.lstrip()[:1] in ("{", "[") and above[0].rest.strip():
        between = lines[above[0].line + 1 : line - 1]
        opened = "\n".join([above[0].rest, *between, ""])
    if len(opened) > _LONGEST_VALUE:
        return None
    flow = _flow(opened + before) if opened else None
    if flow is None or not flow.inside:
        path += [part.name for part in here.parts]
        flow = _flow(here.rest)
    if flow.comment or len(path) + len(flow.path) > _DEEPEST:
        return None
    start = len(before) - len(flow.word) + 1
    word = flow.word
    if word[:1] in ("'", '"') and word:
        word, start = word[1:], start + 1
    after = _WORD.match(lines[line - 1], column - 1)
    end = column + (len(after[0]) if after else 0)
    if flow.inside:
        keys = frozenset(flow.keys) if flow.is_key else frozenset[str]()
        return Position((*path, *flow.path), flow.is_key, keys, word, start, end)
    if here.parts and here.parts[-1].name != ITEM:
        return Position(tuple(path), False, frozenset(), word, start, end)
    others = frozenset(_others(lines, line - 1, here))
    return Position(tuple(path), True, others, word, start, end)


class _Part(NamedTuple):
    """A key, or the dash of an item: the column at which it stands (from 0), what follows it in
    its line, and the number of the line, from 0."""

    indent: int
    name: str
    rest: str = ""
    line: int = 0


class _Line(NamedTuple):
    """The dashes and the key with which a line begins, and what comes then, from a column on."""

    parts: list[_Part]
    rest: str
    indent: int

    @property
    def first(self) -> int:
        """Where the line begins."""
        return self.parts[0].indent if self.parts else self.indent


def _line(text: str, number: int = 0) -> _Line:
    parts: list[_Part] = []
    place = 0
    text = text[:_LONGEST_LINE]
    while len(parts) < _DEEPEST and (dash := _DASH.match(text, place)):
        parts.append(_Part(dash.end() - 1, ITEM, text[dash.end() :], number))
        place = dash.end()
    if key := _KEY.match(text, place):
        parts.append(_Part(key.start(1), _plain(key[1].rstrip()), text[key.end() :], number))
        place = key.end()
    rest = text[place:]
    return _Line(parts, rest, place + len(rest) - len(rest.lstrip()))


def _plain(key: str) -> str:
    return key[1:-1] if key[0] in "\"'" else key


def _above(lines: Sequence[str], number: int, here: _Line) -> Iterator[_Part]:
    """What a line is below of, the nearest first: what stands less far to the right."""
    indent, in_item = here.first, bool(here.parts) and here.parts[0].name == ITEM
    for place in range(number - 1, -1, -1):
        if not indent and not in_item:
            return
        text = lines[place]
        if _begins(text) >= indent + in_item or _blank(text):
            continue
        for part in reversed(_line(text, place).parts):
            # The dashes of a list may stand right below its key.
            if part.indent < indent or (in_item and part.indent == indent and part.name != ITEM):
                yield part
                indent, in_item = part.indent, part.name == ITEM


def _others(lines: Sequence[str], number: int, here: _Line) -> Iterator[str]:
    """The keys of the mapping in which a line without one is."""
    indent = here.indent
    before = () if here.parts else range(number - 1, -1, -1)
    for places in (before, range(number + 1, len(lines))):
        for place in places:
            text = lines[place]
            if _begins(text) > indent or _blank(text):
                continue
            line = _line(text)
            ends = line.first < indent
            if places is before or not ends:
                yield from (part.name for part in line.parts if part.indent == indent)
            if ends:
                break


def _begins(text: str) -> int:
    return len(text) - len(text.lstrip(" "))


def _blank(text: str) -> bool:
    return not text.strip() or text.lstrip().startswith("#")


class _Flow(NamedTuple):
    """What is open at the end of a value: the path from it, the keys before, the word there."""

    inside: bool
    path: tuple[str, ...]
    is_key: bool
    keys: tuple[str, ...]
    word: str
    comment: bool


def _flow(text: str) -> _Flow:
    """Reads a value up to where somebody types, with its brackets, quotes and comments."""
    opened: list[tuple[str, list[str]]] = []
    keys: list[str | None] = []
    first = place = 0
    blank = True  # whether there are only blanks since `first`
    while place < len(text):
        sign = text[place]
        if sign in "\"'" and blank:
            place, blank = _quoted_until(text, place), False
            continue
        if sign == "#" and (place == 0 or text[place - 1].isspace()):
            ends = text.find("\n", place)
            if ends < 0:
                return _Flow(bool(opened), (), False, (), "", True)
            first, place, blank = ends, ends, True
            continue
        if sign in "{[" and blank:
            opened.append((sign, []))
            keys.append(None)
            first = place + 1
        elif sign in "}]" and opened:
            opened.pop()
            keys.pop()
            first, blank = place + 1, True
        elif sign == "," and opened:
            keys[-1] = None
            first, blank = place + 1, True
        elif (
            sign == ":"
            and opened
            and opened[-1][0] == "{"
            and keys[-1] is None
            and text[place + 1 : place + 2] in ("", " ", "\n", "{", "[", ",", "}")
        ):
            keys[-1] = key = text[first:place].strip().strip("\"'")
            opened[-1][1].append(key)
            first, blank = place + 1, True
        else:
            blank = blank and sign.isspace()
        place += 1
    steps = [ITEM if sign == "[" else key for (sign, _), key in zip(opened, keys, strict=True)]
    path = [step for step in steps if step is not None]
    is_key = bool(opened) and opened[-1][0] == "{" and keys[-1] is None
    known = tuple(opened[-1][1]) if opened else ()
    return _Flow(bool(opened), tuple(path), is_key, known, text[first:].lstrip(), False)


def _quoted_until(text: str, place: int) -> int:
    """Where a text in quotes is over."""
    quote = text[place]
    place += 1
    while place < len(text):
        if text[place] == "\\" and quote == '"':
            place += 1
        elif text[place] == quote:
            return place + 1
        place += 1
    return place
