"""Selectors: which candidates a business rule touches, as bit masks."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from decision.core.candidates import CandidateInfo
from decision.core.definition import Selector
from decision.core.document import ContactKind
from decision.core.masks import masks_by, union


def matches(of: Selector, thing: CandidateInfo | ContactKind) -> bool:
    """Whether all keys given in a cap's `of` match; its `messages` are exact names, not globs."""
    return (
        (of.messages is None or thing.message in of.messages)
        and (of.tags is None or any(tag in of.tags for tag in thing.tags))
        and (of.category is None or thing.category in of.category)
        and (of.purpose is None or thing.purpose in of.purpose)
        and (of.channel is None or thing.channel in of.channel)
    )


class SelectorIndex:
    """Which of some candidates a selector matches; its `messages` are globs."""

    def __init__(self, candidates: Sequence[CandidateInfo]) -> None:
        self._everything = (1 << len(candidates)) - 1
        self._messages = masks_by((candidate.message,) for candidate in candidates)
        self._values = {
            "tags": masks_by(candidate.tags for candidate in candidates),
            "category": masks_by((candidate.category,) for candidate in candidates),
            "purpose": masks_by((candidate.purpose,) for candidate in candidates),
            "channel": masks_by((candidate.channel,) for candidate in candidates),
        }

    def mask(self, selector: Selector) -> int:
        """The mask of the candidates for which all keys given match."""
        found = self._everything
        if selector.messages is not None:
            found &= union(map(self._named, selector.messages))
        for key, masks in self._values.items():
            wanted = getattr(selector, key)
            if wanted is not None:
                found &= union(masks.get(value, 0) for value in wanted)
        return found

    def _named(self, glob: str) -> int:
        """The candidates of messages that a glob matches."""
        if not any(letter in glob for letter in "*?["):
            return self._messages.get(glob, 0)
        return union(mask for name, mask in self._messages.items() if fnmatchcase(name, glob))
