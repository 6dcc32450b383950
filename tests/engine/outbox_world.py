"""A small sender for tests, a world that counts what was sent, and stores that die."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

from decision.core.delivery import Claimed
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import partition_of
from decision.engine import Engine
from decision.engine.delivering import Ready

ROOM = {"push": 9, "email": 9, "chat": 9}
CUSTOMERS = ("anna", "anon")
PARTITIONS = [*map(partition_of, CUSTOMERS)]


class Dying:
    """A store whose n-th operation fails, before it is done or after.

    With `dies`, every later one fails as well: the process is dead, and another one goes on.
    """

    def __init__(self, store: Any, fails_at: int = 0, *, after: bool, dies: bool) -> None:
        self.store = store
        self.fails_at = fails_at
        self.after = after
        self.dies = dies
        self.operations = 0
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.store, name)
        if not inspect.iscoroutinefunction(found) or name in ("start", "close"):
            return found

        async def operate(*args: Any, **options: Any) -> Any:
            if self.dead:
                raise StoreUnavailable("dead")
            self.operations += 1
            fails = self.operations == self.fails_at
            self.dead = fails and self.dies
            if fails and not self.after:
                raise StoreUnavailable(f"cut before {name}")
            result = await found(*args, **options)
            if fails:
                raise StoreUnavailable(f"cut after {name}", uncertain=True)
            return result

        return operate


class World:
    """What customers got: delivery id → how often. `answers` says what each attempt is told."""

    def __init__(self, *answers: str) -> None:
        self.got: Counter[str] = Counter()
        self.again: set[str] = set()
        """The deliveries that were sent although an earlier attempt may have succeeded."""
        self._answers = list(answers)

    def take(self, claimed: Claimed) -> str:
        """An attempt, and what comes back of it: accepted, rejected, retry or lost."""
        answer = self._answers.pop(0) if self._answers else "accepted"
        if answer in ("accepted", "lost"):
            self.got[claimed.delivery.id] += 1
            if claimed.doubtful:
                self.again.add(claimed.delivery.id)
        return answer


class Sender:
    """One process that sends what is due, until nothing is; its leases are over at once."""

    def __init__(
        self, engine: Engine, world: World, *, on_unknown: str = "hold", lease_ms: int = 0
    ) -> None:
        self.engine = engine
        self.world = world
        self.on_unknown = on_unknown
        self.lease_ms = lease_ms

    async def run(self, rounds: int = 20, then: Callable[[], Any] | None = None) -> None:
        """Sends; `then` is called once a delivery was looked at, and before it is begun."""
        store = self.engine.runtime.store
        for _ in range(rounds):
            found = await store.claim_deliveries(PARTITIONS, ROOM, "sender", self.lease_ms)
            if not found:
                break
            for claimed in found:
                await self.deliver(claimed, then)

    async def deliver(self, claimed: Claimed, then: Callable[[], Any] | None = None) -> None:
        store, delivering = self.engine.runtime.store, self.engine.delivering
        ready = await delivering.look(claimed)
        if not isinstance(ready, Ready):
            return
        if claimed.was_sending and self.on_unknown == "hold":
            await store.hold_delivery(claimed, "unknown", "no answer")
            return
        if then is not None:
            await then()
        if not await store.begin_delivery(claimed, self.lease_ms):
            return
        match self.world.take(claimed):
            case "accepted":
                await delivering.sent(claimed, "p-1", "hook")
            case "rejected":
                await delivering.failed(claimed, "rejected")
            case "retry":
                await store.postpone_delivery(claimed, 0, "503")
            case "lost" if self.on_unknown == "hold":
                await store.hold_delivery(claimed, "unknown", "lost")
            case "lost":
                await store.postpone_delivery(claimed, 0, "lost", doubtful=True)
