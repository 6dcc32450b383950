"""The policy's candidates as bit masks: which ones a selector matches, and where each is shown."""

from __future__ import annotations

from functools import cache

from decision.core.candidates import CandidateInfo
from decision.core.definition import PolicyDefinition, Selector
from decision.core.masks import masks_by
from decision.core.selectors import SelectorIndex


class Candidates:
    """Every message × channel, by the index that it has in the policy."""

    def __init__(self, definition: PolicyDefinition) -> None:
        self.pairs = [
            (message, channel) for message in definition.messages for channel in message.channels
        ]
        self.everything = (1 << len(self.pairs)) - 1
        self.selected = cache(
            SelectorIndex(
                [
                    CandidateInfo(one.name, channel, one.category, one.purpose, one.tags, one.value)
                    for one, channel in self.pairs
                ]
            ).mask
        )
        """The mask of the candidates that a selector matches."""
        placed = masks_by(
            (None,) if message.placements is None else message.placements
            for message, _ in self.pairs
        )
        self.shown = {
            one.name: (placed.get(None, 0) | placed.get(one.name, 0))
            & self.selected(Selector(channel=one.channels))
            for one in definition.placements
        }
