"""Types of events that a policy reads, and others that look as if one of these was meant."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from decision.core.event_effects import CONTACT_EVENTS
from decision.core.policy import Policy

_SIGNS: Final = re.compile(r"[\W_]+")


def _folded(name: str) -> str:
    return _SIGNS.sub("", unicodedata.normalize("NFKC", name).casefold())


class EventNames:
    """The types of events that something in the policy reads: fields, scores, goals and the like.

    Senders may use any name, so one that nobody reads is no error. But one that differs from one
    that is read in nothing but capitals and signs is worth a word.
    """

    def __init__(self, policy: Policy) -> None:
        here, derived = policy.definition, policy.derivations
        found = {*policy.measures(), *policy.scores.event_types, *CONTACT_EVENTS}
        found |= {one.event for one in here.suppressions}
        found |= {one.goal.event for one in here.messages if one.goal is not None}
        found |= {derived.root(name) for name in found | set(derived.definitions)}
        self._read: Final = frozenset(found)
        self._by_fold: Final = {
            _folded(name): name for name in sorted(found) if name not in derived
        }

    def meant_by(self, event_type: str) -> str | None:
        """The type that is read, where this one is not and differs in capitals and signs alone."""
        if event_type in self._read:
            return None
        return self._by_fold.get(_folded(event_type))
