"""Which lines of two texts are the same, and what differs, as data for a page."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Final, Literal, NamedTuple

import msgspec

CONTEXT: Final = 3
"""Unchanged lines that are shown around a change."""

MOST_KEPT: Final = 5_000
"""Lines of one file's diff that are kept to be shown."""

_MOST_WORK: Final = 5_000_000
"""Looks at lines for one comparison, some seconds. What is left to compare then, and has no line
that is there just once in both, counts as changed altogether."""


class Match(NamedTuple):
    """`size` lines that are the same, from line `a` of one text and `b` of the other on."""

    a: int
    b: int
    size: int


class DiffLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a diff. `old` and `new` are its numbers, from 1; None where it is not there."""

    kind: Literal["same", "added", "removed"]
    old: int | None
    new: int | None
    text: str


class FileDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What differs in one file: groups of lines, each with some unchanged lines around.

    `added` and `removed` count all lines; the groups have the first `MOST_KEPT`.
    """

    file: str
    kind: Literal["added", "removed", "changed"]
    added: int
    removed: int
    hunks: list[list[DiffLine]]


def lines_of(text: str) -> list[str]:
    r"""The lines of a text with their ends; only line feeds end one, as in rule files.

    >>> lines_of("a\nb\u2028c")
    ['a\n', 'b\u2028c']
    """
    lines = text.split("\n")
    return [*(line + "\n" for line in lines[:-1]), *([lines[-1]] if lines[-1] else [])]


def matches(a: Sequence[str], b: Sequence[str]) -> list[Match]:
    """The lines that are the same, in order (patience diff): lines that are there just once in
    both texts lead, so that what looks alike is not taken for the same.

    >>> matches(["x", "a", "y"], ["x", "b", "y"])
    [Match(a=0, b=0, size=1), Match(a=2, b=2, size=1)]
    """
    found: list[Match] = []
    for match in _matches(a, b, 0, len(a), 0, len(b)):
        last = found[-1] if found else None
        if last and (last.a + last.size, last.b + last.size) == (match.a, match.b):
            found[-1] = last._replace(size=last.size + match.size)
        else:
            found.append(match)
    return found


def diff_files(old: Mapping[str, str], new: Mapping[str, str]) -> list[FileDiff]:
    """What differs between two sets of files, in the order of their names."""
    found = []
    for file in sorted({*old, *new}):
        before, after = old.get(file), new.get(file)
        if before == after:
            continue
        a, b = lines_of(before or ""), lines_of(after or "")
        same = matches(a, b)
        common = sum(match.size for match in same)
        kind: Literal["added", "removed", "changed"] = (
            "added" if before is None else "removed" if after is None else "changed"
        )
        found.append(
            FileDiff(
                file=file,
                kind=kind,
                added=len(b) - common,
                removed=len(a) - common,
                hunks=_hunks(_all_lines(a, b, same), CONTEXT, MOST_KEPT),
            )
        )
    return found


def diff_lines(old: str, new: str, context: int = CONTEXT) -> list[list[DiffLine]]:
    """What differs between two texts, without the ends of lines."""
    a, b = lines_of(old), lines_of(new)
    return _hunks(_all_lines(a, b, matches(a, b)), context, len(a) + len(b))


def _hunks(lines: Iterator[DiffLine], context: int, most: int) -> list[list[DiffLine]]:
    """Groups of lines that differ, with the same ones around; about `most` lines are kept."""
    hunks: list[list[DiffLine]] = []
    before: deque[DiffLine] = deque(maxlen=context)
    same = kept = 0
    for line in lines:
        if line.kind == "same":
            same += 1
            if hunks and same <= context:
                hunks[-1].append(line)
            else:
                before.append(line)
            continue
        if kept >= most:
            break
        if not hunks or same > 2 * context:
            hunks.append([])
        hunks[-1] += [*before, line]
        before.clear()
        same, kept = 0, kept + 1
    return hunks


def _all_lines(old: list[str], new: list[str], same: list[Match]) -> Iterator[DiffLine]:
    a = b = 0
    for match in (*same, Match(len(old), len(new), 0)):
        for n in range(a, match.a):
            yield DiffLine(kind="removed", old=n + 1, new=None, text=_shown(old[n]))
        for n in range(b, match.b):
            yield DiffLine(kind="added", old=None, new=n + 1, text=_shown(new[n]))
        for n in range(match.size):
            a, b = match.a + n, match.b + n
            yield DiffLine(kind="same", old=a + 1, new=b + 1, text=_shown(new[b]))
        a, b = match.a + match.size, match.b + match.size


def _shown(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _matches(
    a: Sequence[str], b: Sequence[str], a0: int, a1: int, b0: int, b1: int
) -> Iterator[Match]:
    """Between `a0` and `a1`, `b0` and `b1`. A stack in place of recursion: texts can be long."""
    stack: list[tuple[int, int, int, int] | Match] = [(a0, a1, b0, b1)]
    left = _MOST_WORK
    while stack:
        part = stack.pop()
        if isinstance(part, Match):
            yield part
            continue
        a0, a1, b0, b1 = part
        size = 0
        while a0 + size < a1 and b0 + size < b1 and a[a0 + size] == b[b0 + size]:
            size += 1
        if size:
            yield Match(a0, b0, size)
        a0, b0, end = a0 + size, b0 + size, 0
        while a0 < a1 - end and b0 < b1 - end and a[a1 - end - 1] == b[b1 - end - 1]:
            end += 1
        a1, b1 = a1 - end, b1 - end
        if end:
            stack.append(Match(a1, b1, end))
        if a0 == a1 or b0 == b1:
            continue
        mine, theirs = a1 - a0, b1 - b0
        left -= mine + theirs
        if left < 0:
            continue
        if anchors := _anchors(a, b, a0, a1, b0, b1):
            here: list[tuple[int, int, int, int] | Match] = []
            for x, y in anchors:
                here += [(a0, x, b0, y), Match(x, y, 1)]
                a0, b0 = x + 1, y + 1
            stack += reversed([*here, (a0, a1, b0, b1)])
        elif (cost := mine * theirs * min(mine, theirs) // 8) <= left:  # as much as it can take
            left -= cost
            matcher = SequenceMatcher(None, a[a0:a1], b[b0:b1], autojunk=False)
            stack += [
                Match(a0 + x, b0 + y, size)
                for x, y, size in reversed(matcher.get_matching_blocks()[:-1])
            ]


def _anchors(
    a: Sequence[str], b: Sequence[str], a0: int, a1: int, b0: int, b1: int
) -> list[tuple[int, int]]:
    """The longest ascending row of lines that are there just once in both parts."""
    once_a, once_b = _once(a, a0, a1), _once(b, b0, b1)
    pairs = [(x, once_b[line]) for line, x in once_a.items() if line in once_b]
    ends: list[int] = []
    rows: list[int] = []
    before: list[int] = []
    for number, (_, y) in enumerate(pairs):
        place = bisect_left(ends, y)
        before.append(rows[place - 1] if place else -1)
        ends[place : place + 1], rows[place : place + 1] = [y], [number]
    found = []
    number = rows[-1] if rows else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]


def _once(lines: Sequence[str], first: int, end: int) -> dict[str, int]:
    """Line → its place, of those that are there just once; in order."""
    counts = Counter(lines[first:end])
    return {lines[n]: n for n in range(first, end) if counts[lines[n]] == 1}
