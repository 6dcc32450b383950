"""The engine: what the API, the command line and tests call."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

import msgspec

from decision.core.clock import DAY, to_micros
from decision.core.definition import Selector
from decision.core.errors import InputError
from decision.core.ports import Store
from decision.core.schema import Decision, DecisionRequest
from decision.engine.customers import Customers
from decision.engine.deciding import Decided, Deciding, ungiven
from decision.engine.delivering import Delivering
from decision.engine.events import Events
from decision.engine.following import Following
from decision.engine.journeys.stepping import Stepping
from decision.engine.replay import Replay
from decision.engine.runtime import EngineSettings, Observer, Runtime, wall_clock
from decision.engine.snapshot import Snapshot
from decision.engine.withdrawing import UngivenDecision

_FURTHEST: Final = 366 * DAY
"""How far from now a dry run may look."""


class Preview(NamedTuple):
    """What a decision would give, and the policy and model by which it would."""

    decided: Decided
    snapshot: Snapshot


class Engine:
    """Decides, records events, keeps customers. One per event loop, for any number of requests.

    >>> import asyncio
    >>> from datetime import UTC, datetime
    >>> from decision.engine import build_snapshot
    >>> from decision.rulebook.reader import load_files
    >>> from decision.store import MemoryStore
    >>> rules = '''
    ... purposes: {service: {consent: not_required}}
    ... channels: {app: {}}
    ... placements: {home: {channels: [app]}}
    ... messages:
    ...   hello: {purpose: service, category: a, channels: [app], value: 1, content: {title: Hello}}
    ... caps: {once: {of: {purpose: service}, at_most: 1, within: 1d}}
    ... '''
    >>> async def ask_twice() -> None:
    ...     engine = Engine(MemoryStore())
    ...     policy = load_files({"rules.yaml": rules}).definition
    ...     now = datetime.now(UTC)
    ...     engine.use(await build_snapshot(policy, None, engine.runtime.store, now))
    ...     for _ in range(2):
    ...         found = await engine.decide(DecisionRequest(placement="home", customer_id="ann"))
    ...         print(found.outcome, [row.message for row in found.selections], found.reason)
    >>> asyncio.run(ask_twice())
    selected ['hello'] None
    none [] capped
    """

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
        self.following = Following(self.runtime)
        self.delivering = Delivering(self.runtime)
        self.stepping = Stepping(self.runtime, self.replay, self.following)

    @property
    def snapshot(self) -> Snapshot:
        """The policy and model in force."""
        return self.runtime.snapshot

    def use(self, snapshot: Snapshot) -> None:
        """Puts a snapshot in force, from the next decision on."""
        self.runtime.use(snapshot)

    async def drain(self, timeout: float) -> None:
        """Waits up to `timeout` seconds for what is done after answers; see `Following`."""
        await self.following.drain(timeout)

    def observe(self, observer: Observer) -> None:
        """Names who is told of every decision and event."""
        self.runtime.observer = observer

    async def decide(self, request: DecisionRequest, *, now: int | None = None) -> Decision:
        """Decides. `now` in microseconds is the present; left out, the clock is asked.

        Where the store is unavailable or the deadline passes, the answer is the placement's
        fallback or `none`, with `store`, and `deadline`, in `degraded`: never a message whose caps
        and consents could not be read.

        Raises:
            InputError: the request names what does not exist, or is contradictory.
            NotReady: no policy is in force yet.
        """
        return (await self.decide_with_verdict(request, now=now)).decision

    async def preview(self, request: DecisionRequest) -> Decision:
        """What a decision would give now; nothing is reserved, logged or counted.

        While nothing changes, exploration draws the same each time.

        Raises:
            InputError: as `decide` does.
            NotReady: no policy is in force yet.
        """
        return (await self.preview_with_verdict(request)).decided.decision

    async def preview_with_verdict(
        self, request: DecisionRequest, *, at: int | None = None
    ) -> Preview:
        """What `preview` gives, now or at a time to come (microseconds), by what is stored now.

        Raises:
            InputError: as `decide` does.
            NotReady: no policy is in force yet.
        """
        request = msgspec.structs.replace(request, dry_run=True, request_id=None)
        deciding = Deciding(self.runtime, self.replay, self.following, request, at)
        deciding.expires = at is None
        deciding.query.settings = msgspec.structs.replace(self.runtime.settings, seed="preview")
        return Preview(await deciding.run(), deciding.query.snapshot)

    def decide_too_late(self, request: DecisionRequest) -> Decided:
        """The answer to a request that has waited beyond its deadline; it costs next to nothing.

        Raises:
            InputError: as `decide` does.
            NotReady: no policy is in force yet.
        """
        return Deciding(self.runtime, self.replay, self.following, request, None).too_late()

    def decide_with_verdict(
        self,
        request: DecisionRequest,
        *,
        now: int | None = None,
        of: Selector | msgspec.UnsetType = msgspec.UNSET,
        logged: bool = False,
    ) -> Coroutine[Any, Any, Decided]:
        """Decides as `decide` does, and returns also the verdict that the decision comes from.

        A dry run with a time of its own, `at`, is what would come then, by what is stored now.

        `logged`: the question is put once more, so its event may be one that only happens by
        itself, such as a moment. `of` is what a step of a journey asked for then.
        """
        at = self._at(request) if now is None and request.at is not None else None
        deciding = Deciding(self.runtime, self.replay, self.following, request, at or now)
        deciding.logged, deciding.expires = logged, at is None
        if of is not msgspec.UNSET:
            deciding.query.question = msgspec.structs.replace(deciding.query.question, of=of)
        return deciding.run()

    def _at(self, request: DecisionRequest) -> int | None:
        """The time, in microseconds, that a dry run is for; None where it is no dry run.

        Raises:
            InputError: it is too far from now.
        """
        if request.at is None or not request.dry_run:
            return None
        at = to_micros(request.at)
        if abs(at - self.runtime.clock()) > _FURTHEST:
            raise InputError("at", "is more than a year from now")
        return at

    async def decide_or_fail(self, request: DecisionRequest) -> Decided:
        """Decides as `decide` does; where the store does not answer, nothing is given instead.

        With a request id it can be asked again: where it was decided, it gives that.

        Raises:
            InputError: as `decide` does.
            NotReady: no policy is in force yet.
            StoreUnavailable: nobody was given anything; perhaps it was decided.
        """
        deciding = Deciding(self.runtime, self.replay, self.following, request, None)
        return await deciding.run_or_fail()

    def ungiven(self, request: DecisionRequest, decided: Decided) -> UngivenDecision | None:
        """What to `withdraw` if the caller does not get the answer; None where that is nothing."""
        return ungiven(self.runtime, request, decided)

    def withdraw(self, decision: UngivenDecision) -> None:
        """Takes back a decision whose answer its caller did not get; returns at once.

        As soon as the store answers, contacts, budgets and coupon codes are released, and the log
        says that nobody was given it, unless the same request id has another caller who was.
        """
        self.following.withdraw(decision)
