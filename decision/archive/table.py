"""One table of the archive, for who writes it: files added and removed, in one commit.

Data files are written by us, with the options of `layout`, and synced; a commit names them. With
its rows a commit notes how far each partition's log is in the table: an application transaction,
`<group>/p17`, whose version is the entry's id (milliseconds in the upper bits, sequence in the
lower 20). Of two processes that archive one partition, the one that comes second is refused, looks
again, and finds which rows the table has. Whoever removes files moves on the application
transaction `rewriting`, so two of them cannot replace one file.

deltalake does not sync its commits. We do, before anybody relies on one: a power cut before that
may undo the commit, though its files are there; the log still has the records then.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, unquote
from uuid import uuid4

import msgspec

from decision.archive.errors import ArchiveError
from decision.archive.features import OTHER, features_type, types_of
from decision.archive.folder import ArchiveFolder
from decision.archive.forgetting import forget
from decision.archive.layout import TIME_OF, schema_of, write_tables
from decision.archive.tables import (
    LOG,
    check,
    open_table,
    paths_of,
    properties,
    sizes_of,
    statistics,
    unusable,
)
from decision.files import sync_file, sync_folder

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable

_SEQUENCE_BITS: Final = 20
_REWRITING: Final = "rewriting"
_TRIES: Final = 20
Given = TypeVar("Given")


class TableChanged(ArchiveError):
    """Somebody else has changed the table meanwhile: look again, and make the change anew."""


def version_of(entry_id: str) -> int:
    """The place of an entry of the log as one number; ids ascend as these do.

    Raises:
        ArchiveError: more than a million entries have its millisecond.

    >>> version_of("2-1") == (2 << 20) + 1
    True
    """
    millis, _, sequence = entry_id.partition("-")
    if int(sequence) >> _SEQUENCE_BITS or int(millis) >> (62 - _SEQUENCE_BITS):
        raise ArchiveError(
            f"the log's entry {entry_id} cannot be archived: its id is out of range; is the clock "
            "of Redis right?"
        )
    return (int(millis) << _SEQUENCE_BITS) + int(sequence)


def entry_of(version: int) -> str:
    """The id of an entry; see `version_of`.

    >>> entry_of(version_of("1795821865255-7"))
    '1795821865255-7'
    """
    return f"{version >> _SEQUENCE_BITS}-{version & ((1 << _SEQUENCE_BITS) - 1)}"


class Table:
    """A table of an archive, as of when it was last looked at (`look`)."""

    def __init__(self, folder: ArchiveFolder, name: str, delta: DeltaTable) -> None:
        self.folder = folder
        self.name = name
        self.path = folder.path / name
        self.delta = delta
        self._positions: dict[str, int | None] = {}

    @classmethod
    def find(cls, folder: ArchiveFolder, name: str) -> Table | None:
        """The table of that name, or None.

        Raises:
            ArchiveError: see `tables.open_table`.
        """
        found = open_table(folder.path / name)
        return None if found is None else cls(folder, name, found)

    @classmethod
    def make(cls, folder: ArchiveFolder, name: str, schema: Any = None, **more: str) -> Table:
        """The table of that name, which is made if it is not there, with these properties.

        Raises:
            ArchiveError: see `tables.open_table`.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        if (folder.path / name / LOG).is_dir() and (found := cls.find(folder, name)) is not None:
            return found
        folder.step("before a table")
        (folder.path / name).mkdir(parents=True, exist_ok=True)
        sync_folder(folder.path)
        try:
            made = DeltaTable.create(
                str(folder.path / name),
                delta_schema(name) if schema is None else schema,
                partition_by=["date"],
                configuration=properties(TIME_OF.get(name), **more),
                raise_if_key_not_exists=False,
            )
        except DeltaError as error:
            if (found := cls.find(folder, name)) is not None:  # another process has just made it
                return found
            raise unusable(folder.path / name, error) from error
        table = cls(folder, name, made)
        table._sync(-1)
        return table

    @property
    def files(self) -> list[Path]:
        """The files that are there, by date. A date whose folder was removed is gone."""
        return sorted(path for path in paths_of(self.path, self.delta) if path.parent.exists())

    @property
    def properties(self) -> dict[str, str]:
        """The properties of the table."""
        return dict(self.delta.metadata().configuration)

    def set_properties(self, **values: str) -> None:
        """Sets properties of the table."""
        before = self.delta.version()
        with _refused(self.path):
            self.delta.alter.set_table_properties(values, raise_if_not_exists=False)
        self.look()
        self._sync(before)

    @property
    def feature_types(self) -> dict[str, str]:
        """The types of the features in `decisions`; see `features`."""
        import pyarrow as pa

        return types_of(pa.schema(self.delta.schema().to_arrow()))

    def look(self) -> None:
        """Takes in what others have committed.

        Raises:
            ArchiveError: the table is damaged, or a newer version has written it meanwhile.
        """
        from deltalake.exceptions import DeltaError

        before = self.delta.version()
        try:
            self.delta.update_incremental()
        except DeltaError as error:
            raise unusable(self.path, error) from error
        if self.delta.version() != before:
            check(self.path, self.delta)
            self._note(range(before + 1, self.delta.version() + 1))

    def _note(self, versions: range) -> None:
        """Learns the application transactions of commits: asking for each takes a lot longer."""
        if self._positions:
            for version in versions:
                noted = _transactions(self.path / LOG / f"{version:020}.json")
                if noted is None:
                    self._positions.clear()
                    return
                self._positions |= noted

    def position(self, app: str) -> int | None:
        """The version of an application transaction; None if it never was."""
        if app not in self._positions:
            self._positions[app] = self.delta.transaction_version(app)
        return self._positions[app]

    def widen(self, types: Mapping[str, str] | None = None) -> None:
        """Adds columns that the table lacks: those of this version, and features of these types.

        Raises:
            TableChanged: another process has added one meanwhile.
            ArchiveError: a column has another type there.
        """
        from deltalake import Schema
        from deltalake.exceptions import SchemaMismatchError

        own = self.feature_types if self.name == "decisions" else {}
        wanted = Schema.from_arrow(delta_schema(self.name, {**own, **(types or {})}))
        known = {field.name: field.type for field in self.delta.schema().fields}
        new = [field for field in wanted.fields if known.get(field.name) != field.type]
        if not new:
            return
        before = self.delta.version()
        try:
            with _refused(self.path):
                self.delta.alter.add_columns(new)
        except SchemaMismatchError as error:
            raise TableChanged(f"{self.path}: {str(error).splitlines()[0]}") from error
        self.look()
        self._sync(before)

    def commit(
        self,
        added: Iterable[Any] = (),
        removed: Iterable[Path] = (),
        transactions: Mapping[str, int] | None = None,
    ) -> None:
        """Commits files and application transactions, on the state as it was last looked at.

        Raises:
            TableChanged: another process was faster with one of these; nothing was changed.
        """
        from deltalake.transaction import RemoveAction

        gone = set(removed)
        now = time.time_ns() // 1_000_000
        removals = [
            RemoveAction(path, True, now, size, {"date": day})
            for day, path, size in (sizes_of(self.delta) if gone else ())
            if self.path / path in gone
        ]
        noted = dict(transactions or {})
        if gone:
            noted[_REWRITING] = (self.position(_REWRITING) or 0) + 1
        with self._committing(noted) as options:
            self.delta.create_write_transaction(
                [*added, *removals],
                "append",
                self.delta.schema(),
                ["date"],
                commit_properties=options,
            )

    @contextmanager
    def rewriting(self) -> Iterator[CommitProperties]:
        """For one commit by the library that removes files: of two on one state one is refused.

        Raises:
            TableChanged: another process was faster; nothing was changed.
        """
        with self._committing({_REWRITING: (self.position(_REWRITING) or 0) + 1}) as options:
            yield options

    @contextmanager
    def _committing(self, noted: Mapping[str, int]) -> Iterator[CommitProperties]:
        """Around one commit with these application transactions."""
        from deltalake.transaction import CommitProperties, Transaction

        before = self.delta.version()
        self.folder.step("before a commit")
        with _refused(self.path):
            yield CommitProperties(app_transactions=[Transaction(*each) for each in noted.items()])
        self.folder.step("after a commit")
        self.look()
        self._sync(before)

    def _sync(self, before: int) -> None:
        """What was committed after a version is on the disk, and not only said to be."""
        for version in range(before + 1, self.delta.version() + 1):
            with suppress(FileNotFoundError):
                sync_file(self.path / LOG / f"{version:020}.json")
        sync_folder(self.path / LOG)

    def drop_missing(self) -> None:
        """Takes files out of the table whose date's folder somebody has removed."""
        if any(not path.parent.exists() for path in paths_of(self.path, self.delta)):
            before = self.delta.version()
            with _refused(self.path):
                self.delta.repair()
            self.look()
            self._sync(before)

    def vacuum(self, hours: int = 0) -> list[Path]:
        """Removes files that were replaced so many hours ago, and what dead processes have left.

        Call it within `ArchiveFolder.writing(exclusive=True)`. Returns what was removed.
        """
        options: Any = {"retention_hours": hours, "enforce_retention_duration": False, "full": True}
        found = self.delta.vacuum(dry_run=True, **options)
        if found:
            before = self.delta.version()
            self.folder.step("before a removal")
            found = self.delta.vacuum(dry_run=False, **options)
            self.look()
            self._sync(before)
        removed = [self.path.joinpath(*unquote(one).split("/")[-2:]) for one in found]
        for path in removed:
            forget(self.folder.path, path)
        self.folder.step("after a removal")
        return removed


