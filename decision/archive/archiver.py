"""From the log to Parquet: one batch after another, each in one commit.

A batch takes entries of many partitions, each from the position in the manifest. Within a partition
the order of the log counts: an erasure removes what is before it, in the batch and in every file,
and leaves what comes after it.
"""

from __future__ import annotations

import asyncio
import base64
import socket
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, NamedTuple
from uuid import uuid4

import msgspec

from decision.archive import readers
from decision.archive.collecting import without_collecting
from decision.archive.erased import ErasedCustomers, pseudonymous
from decision.archive.erasing import erase_in
from decision.archive.erasure_notes import ArchiveNote, note_archive, note_missed
from decision.archive.journal import (
    ArchiveError,
    ArchiveManifest,
    ArchiveTransaction,
    Journal,
    read_manifest,
)
from decision.archive.known_ids import KnownIds
from decision.archive.layout import QUARANTINE
from decision.archive.policies import candidates_of, read_policy, write_policy
from decision.archive.pseudonymous import name_by_pseudonym
from decision.archive.registers import save_register
from decision.archive.rows import DamagedRecord, DecodedEntry, Rows, decode
from decision.core.candidates import CandidateInfo
from decision.core.clock import HOUR, MILLISECOND
from decision.core.identifiers import PARTITIONS
from decision.core.records import ChangeRecord, DecisionRecord
from decision.store.damage import decoded
from decision.store.log import Log, LogEntry, place_of
from decision.store.pseudonyms import Pseudonyms, WrongKey, pseudonyms

