"""Two changes of one text put together, line by line (diff3)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from decision.drafts.line_diff import Match, lines_of, matches


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """A place where both have changed the same lines, each in another way.

    The lines count from 1; where a text is empty, it is the line before which there is nothing.
    """

    base_line: int
    mine_line: int
    theirs_line: int
    base: str
    mine: str
    theirs: str


class Merge(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it. Where there are overlaps, `text` has both, between marked lines."""

    text: str
    overlaps: list[Overlap]


def merge(base: str, mine: str, theirs: str) -> Merge:
    r"""Mine and theirs, which were both made from a base.

    Changes that touch each other overlap: at least one unchanged line is between two that do not.

    >>> merge("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n").text
    'A\nb\nC\n'
    >>> merge("a\n", "A\n", "a!\n").overlaps[0].theirs
    'a!\n'
    """
    if mine == theirs or base == theirs:
        return Merge(text=mine, overlaps=[])
    if base == mine:
        return Merge(text=theirs, overlaps=[])
    old, my, other = lines_of(base), lines_of(mine), lines_of(theirs)
    text: list[str] = []
    overlaps: list[Overlap] = []
    done = _Place(0, 0, 0)
    for same, size in _same_in_all(old, my, other):
        was, mine, theirs = (
            "".join(lines[first:end])
            for lines, first, end in zip((old, my, other), done, same, strict=True)
        )
        if mine in (was, theirs):
            text.append(theirs)
        elif theirs == was:
            text.append(mine)
        else:
            place = _Place(*(number + 1 for number in done))
            overlaps.append(
                Overlap(
                    base_line=place.base,
                    mine_line=place.mine,
                    theirs_line=place.theirs,
                    base=was,
                    mine=mine,
                    theirs=theirs,
                )
            )
            text.append(_marked(mine, theirs))
        text += old[same.base : same.base + size]
        done = _Place(*(number + size for number in same))
    return Merge(text="".join(text), overlaps=overlaps)


class _Place(NamedTuple):
    """The number of a line in each of the three texts, from 0."""

    base: int
    mine: int
    theirs: int


def _same_in_all(
    old: list[str], mine: list[str], theirs: list[str]
) -> Iterator[tuple[_Place, int]]:
    """Lines that neither has changed: where they begin and how many; at last the end, with 0."""
    others = matches(old, theirs)
    firsts = [one.a for one in others]
    for match in matches(old, mine):
        for place in range(max(0, bisect_right(firsts, match.a) - 1), len(others)):
            other = others[place]
            first = max(match.a, other.a)
            end = min(match.a + match.size, other.a + other.size)
            if other.a >= match.a + match.size:
                break
            if first < end:
                yield _Place(first, _along(match, first), _along(other, first)), end - first
    yield _Place(len(old), len(mine), len(theirs)), 0


def _along(match: Match, line: int) -> int:
    return match.b + line - match.a


def _marked(mine: str, theirs: str) -> str:
    def ended(text: str) -> str:
        return text if not text or text.endswith("\n") else text + "\n"

    return f"<<<<<<< mine\n{ended(mine)}=======\n{ended(theirs)}>>>>>>> theirs\n"
