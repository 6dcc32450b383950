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
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from decision.archive import readers
from decision.archive.batch import Batch, Erasure, Quarantine, batch_of
from decision.archive.change import TableChange
from decision.archive.collecting import without_collecting
from decision.archive.compaction import KEPT
from decision.archive.erased import ErasedCustomers
from decision.archive.erasing import erase_in
from decision.archive.erasure_notes import ArchiveNote, note_archive, note_missed
from decision.archive.errors import ArchiveError
from decision.archive.features import types_of
from decision.archive.folder import WHOLE, ArchiveFolder, Share
from decision.archive.known_ids import Fresh, KnownIds, by_day, oldest_day
from decision.archive.layout import DATASETS
from decision.archive.location import check_store
from decision.archive.migration import migrate
from decision.archive.policies import candidates_of, read_policy, write_policy
from decision.archive.positions import version_of
from decision.archive.progress import Progress, position_of, versions_of
from decision.archive.pseudonymous import name_by_pseudonym
from decision.archive.registers import save_register
from decision.archive.rows import DamagedRecord, DecodedEntry, Piece, Rows
from decision.archive.table import Table, TableChanged, retried
from decision.core.candidates import CandidateInfo
from decision.core.clock import HOUR, MILLISECOND
from decision.core.identifiers import PARTITIONS
from decision.core.records import DecisionRecord
from decision.store.damage import decoded
from decision.store.log import Log, LogEntry, place_of
from decision.store.pseudonyms import pseudonyms

BATCH: Final = 20_000
"""About how many entries one batch has; this bounds memory."""

_TRIES: Final = 50
"""How often a batch is begun again because others have changed a table meanwhile."""
_PARTITIONS_AT_ONCE: Final = 64
_owner = msgspec.json.Decoder(dict[str, str]).decode
_files = msgspec.msgpack.Decoder(dict[str, str]).decode
_PAGE: Final = BATCH // _PARTITIONS_AT_ONCE


