"""Selectors: which candidates a business rule touches, as bit masks."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from decision.core.candidates import CandidateInfo
from decision.core.definition import Selector
from decision.core.document import ContactKind
from decision.core.masks import masks_by, union


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
    """Says which of some candidates a selector matches, without asking each of them."""

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
        """The mask of the candidates that `matches` finds."""
        found = self._everything
        if selector.messages is not None:
            found &= union(map(self._named, selector.messages))
        for key, masks in self._values.items():
            wanted = getattr(selector, key)
            if wanted is not None:
                found &= union(masks.get(value, 0) for value in wanted)
        return found

    def _named(self, glob: str) -> int:
        """The candidates whose message's name matches a glob."""
        if not any(letter in glob for letter in "*?["):
            return self._messages.get(glob, 0)
        return union(mask for name, mask in self._messages.items() if fnmatchcase(name, glob))
