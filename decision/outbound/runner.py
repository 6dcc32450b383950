"""The runner: claims the timers that are due and has their customers looked at.

Nothing tells it of a new timer, so partitions are asked in turn, a group at a time: at once again
where more was due than there was room for, soon where something was, and less and less often
where nothing is. Any number of processes may do so at once: leases keep them apart, and where one
is lost, the customer's document says how far everything has come.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final

from decision.core.clock import MINUTE
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import PARTITIONS, partition_of
from decision.core.timers import ClaimedWake, Wake
from decision.engine import Engine
from decision.observability import named
from decision.outbound.failing import Failing
from decision.outbound.holding import Holding
from decision.outbound.observer import Unobserved, WakeObserver
from decision.outbound.rounds import Rounds
from decision.outbound.sweeping import Sweeping
from decision.store.codec import UnreadableDocument
from decision.store.damage import DamagedValue

LEASE: Final = 15_000
"""Milliseconds for which a timer is claimed. What whoever dies has claimed waits so long."""

_TOGETHER: Final = 32
_AT_ONCE: Final = 64
"""Customers that are looked at, at most, at one time."""

_SOON: Final = 0.05
"""Seconds from a look at a group of partitions to the next one, where something was due."""

_QUIET: Final = 0.5
_ASLEEP: Final = 2.0
"""The longest such time; the second where the policy has no journeys: then a timer is of a decision
that is asked for again, or of a run that the policy before has left."""

_WATCH: Final = 1.0
"""Seconds between two looks at what stands still."""

_FULL: Final = 0.005
"""Seconds between two looks where as many are looked at as may be."""

_DEFECT_WAITS: Final = 10 * MINUTE
"""How long a customer waits on whom a look failed for no reason that would go by itself."""

_log = logging.getLogger(__name__)


class _Group:
    """Partitions that are asked together; `at` is when they are next, by `monotonic`."""

    def __init__(self, partitions: Sequence[int], at: float) -> None:
        self.partitions, self.at, self.pace = partitions, at, _SOON


class Runner:
    """Looks at customers whose timers are due, until it is told to stop."""

    def __init__(self, engine: Engine, observer: WakeObserver | None = None) -> None:
        self.engine = engine
        self.observer = observer or Unobserved()
        self.at_once = _AT_ONCE
        self._store = engine.runtime.store
        self._groups = [
            _Group(range(first, first + _TOGETHER), monotonic())
            for first in range(0, PARTITIONS, _TOGETHER)
        ]
        self._rounds = Rounds("timers", "timers")
        self._duties = (Holding(engine), Sweeping(engine), Failing(engine))
        self._look_at = 0.0

    async def run(self, stop: asyncio.Event, patience: float = 30.0) -> None:
        """Runs until `stop` is set; then waits up to `patience` seconds for what is under way."""
        await self._rounds.run(self._round, stop, patience)

    async def step_due(self, partitions: Collection[int] | None = None) -> int:
        """Looks at everybody whose timer is due now, until none is; how many looks that were.

        With `partitions`, at those in them alone, and at nothing that stands still.
        """
        looks, groups = 0, self._groups
        if partitions is None:
            await self._watch()
        else:
            groups = [_Group([*partitions], 0)]
        while found := sum([await self._claim(group) for group in groups]):
            looks += found
            await asyncio.gather(*self._rounds.working)
        return looks

    async def _round(self) -> float:
        """Begins what is due in a group whose time has come; seconds to wait before the next."""
        if len(self._rounds.working) >= self.at_once:
            return _FULL
        group = min(self._groups, key=lambda one: one.at)
        if (early := group.at - monotonic()) > 0:
            return early
        if monotonic() >= self._look_at:
            await self._watch()
        await self._claim(group)
        return 0

    async def _watch(self) -> None:
        """Looks at what stands still, at walks that are to be done, at what fails."""
        for duty in self._duties:
            try:
                await duty.look()
            except StoreUnavailable:
                raise
            except Exception:  # noqa: BLE001 - runs go on whatever is wrong with the rest
                _log.exception("a look at all journeys failed", extra=named("journeys_defect"))
        self._look_at = monotonic() + _WATCH

    async def _claim(self, group: _Group) -> int:
        """Claims what is due in a group, and begins to look at it; how many there were."""
        journeys = self.engine.snapshot.policy.journeys
        most = max(1, (self.at_once - len(self._rounds.working)) // len(group.partitions))
        claimed = await self._store.claim_wakes(group.partitions, most, LEASE)
        self.observer.claimed(len(claimed))
        for one in claimed:
            task = asyncio.create_task(self._look(one, monotonic()))
            self._rounds.working.add(task)
            task.add_done_callback(self._rounds.working.discard)
        longest = _ASLEEP if journeys is None else _QUIET
        group.pace = _SOON if claimed else min(2 * group.pace, longest)
        each = Counter(partition_of(one.customer_id) for one in claimed)
        more = max(each.values(), default=0) >= most
        group.at = monotonic() + (0 if more else group.pace)
        return len(claimed)

    async def _look(self, claimed: ClaimedWake, began: float) -> None:
        """Looks at a customer. Where the store does not answer, the lease ends."""
        try:
            looked = await self.engine.stepping.look(claimed)
        except Exception as error:  # noqa: BLE001 - one customer does not hold up the others
            damaged = isinstance(error, UnreadableDocument | DamagedValue)
            if isinstance(error, StoreUnavailable) and not damaged:
                return
            _log.exception("a look failed; it is tried again later", extra=named("look_defect"))
            self.observer.failed()
            with suppress(StoreUnavailable):
                at = claimed.lease - LEASE * 1000 + _DEFECT_WAITS
                await self._store.rearm(claimed, Wake(at=at))
        else:
            waited = (claimed.lease - LEASE * 1000 - claimed.due) / 1e6
            self.observer.looked(max(0.0, waited) + monotonic() - began, looked)