class _Noted(msgspec.Struct, rename={"app": "appId"}):
    app: str
    version: int


class _Action(msgspec.Struct):
    txn: _Noted | None = None


_action: Final = msgspec.json.Decoder(_Action).decode


def _transactions(commit: Path) -> dict[str, int] | None:
    """The application transactions of a commit; None where it cannot be read any more."""
    try:
        lines = commit.read_bytes().splitlines()
        found = [_action(line).txn for line in lines if line.startswith(b'{"txn"')]
    except (OSError, msgspec.MsgspecError):
        return None
    return {one.app: one.version for one in found if one is not None}


def delta_schema(name: str, types: Mapping[str, str] | None = None) -> Any:
    """The Arrow schema of a dataset's table, with features of these types."""
    import pyarrow as pa

    schema = schema_of(name)
    if name == "decisions":
        schema = schema.append(pa.field("features", features_type(types or {})))
        schema = schema.append(pa.field(OTHER, pa.map_(pa.string(), pa.string())))
    return schema.append(pa.field("date", pa.string()))


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Says that somebody else was faster."""
    from deltalake.exceptions import CommitFailedError

    try:
        yield
    except CommitFailedError as error:
        raise TableChanged(f"{path}: {str(error).splitlines()[0]}") from error


def retried(table: Table, attempt: Callable[[], Given]) -> Given:
    """What an attempt gives, made anew where others have changed the table meanwhile."""
    for _ in range(_TRIES):
        try:
            return attempt()
        except TableChanged:
            table.look()
    return attempt()


class TableChange:
    """Files to add to one table and to remove from it, in one commit."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.rows = 0
        self._added: list[Any] = []
        self._staged: list[Path] = []
        self._removed: list[Path] = []
        self._name = f"part-{time.time_ns() // 1_000_000:013d}-{uuid4().hex[:12]}"

    def __bool__(self) -> bool:
        return bool(self._staged or self._removed)

    def add(self, day: str, table: Any) -> None:
        """Stages rows as a new file of a day."""
        with self._stage(day) as path:
            write_tables(path, table.schema, [table])
            self._note(day, path, table)

    def add_file(self, day: str, source: Path) -> None:
        """Stages a copy of a Parquet file as a new file of a day."""
        import pyarrow.parquet as pq

        with self._stage(day) as path:
            shutil.copyfile(source, path)
            column = TIME_OF[self.table.name]
            self._note(day, path, pq.ParquetFile(path).read([column]))

    @contextmanager
    def _stage(self, day: str) -> Iterator[Path]:
        path = self.table.path / f"date={day}" / f"{self._name}-{len(self._staged)}.parquet"
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            sync_folder(path.parent.parent)
        self.table.folder.step("before a file")
        self._staged.append(path)
        yield path
        sync_file(path)
        self.table.folder.step("after a file")

    def _note(self, day: str, path: Path, rows: Any) -> None:
        column = TIME_OF.get(self.table.name)
        self._added.append(added(self.table.path, day, path, rows, column))
        self.rows += len(rows)

    def remove(self, path: Path) -> None:
        """Removes a file from the table."""
        self._removed.append(path)

    def commit(self, transactions: Mapping[str, int] | None = None) -> list[Path]:
        """Commits, with these application transactions; returns the files that were added.

        Raises:
            TableChanged: another process was faster; what was staged is gone.
        """
        try:
            for folder in {path.parent for path in self._staged}:
                sync_folder(folder)
            self.table.commit(self._added, self._removed, transactions)
        except TableChanged:
            self.abandon()
            raise
        return self._staged

    def abandon(self) -> None:
        """Removes what was staged, unless it was committed all the same; what cannot be removed
        goes with the next `vacuum`."""
        with suppress(OSError, ArchiveError):
            self.table.look()
            for path in set(self._staged).difference(paths_of(self.table.path, self.table.delta)):
                path.unlink(missing_ok=True)


def added(table: Path, day: str, path: Path, rows: Any, column: str | None) -> Any:
    """What a commit says of a file that it adds."""
    from deltalake.transaction import AddAction

    about = path.stat()
    times = None if column is None else rows.column(column)
    return AddAction(
        quote(str(path.relative_to(table)), safe="/=-_.~"),
        about.st_size,
        {"date": day},
        about.st_mtime_ns // 1_000_000,
        True,
        statistics(len(rows), column or "", times),
    )