BATCH: Final = 20_000
"""About how many entries one commit has; this bounds memory."""

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
    """Archives one store's log into one folder. Use it within `Journal.alone`.

    `keep` (microseconds) is how long archived entries stay in the log, so that decisions can be
    looked up; `clock` gives the present in microseconds.
    """

    def __init__(
        self,
        journal: Journal,
        log: Log,
        *,
        clock: Callable[[], int],
        group: str = "archive",
        keep: int = HOUR,
        batch: int = BATCH,
    ) -> None:
        self.journal = journal
        self.counts = ArchiveCounts()
        self._log = log
        self._clock = clock
        self._group = group
        self._keep = keep
        self._batch = batch
        self._held = 0
        self._rewound: set[int] = set()
        self._manifest: ArchiveManifest | None = None
        self._known: KnownIds | None = None
        self._candidates: dict[str, Sequence[CandidateInfo] | None] = {}
        self._register: tuple[tuple[int, int], str] = ((-1, -1), "")
        self._erased = ErasedCustomers()

    async def open(self, *, take_over: bool = False) -> None:
        """Completes what a crash has left, and claims the log for this folder.

        Raises:
            ArchiveError: the log is archived to another folder under this group.
            StoreUnavailable, OSError: the log or the folder cannot be reached.
        """
        with self.journal.writing():
            manifest = self.journal.load() or ArchiveManifest(
                archive_id=uuid4().hex, group=self._group, pseudonymous=True
            )
            if manifest.group != self._group:
                raise ArchiveError(
                    f"{self.journal.folder} is the archive of the group {manifest.group!r}; "
                    f"give --group {manifest.group}, or another folder"
                )
            name = f"archive:{self._group}"
            claimed = await self._log.get_blob(name)
            if claimed and not take_over:
                self._check_owner(manifest, decoded(name, claimed, _owner))
            if not manifest.number:
                manifest = msgspec.structs.replace(manifest, number=1)
                self.journal.commit(manifest)
            # The folder knows its id before the store does, so a crash in between does no harm.
            owner = {
                "archive_id": manifest.archive_id,
                "folder": str(self.journal.folder.absolute()),
                "host": socket.gethostname(),
            }
            await self._log.put_blob(name, msgspec.json.encode(owner))
            if not manifest.pseudonymous:
                manifest = await self._name_by_pseudonym(manifest)
            self._adopt(manifest)
            await self._keep_log()
            await note_missed(self._log, self.journal.folder, self._group, self._clock())

    async def _name_by_pseudonym(self, manifest: ArchiveManifest) -> ArchiveManifest:
        """Removes the ids by which earlier versions have archived erasures."""
        change = ArchiveTransaction(self.journal, manifest)
        try:
            name_by_pseudonym(change, self.journal.folder, await pseudonyms(self._log))
            return change.commit(pseudonymous=True)
        except BaseException:
            change.abandon()
            raise

    async def _keep_log(self) -> None:
        """Is a reader of every partition from now on: also of one that has no entries yet.

        A log without readers is trimmed to a limit, whatever of it is archived.
        """
        positions = self.manifest.positions
        await asyncio.gather(
            *(
                self._log.advance_log(number, self._group, positions.get(number, "0-0"), 0)
                for number in range(PARTITIONS)
            )
        )

    async def leave(self) -> None:
        """Gives the archive up: the log is not kept for it any longer. Its files stay."""
        await self._log.leave_log(self._group)
        await self._log.put_blob(f"archive:{self._group}", b"")

    def _check_owner(self, manifest: ArchiveManifest, held: dict[str, str]) -> None:
        """Refuses a new folder if another one has entries that are no longer in the log."""
        if held["archive_id"] != manifest.archive_id:
            raise ArchiveError(
                f"the log is archived to {held['folder']} on {held['host']} already, and entries "
                "that are there are trimmed from the log; archive to that folder, or give "
                "--group NAME for a second archive, or --take-over to start a new one here"
            )

    def _adopt(self, manifest: ArchiveManifest) -> None:
        self._manifest = manifest
        self._known = KnownIds(self.journal.folder, manifest)

    @property
    def manifest(self) -> ArchiveManifest:
        """The state of the archive as of the latest commit of this process."""
        assert self._manifest is not None, "open() comes first"
        return self._manifest

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
        waiting = deque(range(PARTITIONS))
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
        positions = self.manifest.positions
        await self._trim({number: positions[number] for number in positions.keys() - trimmed})
        if await readers.leave_if_gone(self._log, self._clock()):
            self.counts.readers_gone += 1

    async def _rewind(self) -> None:
        """Reads a partition from its start if its log ends before the archive's position.

        This happens after Redis was restored from an older backup, or lost its latest writes: new
        entries may have ids before that position. Records that are archived already are recognised
        by their own ids.
        """
        ends = await self._log.log_ends()
        positions = self.manifest.positions
        behind = {
            number
            for number, end in ends.items()
            if number in positions and place_of(end) < place_of(positions[number])
        }
        if behind:
            kept = {number: place for number, place in positions.items() if number not in behind}
            self._manifest = msgspec.structs.replace(self.manifest, positions=kept)
            self.counts.begun_again += len(behind)
            self._rewound |= behind

    async def lag(self) -> Lag:
        """How far the archive is behind the log."""
        positions = {
            number: self.manifest.positions.get(number, "") for number in range(PARTITIONS)
        }
        held = sum(await self._log.log_lengths())
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
        count = min(_PAGE, self._batch)
        number = 0
        while waiting and number < self._batch:
            turn = [waiting.popleft() for _ in range(min(_PARTITIONS_AT_ONCE, len(waiting)))]
            positions = {
                one: found[one][-1].entry_id
                if one in found
                else self.manifest.positions.get(one, "")
                for one in turn
            }
            pages = await self._log.read_logs(positions, count)
            for one, page in pages.items():
                found.setdefault(one, []).extend(page)
            number += sum(map(len, pages.values()))
            waiting.extend(one for one in turn if one in pages and len(pages[one]) == count)
        return found

    async def _archive(self, pages: dict[int, list[LogEntry]]) -> None:
        """One batch, in one commit."""
        with self.journal.writing():
            current = read_manifest(self.journal.folder)
            if current is None or current.number != self.manifest.number:
                again = self.journal.load()  # a customer was erased meanwhile, or the disk was full
                if again is None or again.archive_id != self.manifest.archive_id:
                    raise ArchiveError(f"{self.journal.folder} was emptied or replaced meanwhile")
                self._adopt(again)
            change = ArchiveTransaction(self.journal, self.manifest)
            try:
                await self._fill(change, pages)
            except BaseException:
                change.abandon()
                self._known = KnownIds(self.journal.folder, self.manifest)
                raise
        await self._note_erasures()
        self.journal.step("before trimming")
        await self._trim({partition: self.manifest.positions[partition] for partition in pages})
        self.journal.step("after trimming")

    async def _fill(self, change: ArchiveTransaction, pages: dict[int, list[LogEntry]]) -> None:
        assert self._known is not None
        entries, damaged, erased = _in_order(pages, await pseudonyms(self._log))
        fresh = self._known.fresh(entries, erased, certain=self._rewound)
        await self._keep_policies(fresh.entries)
        types = dict(self.manifest.feature_types)
        rows = Rows(self._candidates.get, self._keep_register(), types)
        pieces = rows.tables(fresh.entries)
        damaged += rows.damaged
        counts = Counter({piece.dataset: 0 for piece in pieces})
        for piece in pieces:
            change.add(piece.dataset, piece.day, piece.table)
            counts[piece.dataset] += len(piece.table)
        gone = erase_in(change, self.journal.folder, erased).rows if erased else 0
        if damaged:
            change.attach(f"{QUARANTINE}/part-{change.number:012d}.ndjson", _set_aside(damaged))
        known = self._known.add(fresh, change.number, self._clock())
        ends = {partition: page[-1].entry_id for partition, page in pages.items()}
        self._manifest = change.commit(
            positions={**self.manifest.positions, **ends}, feature_types=types, known_ids=known
        )
        self._erased = erased
        done = self.counts
        done.batches += 1
        done.entries += sum(map(len, pages.values()))
        done.duplicates += len(entries) - len(fresh.entries)
        done.quarantined += len(damaged)
        done.rows_erased += gone
        for dataset, number in counts.items():
            done.rows[dataset] = done.rows.get(dataset, 0) + number

    async def _note_erasures(self) -> None:
        """Notes what was erased, for the erasures' certificates."""
        erased, self._erased = self._erased, ErasedCustomers()
        for erasure, ids in erased.logged.items():
            rows, files = erased.rows[erasure], erased.files[erasure]
            about = ArchiveNote(self.journal.folder, self._group, ids, rows, files)
            await note_archive(self._log, erasure, about, self._clock())

    async def _keep_policies(self, entries: Sequence[DecodedEntry]) -> None:
        """Keeps the files of the policies that decided, and learns their candidates."""
        decided = (entry.record for entry in entries if isinstance(entry.record, DecisionRecord))
        for version in {record.policy_version for record in decided} - self._candidates.keys():
            await self.know_policy(version)

    async def know_policy(self, version: str) -> None:
        """Keeps the files of a policy that the store has, and learns its candidates."""
        folder = self.journal.folder
        blob = await self._log.get_blob(f"policy:{version}")
        if blob is not None:
            write_policy(folder, version, decoded(f"the policy {version}", blob, _files))
        self._candidates[version] = candidates_of(read_policy(folder, version))

    def _keep_register(self) -> str:
        names, kinds = self._log.register_entries()
        sizes = (len(names), len(kinds))
        if sizes != self._register[0]:
            self._register = (sizes, save_register(self.journal.folder, names, kinds))
        return self._register[1]

    async def _trim(self, positions: dict[int, str]) -> None:
        until = (self._clock() - self._keep) // MILLISECOND
        removed = await asyncio.gather(
            *(
                self._log.advance_log(partition, self._group, position, max(0, until))
                for partition, position in positions.items()
            )
        )
        self.counts.trimmed += sum(removed)


