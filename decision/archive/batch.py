"""One batch of the log: what is to be archived of it, and what cannot be read."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from decision.archive.erased import ErasedCustomers, pseudonymous
from decision.archive.erasing import Erased, erase_quarantined
from decision.archive.layout import QUARANTINE
from decision.archive.positions import version_of
from decision.archive.rows import DamagedRecord, DecodedEntry, decode
from decision.core.records import ChangeRecord, DecisionLine
from decision.files import write_whole
from decision.store.log import LogEntry
from decision.store.pseudonyms import Pseudonyms, WrongKey


class Erasure(NamedTuple):
    """An erasure in the log: its record, by pseudonym, and where it is."""

    record: ChangeRecord
    partition: int
    version: int


class Batch(NamedTuple):
    """Records to archive in the order of the log, those that cannot be read, and erasures.

    Records of before an erasure are left out, if they are of that customer. `ends` has the last
    entry of each partition.
    """

    entries: list[DecodedEntry]
    damaged: list[DamagedRecord]
    erasures: list[Erasure]
    ends: dict[int, str]
    names: Pseudonyms
    read: int

    @property
    def policy_versions(self) -> set[str]:
        """The versions of the policies that decided."""
        records = (entry.record for entry in self.entries)
        return {one.policy_version for one in records if isinstance(one, DecisionLine)}

    def after(self, done: Mapping[int, int]) -> Batch:
        """Without entries up to these places, by partition (see `positions.version_of`)."""

        def is_new(partition: int, entry_id: str) -> bool:
            return version_of(entry_id) > done.get(partition, -1)

        return self._replace(
            entries=[one for one in self.entries if is_new(one.partition, one.entry_id)],
            damaged=[one for one in self.damaged if is_new(one.partition, one.entry_id)],
            erasures=[one for one in self.erasures if one.version > done.get(one.partition, -1)],
            ends={number: at for number, at in self.ends.items() if is_new(number, at)},
        )

    def erased(self, is_done: Callable[[Erasure], bool] = lambda erasure: False) -> ErasedCustomers:
        """Who was erased, but for those erasures of which it is said that they are done."""
        found = ErasedCustomers(names=self.names)
        for erasure in self.erasures:
            if not is_done(erasure):
                found.add(erasure.record, erasure.partition)
        return found


class Quarantine:
    """The records that nobody could read, one per line: nothing is lost when the log is trimmed."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._folder = archive / QUARANTINE
        self._known: set[tuple[int, str, str]] | None = None

    def add(self, damaged: Sequence[DamagedRecord]) -> int:
        """Adds those that are not in it yet, as one file; returns how many these are."""
        if not damaged:
            return 0
        known = self._read()
        every = {(one.partition, one.entry_id, one.logged.id): one for one in damaged}
        new = {key: one for key, one in every.items() if key not in known}
        if new:
            partition, entry_id, _ = next(iter(new))
            name = f"part-{version_of(entry_id):020}-{partition}.ndjson"
            lines = [_line(one) for one in new.values()]
            write_whole(self._folder / name, b"\n".join(lines) + b"\n")
        self._known = known | new.keys()
        return len(new)

    def erase(self, erased: ErasedCustomers) -> Erased:
        """Removes those that have the id of an erased customer in their bytes."""
        self._known = None
        return erase_quarantined(self._archive, erased)

    def _read(self) -> set[tuple[int, str, str]]:
        if self._known is None:
            self._known = set()
            for path in self._folder.glob("*.ndjson"):
                for line in path.read_bytes().splitlines():
                    try:
                        found = _place.decode(line)
                    except (msgspec.MsgspecError, ValueError):
                        continue
                    self._known.add((found.partition, found.entry_id, found.id))
        return self._known


class _Place(msgspec.Struct):
    partition: int
    entry_id: str
    id: str


_place = msgspec.json.Decoder(_Place)


def _line(one: DamagedRecord) -> bytes:
    return msgspec.json.encode(
        {
            "partition": one.partition,
            "entry_id": one.entry_id,
            "kind": one.logged.kind,
            "id": one.logged.id,
            "reason": one.why,
            "body": base64.b64encode(one.logged.body).decode(),
        }
    )


def batch_of(pages: dict[int, list[LogEntry]], names: Pseudonyms) -> Batch:
    """What some pages of the log have."""
    kept: list[DecodedEntry] = []
    damaged: list[DamagedRecord] = []
    erasures: list[Erasure] = []
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
                entry = msgspec.structs.replace(entry, record=record)
                erasures.append(Erasure(record, partition, version_of(entry_id)))
                who = ErasedCustomers(names=names)
                who.add(record, partition)
                own = [
                    one for one in own if pseudonym(one.record.customer_id) != record.customer_id
                ]
                unread = [one for one in unread if not who.may_be_in(one.logged.body)]
            own.append(entry)
        kept += own
        damaged += unread
    ends = {partition: page[-1].entry_id for partition, page in pages.items()}
    return Batch(kept, damaged, erasures, ends, names, sum(map(len, pages.values())))
