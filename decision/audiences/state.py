"""How far a run has come: one file of SQLite for each run, so that any end can be continued.

A run lists all ids, then looks at the customers one by one. Whoever belongs to the audience is a
*member*; what is to go out about somebody is an *output*, in the order in which they were found:
usually of each member, in a run that tells differences only of those who joined or left.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

import msgspec

from decision.core.errors import FileError

_FORMAT: Final = 1
_TABLES: Final = """
CREATE TABLE run (settings BLOB, progress BLOB);
CREATE TABLE ids (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE members (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE outputs (n INTEGER PRIMARY KEY, id TEXT NOT NULL, change TEXT, row BLOB);
CREATE INDEX outputs_by_id ON outputs (id);
"""
_PRAGMAS: Final = (
    "locking_mode = EXCLUSIVE",
    "journal_mode = WAL",
    "synchronous = NORMAL",  # what a process has noted outlives it; `sync` is for power failures
    "secure_delete = ON",
)
_PATIENCE: Final = 0.2
"""Seconds to wait for another process that is at a run; it will not end so soon."""

_READ_AT_ONCE: Final = 1_000

Change = Literal["joined", "left"]


class RunError(FileError):
    """A run that cannot be begun, continued or compared with."""


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was asked for. `at` is the time at which its condition is looked at (µs).

    `condition` is the text of a file named `when`; with a `segment` both are empty. `purpose` None:
    consent is not looked at. Without `out` and `gateway` customers are only counted.
    With a `placement` it is asked there what to say to each, on some `channels` (none: on all);
    `share` 2/8 is the second of eight parts of the customers (see `asking`).
    """

    run: str
    at: int
    policy: str
    when: str = ""
    condition: str = ""
    segment: str = ""
    purpose: str | None = None
    channel: str | None = None
    fields: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    hash_for: Literal["google", "meta"] = "google"
    calling_code: str = ""
    out: str | None = None
    overwrite: bool = False
    gateway: str | None = None
    portion: int = 1_000
    since: str | None = None
    without_holdouts: bool = False
    placement: str = ""
    channels: tuple[str, ...] = ()
    order: Literal["value", "listed"] = "value"
    share: str = ""
    format: int = _FORMAT


class Progress(msgspec.Struct):
    """How far a run is. `position` is the last id that was looked at, `sent` the last output.

    `customers` were looked at, `matched` meet the condition; `withheld` is why → how many of those
    are not told to others, `changed` how many were when their portion was due, and are not any
    more. `rows` went out, of which `left` say that somebody left, and `unhashed` have no hash at
    all; `without_hash` is column → how many rows have nothing there.
    `had` are columns that somebody had something for, `names` those that there could be.
    Of a run by a segment: whether anybody has it, and names of segments that were seen. Of a run
    that asks at a placement: what came of those who were asked for, with how many of them.
    """

    listed: bool = False
    position: int = 0
    compared: bool = False
    compared_after: str = ""
    sent: int = 0
    portions: int = 0
    finished: bool = False
    customers: int = 0
    matched: int = 0
    withheld: dict[str, int] = {}
    changed: int = 0
    rows: int = 0
    left: int = 0
    unhashed: int = 0
    without_hash: dict[str, int] = {}
    unreadable: int = 0
    segment_known: bool = False
    segments: list[str] = []
    had: list[str] = []
    names: list[str] = []
    outcomes: dict[str, int] = {}


class Output(msgspec.Struct, frozen=True):
    """What is to go out about one customer; `row` is what went out, where it is for a file."""

    number: int
    customer_id: str
    change: Change | None
    row: bytes | None


class RunState:
    """A run's file, held by one process at a time.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.sqlite"
    ...     with RunState.create(path, RunSettings(run="a", at=0, policy="1")) as state:
    ...         state.add_ids(["ann", "bob", "ann"])
    ...         list(state.ids(after=0, limit=10))
    [(1, 'ann'), (2, 'bob')]
    """

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self.database = database
        settings, progress = database.execute("SELECT settings, progress FROM run").fetchone()
        self.settings = msgspec.json.decode(settings, type=RunSettings)
        self.progress = msgspec.json.decode(progress, type=Progress)

    @classmethod
    def create(cls, path: Path, settings: RunSettings) -> RunState:
        """A new run. Its file is there once it is complete, whenever this process ends.

        Raises:
            RunError: there is one of that name.
            OSError: the file cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        values = (msgspec.json.encode(settings), msgspec.json.encode(Progress()))
        new = path.with_name(f".{path.name}-{os.getpid()}")
        try:
            # Only its owner may read who is in an audience.
            os.close(os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            with _told(path), closing(sqlite3.connect(new)) as database:
                database.executescript(_TABLES)
                with database:
                    database.execute("INSERT INTO run VALUES (?, ?)", values)
            os.link(new, path)
        except FileExistsError:
            raise RunError(f"{path}: there is a run of that name already") from None
        finally:
            new.unlink(missing_ok=True)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> RunState:
        """A run that was begun before.

        Raises:
            RunError: there is none, another process is at it, or the file is no run's.
            OSError: it cannot be read and written.
        """
        if not path.is_file():
            raise RunError(f"{path}: there is no such run")
        for one in (path, path.parent):  # SQLite writes files beside it
            if not os.access(one, os.R_OK | os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(one))
        database = sqlite3.connect(path, timeout=_PATIENCE)
        try:
            _set_up(database)
            database.execute("BEGIN EXCLUSIVE").close()
            database.execute("COMMIT")
            state = cls(database, path)
        except (sqlite3.DatabaseError, TypeError, msgspec.MsgspecError) as error:
            database.close()
            if "locked" in str(error):
                raise RunError(f"{path}: another process is at this run") from None
            raise RunError(
                f"{path}: it is not a run: {error}; remove it, or give the run another name"
            ) from None
        if state.settings.format > _FORMAT:
            state.close()
            raise RunError(
                f"{path}: a newer nextbest began this run, in format {state.settings.format}, and "
                f"this one knows {_FORMAT}; go on with that version"
            )
        return state

    def __enter__(self) -> RunState:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets others at it."""
        self.database.close()

    def discard(self) -> None:
        """Forgets the run."""
        self.close()
        self.path.unlink(missing_ok=True)

    @contextmanager
    def step(self) -> Iterator[None]:
        """One step of the run: everything in it and the progress are written, or nothing is.

        Raises:
            OSError: there is no room for it.
        """
        with _told(self.path), self.database:
            yield
            self.database.execute(
                "UPDATE run SET progress = ?", (msgspec.json.encode(self.progress),)
            )

    def add_ids(self, ids: Iterable[str]) -> None:
        """Adds ids that are not there yet."""
        rows = ((one,) for one in ids)
        self.database.executemany("INSERT OR IGNORE INTO ids (id) VALUES (?)", rows)

    def ids(self, after: int, limit: int) -> list[tuple[int, str]]:
        """The next ids with their numbers."""
        query = "SELECT n, id FROM ids WHERE n > ? ORDER BY n LIMIT ?"
        return self.database.execute(query, (after, limit)).fetchall()

    def count_ids(self) -> int:
        """How many ids were listed."""
        return int(self.database.execute("SELECT count(*) FROM ids").fetchone()[0])

    def add_member(self, customer_id: str) -> None:
        """Notes that a customer belongs to the audience."""
        self.database.execute("INSERT OR IGNORE INTO members VALUES (?)", (customer_id,))

    def remove_member(self, customer_id: str) -> None:
        """Notes that a customer does not belong to it any more."""
        self.database.execute("DELETE FROM members WHERE id = ?", (customer_id,))

    def is_member(self, *names: str) -> bool:
        """Whether one of the names of a customer is a member's."""
        query = "SELECT 1 FROM members WHERE id = ?"
        return any(self.database.execute(query, (one,)).fetchone() for one in names)

    def members(self, after: str, limit: int) -> list[str]:
        """The next members, in the order of their ids."""
        query = "SELECT id FROM members WHERE id > ? ORDER BY id LIMIT ?"
        return [one for (one,) in self.database.execute(query, (after, limit))]

    def add_output(self, customer_id: str, change: Change | None) -> None:
        """Adds somebody about whom something is to go out."""
        values = (customer_id, change)
        self.database.execute("INSERT INTO outputs (id, change) VALUES (?, ?)", values)

    def was_given(self, customer_id: str) -> bool:
        """Whether somebody has been given out under an id, as one who belongs to it."""
        query = "SELECT 1 FROM outputs WHERE id = ? AND n <= ? AND change IS NOT 'left'"
        found = self.database.execute(query, (customer_id, self.progress.sent)).fetchone()
        return found is not None and self.is_member(customer_id)

    def keep_row(self, number: int, row: bytes) -> None:
        """Keeps what goes out, until it is in a file."""
        self.database.execute("UPDATE outputs SET row = ? WHERE n = ?", (row, number))

    def count_outputs(self) -> int:
        """How many outputs there are; they are numbered from 1."""
        return int(self.database.execute("SELECT coalesce(max(n), 0) FROM outputs").fetchone()[0])

    def outputs(self, after: int, limit: int = _READ_AT_ONCE) -> list[Output]:
        """The next outputs."""
        query = "SELECT n, id, change, row FROM outputs WHERE n > ? ORDER BY n LIMIT ?"
        return [Output(*row) for row in self.database.execute(query, (after, limit))]

    def rows(self) -> Iterator[bytes]:
        """The rows that were kept, in order."""
        after = 0
        while page := self.outputs(after):
            yield from (one.row for one in page if one.row is not None)
            after = page[-1].number

    def sync(self) -> None:
        """Returns once everything that was noted outlives a power failure.

        Raises:
            OSError: there is no room for it.
        """
        with _told(self.path):
            self.database.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    def finish(self) -> None:
        """Ends the run. Nothing but the members' ids stays, for a run that tells differences."""
        self.progress.finished = True
        with self.step():
            self.database.execute("DELETE FROM ids")
            self.database.execute("DELETE FROM outputs")
        with suppress(sqlite3.OperationalError):  # it takes room; what was deleted is gone anyway
            self.database.execute("VACUUM")
        self.sync()


def _set_up(database: sqlite3.Connection) -> None:
    for setting in _PRAGMAS:
        database.execute(f"PRAGMA {setting}")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tells what SQLite says of a file as what it is, such as a full disk."""
    try:
        yield
    except sqlite3.OperationalError as error:
        full = "full" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error), str(path)) from error


def runs_in(folder: Path) -> Sequence[Path]:
    """The files of all runs of a folder, the latest first: their names begin with the time."""
    return sorted(folder.glob("*.sqlite"), reverse=True)