def _set_aside(damaged: Sequence[DamagedRecord]) -> bytes:
    """Records that cannot be read, one per line: nothing is lost when the log is trimmed."""
    lines = [
        msgspec.json.encode(
            {
                "partition": one.partition,
                "entry_id": one.entry_id,
                "kind": one.logged.kind,
                "id": one.logged.id,
                "reason": one.why,
                "body": base64.b64encode(one.logged.body).decode(),
            }
        )
        for one in damaged
    ]
    return b"\n".join(lines) + b"\n"


def _in_order(
    pages: dict[int, list[LogEntry]], names: Pseudonyms
) -> tuple[list[DecodedEntry], list[DamagedRecord], ErasedCustomers]:
    """(records to archive, records that cannot be read, customers erased) of a batch."""
    kept: list[DecodedEntry] = []
    damaged: list[DamagedRecord] = []
    erased = ErasedCustomers(names=names)
    pseudonym = cache(names.of)
    for partition, page in pages.items():
        own: list[DecodedEntry] = []
        unread: list[DamagedRecord] = []
        for entry_id, logged in page:
            entry = decode(partition, entry_id, logged)
            if isinstance(entry, DamagedRecord):
                unread.append(entry)
                continue
            if logged.kind == "erasure" and isinstance(entry.record, ChangeRecord):
                try:
                    record = pseudonymous(entry.record, names)
                except WrongKey as error:
                    damaged.append(DamagedRecord(partition, entry_id, logged, str(error)))
                    continue
                entry = entry._replace(record=record)
                erased.add(record, partition)
                who = ErasedCustomers(names=names)
                who.add(record, partition)
                own = [
                    one for one in own if pseudonym(one.record.customer_id) != record.customer_id
                ]
                unread = [one for one in unread if not who.may_be_in(one.logged.body)]
            own.append(entry)
        kept += own
        damaged += unread
    return kept, damaged, erased
