"""What both stores do alike with timers and counts of runs."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from decision.core.journeys.runs import standing_of
from decision.core.journeys.state import JourneyState
from decision.core.timers import tally_of

_NUMBERED: Final = re.compile(r"([A-Za-z_:-]{0,12}0{0,8})([1-9][0-9]{0,17})")


def split_id(customer_id: str) -> tuple[str, str]:
    """The prefix of a customer's id, by which the entries of a bucket are listed, and the rest.

    A rest that is a 64-bit integer is packed in a few bytes by Redis. Joined they are the id.

    >>> split_id("c-1024"), split_id("user0071"), split_id("b2d4-1")
    (('c-', '1024'), ('user00', '71'), ('', 'b2d4-1'))
    """
    found = _NUMBERED.fullmatch(customer_id)
    return (found[1], found[2]) if found else ("", customer_id)


def score_of(at: int, *, held: bool = False) -> int:
    """When a near timer is due: ends of leases are odd, which tells them apart.

    >>> score_of(7), score_of(8), score_of(7, held=True)
    (6, 8, 7)
    """
    return at | 1 if held else at & ~1


def tally_of_erasure(state: JourneyState | None) -> Counter[str]:
    """What an erasure adds to counts: each run leaves its step, and ends as `erased`."""
    changes: Counter[str] = Counter()
    changes.subtract(standing_of(state))
    for journey, runs in state.runs.items() if state else ():
        changes[tally_of(journey, "!erased")] += len(runs)
    return changes
