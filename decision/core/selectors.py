"""Selectors: which candidates a business rule touches, as bit masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

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


class SelectorIndex:
    """Says which of some candidates a selector matches, without asking each of them.

    For each value of each key it holds the mask of the candidates that have it.
    """

    def __init__(self, candidates: Sequence[CandidateInfo]) -> None:
        self._everything = (1 << len(candidates)) - 1
        self._messages: dict[str, int] = {}
        self._values: dict[str, dict[str, int]] = {
            "tags": {},
            "category": {},
            "purpose": {},
            "channel": {},
        }
        for index, candidate in enumerate(candidates):
            bit = 1 << index
            own = self._messages
            own[candidate.message] = own.get(candidate.message, 0) | bit
            for key, masks in self._values.items():
                found = getattr(candidate, key)
                for value in found if key == "tags" else (found,):
                    masks[value] = masks.get(value, 0) | bit

    def mask(self, selector: Selector) -> int:
        """The mask of the candidates that `matches` finds."""
        found = self._everything
        if selector.messages is not None:
            found &= self._named(selector.messages)
        for key, masks in self._values.items():
            wanted = getattr(selector, key)
            if wanted is not None:
                found &= _union(masks.get(value, 0) for value in wanted)
        return found

    def _named(self, globs: Iterable[str]) -> int:
        names = self._messages
        return _union(
            _union(mask for name, mask in names.items() if fnmatchcase(name, glob))
            if any(letter in glob for letter in "*?[")
            else names.get(glob, 0)
            for glob in globs
        )


def _union(masks: Iterable[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found


def mask_where(flags: Iterable[bool]) -> int:
    """The bit mask whose bit i is the i-th flag."""
    mask = 0
    for index, flag in enumerate(flags):
        if flag:
            mask |= 1 << index
    return mask


def flags_of(mask: int, count: int) -> NDArray[np.bool_]:
    """The first `count` bits of a mask as truth values."""
    octets = np.frombuffer(mask.to_bytes(count // 8 + 1, "little"), dtype=np.uint8)
    return np.unpackbits(octets, bitorder="little")[:count].astype(np.bool_)


def indices(mask: int) -> list[int]:
    """The positions of the set bits, ascending."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found
