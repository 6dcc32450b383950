"""How many runs of each journey are where, and how they ended, from a store's counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from decision.core.timers import HELD_BACK

REFUSALS: Final = frozenset({"runs", "size"})
"""Why a run is not started, see `JourneyRecord.refused`: no run ends for one of these reasons."""


class JourneyCounts(msgspec.Struct, kw_only=True, repr_omit_defaults=True):
    """`waiting` is step → runs that stand in it, `ended` reason → runs that ended so, ever.

    `held_back` is how many customers have runs that are due and do not go on, `refused` how many
    runs were not started, because something was in the way; `unexplained` how many ended without a
    reason, which is a defect.
    """

    waiting: dict[str, int] = {}
    ended: dict[str, int] = {}
    held_back: int = 0
    refused: int = 0
    unexplained: int = 0

    @property
    def running(self) -> int:
        """Runs that are under way."""
        return sum(self.waiting.values())


def counts_by_journey(tallies: Mapping[str, int]) -> dict[str, JourneyCounts]:
    """Journey → its counts, by name, from `TimerStore.tallies`.

    >>> counts_by_journey({"welcome\\0pause": 2, "welcome\\0!goal": 3, "welcome\\0!runs": 1})
    {'welcome': JourneyCounts(waiting={'pause': 2}, ended={'goal': 3}, refused=1)}
    """
    found: dict[str, JourneyCounts] = {}
    for name, count in sorted(tallies.items()):
        journey, _, what = name.partition("\0")
        own = found.setdefault(journey, JourneyCounts())
        reason = what.removeprefix("!")
        if what == HELD_BACK:
            own.held_back += count
        elif reason == what:
            own.waiting[what] = count
        elif not reason:
            own.unexplained += count
        elif reason in REFUSALS:
            own.refused += count
        else:
            own.ended[reason] = count
    return found
