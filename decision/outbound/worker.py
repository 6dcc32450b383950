"""The sender: claims what is due and has it delivered.

Marks tell it which partitions have something new; one command reads them. Whatever they say, every
partition is looked at in turn: what is tried again is found so, and what a lost mark did not tell.

Any number of processes may send at once: leases keep them apart. Redis is asked for a group of
partitions at a time, because all at once would hold up whatever else this process does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Collection, Sequence
from functools import partial
from itertools import cycle, islice
from time import monotonic
from typing import Final

from decision.core.identifiers import PARTITIONS
from decision.core.policy import Policy
from decision.engine import Engine
from decision.gateways.protocol import Gateway
from decision.gateways.settings import GatewaySettings
from decision.observability import named
from decision.outbound.attempts import LEASE, Attempts
from decision.outbound.lanes import Lane
from decision.outbound.observer import DeliveryObserver, Unobserved
from decision.outbound.pausing import PauseWatch
from decision.outbound.reopening import LaneWatch
from decision.outbound.rounds import Rounds

_TOGETHER: Final = 32
_GROUPS: Final = [range(at, at + _TOGETHER) for at in range(0, PARTITIONS, _TOGETHER)]
_IDLE: Final = 0.05
"""Seconds between two looks at marks where nothing is due."""

_QUIET: Final = 0.5
"""Seconds from a group of partitions to the next one after nothing was due for `_BUSY` seconds; all
have had theirs after eight. Before that, it is `_IDLE`."""
_BUSY: Final = 5.0

_FULL: Final = 0.01
"""Seconds between two looks where every lane is full."""

_LOOK: Final = 1.0
"""Seconds between two looks at pauses, and at who was resumed."""

_log = logging.getLogger(__name__)


class Outbound:
    """Sends what is due until it is told to stop.

    Where the policy has channels that the gateways file does not name, their deliveries wait.
    """

    def __init__(
        self,
        engine: Engine,
        settings: GatewaySettings,
        observer: DeliveryObserver | None = None,
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.observer = observer or Unobserved()
        self._store = engine.runtime.store
        self._owner = f"{socket.gethostname()}/{os.getpid()}"
        self._attempts = Attempts(engine, self.observer)
        self._pauses = PauseWatch(self._store)
        self._reopening = LaneWatch(self._store)
        self._gateways: dict[str, Gateway] = {}
        self._lanes: dict[str, Lane] = {}
        self._policy: Policy | None = None
        self._rounds = Rounds("deliveries", "outbox")
        self._groups = cycle(_GROUPS)
        self._next_group = 0.0
        self._quiet_at = monotonic() + _BUSY
        self._marks: dict[int, bytes] = {}
        self._fresh: set[int] = set()
        """Partitions that have a new mark."""
        self._looked = -_LOOK

    async def run(self, stop: asyncio.Event, patience: float = 30.0) -> None:
        """Sends until `stop` is set; then waits up to `patience` seconds for what is on its way."""
        try:
            await self._rounds.run(self._round, stop, patience)
        finally:
            await self._close()

    async def send_due(self, partitions: Collection[int] | None = None) -> int:
        """Looks at everything that is due now, once; how many deliveries that were.

        With `partitions`, at what is in them alone, and at no pauses.
        """
        self._open_lanes()
        if partitions is None:
            await self._look()
        claimed = 0
        for group in _GROUPS if partitions is None else [[*partitions]]:
            while found := await self._begin(group):
                claimed += found
                await asyncio.gather(*self._rounds.working)
        return claimed

    async def _round(self) -> float:
        """Begins what is due in some partitions; how many seconds to wait before the next round."""
        self._open_lanes()
        if monotonic() - self._looked >= _LOOK:
            await self._look()
        if not any(lane.room for lane in self._lanes.values()):
            return _FULL if self._rounds.working else _IDLE
        return 0 if await self._begin_some() else _IDLE

    async def _begin_some(self) -> int:
        """Begins what is due in partitions with new marks, and in a group whose time has come."""
        marks = await self._store.fresh_deliveries()
        self._fresh |= {one for one, mark in marks.items() if mark != self._marks.get(one)}
        self._marks = marks
        fresh = [*islice(self._fresh, _TOGETHER)]
        group = next(self._groups) if monotonic() >= self._next_group else range(0)
        found = await self._begin([*{*fresh, *group}])
        now = monotonic()
        if found:
            self._quiet_at = now + _BUSY
        else:
            self._fresh.difference_update(fresh)
        if group:
            self._next_group = now + (0 if found else _IDLE if now < self._quiet_at else _QUIET)
        return found

    async def _begin(self, group: Sequence[int]) -> int:
        """Claims what is due in some partitions, and begins to deliver it; how many there were."""
        room = {channel: lane.room for channel, lane in self._lanes.items()}
        claimed = await self._store.claim_deliveries(group, room, self._owner, LEASE)
        for one in claimed:
            lane = self._lanes[one.delivery.channel]
            lane.busy += 1
            task = asyncio.create_task(self._attempts.deliver(one, lane))
            self._rounds.working.add(task)
            task.add_done_callback(partial(self._done, lane))
        return len(claimed)

    def _done(self, lane: Lane, task: asyncio.Task[None]) -> None:
        lane.busy -= 1
        self._rounds.working.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error(
                "a delivery failed unexpectedly; its lease will end",
                exc_info=error,
                extra=named("delivery_defect", channel=lane.channel),
            )

    def _open_lanes(self) -> None:
        """Lanes for the channels of policy and gateways file; those of earlier policies stay."""
        policy = self.engine.snapshot.policy
        if policy is self._policy:
            return
        self._policy = policy
        without = []
        for channel in dict.fromkeys([*policy.channels, *self.settings.channels]):
            if channel in self._lanes:
                continue
            name = self.settings.gateway_of(channel)
            if name is None:
                without.append(channel)
                continue
            if name not in self._gateways:
                self._gateways[name] = self.settings.open(name)
            self._lanes[channel] = Lane(
                channel,
                name,
                self._gateways[name],
                self.settings.gateways[name].config,
                self.settings.limits.get(channel),
            )
        self.observer.without_gateway(without)
        for channel in policy.delivered_channels():
            if channel not in without:
                continue
            _log.error(
                "channel %s has no gateway: what is to be sent there waits. Name one under "
                "channels: in the gateways file",
                channel,
                extra=named("channel_without_gateway", channel=channel),
            )

    async def _look(self) -> None:
        """Looks at pauses, and tells which gateways fail."""
        self._looked = monotonic()
        lanes = self._lanes.values()
        await self._reopening.look(lanes, self.engine.runtime.clock())
        self.observer.failing({(one.name, one.channel): one.failing for one in lanes})
        self.observer.paused(await self._pauses.look(lanes, self.engine.runtime.clock()))

    async def _close(self) -> None:
        """Closes the gateways."""
        for gateway in self._gateways.values():
            await gateway.close()
        self._gateways.clear()
        self._lanes.clear()
        self._policy = None
