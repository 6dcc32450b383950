"""Event measures filled from the archive: as if a changed policy's had always been kept.

Each customer's histories are folded anew from all their events, archived or still in the log, and
written in one commit that holds only if no event came in between; else the customer is read
again. So decisions go on meanwhile, and doing it again changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from decision.archive import readers
from decision.archive.errors import ArchiveError
from decision.archive.histories import (
    AppliedEvent,
    applied_event,
    archived_erasures,
    archived_events,
    fold,
    rebuilt,
    rebuilt_score,
)
from decision.archive.progress import ArchiveState, read_state
from decision.core import records
from decision.core.document import Document
from decision.core.events import Measure
from decision.core.identifiers import PARTITIONS, partition_of
from decision.core.ports import Commit, ReadResult
from decision.engine.identity import resolve
from decision.engine.runtime import Runtime
from decision.engine.transaction import commit_of, update
from decision.maintenance.named import NamedEvents
from decision.store.log import Log, place_of
from decision.store.pseudonyms import Pseudonyms, pseudonyms


class Rebuilt(msgspec.Struct):
    """What was done: customers looked at, changed, and gone.

    Of `incomplete` customers more events were counted than there are now; the counts stay.
    """

    customers: int = 0
    changed: int = 0
    gone: int = 0
    incomplete: int = 0
    events: int = 0

    def add(self, other: Rebuilt) -> None:
        """Adds the counts of another."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Rebuilding:
    """One rebuilding of the histories of some types of events."""

    def __init__(
        self, runtime: Runtime, log: Log, archive: Path, types: Collection[str] | None = None
    ) -> None:
        self._policy = runtime.snapshot.policy
        wanted = None if types is None else frozenset(types)
        self.measures: dict[str, Measure] = {
            name: measure
            for name, measure in runtime.snapshot.measures.items()
            if wanted is None or not wanted.isdisjoint({name, self._sent(name)})
        }
        self.scores = {
            name: {self._sent(kind) for kind in score.adds}
            for name, score in self._policy.scores.definitions.items()
            if wanted is None or not wanted.isdisjoint({*score.adds, *map(self._sent, score.adds)})
        }
        """Score → the types of the events that are sent and add to it."""
        self.types = frozenset(map(self._sent, self.measures)).union(*self.scores.values())
        """The types of the events that are read."""
        self.counts = Rebuilt()
        self._runtime = runtime
        self._log = log
        self._archive = archive
        self._heartbeat = readers.RebuildHeartbeat(log)
        self._positions: dict[int, str] = {}
        self._recent: defaultdict[str, list[AppliedEvent]] = defaultdict(list)
        self._named = NamedEvents(self._policy, self.measures)
        self._names = Pseudonyms(b"")
        self._known: dict[str, str] = {}
        self._erased: dict[str, tuple[int, int]] = {}
        """Who was erased, and where in the log; the archive may not have followed."""
        self._erased_at: dict[str, int] = {}
        """Who was erased, and when, as the archive knows it."""

    def _sent(self, event_type: str) -> str:
        return self._policy.derivations.root(event_type)

    async def run(self, moved: Callable[[float], None] = lambda customers: None) -> Rebuilt:
        """Rebuilds everybody.

        Raises:
            ArchiveError: it is no archive, or cannot be read.
            StoreUnavailable: those before are done; it can be run again.
        """
        if not self.types:
            return self.counts
        try:
            await self._begin()
            later: dict[str, list[AppliedEvent]] = {}
            done = set()
            for customer_id, rows in self._archived():
                found = await self._runtime.store.read(customer_id)
                if found.document.moved_to is not None or found.document.merged:
                    later[customer_id] = rows  # their events stand under several ids
                    continue
                await self._customer(customer_id, {customer_id: rows})
                done.add(customer_id)
                moved(self.counts.customers)
            left = self._recent.keys() | later.keys() | self._named.customers
            for customer_id in sorted(left - done):
                found = await self._runtime.store.read(customer_id)
                if found.document.moved_to is None:
                    await self._customer(customer_id, later)
                    done.add(customer_id)
                    moved(self.counts.customers)
            for customer_id in sorted(later.keys() - done):
                target = (await resolve(self._runtime, customer_id)).document.customer_id
                if target not in done:
                    await self._customer(target, later)
                    done.add(target)
        finally:
            await self._heartbeat.stop()
            self._named.close()
        return self.counts

    def _archived(self) -> Iterator[tuple[str, list[AppliedEvent]]]:
        return archived_events(self._archive, sorted(self.types))

    async def _begin(self) -> None:
        """Keeps in the log what the archive does not have, and reads it."""
        await self._heartbeat.start(self._runtime.clock())
        self._names = await pseudonyms(self._log)
        before: dict[int, str] | None = None
        state = self._state()
        while state.positions != before:
            before = state.positions
            for partition in range(PARTITIONS):
                position = before.get(partition, "0-0")
                await self._log.advance_log(partition, readers.REBUILD, position, 0)
            state = self._state()  # it may have been trimmed up to here just before
        self._positions = {number: before.get(number, "") for number in range(PARTITIONS)}
        for partition in range(PARTITIONS):
            await self._catch_up(partition)
        if self._policy.derivations.for_others:
            self._erased_at = archived_erasures(self._archive)
            for _, rows in self._archived():
                self._named.add(rows)

    def _state(self) -> ArchiveState:
        state = read_state(self._archive)
        if state is None:
            raise ArchiveError(
                f"{self._archive} is no archive; make one first: nextbest archive --out DIR"
            )
        return state

    async def _catch_up(self, partition: int) -> None:
        """Reads what was logged since it was last asked."""
        while page := await self._log.read_logs({partition: self._positions[partition]}):
            for entry_id, logged in page[partition]:
                self._positions[partition] = entry_id
                if logged.kind == "event":
                    try:
                        record = records.decode_event(logged.body)
                    except msgspec.MsgspecError:
                        continue  # the archive will quarantine it
                    if record.type in self.types:
                        own = self._recent[record.customer_id]
                        if not own:
                            self._known[self._names.of(record.customer_id)] = record.customer_id
                        own.append(applied := applied_event(entry_id, record))
                        self._named.add([applied])
                elif logged.kind == "erasure":
                    erased = records.decode_change(logged.body).customer_id
                    self._erased[erased] = place_of(entry_id)
                    for name in (erased, self._known.pop(erased, "")):
                        self._recent.pop(name, None)

    def _not_erased(self, name: str, rows: Sequence[AppliedEvent]) -> Iterator[AppliedEvent]:
        """Archived events, without those of before an erasure of the customer."""
        pseudonym = self._names.of(name)
        place = max(self._erased.get(one, (0, 0)) for one in (name, pseudonym))
        at = self._erased_at.get(pseudonym, -1)
        return (row for row in rows if row.place > place and row.received_at > at)

    async def _customer(self, customer_id: str, archived: dict[str, list[AppliedEvent]]) -> None:
        """Rebuilds one customer, however many others write meanwhile."""
        runtime = self._runtime
        await self._heartbeat.beat(runtime.clock())

        async def change(found: ReadResult) -> tuple[Rebuilt, Commit | None]:
            document = found.document
            if document.moved_to is not None:
                return Rebuilt(), None  # merged just now, by events that the merge has taken over
            if not document.exists:
                return Rebuilt(gone=1), None
            own = [customer_id, *document.merged]
            # After the document: an event that it has is in what is read now.
            for partition in {partition_of(name) for name in own}:
                await self._catch_up(partition)
            # By their place in the log: what was just archived is in both.
            rows = {
                (name, row.place): row
                for name in own
                for row in (
                    *self._not_erased(name, archived.get(name, ())),
                    *self._recent.get(name, ()),
                )
            }
            # By their id: it is the same each time that they are derived.
            named = {
                row.id: row for name in own for row in self._not_erased(name, self._named.of(name))
            }
            events = [*rows.values(), *named.values()]
            changed, complete = self._apply(document, events)
            counts = Rebuilt(1, int(changed), 0, int(not complete), len(events))
            if not changed:
                return counts, None
            write_id = runtime.new_id(customer_id)
            return counts, commit_of(found, write_id, ("events",), also_expected=("contacts",))

        self.counts.add(await update(runtime, runtime.store.read, customer_id, change))

    def _apply(self, document: Document, rows: list[AppliedEvent]) -> tuple[bool, bool]:
        """(whether the document has changed, whether all events that it counts are there)."""
        changed, complete = False, True
        counted = fold(rows, self.measures, self._policy, self._policy.zone_of(document))
        for name, folded in counted.events.items():
            kept = document.events.get(name)
            history, whole = rebuilt(kept, folded)
            complete = complete and whole
            if history != kept:
                document.events[name] = history
                changed = True
        for name in self.scores:
            before = document.scores.get(name)
            score = rebuilt_score(before, counted.scores.get(name))
            complete = complete and score == counted.scores.get(name)
            if score is not None and score != before:
                document.scores = {**document.scores, name: score}
                changed = True
        return changed, complete
