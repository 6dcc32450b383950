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
from pathlib import Path
from time import monotonic
from typing import Final

from decision.core.calendar import day_start
from decision.core.clock import MINUTE, SECOND, from_micros
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import PARTITIONS
from decision.core.ports import Commit, Store
from decision.core.schema import Event
from decision.engine import Engine
from decision.gateways.file import FileConfig, FileGateway
from decision.gateways.protocol import Accepted, Gateway, Outgoing, Result
from decision.gateways.registry import Context, GatewayType
from decision.gateways.settings import Configured, GatewaySettings
from decision.outbound.runner import Runner
from decision.outbound.worker import Outbound
from decision.simulation.life import Deed, Life
from decision.simulation.telling import Telling

_TICK: Final = 0.05
"""Seconds from one move of the clock to the next."""
_FURTHEST: Final = 15 * MINUTE
"""What a shop that cannot keep up does at most in one."""
_SEEN_TO: Final = 1.0
"""Seconds between two looks at walks, pauses and deliveries that are tried again."""
_QUIET: Final = 4 * MINUTE
"""What goes by in the shop, at most, between two looks at timers: after five, servers warn."""
_GRAIN: Final = 0.02
"""Seconds of the machine between two looks at timers."""


class ShopClock:
    """The shop's time in microseconds; who tells the story sets it."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class Story:
    """Lets a shop live: customers act, timers fire, and what is due is delivered to `outbox`."""

    def __init__(
        self,
        engine: Engine,
        clock: ShopClock,
        life: Life,
        telling: Telling,
        outbox: Path,
        speed: float,
    ) -> None:
        self.telling = telling
        self._engine = engine
        self._store = engine.runtime.store
        self._clock = clock
        self._life = life
        self._speed = speed
        self._runner = Runner(engine)
        self._outbound = Outbound(engine, self._gateways(outbox))
        self._wake: int | None = None
        """The first timer, unless it is `_stale`; `_soon`: one is due now."""
        self._stale, self._soon, self._unsent = True, True, True
        self._looked_at = clock.now
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
                self._stale = self._soon = self._unsent = True  # until it is back

    async def until(self, until: int) -> None:
        """Does everything that is due by a time in microseconds, each at its own."""
        while True:
            wake, deed = await self._next_wake(until), self._life.next_at or until + 1
            if (at := min(wake, deed)) > until:
                break
            await self._come_to(at)
            if wake <= deed:
                await self._look()
            else:
                await self._do(self._life.take())
            if self._unsent:
                await self._send()
        await self._come_to(until)
        again = monotonic() - self._seen_to >= _SEEN_TO
        if again or until - self._looked_at >= _QUIET:
            await self._look()
        if again:
            self._seen_to = monotonic()
            await self._send()

    def wrote(self, commit: Commit) -> None:
        """Is told of each write of the store."""
        if commit.wake is not None:
            self._stale = True
            self._soon |= commit.wake.at is not None and commit.wake.at <= self._clock.now
        self._unsent |= bool(commit.deliveries)
        self.telling.wrote(commit)

    async def _next_wake(self, until: int) -> int:
        """When somebody has to be looked at; after `until`: not before."""
        if self._soon:
            return self._clock.now
        if self._stale:
            self._wake = await self._store.next_wake(range(PARTITIONS))
            self._stale = False
        if self._wake is None or self._wake > until:
            return until + 1
        return min(until, max(self._wake, self._looked_at + int(_GRAIN * self._speed * SECOND)))

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
        for one in decision.selections:
            own, now = decision.customer_id, self._clock.now
            self._life.saw(own, decision.decision_id, one.message, now)

    async def _look(self) -> None:
        self._soon, self._looked_at = False, self._clock.now
        await self._runner.step_due()
        self._stale = True

    async def _send(self) -> None:
        self._unsent = False
        await self._outbound.send_due()

    def _gateways(self, outbox: Path) -> GatewaySettings:
        """The gateway of the demo, which writes files, by the shop's clock, and tells of it."""

        def make(config: FileConfig, context: Context) -> Gateway:
            return _ToldGateway(outbox.absolute(), self._clock, self._sent)

        kind = GatewayType(config=FileConfig, make=make)
        config = FileConfig(path=str(outbox))
        file = Configured(name="file", type="file", kind=kind, config=config)
        return GatewaySettings(gateways={"file": file}, default="file")

    def _sent(self, one: Outgoing) -> None:
        now = self._clock.now
        self.telling.sent(one.customer_id, one.decision_id, one.channel, one.content, now)
        self._life.received(one.customer_id, one.decision_id, one.message, now)


class _ToldGateway(FileGateway):
    def __init__(self, folder: Path, clock: ShopClock, sent: Callable[[Outgoing], None]) -> None:
        super().__init__(folder, clock=lambda: clock.now / SECOND)
        self._told = sent

    async def send(self, outgoing: Outgoing) -> Result:
        result = await super().send(outgoing)
        if isinstance(result, Accepted):
            self._told(outgoing)
        return result


async def running_runs(store: Store) -> int:
    """How many runs are under way."""
    found = await store.tallies()
    return sum(
        count for name, count in found.items() if not name.partition("\0")[2].startswith("!")
    )
