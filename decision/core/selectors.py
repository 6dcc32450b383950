"""Selectors: which candidates a business rule touches, as bit masks."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from decision.core.candidates import CandidateInfo
from decision.core.definition import Selector
from decision.core.document import ContactKind


def matches(
    selector: Selector, candidate: CandidateInfo | ContactKind, *, globs: bool = True
) -> bool:
    """Whether all keys given in the selector match; an empty selector matches everything.

    With `globs` false, `messages` are exact names, as in a cap's `of`.
    """
    if selector.messages is not None:
        name = candidate.message
        if globs:
            if not any(fnmatchcase(name, glob) for glob in selector.messages):
                return False
        elif name not in selector.messages:
            return False
    return (
        (selector.tags is None or any(tag in selector.tags for tag in candidate.tags))
        and (selector.category is None or candidate.category in selector.category)
        and (selector.purpose is None or candidate.purpose in selector.purpose)
        and (selector.channel is None or candidate.channel in selector.channel)
    )


def mask_where(flags: Iterable[bool]) -> int:
    """The bit mask whose bit i is the i-th flag."""
    mask = 0
    for index, flag in enumerate(flags):
        if flag:
            mask |= 1 << index
    return mask


def indices(mask: int) -> list[int]:
    """The positions of the set bits, ascending."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found