class ArchiveCounts(msgspec.Struct):
    """What was done: entries read, rows written by dataset, rows erased, records quarantined.

    `begun_again` counts partitions with a log that ends before the archive's position, and that is
    read again from its start. `readers_gone` counts other readers that were silent for a day, so
    that the log is trimmed again.
    """

    entries: int = 0
    batches: int = 0
    duplicates: int = 0
    quarantined: int = 0
    rows_erased: int = 0
    trimmed: int = 0
    begun_again: int = 0
    readers_gone: int = 0
    rows: dict[str, int] = msgspec.field(default_factory=dict)


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
        self.counts = ArchiveCounts()
        self._log = log
        self._clock = clock
        self._group = group
        self._partitions = share.partitions
        self._keep = keep
        self._batch = batch
        self._held = 0
        self._rewound: set[int] = set()
        self._read_from: dict[int, str] = {}
        self._tables: dict[str, Table] = {}
        self._progress: Progress | None = None
        self._known = KnownIds()
        self._quarantine = Quarantine(folder.path)
        self._candidates: dict[str, Sequence[CandidateInfo] | None] = {}
        self._register: tuple[tuple[int, int], str] = ((-1, -1), "")
        self._erased: list[ErasedCustomers] = []

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
            self._adopt(progress)
            self._tidy()
            if not progress.pseudonymous:
                await self._name_by_pseudonym(progress)
            await self._keep_log()
            await note_missed(self._log, self.folder.path, self._group, self._clock())

    def _adopt(self, progress: Progress) -> None:
        """Takes the state of the archive as it is on the disk."""
        self._progress = progress
        self._known = KnownIds()
        self._known.take_in(progress.table.files)
        self._tables = {}
        for dataset in DATASETS:
            if (table := Table.find(self.folder, dataset)) is not None:
                self._tables[dataset] = table

    def _tidy(self) -> None:
        """Removes what dead processes have left, and dates whose folder somebody has removed."""
        for table in [*self._tables.values(), self.progress.table]:
            table.drop_missing()
            table.vacuum(KEPT)

    async def _name_by_pseudonym(self, progress: Progress) -> None:
        """Removes the ids by which earlier versions have archived erasures."""
        table, names = self._tables.get("changes"), await pseudonyms(self._log)
        if table is not None:
            change = TableChange(table)
            try:
                name_by_pseudonym(change, names)
                if change:
                    change.commit()
            except BaseException:
                change.abandon()
                raise
            table.vacuum()
        progress.is_pseudonymous()

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
    def progress(self) -> Progress:
        """How far the archive is."""
        assert self._progress is not None, "open() comes first"
        return self._progress

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
        self._look()
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
                for table in [*self._tables.values(), self.progress.table]:
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
        await self._keep_policies(batch.entries)
        for attempt in range(_TRIES):
            try:
                with self.folder.writing(exclusive=bool(batch.erasures)):
                    self._look()
                    self._fill(self._without_done(batch))
                break
            except TableChanged:
                if attempt == _TRIES - 1:
                    raise
                self._adopt(self._found())
        self._count(batch)
        await self._note_erasures()
        self.folder.step("before trimming")
        await self._trim(pages.keys())
        self.folder.step("after trimming")

    def _look(self) -> None:
        """Takes in what others have committed meanwhile.

        Raises:
            ArchiveError: the folder was emptied or replaced, or a table is damaged.
        """
        if not self.progress.table.path.exists():
            self._found()
        self.progress.table.look()
        self._known.take_in(self.progress.table.files)
        for dataset in DATASETS:
            if dataset in self._tables:
                self._tables[dataset].look()
            elif (table := Table.find(self.folder, dataset)) is not None:
                self._tables[dataset] = table

    def _found(self) -> Progress:
        """The state on the disk, which must be that of the same archive."""
        again = Progress.find(self.folder)
        if again is None or again.archive_id != self.progress.archive_id:
            raise ArchiveError(f"{self.folder.path} was emptied or replaced meanwhile")
        return again

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

    def _fill(self, batch: Batch) -> None:
        """Brings each table to where the batch ends, then `_progress`."""
        fresh = self._known.fresh(
            batch.entries, batch.erased(), self._files_of, certain=self._rewound
        )
        damaged = list(batch.damaged)
        pieces = dict(self._pieces(fresh, damaged))
        for dataset in DATASETS:
            self._bring(dataset, pieces.get(dataset, []), batch)
        if batch.erasures:
            self.counts.rows_erased += self._quarantine.erase(batch.erased()).rows
        self.counts.quarantined += self._quarantine.add(damaged)
        oldest = oldest_day(self._clock())
        digests = by_day(fresh, oldest)
        kept = self.progress.commit(digests, batch.ends, oldest)
        self._known.add(digests, kept, oldest)
        self.counts.duplicates += len(batch.entries) - len(fresh.entries)

    def _files_of(self, dataset: str) -> Sequence[Path]:
        table = self._tables.get(dataset)
        return () if table is None else table.files

    def _pieces(
        self, fresh: Fresh, damaged: list[DamagedRecord]
    ) -> Iterator[tuple[str, list[Piece]]]:
        """The rows that each dataset lacks; what does not fit into a table is added to `damaged`.

        As a rule all datasets lack the same records, and their rows are made at once.
        """
        first = {one.partition: one.entry_id for one in reversed(fresh.entries)}
        begins = {partition: version_of(entry_id) for partition, entry_id in first.items()}
        alike: defaultdict[frozenset[int], list[str]] = defaultdict(list)
        for dataset in DATASETS:
            alike[frozenset(self._has(dataset, fresh, begins))].append(dataset)
        types = self._tables["decisions"].feature_types if "decisions" in self._tables else {}
        for has, datasets in alike.items():
            rows = Rows(self._candidates.get, self._keep_register(), types)
            lacked = [one for place, one in enumerate(fresh.entries) if place not in has]
            made = rows.tables(lacked)
            damaged += rows.damaged
            for dataset in datasets:
                yield dataset, [piece for piece in made if piece.dataset == dataset]

    def _has(self, dataset: str, fresh: Fresh, begins: Mapping[int, int]) -> set[int]:
        """The numbers of the records of which a dataset has its part already. `begins`: where each
        partition's first record is."""
        found = set(fresh.has.get(dataset, ()))
        table = self._tables.get(dataset)
        if table is not None:
            ends = {
                partition: end
                for partition, begin in begins.items()
                if begin <= (end := table.position(position_of(self._group, partition)) or 0)
            }
            if ends:
                found |= {
                    place
                    for place, one in enumerate(fresh.entries)
                    if version_of(one.entry_id) <= ends.get(one.partition, -1)
                }
        return found

    def _bring(self, dataset: str, pieces: Sequence[Piece], batch: Batch) -> None:
        """Commits a dataset's part of a batch: what is erased, what is new, and how far it is."""
        table = self._tables.get(dataset)
        if table is None:
            if not pieces:
                return
            table = self._tables[dataset] = Table.make(self.folder, dataset)

        def is_done(erasure: Erasure, table: Table = table) -> bool:
            at = table.position(position_of(self._group, erasure.partition)) or 0
            return erasure.version <= at

        erased = batch.erased(is_done)
        if pieces:
            types = [types_of(piece.table.schema) for piece in pieces]  # each day may have more
            table.widen({name: kind for own in types for name, kind in own.items()})
        change = TableChange(table)
        try:
            gone = erase_in(change, erased).rows if erased else 0
            for piece in pieces:
                change.add(piece.day, piece.table)
            if change:
                change.commit(versions_of(self._group, batch.ends))
        except BaseException:
            change.abandon()
            raise
        if batch.erasures:
            table.vacuum()
        self._erased.append(erased)
        self.counts.rows_erased += gone
        number = sum(len(piece.table) for piece in pieces)
        self.counts.rows[dataset] = self.counts.rows.get(dataset, 0) + number

    def _count(self, batch: Batch) -> None:
        self.counts.batches += 1
        self.counts.entries += batch.read

    async def _note_erasures(self) -> None:
        """Notes what was erased, for the erasures' certificates."""
        every, self._erased = self._erased, []
        rows, files = Counter[str](), Counter[str]()
        logged: dict[str, int] = {}
        for erased in every:
            rows.update(erased.rows)
            files.update(erased.files)
            logged |= erased.logged
        for erasure, ids in logged.items():
            about = ArchiveNote(self.folder.path, self._group, ids, rows[erasure], files[erasure])
            await note_archive(self._log, erasure, about, self._clock())

    async def _keep_policies(self, entries: Sequence[DecodedEntry]) -> None:
        """Keeps the files of the policies that decided, and learns their candidates."""
        decided = (entry.record for entry in entries if isinstance(entry.record, DecisionRecord))
        for version in {record.policy_version for record in decided} - self._candidates.keys():
            await self.know_policy(version)

    async def know_policy(self, version: str) -> None:
        """Keeps the files of a policy that the store has, and learns its candidates."""
        folder = self.folder.path
        blob = await self._log.get_blob(f"policy:{version}")
        if blob is not None:
            write_policy(folder, version, decoded(f"the policy {version}", blob, _files))
        self._candidates[version] = candidates_of(read_policy(folder, version))

    def _keep_register(self) -> str:
        names, kinds = self._log.register_entries()
        sizes = (len(names), len(kinds))
        if sizes != self._register[0]:
            self._register = sizes, save_register(self.folder.path, names, kinds)
        return self._register[1]

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
