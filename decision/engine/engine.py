"""The engine: what the API, the command line and tests call."""

from __future__ import annotations

from collections.abc import Callable

from decision.core.ports import Store
from decision.core.schema import Decision, DecisionRequest
from decision.engine.customers import Customers
from decision.engine.deciding import Decided, Deciding
from decision.engine.events import Events
from decision.engine.replay import Replay
from decision.engine.runtime import EngineSettings, Observer, Runtime, wall_clock
from decision.engine.snapshot import Snapshot


class Engine:
    """Decides, records events, keeps customers. One per event loop, for any number of requests."""

    def __init__(
        self,
        store: Store,
        settings: EngineSettings | None = None,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        self.runtime = Runtime(store, settings or EngineSettings(), clock)
        self.customers = Customers(self.runtime)
        self.events = Events(self.runtime)
        self.replay = Replay(self.runtime)

    @property
    def snapshot(self) -> Snapshot:
        """The policy and model in force."""
        return self.runtime.snapshot

    def use(self, snapshot: Snapshot) -> None:
        """Puts a snapshot in force, from the next decision on."""
        self.runtime.use(snapshot)

    def observe(self, observer: Observer) -> None:
        """Names who is told of every decision and event."""
        self.runtime.observer = observer

    async def decide(self, request: DecisionRequest, *, now: int | None = None) -> Decision:
        """Decides. `now` in microseconds is the present; left out, the clock is asked.

        Where the store is unavailable or the deadline passes, the answer is the placement's
        fallback or `none`, with `store` or `deadline` in `degraded`: never a message whose caps
        and consents could not be read.

        Raises:
            InputError: the request names what does not exist, or is contradictory.
        """
        return (await self.decide_with_verdict(request, now=now)).decision

    async def decide_with_verdict(
        self, request: DecisionRequest, *, now: int | None = None
    ) -> Decided:
        """Decides as `decide` does, and returns also the verdict that the decision comes from."""
        return await Deciding(self.runtime, self.replay, request, now).run()
