"""A candidate as models and rules see it: one message on one channel."""

from __future__ import annotations

from typing import Final, NamedTuple

from decision.core.document import ContactKind

MOST_CANDIDATES: Final = 1 << 16
"""How many candidates a policy may have: the log numbers them in 16 bits."""


class CandidateInfo(NamedTuple):
    """What is known of a message × channel without a customer; value in `settings.currency`."""

    message: str
    channel: str
    category: str
    purpose: str
    tags: tuple[str, ...]
    value: float

    @property
    def kind(self) -> ContactKind:
        """What a contact of it is, made now."""
        return ContactKind(self.message, self.channel, self.purpose, self.category, self.tags)
