"""Has Redis rewrite its append-only file after erasures: what was removed stays there until then.

Before it, the logs that erasures have removed records from are rewritten: a stream keeps the bytes.
So are aliases removed that lead to nobody, as a process that died while it claimed one leaves them.

All servers look; the one that has the turn acts. A rewriting forks Redis and writes all of its
data, so there is at most one within a time, which covers every erasure before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from uuid import uuid4

import msgspec

from decision.core.clock import MINUTE, SECOND
from decision.core.ports import FileState, Store
from decision.engine.runtime import wall_clock
from decision.observability import get_logger
from decision.store.erasures import (
    Note,
    Rewrite,
    Stage,
    covered,
    note_rewrite,
    notes,
    rewrites,
)

LOOK_SECONDS: Final = 5.0
"""Seconds between two looks."""

_TURN: Final = 3 * SECOND
_STUCK: Final = 5 * MINUTE

_log = get_logger()


class FileRewriting:
    """Looks after the file of one store. `every` is microseconds; 0: it is left to others.

    `patience` is in seconds: an alias that leads to nobody for so long is nobody's.
    """

    def __init__(
        self,
        store: Store,
        every: int,
        clock: Callable[[], int] = wall_clock,
        patience: float = 30.0,
    ) -> None:
        self._patience = patience
        self._store = store
        self._every = every
        self._clock = clock
        self._warned = False
        self._settled: list[Note] = []

    async def check(self) -> None:
        """One look: begins a rewriting that is due, and notes the end of one.

        Raises:
            StoreUnavailable: the store does not answer; the next look goes on.
        """
        if not self._every:
            return
        latest = await notes(self._store, last=1)
        if latest == self._settled:
            return
        steps, done = await notes(self._store), await rewrites(self._store)
        last = done[-1] if done else None
        underway = last is not None and last.stage in ("begun", "sent")
        if not underway and not is_pending(steps, done):
            self._settled = latest
            return
        if not await self._store.take_turn("file-rewriting", _TURN):
            return
        state = await self._store.file_state()
        if last is not None and underway:
            if state.busy:
                return
            await self._note_end(last, last.server == state.server and state.succeeded)
            return
        if state.busy or (last is not None and not self._is_due(last, done)):
            return
        await self._begin(steps, done, state)

    async def _begin(
        self, steps: Sequence[Note], done: Sequence[Rewrite], state: FileState
    ) -> None:
        """Rewrites the logs that an erasure has removed records from, then begins with the file."""
        covers = next(step.place for step in reversed(steps) if step.archive is None)
        now = self._clock()
        own = Rewrite(id=uuid4().hex, at=now, stage="begun", covers=covers, server=state.server)
        await note_rewrite(self._store, own)
        stray = await self._store.stray_aliases()
        for partition in sorted(partitions_of(steps, done)):
            if problem := await self._store.rewrite_log(partition):
                await self._refuse(own, f"the log of partition {partition}: {problem}")
                return
        if stray:
            await asyncio.sleep(self._patience)
            await self._store.delete_stray_aliases(stray)
        if not state.enabled:
            await self._note(own, "done")
            return
        problem = await self._store.rewrite_file()
        if problem is None:
            await self._note(own, "sent")
            _log.info("file_rewriting_begun")
        elif "in progress" in problem:  # Redis began one by itself, just now
            await self._note(own, "failed", problem)
        else:
            await self._refuse(own, problem)

    async def _refuse(self, own: Rewrite, problem: str) -> None:
        await self._note(own, "refused", problem)
        if not self._warned:
            _log.warning("file_rewriting_refused", problem=problem, fix=FIX)
        self._warned = True

    def _is_due(self, last: Rewrite, done: Sequence[Rewrite]) -> bool:
        """Whether the time since the last rewriting is over; one that failed is tried again."""
        now = self._clock()
        if last.stage == "failed":
            return now - last.at >= min(_STUCK, self._every)
        begun = next(one.at for one in reversed(done) if one.id == last.id)
        return now - begun >= self._every

    async def _note_end(self, last: Rewrite, succeeded: bool) -> None:
        if last.stage == "begun":  # the process died before it knew whether Redis had begun
            if self._clock() - last.at >= MINUTE:
                await self._note(last, "failed", "the server that asked for it ended")
        elif succeeded:
            await self._note(last, "done")
            _log.info("file_rewritten")
        else:
            await self._note(last, "failed", "Redis did not complete it; its log says why")
            _log.warning("file_rewriting_failed", fix="look into the log of Redis: a full disk?")

    async def _note(self, one: Rewrite, stage: Stage, problem: str | None = None) -> None:
        step = msgspec.structs.replace(one, at=self._clock(), stage=stage, problem=problem)
        await note_rewrite(self._store, step)


FIX: Final = (
    "give the Redis user the right +bgrewriteaof (and +rename +xsetid, for logs), or rewrite the "
    "file yourself after erasures"
)


def uncovered(steps: Sequence[Note], done: Sequence[Rewrite]) -> Sequence[Note]:
    """The steps after the beginning of the last rewriting that was completed."""
    end = next((one for one in reversed(done) if one.stage == "done"), None)
    return steps if end is None else steps[covered(steps, end) :]


def partitions_of(steps: Sequence[Note], done: Sequence[Rewrite]) -> set[int]:
    """The partitions with logs that may have bytes of removed records."""
    found = (step.store.log_records for step in uncovered(steps, done) if step.store is not None)
    return {int(partition) for records in found for partition in records}


def is_pending(steps: Sequence[Note], done: Sequence[Rewrite]) -> bool:
    """Whether an erasure came after the beginning of the last rewriting that was completed."""
    return any(step.archive is None for step in uncovered(steps, done))
