"""The engine: what the API, the command line and tests call."""

from __future__ import annotations

from collections.abc import Callable

from decision.core.ports import Store
from decision.core.schema import Decision, DecisionRequest
from decision.engine.context import Context, EngineSettings, Observer, wall_clock
from decision.engine.customers import Customers
from decision.engine.deciding import Deciding
from decision.engine.events import Events
from decision.engine.replay import Replay
from decision.engine.snapshot import Snapshot


class Engine:
    """Decides, records, keeps customers. One an event loop; safe for concurrent use in it."""

    def __init__(
        self,
        store: Store,
        settings: EngineSettings | None = None,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        self.context = Context(store, settings or EngineSettings(), clock)
        self.customers = Customers(self.context)
        self.events = Events(self.context)
        self.replay = Replay(self.context)

    @property
    def snapshot(self) -> Snapshot:
        """The policy and model in force."""
        return self.context.snapshot

    def use(self, snapshot: Snapshot) -> None:
        """Puts a snapshot in force, from the next decision on."""
        self.context.use(snapshot)

    def observe(self, observer: Observer) -> None:
        """Names who is told of every decision and event."""
        self.context.observer = observer

    async def decide(self, request: DecisionRequest, *, now: int | None = None) -> Decision:
        """Decides. `now` in microseconds is the present; left out, the clock is asked.

        Where the store is away or the deadline passes, the answer is the placement's fallback or
        `none`, with `store` or `deadline` in `degraded`: never a message whose caps and consents
        could not be read.

        Raises:
            InputError: the request names what does not exist, or is contradictory.
        """
        return await Deciding(self.context, self.replay, request, now).run()
