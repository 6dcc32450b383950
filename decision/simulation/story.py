"""The shop whose time is told: all is real but the clock, which stands still while work is done.

The clock goes from one thing to the next, a deed of a customer or a timer that is due, and no
further before that is done: steps, asks and deliveries have their exact times however fast it goes,
and leases, which are time of Redis', last. Between them it keeps pace with the machine's clock,
`speed` times as fast; where the machine cannot keep up, time goes by as fast as it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from heapq import heappop, heappush
from time import monotonic
from typing import Final

from decision.core.calendar import day_start
from decision.core.clock import MINUTE, SECOND, from_micros
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import PARTITIONS, partition_of
from decision.core.ports import Commit, Store
from decision.core.schema import Event
from decision.engine import Engine
from decision.gateways.protocol import Accepted, Gateway, GatewayConfig, Outgoing, Result
from decision.gateways.registry import Context, GatewayType
from decision.gateways.settings import Configured, GatewaySettings
from decision.outbound.observer import DeliveryObserver, Unobserved, WakeObserver
from decision.outbound.runner import Runner
from decision.outbound.worker import Outbound
from decision.simulation.deeds import OUTBOUND, Deed
from decision.simulation.life import Life
from decision.simulation.telling import Telling

_TICK: Final = 0.05
"""Seconds from one move of the clock to the next."""
_FURTHEST: Final = 15 * MINUTE
"""What a shop that cannot keep up does at most in one."""
_SEEN_TO: Final = 1.0
"""Seconds between two looks at walks, pauses and deliveries that are tried again."""
_QUIET: Final = 4 * MINUTE
"""What goes by in the shop between two looks at all timers: after five, servers warn."""
_GRAIN: Final = 0.02
"""Seconds of the machine between two such looks, at least."""


class ShopClock:
    """The shop's time in microseconds; who tells the story sets it."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class Story:
    """Lets a shop live: customers act, timers fire, and what is due is delivered by `gateway`."""

    def __init__(
        self,
        engine: Engine,
        clock: ShopClock,
        life: Life,
        telling: Telling,
        gateway: Gateway,
        speed: float,
        wakes: WakeObserver | None = None,
        deliveries: DeliveryObserver | None = None,
    ) -> None:
        self.telling = telling
        self._engine = engine
        self._store = engine.runtime.store
        self._clock = clock
        self._life = life
        self._speed = speed
        self._runner = Runner(engine, wakes or Unobserved())
        self._outbound = Outbound(engine, self._gateways(gateway), deliveries)
        self._wakes: dict[str, int] = {}
        """Customer → when somebody has to look at them, as far as was seen; in order: `_due`."""
        self._due: list[tuple[int, str]] = []
        self._unsent: set[int] = set()
        """Partitions with something to send."""
        self._look_at = clock.now
        self._every = max(_QUIET, int(_GRAIN * speed * SECOND))
        self._seen_to = 0.0
        self._midnight = 0

    async def run(self, told: Callable[[], bool] = lambda: False) -> None:
        """Tells the story from when the shop has a policy, until all is `told`."""
        last: float | None = None
        while not told():
            await asyncio.sleep(_TICK)
            if not self._engine.runtime.ready:
                continue
            now = monotonic()
            ahead = 0 if last is None else int((now - last) * self._speed * SECOND)
            last = now
            try:
                await self.until(self._clock.now + min(ahead, _FURTHEST))
            except StoreUnavailable:
                self._look_at = self._clock.now  # once it is back
                self._unsent.update(range(PARTITIONS))

    async def until(self, until: int) -> None:
        """Does everything that is due by a time in microseconds, each at its own."""
        while True:
            deed = self._life.next_at or until + 1
            at = min(deed, self._look_at, self._first_due() or until + 1)
            if at > until:
                break
            await self._come_to(at)
            if self._look_at <= at:
                await self._look()
            elif deed > at:
                await self._look_at_due()
            else:
                await self._do(self._life.take())
            if self._unsent:
                await self._send()
        await self._come_to(until)
        if monotonic() - self._seen_to >= _SEEN_TO:
            await self._look()
            await self._outbound.send_due()
            self._seen_to = monotonic()

    def wrote(self, commit: Commit) -> None:
        """Is told of each write of the store."""
        if commit.deliveries:
            self._unsent.add(partition_of(commit.customer_id))
        self.telling.wrote(commit)

    def waked(self, customer_id: str, at: int | None) -> None:
        """Is told of each timer that the store sets, or takes away."""
        if at is None:
            self._wakes.pop(customer_id, None)
        else:
            self._wakes[customer_id] = at
            heappush(self._due, (at, customer_id))

    def _first_due(self) -> int | None:
        """When somebody has to be looked at next."""
        while self._due and self._wakes.get(self._due[0][1]) != self._due[0][0]:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    async def _come_to(self, at: int) -> None:
        """Sets the clock, which never goes back; the day before is told of at midnight."""
        if not self._midnight:
            self._midnight = self._end_of_day()
        while at >= self._midnight:
            self._clock.now = max(self._clock.now, self._midnight)
            running = await running_runs(self._store)
            self.telling.day_is_over(self._midnight - 1, running)
            self._midnight = self._end_of_day()
        self._clock.now = max(self._clock.now, at)

    def _end_of_day(self) -> int:
        today = from_micros(self._clock.now).astimezone(self.telling.zone).date()
        return day_start(today + timedelta(days=1), self.telling.zone)

    async def _do(self, deed: Deed) -> None:
        if isinstance(deed, Event):
            await self._engine.events.record([deed])
            return
        decision = await self._engine.decide(deed)
        if deed.placement == OUTBOUND:
            return
        for one in decision.selections:
            about = (decision.customer_id, decision.decision_id, one.message, one.channel)
            self._life.saw(*about, self._clock.now)

    async def _look(self) -> None:
        """Looks at all that is due, and at schedules, walks and pauses."""
        await self._runner.step_due()
        self._look_at = self._clock.now + self._every

    async def _look_at_due(self) -> None:
        """Looks at those whose time it is, as far as was seen."""
        partitions = set()
        while (at := self._first_due()) is not None and at <= self._clock.now:
            _, customer_id = heappop(self._due)
            del self._wakes[customer_id]
            partitions.add(partition_of(customer_id))
        await self._runner.step_due(partitions)

    async def _send(self) -> None:
        partitions = self._unsent.copy()
        self._unsent.clear()
        await self._outbound.send_due(partitions)

    def _gateways(self, gateway: Gateway) -> GatewaySettings:
        """That gateway, for all channels; it is told of what was sent."""

        def make(config: GatewayConfig, context: Context) -> Gateway:
            return _ToldGateway(gateway, self._sent)

        kind = GatewayType(config=GatewayConfig, make=make)
        file = Configured(name="file", type="file", kind=kind, config=GatewayConfig())
        return GatewaySettings(gateways={"file": file}, default="file")

    def _sent(self, one: Outgoing) -> None:
        now = self._clock.now
        self.telling.sent(one.customer_id, one.decision_id, one.channel, one.content, now)
        self._life.received(one.customer_id, one.decision_id, one.message, one.channel, now)


class _ToldGateway:
    def __init__(self, gateway: Gateway, sent: Callable[[Outgoing], None]) -> None:
        self._gateway = gateway
        self._told = sent
        self.on_unknown_default = gateway.on_unknown_default

    async def send(self, outgoing: Outgoing) -> Result:
        result = await self._gateway.send(outgoing)
        if isinstance(result, Accepted):
            self._told(outgoing)
        return result

    async def close(self) -> None:
        await self._gateway.close()


async def running_runs(store: Store) -> int:
    """How many runs are under way."""
    found = await store.tallies()
    return sum(
        count for name, count in found.items() if not name.partition("\0")[2].startswith("!")
    )
