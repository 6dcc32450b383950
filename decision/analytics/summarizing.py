"""Makes the summaries of an archive's files ahead of those who ask for reports.

    python -m decision.analytics.summarizing

It reads a `Wanted` (JSON), makes what is missing at low priority, and ends. One process of all on
the folder does it at a time; another one waits for it, and then finds nothing to do.
"""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from decision.analytics.candidates.archived import ArchivedCandidates
from decision.archive.damage import naming_damage
from decision.archive.forgetting import FOLDER
from decision.archive.location import location
from decision.archive.log_columns import Amount, LogColumns
from decision.archive.policies import newest_version, read_policy
from decision.archive.summaries import Job
from decision.archive.whereabouts import Whereabouts
from decision.children import end_with_parent
from decision.files import is_remote

THREADS: Final = 2


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be ready: customers' columns, with the amounts of the events of a type; the counts
    of candidates of a time zone, and by a field of customers.

    `timezone`: None leaves candidates out. `amount` is (type of event, property). `customers`: also
    which files have rows of each.
    """

    archive: str
    columns: bool = True
    amount: tuple[str, str] | None = None
    timezone: str | None = None
    segment: str | None = None
    customers: bool = False


USUAL: Final = ("purchase", "amount")
"""The amounts that reports are of, where nothing else is said."""


def jobs_of(wanted: Wanted) -> list[Job]:
    """What has to be made for it, the newest files first.

    Raises:
        ArchiveError: the archive lacks a file.
        InputError: the field of customers is none.
    """
    archive = location(wanted.archive)
    amount = None if wanted.amount is None else Amount(*wanted.amount)
    found = LogColumns(archive).jobs(amount) if wanted.columns else []
    if wanted.timezone is not None:
        found += ArchivedCandidates(archive).jobs(wanted.timezone, wanted.segment)
    if wanted.customers:
        found += Whereabouts(archive).jobs()
    return found


def summarize(
    wanted: Wanted,
    moved: Callable[[float], None] = lambda files: None,
    stopped: Callable[[], bool] = lambda: False,
    *,
    wait: bool = True,
) -> int:
    """Makes what is missing; returns of how many files. `moved` is told how many are done.

    Nothing is done where the folder cannot be written or, without `wait`, another process does it.

    Raises:
        ArchiveError: the archive lacks a file, or one is damaged.
        InputError: the field of customers is none, or has too many values.
    """
    archive = location(wanted.archive)
    with _alone(archive, wait=wait) as alone, naming_damage(archive):
        jobs, done = jobs_of(wanted) if alone else [], 0

        def make(job: Job) -> bool:
            return not stopped() and job.make()

        with ThreadPoolExecutor(THREADS) as pool:
            for made in pool.map(make, jobs):
                done += made
                moved(done)
    return done


def summarize_new(archive: Path, stopped: Callable[[], bool] = lambda: False) -> int:
    """Makes what first looks need, by days of the newest policy's time zone; see `summarize`.

    Where another process does so, nothing is done: it is asked again soon.
    """
    version = newest_version(archive)
    zone = None if version is None else _zone_of(archive, version)
    wanted = Wanted(archive=str(archive), timezone=zone, amount=USUAL, customers=True)
    return summarize(wanted, stopped=stopped, wait=False)


@lru_cache(maxsize=8)
def _zone_of(archive: Path, version: str) -> str | None:
    definition = read_policy(archive, version)
    return None if definition is None else definition.settings.timezone


@contextmanager
def _alone(archive: Path, *, wait: bool) -> Iterator[bool]:
    """Whether this is the one process that makes summaries, and can keep them."""
    if is_remote(archive):  # where nothing can be locked: the worst is that two make the same
        yield True
        return
    folder = archive / FOLDER
    with ExitStack() as stack:
        try:
            folder.mkdir(exist_ok=True)
            lock = stack.enter_context((folder / "lock").open("a+b"))
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def _main() -> None:
    summarize(msgspec.json.decode(sys.stdin.buffer.read(), type=Wanted))


if __name__ == "__main__":
    end_with_parent()
    _main()
