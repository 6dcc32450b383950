"""One run that asks for everybody in an audience, from wherever it was left.

The store keeps an answer under the run's request id for a while. So whoever is asked for again
within that time, since a process died before it could note what came of it, gets the same decision.
After it the log is asked whether there was one (`earlier`). No customer is decided for twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar, cast

import msgspec

from decision.archive.location import location
from decision.audiences.asking.earlier import Gone, earlier_decision
from decision.audiences.asking.pacing import Pace
from decision.audiences.asking.state import ALREADY, LEFT, SILENT, UNSURE, Ask, Asks, Came
from decision.audiences.columns import Columns
from decision.audiences.reading import Reading, Sleep
from decision.audiences.run import AudienceRun
from decision.audiences.state import RunState
from decision.core.audience import Audience
from decision.core.clock import MINUTE
from decision.core.document import Document
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import partition_of
from decision.core.schema import Decision, DecisionRequest
from decision.engine.deciding import Decided
from decision.engine.engine import Engine
from decision.progress import SILENT as UNSEEN
from decision.progress import Progress
from decision.store.log import Log

T = TypeVar("T")

AT_ONCE: Final = 32
"""Decisions on their way at once, if nothing else is said."""

_STEP: Final = 256
"""Customers after which it is noted what came of them."""

_DEADLINE_MS: Final = 10_000
_PAUSES: Final = (0.5, 1, 2, 4, 8, 16, 32)
"""Seconds to wait while the store does not answer, before the run ends."""

_MARGIN: Final = 5 * MINUTE
"""Microseconds before the end of its time in which a kept answer is not counted on."""

_encode = msgspec.json.Encoder().encode


class Share(msgspec.Struct, frozen=True):
    """A part of all customers: the `number`-th of `parts`, by their partition.

    >>> Share.read("2/8")
    Share(number=2, parts=8)
    >>> sum(Share(one, 3).has("ann") for one in (1, 2, 3))
    1
    """

    number: int = 1
    parts: int = 1

    @classmethod
    def read(cls, text: str) -> Share:
        """The share that a text such as `2/8` means; an empty one means all customers.

        Raises:
            ValueError: it is none.
        """
        number, slash, parts = (text or "1/1").partition("/")
        if not (slash and number.isdecimal() and parts.isdecimal()):
            raise ValueError("write the number of the part and of all parts, such as 2/8")
        found = cls(int(number), int(parts))
        if not 1 <= found.number <= found.parts <= 256:
            raise ValueError("parts are 1 to 256, and their numbers begin at 1")
        return found

    def has(self, customer_id: str) -> bool:
        """Whether a customer is in this part."""
        return partition_of(customer_id) % self.parts == self.number - 1


class AskingRun:
    """Finds who matches, ranks them by what a decision would be worth, and asks for each.

    `rate` is how many customers are decided for in a second at most, `archive` where decisions are
    that are no longer in the log, and `find` finds one by its id, there as well. `in_step`: parts
    of a run wait for each other.
    """

    def __init__(
        self,
        engine: Engine,
        audience: Audience,
        state: RunState,
        *,
        archive: str | None = None,
        find: Callable[[str], Awaitable[Decision | None]] | None = None,
        rate: float | None = None,
        at_once: int = AT_ONCE,
        in_step: bool = False,
        progress: Progress = UNSEEN,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.state = state
        self.asks = Asks(state)
        self._engine = engine
        self._audience = audience
        self._share = Share.read(state.settings.share)
        self._archive = archive
        self._find = find or engine.replay.find
        self._at_once = at_once
        self._shown = progress
        self._sleep = sleep
        self._given: set[str] = set()  # decisions that are not noted yet
        self._reading = Reading(engine.runtime.store, rate, sleep)
        paced = self._share if in_step else Share()
        about = (state.settings.run, paced.number, paced.parts)
        self._pace = Pace(engine.runtime.store, *about, progress, sleep)

    async def run(self, found: Callable[[], None] = lambda: None) -> None:
        """Takes the run to its end; `found` is called once it is known who matches.

        Raises:
            InputError: the policy in force has no such placement or channel.
            StoreUnavailable: what was done is kept; the run can be continued.
            OSError: the run's file cannot be written, as on a full disk.
        """
        await self._select()
        found()
        if self.state.settings.order == "value":
            await self._rank()
        await self._ask()
        state = self.state
        with state.step():
            state.progress.outcomes = self.asks.outcomes()
        state.sync()

    async def _select(self) -> None:
        state, engine = self.state, self._engine
        columns, clock = Columns(), engine.runtime.clock
        run = AudienceRun(
            *(engine.runtime.store, self._audience, columns, state, clock),
            listed=self._share.has,
            progress=self._shown,
        )
        await run.select()
        done = state.progress
        while page := state.outputs(done.sent):
            with state.step():
                self.asks.add(one.customer_id for one in page)
                done.sent = page[-1].number

    async def _rank(self) -> None:
        """Notes what a decision would be worth for each customer now."""
        with self._shown.bar("Ranking", self.asks.count()) as moved:
            done = self.asks.ranked()
            while page := self.asks.unranked(_STEP):
                worth = await self._all(page, self._worth_of)
                with self.state.step():
                    self.asks.rank(dict(zip((one.number for one in page), worth, strict=True)))
                moved(done := done + len(page))

    async def _worth_of(self, ask: Ask) -> float:
        """The mean of the priorities, each as often as it would be chosen."""

        async def preview() -> Decided:
            found = (
                await self._engine.preview_with_verdict(self._request(ask.customer_id))
            ).decided
            if found.verdict is None:
                raise StoreUnavailable("it does not answer")
            return found

        found = await self._patiently(preview)
        if found.verdict is None or found.decision.outcome != "selected":
            return SILENT
        scores = found.verdict.scores
        return float(scores.selection @ scores.priority)

    async def _ask(self) -> None:
        """Asks for everybody who is left; first for those with whom an earlier process began."""
        state, clock, total = self.state, self._engine.runtime.clock, self.asks.count()
        with self._shown.bar("Decisions", total) as moved:
            moved(done := self.asks.done())
            begun = self.asks.begun()
            for start in range(0, len(begun), _STEP):
                page = begun[start : start + _STEP]
                await self._note(await self._all(page, self._again))
                moved(done := done + len(page))
            while page := self.asks.left(_STEP):
                await self._pace.keep(done, total)
                with state.step():
                    self.asks.begin([one.number for one in page], clock())
                state.sync()  # that it has begun must be known whatever happens next
                there = await self._still_there(page)
                asked = [one for one in page if one.number in there]
                came = await self._all(asked, self._one)
                gone = [Came(one.number, LEFT) for one in page if one.number not in there]
                await self._note([*came, *gone])
                moved(done := done + len(page))
        await self._pace.keep(total, total)

    async def _note(self, came: Sequence[Came]) -> None:
        with self.state.step():
            self.asks.note(came)
        self._given.clear()

    async def _still_there(self, page: Sequence[Ask]) -> set[int]:
        """Those who were neither erased since they were found, nor match no longer."""
        at, documents = self.state.settings.at, []

        async def read() -> list[Document | None]:
            return [found async for _, found in self._reading.followed([one[1] for one in page])]

        documents = await self._patiently(read)
        return {
            one.number
            for one, found in zip(page, documents, strict=True)
            if found is not None and found.exists and self._audience.matches(found, at)
        }

    async def _one(self, ask: Ask) -> Came:
        request, tries = self._request(ask.customer_id), 0

        async def decide() -> Decided:
            nonlocal tries
            tries += 1
            return await self._engine.decide_or_fail(request)

        decided = await self._patiently(decide)
        if decided.verdict is None and ask.begun is None and tries == 1:
            return Came(ask.number, ALREADY)  # decided before it was asked for here
        return self._came(ask, decided.decision)

    def _came(self, ask: Ask, decision: Decision) -> Came:
        if decision.decision_id in self._given or self.asks.has(decision.decision_id):
            return Came(ask.number, ALREADY)
        self._given.add(decision.decision_id)
        what = decision.outcome if decision.outcome != "none" else f"none {decision.reason or ''}"
        row = None
        if self.state.settings.out is not None and decision.selections:
            row = _encode(decision)
        return Came(ask.number, what.strip(), decision.decision_id, row)

    async def _again(self, ask: Ask) -> Came:
        """Goes on with somebody with whom an earlier process began."""
        engine = self._engine
        lasts = engine.snapshot.policy.settings.request_id_lasts
        if ask.begun is None or engine.runtime.clock() - ask.begun < lasts - _MARGIN:
            return await self._one(ask)  # if there is a decision, it comes again
        names = await self._patiently(lambda: self._names_of(ask.customer_id))
        for name in names:
            found = await self._patiently(partial(self._earlier, name, ask.begun))
            if found is Gone.GONE:
                return Came(ask.number, UNSURE)
            if found is not None:
                decision = await self._find(found)
                if decision is None:
                    return Came(ask.number, UNSURE)
                return self._came(ask, msgspec.structs.replace(decision, explanation=None))
        return await self._one(ask)

    async def _earlier(self, customer_id: str, begun: int) -> str | Gone | None:
        log = cast(Log, self._engine.runtime.store)  # every store is one
        archive = None if self._archive is None else location(self._archive)
        return await earlier_decision(log, archive, customer_id, self._request_id, begun)

    async def _names_of(self, name: str) -> list[str]:
        """The id under which somebody was listed, and that of now, if they were merged."""
        (document,) = [one async for _, one in self._reading.followed([name])]
        return [name] if document is None else list(dict.fromkeys([name, document.customer_id]))

    @property
    def _request_id(self) -> str:
        return f"run-audience:{self.state.settings.run}"

    def _request(self, customer_id: str) -> DecisionRequest:
        asked = self.state.settings
        return DecisionRequest(
            placement=asked.placement,
            customer_id=customer_id,
            request_id=self._request_id,
            context={"run": asked.run},
            channels=list(asked.channels) or None,
            deadline_ms=_DEADLINE_MS,
        )

    async def _all(self, page: Sequence[Ask], work: Callable[[Ask], Awaitable[T]]) -> list[T]:
        """Does work for several customers, some at once; in their order."""
        found: dict[int, T] = {}
        waiting = iter(page)

        async def take_turns() -> None:
            for ask in waiting:
                found[ask.number] = await work(ask)

        several = [asyncio.create_task(take_turns()) for _ in range(self._at_once)]
        try:
            await asyncio.gather(*several)
        finally:
            for task in several:
                task.cancel()
            await asyncio.gather(*several, return_exceptions=True)
        return [found[one.number] for one in page]

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of work that is tried again while the store does not answer."""
        for pause in _PAUSES:
            try:
                return await work()
            except StoreUnavailable:
                await self._sleep(pause)
        return await work()
