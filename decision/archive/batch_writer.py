"""One batch of the log into the tables: each takes what it lacks, and `_progress` comes last.

See `archiver` for what this gives after a crash, and beside another archiver.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from decision.archive.batch import Batch, Erasure, Quarantine
from decision.archive.change import TableChange
from decision.archive.compaction import KEPT
from decision.archive.erased import ErasedCustomers
from decision.archive.erasing import erase_in
from decision.archive.erasure_notes import ArchiveNote, note_archive
from decision.archive.errors import ArchiveError
from decision.archive.features import types_of
from decision.archive.folder import ArchiveFolder
from decision.archive.known_ids import Fresh, KnownIds, by_day, oldest_day
from decision.archive.layout import DATASETS
from decision.archive.policies import KnownPolicies
from decision.archive.positions import version_of
from decision.archive.progress import Progress, position_of, versions_of
from decision.archive.pseudonymous import name_by_pseudonym
from decision.archive.registers import save_register
from decision.archive.rows import DamagedRecord, Piece, Rows
from decision.archive.table import Table, delta_schema
from decision.store.log import Log
from decision.store.pseudonyms import Pseudonyms


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


class BatchWriter:
    """Writes batches into the tables of one archive, for one `archiver`. Begin with `adopt`."""

    def __init__(self, folder: ArchiveFolder, log: Log, group: str) -> None:
        self.counts = ArchiveCounts()
        self.policies = KnownPolicies(folder.path, log)
        self._folder = folder
        self._log = log
        self._group = group
        self._tables: dict[str, Table] = {}
        self._progress: Progress | None = None
        self._known = KnownIds()
        self._quarantine = Quarantine(folder.path)
        self._register: tuple[tuple[int, int], str] = ((-1, -1), "")
        self._erased: list[ErasedCustomers] = []

    @property
    def progress(self) -> Progress:
        """How far the archive is."""
        assert self._progress is not None, "adopt() comes first"
        return self._progress

    @property
    def tables(self) -> list[Table]:
        """All tables that are there, `_progress` last."""
        return [*self._tables.values(), self.progress.table]

    def adopt(self, progress: Progress) -> None:
        """Takes the state of the archive as it is on the disk."""
        self._progress = progress
        self._known = KnownIds()
        self._known.take_in(progress.table.files)
        self._tables = {}
        for dataset in DATASETS:
            if (table := Table.find(self._folder, dataset)) is not None:
                self._tables[dataset] = table

    def adopt_again(self) -> None:
        """As `adopt`, where another archiver was faster with a table."""
        self.adopt(self._found())

    def tidy(self) -> None:
        """Removes what dead processes have left, and dates whose folder somebody has removed."""
        for table in self.tables:
            table.drop_missing()
            table.vacuum(KEPT)

    def name_by_pseudonym(self, names: Pseudonyms) -> None:
        """Removes the ids by which earlier versions have archived erasures."""
        table = self._tables.get("changes")
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
        self.progress.is_pseudonymous()

    def look(self) -> None:
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
            elif (table := Table.find(self._folder, dataset)) is not None:
                self._tables[dataset] = table

    def _found(self) -> Progress:
        """The state on the disk, which must be that of the same archive."""
        again = Progress.find(self._folder)
        if again is None or again.archive_id != self.progress.archive_id:
            raise ArchiveError(f"{self._folder.path} was emptied or replaced meanwhile")
        return again

    def write(self, batch: Batch, now: int, *, certain: Collection[int] = ()) -> None:
        """Brings each table to where the batch ends, then `_progress`.

        Records of the partitions `certain` are looked up in the tables, whatever ids are known.

        Raises:
            TableChanged: another archiver was faster; `adopt_again`, and write it once more.
        """
        fresh = self._known.fresh(batch.entries, batch.erased(), self._files_of, certain)
        damaged = list(batch.damaged)
        pieces = dict(self._pieces(fresh, damaged))
        for dataset in DATASETS:
            self._bring(dataset, pieces.get(dataset, []), batch)
        if batch.erasures:
            self.counts.rows_erased += self._quarantine.erase(batch.erased()).rows
        self.counts.quarantined += self._quarantine.add(damaged)
        oldest = oldest_day(now)
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
            rows = Rows(self.policies.candidates, self._keep_register(), types)
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
        each = [types_of(piece.table.schema) for piece in pieces]  # one day may have more
        types = {name: kind for own in each for name, kind in own.items()}
        if table is None:
            if not pieces:
                return
            schema = delta_schema(dataset, types)
            table = self._tables[dataset] = Table.make(self._folder, dataset, schema)

        def is_done(erasure: Erasure, table: Table = table) -> bool:
            at = table.position(position_of(self._group, erasure.partition)) or 0
            return erasure.version <= at

        erased = batch.erased(is_done)
        if pieces:
            table.widen(types)
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

    async def note_erasures(self, now: int) -> None:
        """Notes what was erased, for the erasures' certificates."""
        every, self._erased = self._erased, []
        rows, files = Counter[str](), Counter[str]()
        logged: dict[str, int] = {}
        for erased in every:
            rows.update(erased.rows)
            files.update(erased.files)
            logged |= erased.logged
        for erasure, ids in logged.items():
            about = ArchiveNote(self._folder.path, self._group, ids, rows[erasure], files[erasure])
            await note_archive(self._log, erasure, about, now)

    def _keep_register(self) -> str:
        names, kinds = self._log.register_entries()
        sizes = (len(names), len(kinds))
        if sizes != self._register[0]:
            self._register = sizes, save_register(self._folder.path, names, kinds)
        return self._register[1]
