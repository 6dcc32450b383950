"""What is due for a customer by time: moments, starts, steps.

A timer only says whom to look at; the customer's document says what is due. Everything is done in
commits that expect the state which was read, and that set the next timer. Where one is lost, or two
look at once, the document says how far it has come.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from decision.core.errors import StoreUnavailable
from decision.core.identifiers import PARTITIONS
from decision.core.journeys.advance import Asks
from decision.core.journeys.gate import Gate
from decision.core.ports import Commit, ReadResult
from decision.core.timers import ClaimedWake, Wake
from decision.engine.crediting import Crediting
from decision.engine.deciding import Deciding
from decision.engine.following import Following
from decision.engine.identity import resolve
from decision.engine.journeys.asking import Asking, WentOn
from decision.engine.journeys.gating import Gating
from decision.engine.journeys.work import JourneyWork
from decision.engine.replay import Replay
from decision.engine.runtime import Runtime
from decision.engine.transaction import commit_of, update

MOST_ROUNDS: Final = 64
"""How many commits one look makes. What is left is due when the lease ends."""


class Looked(msgspec.Struct):
    """What a look came to: how many steps were entered; how many decisions were asked for; how many
    were not, because the run had gone on meanwhile; and whether something is left due."""

    steps: int = 0
    asks: int = 0
    doubles: int = 0
    left: bool = False


class _Round(msgspec.Struct, frozen=True):
    """What was done for a customer, or is to be done without a commit: `asks` is what asks now, on
    what was `read`, `wake` the timer that is to be set. `more`: something is left due. `work` is
    what was done."""

    customer_id: str
    asks: Asks | None = None
    read: ReadResult | None = None
    wake: Wake | None = None
    more: bool = False
    work: JourneyWork | None = None


class Stepping:
    """Looks at customers whose timers somebody has claimed."""

    def __init__(self, runtime: Runtime, replay: Replay, following: Following) -> None:
        self.runtime = runtime
        self.replay = replay
        self.following = following
        self.gating = Gating(runtime)

    async def look(self, claimed: ClaimedWake, *, now: int | None = None) -> Looked:
        """Does what is due for a customer, and sets the next timer. `now` in microseconds is the
        present; left out, the clock is asked.

        Raises:
            StoreUnavailable: perhaps not all is done; once the lease ends, somebody looks again.
        """
        looked, gate = Looked(left=True), self.gating.gate()
        for _ in range(MOST_ROUNDS):
            at = self.runtime.clock() if now is None else now
            found = await self._round(claimed, at, gate)
            if found.asks is not None:
                looked.left = await self._ask(looked, found, at, claimed.lease, gate)
            else:
                looked.left = found.more
                looked.steps += found.work.steps if found.work else 0
                await self.gating.settle(found.work)
            if not looked.left:
                if found.customer_id != claimed.customer_id:
                    await self.runtime.store.rearm(claimed, Wake(at=None))
                elif found.wake is not None:
                    await self.runtime.store.rearm(claimed, found.wake)
                break
        return looked

    async def _round(self, claimed: ClaimedWake, now: int, gate: Gate) -> _Round:
        """Does in one commit what is due before something is asked."""
        runtime, customer_id = self.runtime, claimed.customer_id
        crediting = Crediting(runtime, now, own=True)
        change = partial(self._change, claimed, crediting, now, gate)
        read = partial(resolve, runtime)
        write = partial(update, runtime, read, customer_id, change)
        return await crediting.before(write)

    async def _change(
        self,
        claimed: ClaimedWake,
        crediting: Crediting,
        now: int,
        gate: Gate,
        found: ReadResult,
    ) -> tuple[_Round, Commit | None]:
        runtime, snapshot, document = self.runtime, self.runtime.snapshot, found.document
        customer_id = document.customer_id
        if not document.exists:
            return _Round(claimed.customer_id, wake=Wake(at=None)), None
        # Which moments the customer has had, a conflict says: no read can ask for what is due.
        work = JourneyWork(snapshot, document, now, found.known_events, gate)
        expired = work.expire()
        progress = work.proceed()
        while progress.asks is None and await self.gating.admit(gate, work):
            progress = work.proceed()
        asks = progress.asks
        if asks is not None and asks.step.placement not in snapshot.policy.placements:
            work.end(asks, "step_removed")
            asks = None
        elif asks is not None and not expired:
            return _Round(customer_id, asks, found), None
        elif progress.asking is not None:
            work.records.append(progress.asking)
        happened = list(work.moments)
        ids = await crediting.count_all(document, happened, found.known_events, work)
        more = work.more
        work.kept()
        if work.is_idle and not more and (wake := work.timer()) is not None:
            return _Round(customer_id, wake=wake, work=work), None
        lasts = runtime.settings.event_ids_last
        commit = commit_of(found, runtime.new_id(customer_id), (), (), ids, lasts)
        work.write(commit, lasts, claimed.lease)
        return _Round(customer_id, more=more, work=work), commit

    async def _ask(
        self, looked: Looked, found: _Round, now: int, held_until: int, gate: Gate
    ) -> bool:
        """Asks, and says whether anything is left due."""
        assert found.asks is not None
        step = Asking(found.asks, held_until, gate)
        request = step.request(found.customer_id)
        parts = (self.runtime, self.replay, self.following)
        try:
            await Deciding(*parts, request, now, step).answer_step(found.read)
        except WentOn:
            looked.doubles += 1
            return True
        except StoreUnavailable:
            raise
        except Exception:
            self.gating.failures[found.asks.journey] += 1
            raise
        self.gating.failures.pop(found.asks.journey, None)
        looked.asks += 1
        looked.steps += step.work.steps if step.work else 0
        await self.gating.settle(step.work)
        return step.more

    async def run_due(self, *, lease_ms: int = 30_000) -> Looked:
        """Looks at everybody whose timer is due by now, one after another, until none is.

        For tests, and whoever lets time go by; a service claims with others.
        """
        total, partitions = Looked(), range(PARTITIONS)
        while claimed := await self.runtime.store.claim_wakes(partitions, 100, lease_ms):
            for one in claimed:
                found = await self.look(one)
                total.steps += found.steps
                total.asks += found.asks
                total.doubles += found.doubles
        return total
