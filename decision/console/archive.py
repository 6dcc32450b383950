"""The archive as all pages of a worker share it: what is counted of it stays in memory.

Where summaries of many files are still to be made, a child process makes them, at low priority, and
pages say how far it is: so neither decisions nor other pages wait. Who comes meanwhile waits for
the same child.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec

from decision.children import Child
from decision.core.errors import NextbestError
from decision.engine.worker import uncollected
from decision.observability import get_logger
from decision.server.aside import Aside

if TYPE_CHECKING:
    from decision.analytics.candidates.archived import ArchivedCandidates
    from decision.archive.log_columns import LogColumns
    from decision.archive.summaries import Job
    from decision.archive.whereabouts import Whereabouts

COMMAND: Final = (sys.executable, "-P", "-m", "decision.analytics.summarizing")
FEW: Final = 4 << 20
"""Bytes of files that are counted at once, without a child."""
PATIENCE: Final = 0.4
"""Seconds that a page waits before it says how far it is."""
AGAIN: Final = {"refresh": "2"}
"""The header of a page that says how far it is: without script, it is loaded again."""
EVERY: Final = 5.0
"""Seconds between two looks at what is new, while somebody looks at reports."""
_WATCHED: Final = 600.0
_LOOK: Final = 0.5
_WITHIN: Final = 3_600.0
_NICENESS: Final = 15
_MOST: Final = 8
_REMEMBERED: Final = 100

T = TypeVar("T")

_log = get_logger()


class Counting(NamedTuple):
    """How many files are counted, and of how many."""

    done: int
    total: int


class Archive:
    """The archive in a folder. What is not needed yet is not imported: DuckDB takes a while."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._aside = Aside(f"the archive {folder}", 2)
        self._lock = Lock()
        self._viewed = -_WATCHED
        self._results: dict[Hashable, tuple[Any, Any]] = {}
        self._ready: dict[bytes, None] = {}
        self._making: dict[bytes, asyncio.Task[None]] = {}
        self._counting: dict[bytes, Counting] = {}

    @cached_property
    def columns(self) -> LogColumns:
        """Customers' decisions and events."""
        from decision.archive.log_columns import LogColumns

        return LogColumns(self.folder)

    @cached_property
    def candidates(self) -> ArchivedCandidates:
        """What became of candidates."""
        from decision.analytics.candidates.archived import ArchivedCandidates

        return ArchivedCandidates(self.folder)

    @cached_property
    def whereabouts(self) -> Whereabouts:
        """Which files have rows of a customer."""
        from decision.archive.whereabouts import Whereabouts

        return Whereabouts(self.folder)

    def once(self, asked: Hashable, datasets: Sequence[str], make: Callable[[], T]) -> T:
        """What `make` gives, kept until a file of one of the datasets changes.

        It runs in a thread; of several that ask at once, one makes it.
        """
        from decision.archive.summaries import keys_of

        with self._lock:
            files = tuple(key for name in datasets for key in keys_of(self.folder, name))
            known = self._results.pop(asked, None)
            if known is None or known[0] != files:
                known = files, make()
            self._results[asked] = known  # the last one that was asked for
            while len(self._results) > _REMEMBERED:
                del self._results[next(iter(self._results))]
            found: T = known[1]
            return found

    async def counting(self, **wanted: Any) -> Counting | None:
        """How far the summaries are that a page needs; None where it can be made now.

        `wanted` are fields of `analytics.summarizing.Wanted`.
        """
        self._viewed = time.monotonic()
        name = self._name(wanted)
        if name in self._ready:
            return None
        if name not in self._making and len(self._making) >= _MOST:
            return Counting(0, 1)
        task = self._started(name)
        await asyncio.wait({task}, timeout=PATIENCE)
        return None if task.done() else self._counting.get(name, Counting(0, 1))

    async def prepare(self, timezone: str) -> None:
        """Makes what the first views need, beside everything else."""
        from decision.analytics.summarizing import USUAL

        await self._started(self._name({"timezone": timezone, "amount": USUAL, "customers": True}))

    async def follow(self) -> None:
        """Takes in what is new in the archive while somebody looks at reports, so that they need
        not wait for it: they see what it had some seconds ago."""
        while True:
            await asyncio.sleep(EVERY)
            if time.monotonic() < self._viewed + _WATCHED and "columns" in self.__dict__:
                with suppress(NextbestError, OSError), uncollected():
                    await self._aside.run(partial(self.columns.follow, 3 * EVERY), _WITHIN)

    def _name(self, wanted: dict[str, Any]) -> bytes:
        from decision.analytics.summarizing import Wanted

        return msgspec.json.encode(Wanted(archive=str(self.folder), **wanted))

    def _started(self, name: bytes) -> asyncio.Task[None]:
        if name not in self._making:
            self._making[name] = asyncio.create_task(self._make(name))
        return self._making[name]

    async def _make(self, name: bytes) -> None:
        """Makes what is missing; what fails is said by the report, which tries it again."""
        try:
            with suppress(NextbestError, OSError):
                jobs = await self._aside.run(partial(_jobs, name), _WITHIN)
                if sum(job.key.size for job in jobs) > FEW:
                    await self._child(name, jobs)
        finally:
            self._counting.pop(name, None)
            del self._making[name]
            self._ready[name] = None
            while len(self._ready) > _REMEMBERED:
                del self._ready[next(iter(self._ready))]

    async def _child(self, name: bytes, jobs: Sequence[Job]) -> None:
        child = Child(COMMAND, _NICENESS)
        running = asyncio.create_task(asyncio.to_thread(child.run, name, _WITHIN))
        try:
            done = 0
            while not running.done() and done < len(jobs):  # another process may do it first
                self._counting[name] = Counting(done, len(jobs))
                await asyncio.wait({running}, timeout=_LOOK)
                done = await self._aside.run(lambda: sum(job.done() for job in jobs), _WITHIN)
        finally:
            child.end()
            with suppress(subprocess.TimeoutExpired):
                _, errors, code = await running
                if code > 0:
                    last = errors.decode(errors="replace").strip().rpartition("\n")[2]
                    _log.error("archive_not_counted", archive=str(self.folder), problem=last)


def _jobs(name: bytes) -> list[Job]:
    from decision.analytics.summarizing import Wanted, jobs_of

    return jobs_of(msgspec.json.decode(name, type=Wanted))
