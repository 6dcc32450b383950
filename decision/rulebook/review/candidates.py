"""The policy's candidates as bit masks: who is selected, and who is shown where.

Masks come from an index by name, so that a selector costs the names it lists and not the
candidates there are.
"""

from __future__ import annotations

import re
from collections import defaultdict
from fnmatch import translate

from decision.core.definition import PolicyDefinition, Selector

_GLOB = re.compile(r"[*?\[]")


class Candidates:
    """Every message × channel, by the index that it has in the policy."""

    def __init__(self, definition: PolicyDefinition) -> None:
        self.pairs = [
            (message, channel) for message in definition.messages for channel in message.channels
        ]
        self.everything = (1 << len(self.pairs)) - 1
        self.messages: dict[str, int] = defaultdict(int)
        self.channels: dict[str, int] = defaultdict(int)
        self._purposes: dict[str, int] = defaultdict(int)
        self._categories: dict[str, int] = defaultdict(int)
        self._tags: dict[str, int] = defaultdict(int)
        placed: dict[str, int] = defaultdict(int)
        anywhere = 0
        for index, (message, channel) in enumerate(self.pairs):
            bit = 1 << index
            self.messages[message.name] |= bit
            self.channels[channel] |= bit
            self._purposes[message.purpose] |= bit
            self._categories[message.category] |= bit
            for tag in message.tags:
                self._tags[tag] |= bit
            if message.placements is None:
                anywhere |= bit
            for placement in message.placements or ():
                placed[placement] |= bit
        self._globs: dict[str, int] = {}
        self.shown = {
            placement.name: (anywhere | placed[placement.name])
            & _any(self.channels, placement.channels)
            for placement in definition.placements
        }

    def selected(self, selector: Selector) -> int:
        """The mask of the candidates that a selector matches."""
        mask = self.everything
        if selector.messages is not None:
            chosen = 0
            for name in selector.messages:
                chosen |= self.named(name)
            mask &= chosen
        for names, index in (
            (selector.tags, self._tags),
            (selector.category, self._categories),
            (selector.purpose, self._purposes),
            (selector.channel, self.channels),
        ):
            if names is not None:
                mask &= _any(index, names)
        return mask

    def named(self, glob: str) -> int:
        """The mask of the messages of a name, or named like a glob."""
        if not _GLOB.search(glob):
            return self.messages.get(glob, 0)
        found = self._globs.get(glob)
        if found is None:
            fits = re.compile(translate(glob)).match
            found = 0
            for name, mask in self.messages.items():
                if fits(name):
                    found |= mask
            self._globs[glob] = found
        return found


def _any(index: dict[str, int], names: tuple[str, ...]) -> int:
    mask = 0
    for name in names:
        mask |= index.get(name, 0)
    return mask
