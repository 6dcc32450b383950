"""From the log to tables: one batch after another, each record exactly once.

A batch takes entries of many partitions, each from its position in `_progress`. Within a partition
the order of the log counts: an erasure removes what is before it, in the batch and in every file,
and leaves what comes after it.

Each table takes its part of a batch in one commit: the files that an erasure replaces, the new
rows, and how far each partition is in this table. What the table has already is left out, row and
erasure alike. `_progress` comes last, and then the log is trimmed. So after a crash between two
tables the batch is read again, and each table takes only what it lacks; and of two archivers of one
partition, the second one is refused, looks again and goes on.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, NamedTuple

import msgspec

from decision.archive import readers
from decision.archive.batch import Batch, batch_of
from decision.archive.batch_writer import ArchiveCounts, BatchWriter
from decision.archive.collecting import without_collecting
from decision.archive.erasure_notes import note_missed
from decision.archive.errors import ArchiveError
from decision.archive.folder import WHOLE, ArchiveFolder, Share
from decision.archive.location import check_store
from decision.archive.migration import migrate
from decision.archive.positions import version_of
from decision.archive.progress import Progress, position_of
from decision.archive.table import TableChanged, retried
from decision.core.clock import HOUR, MILLISECOND
from decision.core.identifiers import PARTITIONS
from decision.store.damage import decoded
from decision.store.log import Log, LogEntry, place_of
from decision.store.pseudonyms import pseudonyms

BATCH: Final = 20_000
"""About how many entries one batch has; this bounds memory."""

_TRIES: Final = 50
"""How often a batch is begun again because others have changed a table meanwhile."""
_PARTITIONS_AT_ONCE: Final = 64
_owner = msgspec.json.Decoder(dict[str, str]).decode
_PAGE: Final = BATCH // _PARTITIONS_AT_ONCE


class Lag(NamedTuple):
    """About how many entries wait, and the age of the oldest in microseconds; 0 if none does."""

    entries: int = 0
    age: int = 0


class Archiver:
    """Archives one store's log into one folder. Use it within `ArchiveFolder.claimed`.

    `share`: which partitions. `keep` (microseconds) is how long archived entries stay in the log,
    so that decisions can be looked up; `clock` gives the present in microseconds.
    """

    def __init__(
        self,
        folder: ArchiveFolder,
        log: Log,
        *,
        clock: Callable[[], int],
        group: str = "archive",
        share: Share = WHOLE,
        keep: int = HOUR,
        batch: int = BATCH,
    ) -> None:
        self.folder = folder
        self._writer = BatchWriter(folder, log, group)
        self._log = log
        self._clock = clock
        self._group = group
        self._partitions = share.partitions
        self._keep = keep
        self._batch = batch
        self._held = 0
        self._rewound: set[int] = set()
        self._read_from: dict[int, str] = {}

    async def open(self, *, take_over: bool = False) -> None:
        """Removes what a crash has left, and claims the log for this folder.

        Raises:
            ArchiveError: the log is archived to another folder under this group.
            StoreUnavailable, OSError: the log or the folder cannot be reached.
        """
        check_store(self.folder.path)
        with self.folder.writing(exclusive=True):
            migrate(self.folder)
            progress = Progress.find(self.folder)
            if progress is not None and progress.group != self._group:
                raise ArchiveError(
                    f"{self.folder.path} is the archive of the group {progress.group!r}; "
                    f"give --group {progress.group}, or another folder"
                )
            name = f"archive:{self._group}"
            claimed = await self._log.get_blob(name)
            if claimed and not take_over:
                self._check_owner(progress, decoded(name, claimed, _owner))
            progress = progress or Progress.make(self.folder, self._group)
            # The folder knows its id before the store does, so a crash in between does no harm.
            owner = {
                "archive_id": progress.archive_id,
                "folder": str(self.folder.path.absolute()),
                "host": socket.gethostname(),
            }
            await self._log.put_blob(name, msgspec.json.encode(owner))
            self._writer.adopt(progress)
            self._writer.tidy()
            if not progress.pseudonymous:
                self._writer.name_by_pseudonym(await pseudonyms(self._log))
            await self._keep_log()
            await note_missed(self._log, self.folder.path, self._group, self._clock())

    async def _keep_log(self) -> None:
        """Is a reader of every partition from now on: also of one that has no entries yet.

        A log without readers is trimmed to a limit, whatever of it is archived.
        """
        await asyncio.gather(
            *(
                self._log.advance_log(number, self._group, self.position(number) or "0-0", 0)
                for number in range(PARTITIONS)
            )
        )

    async def leave(self, *, take_over: bool = False) -> None:
        """Gives the archive up: the log is not kept for it any longer. Its files stay.

        Nothing has to be opened for it, and no package be there, where the log is archived here.

        Raises:
            ArchiveError: the log is archived to another folder under this group.
        """
        name = f"archive:{self._group}"
        claimed = await self._log.get_blob(name)
        if claimed and decoded(name, claimed, _owner)["folder"] != str(self.folder.path.absolute()):
            await self.open(take_over=take_over)
        await self._log.leave_log(self._group)
        await self._log.put_blob(f"archive:{self._group}", b"")

    def _check_owner(self, progress: Progress | None, held: dict[str, str]) -> None:
        """Refuses a new folder if another one has entries that are no longer in the log."""
        if progress is not None and held["archive_id"] == progress.archive_id:
            return
        where = f"{held['folder']} on {held['host']}"
        if held["folder"] == str(self.folder.path.absolute()):
            raise ArchiveError(
                f"the log was archived to {where}, and entries that were there are trimmed from "
                "the log; now another archive, or none, is there: mount or restore the one that "
                "was, or give --take-over to start a new one here without those entries"
            )
        raise ArchiveError(
            f"the log is archived to {where} already, and entries that are there are trimmed from "
            "the log; archive to that folder, or give --group NAME for a second archive, or "
            "--take-over to start a new one here"
        )

    @property
    def counts(self) -> ArchiveCounts:
        """What was done so far."""
        return self._writer.counts

    @property
    def progress(self) -> Progress:
        """How far the archive is."""
        return self._writer.progress

    async def know_policy(self, version: str) -> None:
        """Keeps the files of a policy that the store has, and learns its candidates."""
        await self._writer.policies.learn(version)

    def position(self, partition: int) -> str:
        """The last archived entry of a partition; "" for none."""
        return self.progress.position(partition)

    async def run(
        self,
        moved: Callable[[float], None] = lambda entries: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Archives what is in the log now, batch by batch, and trims it.

        Raises:
            StoreUnavailable, ArchiveError, OSError: nothing is lost; it can be run again.
        """
        await self._rewind()
        waiting = deque(self._partitions)
        trimmed: set[int] = set()
        while waiting and not stopped():
            with without_collecting():
                if pages := await self._read(waiting):
                    await self._archive(pages)
                    trimmed |= pages.keys()
                    moved(self.counts.entries)
                del pages
        if not waiting:
            self._rewound.clear()
        await self._trim(set(self._partitions) - trimmed)
        if await readers.leave_if_gone(self._log, self._clock()):
            self.counts.readers_gone += 1

    async def _rewind(self) -> None:
        """Reads a partition from its start if its log ends before the archive's position.

        This happens after Redis was restored from an older backup, or lost its latest writes: new
        entries may have ids before that position. Records that are archived already are recognised
        by their own ids.
        """
        ends = await self._log.log_ends()
        self._writer.look()
        behind = {
            number
            for number in self._partitions
            if number in ends
            and (at := self.position(number))
            and place_of(ends[number]) < place_of(at)
        }
        if behind:
            with self.folder.writing():
                reset = {position_of(self._group, number): 0 for number in behind}
                for table in self._writer.tables:
                    retried(table, partial(table.commit, transactions=reset))
            self.counts.begun_again += len(behind)
        self._rewound |= {one for one in self._partitions if self.progress.is_reset(one)}

    async def lag(self) -> Lag:
        """How far the archive is behind the log."""
        positions = {number: self.position(number) for number in self._partitions}
        lengths = await self._log.log_lengths()
        held = sum(lengths[number] for number in self._partitions)
        first = await self._log.read_logs(positions, 1)
        if not first:
            self._held = held
            return Lag()
        oldest = min(int(page[0].entry_id.partition("-")[0]) for page in first.values())
        age = max(0, self._clock() - oldest * MILLISECOND)
        return Lag(max(len(first), held - self._held), age)

    async def _read(self, waiting: deque[int]) -> dict[int, list[LogEntry]]:
        """The next entries, about one batch.

        A partition is done when a page of it is not full, so a run ends however busy the log is.
        One with more has its next page in the same batch while there is room: each batch makes
        files of its own for each date.
        """
        found: dict[int, list[LogEntry]] = {}
        self._read_from = {number: self.position(number) for number in waiting}
        count = min(_PAGE, self._batch)
        number = 0
        while waiting and number < self._batch:
            turn = [waiting.popleft() for _ in range(min(_PARTITIONS_AT_ONCE, len(waiting)))]
            positions = {
                one: found[one][-1].entry_id if one in found else self.position(one) for one in turn
            }
            pages = await self._log.read_logs(positions, count)
            for one, page in pages.items():
                found.setdefault(one, []).extend(page)
            number += sum(map(len, pages.values()))
            waiting.extend(one for one in turn if one in pages and len(pages[one]) == count)
        return found

    async def _archive(self, pages: dict[int, list[LogEntry]]) -> None:
        """One batch."""
        batch = batch_of(pages, await pseudonyms(self._log))
        await self._writer.policies.keep(batch.policy_versions)
        for attempt in range(_TRIES):
            try:
                with self.folder.writing(exclusive=bool(batch.erasures)):
                    self._writer.look()
                    rest = self._without_done(batch)
                    self._writer.write(rest, self._clock(), certain=self._rewound)
                break
            except TableChanged:
                if attempt == _TRIES - 1:
                    raise
                self._writer.adopt_again()
        self.counts.batches += 1
        self.counts.entries += batch.read
        await self._writer.note_erasures(self._clock())
        self.folder.step("before trimming")
        await self._trim(pages.keys())
        self.folder.step("after trimming")

    def _without_done(self, batch: Batch) -> Batch:
        """Without what another archiver of these partitions has done meanwhile."""
        done = {
            partition: version_of(at)
            for partition in batch.ends
            if (at := self.position(partition)) != self._read_from.get(partition)
            and at
            and partition not in self._rewound
        }
        return batch.after(done) if done else batch

    async def _trim(self, partitions: Iterable[int]) -> None:
        until = (self._clock() - self._keep) // MILLISECOND
        removed = await asyncio.gather(
            *(
                self._log.advance_log(partition, self._group, position, max(0, until))
                for partition in partitions
                if (position := self.position(partition))
            )
        )
        self.counts.trimmed += sum(removed)
