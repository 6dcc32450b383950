"""A backup is put back: into a store that is empty, or emptied for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from decision.core.clock import SECOND
from decision.core.ports import Store
from decision.engine import Engine
from decision.maintenance.backups.file import BackupError, reading
from decision.maintenance.backups.following import DeliveryLists, RunLists
from decision.maintenance.backups.survey import Survey
from decision.progress import SILENT, Progress
from decision.store.copying import CopiedKey, CopyStore
from decision.store.kinds_of_keys import kind_of

_TOGETHER: Final = 500
"""Keys that are written together."""

_ALIVE: Final = 60 * SECOND
"""Microseconds within which a server that runs has told of itself."""


class RestorableStore(CopyStore, Store, Protocol):
    """A store into which a backup can be put."""


class RestoreOptions(NamedTuple):
    """How a backup is put back.

    `from_prefix` is the key prefix that it is of, where that may be another one. `replace`: what is
    in the store is removed before. `send`: deliveries that wait are sent; else they are held, since
    they may have been sent after the backup was taken. `erased` are pseudonyms of customers who
    were erased since then, and when (microseconds).
    """

    prefix: str
    from_prefix: str | None = None
    replace: bool = False
    send: bool = False
    erased: Mapping[str, int] = {}


class Restored(NamedTuple):
    """What was put back: customers, keys by kind, customers who were erased again, deliveries that
    waited, and when the backup was begun (microseconds)."""

    customers: int
    keys: dict[str, int]
    erased: int
    waiting: int
    taken: int


def survey_backup(path: Path, options: RestoreOptions, progress: Progress = SILENT) -> Survey:
    """Reads a backup to its end, before anything is written.

    Raises:
        BackupError: it cannot be used: it is damaged, of a newer format or of another prefix.
    """
    with reading(path) as reader:
        own = reader.header.prefix
        if own not in (options.prefix, options.from_prefix):
            raise BackupError(
                f"{path} is a backup of the key prefix {own!r}, and here it is {options.prefix!r}; "
                f"set NEXTBEST_KEY_PREFIX={own} to put it back there, or add --from-prefix {own} "
                f"to have it under {options.prefix!r}"
            )
        with progress.bar("Checking the backup", path.stat().st_size) as moved:
            survey = Survey.of(reader, moved)
    survey.erase(options.erased)
    return survey


async def check_target(store: RestorableStore, *, replace: bool) -> None:
    """Refuses a store on which a server runs, and one that has something unless it is replaced.

    Raises:
        BackupError: it is one.
    """
    for name, told in (await store.announced()).items():
        if told.ago < _ALIVE:
            raise BackupError(
                f"server {name} has run on this store until {told.ago // SECOND} s ago; stop all "
                "servers, archivers and outbound workers, and try again a minute after"
            )
    if not replace and (found := await store.foreign_keys(3)):
        named = ", ".join(key.decode(errors="replace")[:40] for key in found)
        raise BackupError(
            f"the store is not empty ({named} …); name an empty one, or add --replace to remove "
            "everything that is there"
        )


async def restore_backup(
    store: RestorableStore,
    path: Path,
    survey: Survey,
    options: RestoreOptions,
    progress: Progress = SILENT,
) -> Restored:
    """Writes a backup that was surveyed. No server may run on the store meanwhile.

    Raises:
        BackupError: the store has something already, or a server runs on it.
        StoreUnavailable: it does not answer; what was written is marked as incomplete.
    """
    await check_target(store, replace=options.replace)
    await store.mark_incomplete(True)
    if options.replace:
        with progress.step("Removing what was there"):
            await store.delete_all()
    writing = _Writing(store, survey, options)
    await store.write_copies(survey.register)
    await store.learn_names()
    with reading(path) as reader, progress.bar("Restoring", reader.size) as moved:
        for frame in reader.frames():
            for key in frame.keys:
                writing.add(key, frame.at)
            if len(writing.waiting) >= _TOGETHER:
                await writing.flush()
                moved(reader.place())
    await writing.end()
    customers = Engine(store).customers
    for customer in writing.erased:
        await customers.erase_with_id(customer)
    await store.mark_incomplete(False)
    return Restored(
        customers=survey.end.customers,
        keys=dict(writing.keys),
        erased=len(writing.erased),
        waiting=writing.lists.waiting,
        taken=survey.header.taken,
    )


class _Writing:
    """Keys on their way into the store."""

    def __init__(self, store: RestorableStore, survey: Survey, options: RestoreOptions) -> None:
        self.waiting: list[CopiedKey] = []
        self.keys: Counter[str] = Counter()
        self.erased: dict[str, None] = {}
        self.lists = DeliveryLists(send=options.send)
        self._store, self._survey = store, survey
        self._runs = RunLists(store, store)

    def add(self, key: CopiedKey, at: int) -> None:
        """Adds a key that was copied at a time, with what follows from it."""
        if key.part == 0:
            self.keys[kind_of(key.key).name] += 1
        if (customer := self._survey.was_erased(key.key, at)) is not None:
            self.erased[customer] = None
        self.waiting += self.lists.follow(self._runs.follow(key))

    async def flush(self) -> None:
        """Writes what has come so far."""
        before = await self._store.write_copies(self.waiting)
        await self._runs.written(self.waiting, before)
        self.waiting = []

    async def end(self) -> None:
        """Writes what is left."""
        await self.flush()
        await self._store.write_copies(self._runs.counts())
