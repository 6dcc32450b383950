"""The folder of an archive, for who writes it: who may do what at a time.

Tables are correct whoever writes them: a commit that goes by an old state is refused. These locks
are for what a commit does not cover on a disk: files that nobody has committed yet, and files that
are removed. `writing` is shared by all that add rows, and exclusive for what replaces files
(erasing, merging): so whoever holds it alone knows that every file which no table names is left
over from a process that died, and removes it.

In an object store there are no locks. Commits are correct there as well, and who removes files
refuses those who might lose one (see `Table.vacuum`). Who archives a share is noted in Redis
(`claim`).
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Final, NamedTuple

from decision.archive.errors import ArchiveBusy, ShareTaken
from decision.archive.location import Location
from decision.core.identifiers import PARTITIONS
from decision.files import is_remote

LOCKS: Final = "_locks"

Step = Callable[[str], None]
"""Called with the name of every step; tests end the process there."""


class Share(NamedTuple):
    """The partitions that one of several archivers takes: every `of`-th, from `number` (1) on.

    >>> len(Share(2, 3).partitions), len(Share().partitions)
    (85, 256)
    """

    number: int = 1
    of: int = 1

    @property
    def partitions(self) -> range:
        """The numbers of the partitions."""
        return range(self.number - 1, PARTITIONS, self.of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_share(text: str) -> Share:
    """A share as it is written, such as `1/2`.

    Raises:
        ValueError: it is none; the text says what one is.

    >>> parse_share("2/3")
    Share(number=2, of=3)
    """
    number, slash, of = text.partition("/")
    if (
        slash
        and number.isdecimal()
        and of.isdecimal()
        and 1 <= int(number) <= int(of) <= PARTITIONS
    ):
        return Share(int(number), int(of))
    raise ValueError(
        f"{text[:20]!r} is no share; for the first of two write 1/2, of at most {PARTITIONS}"
    )


WHOLE: Final = Share()


class ArchiveFolder:
    """The folder of one archive. `step` is told what is done.

    In an object store nothing can be locked: there it is shared (`is_shared`) by all who write.
    """

    def __init__(self, path: Location, step: Step = lambda name: None) -> None:
        self.path = path
        self.step = step

    @property
    def is_shared(self) -> bool:
        """Whether others may write at any time, whatever is held here."""
        return is_remote(self.path)

    @contextmanager
    def claimed(self, share: Share = WHOLE) -> Iterator[None]:
        """For the lifetime of an archiver: a second one for the same partitions is refused.

        Raises:
            ShareTaken: there is one already, or others share the partitions in another way.
            OSError: the folder cannot be written.
        """
        if self.is_shared:
            yield
            return
        with (
            self._open("shares") as shares,
            self._open(f"share-{share.number}-of-{share.of}") as own,
        ):
            self._agree(shares, share)
            if not _taken(own, fcntl.LOCK_EX):
                raise taken_by(self.path, share, _read(own))
            _write(own, holder_of(os.getpid(), socket.gethostname()))
            yield

    def _agree(self, lock: IO[bytes], share: Share) -> None:
        """All who run at a time share the partitions in the same way."""
        deadline = time.monotonic() + _MOMENT
        while not _taken(lock, fcntl.LOCK_EX):
            if _taken(lock, fcntl.LOCK_SH):
                others = _read(lock)
                if others == str(share.of):
                    return
                if others:
                    raise taken_by(self.path, share, of=int(others) if others.isdigit() else 0)
            if time.monotonic() > deadline:
                raise taken_by(self.path, share)
            time.sleep(0.005)
        _write(lock, str(share.of))
        fcntl.flock(lock, fcntl.LOCK_SH)

    @contextmanager
    def writing(self, *, exclusive: bool = False, patience: float = 300.0) -> Iterator[None]:
        """For one change; `exclusive`: for one that removes files, nobody else writes meanwhile.

        Raises:
            ArchiveBusy: others write for longer than `patience`, in seconds.
            OSError: the folder cannot be written.
        """
        if self.is_shared:
            yield
            return
        deadline = time.monotonic() + patience
        with self._open("writing") as lock:
            while not _taken(lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH):
                if time.monotonic() > deadline:
                    raise ArchiveBusy(
                        f"{self.path}: another process is still writing; try again later"
                    )
                time.sleep(0.005)
            yield

    def _open(self, name: str) -> IO[bytes]:
        folder = self.path / LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / name).open("a+b")


def holder_of(process: int, host: str) -> str:
    """How a process is named that has a share."""
    return f"process {process} on {host}"


def taken_by(
    place: object, share: Share, holder: str = "", *, of: int = 0, fix: str = "stop that one first"
) -> ShareTaken:
    """The error where another process has a share, or one `of` another number of shares."""
    what = f" (share {share})" if share.of > 1 else ""
    more = f", which takes one share of {of}" if of not in (0, share.of) else ""
    named = f" ({holder})" if holder else ""
    return ShareTaken(
        f"{place}{what} is being written by another nextbest archive{more}{named}", fix
    )


_MOMENT: Final = 1.0
"""Seconds in which who claims a share writes down how many there are."""


def _taken(lock: IO[bytes], how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(lock: IO[bytes]) -> str:
    lock.seek(0)
    return lock.read().decode(errors="replace").strip()


def _write(lock: IO[bytes], text: str) -> None:
    lock.truncate(0)
    lock.write(text.encode())
    lock.flush()
