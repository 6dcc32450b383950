"""Scores: sums of what events add, each halving with time.

A score is kept as its value at one time, from which its value at any other follows: so the order
in which events arrive does not matter, and nothing is ever added up again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from sys import float_info
from typing import Any, Final

import msgspec

from decision.core.clock import DAY, MINUTE
from decision.core.definition import Score
from decision.core.document import Document, KeptScore
from decision.core.fields import Read

SHORTEST_HALF_LIFE: Final = 10 * MINUTE
LONGEST_HALF_LIFE: Final = 3660 * DAY


def fingerprint(score: Score) -> int:
    """32 bits that differ where a score's definition does: values of two are never mixed."""
    said = msgspec.json.encode([score.half_life, sorted(score.adds.items())])
    return int.from_bytes(blake2b(said, digest_size=4).digest(), "big")


def decayed(value: float, half_life: int, since: int) -> float:
    """What is left of a value after a time; before it (negative), what it then grows from.

    >>> decayed(20, 30 * DAY, 60 * DAY)
    5.0
    """
    try:
        return _finite(value * 2.0 ** (-since / half_life))
    except OverflowError:  # of a time so long before that nobody can mean it
        return _finite(math.copysign(math.inf, value)) if value else 0.0


def _finite(value: float) -> float:
    return max(-float_info.max, min(value, float_info.max))


def united(one: KeptScore, other: KeptScore, in_force: int | None = None) -> KeptScore:
    """Two parts of a score as one.

    Of two definitions, the part by the one `in_force` (its digest); where neither is by that one,
    the part with the later event.
    """
    later, earlier = (one, other) if one.at >= other.at else (other, one)
    if later.digest != earlier.digest:
        return earlier if earlier.digest == in_force else later
    rest = decayed(earlier.value, later.half_life, later.at - earlier.at)
    return msgspec.structs.replace(
        later, value=_finite(later.value + rest), events=one.events + other.events
    )


class Scores:
    """The scores of a policy.

    >>> interest = Score(name="interest", adds={"visit": 1, "order": "total"}, half_life=30 * DAY)
    >>> anna, scores = Document(customer_id="anna"), Scores([interest])
    >>> scores.count(anna, "visit", 0, {})
    >>> scores.count(anna, "order", 60 * DAY, {"total": 20.0})
    >>> scores.value(anna, "interest", 90 * DAY)
    10.125
    """

    def __init__(self, definitions: Iterable[Score] = ()) -> None:
        self.definitions: Final = {score.name: score for score in definitions}
        self.digests: Final = {name: fingerprint(one) for name, one in self.definitions.items()}
        """Score → the fingerprint of its definition."""
        self._by_type: Final[dict[str, list[tuple[Score, float | str]]]] = {}
        for score in self.definitions.values():
            for kind, added in score.adds.items():
                self._by_type.setdefault(kind, []).append((score, added))
        self.event_types: Final = frozenset(self._by_type)
        """The types of events that add to one of them."""

    def count(
        self, document: Document, event_type: str, at: int, properties: Mapping[str, Any]
    ) -> None:
        """Adds an event to the scores that it counts for.

        What was kept by another definition of a score is dropped: a score begins anew where its
        definition changes.
        """
        for score, added in self._by_type.get(event_type, ()):
            amount = properties.get(added) if isinstance(added, str) else added
            if isinstance(amount, bool) or not isinstance(amount, int | float):
                continue
            own = _kept(amount, at, score, self.digests[score.name], 1)
            before = document.scores.get(score.name)
            if before is not None and before.digest == own.digest:
                own = united(before, own)
            document.scores = {**document.scores, score.name: own}

    def properties_read(self, event_type: str) -> frozenset[str]:
        """The properties of a type of event that are added to a score."""
        added = (one for _, one in self._by_type.get(event_type, ()))
        return frozenset(one for one in added if isinstance(one, str))

    def kept(self, name: str, value: float, at: int) -> KeptScore:
        """A score with a value at a time."""
        return _kept(value, at, self.definitions[name], self.digests[name], 1)

    def reader(self, name: str) -> Read:
        """How the field of a score is read."""
        return lambda s: self.value(s.document, name, s.now)

    def value(self, document: Document, name: str, now: int) -> float:
        """The value of a score now; 0 where no event has added to it."""
        kept = document.scores.get(name)
        if kept is None or kept.digest != self.digests[name]:
            return 0.0
        return decayed(kept.value, kept.half_life, now - kept.at)


def _kept(value: float, at: int, score: Score, digest: int, events: int) -> KeptScore:
    try:
        amount = float(value)
    except OverflowError:  # an integer beyond what a float holds
        amount = math.inf if value > 0 else -math.inf
    amount = 0.0 if math.isnan(amount) else _finite(amount)
    return KeptScore(amount, at, score.half_life, digest, events)
