"""One table of the archive, for who writes it: files added and removed, in one commit.

Data files are written by us, with the options of `layout`, and synced; a commit names them. With
its rows a commit notes how far each partition's log is in the table: an application transaction,
`<group>/p17`, whose version is the entry's id (milliseconds in the upper bits, sequence in the
lower 20). Of two processes that archive one partition, the one that comes second is refused, looks
again, and finds which rows the table has. Whoever removes files moves on the application
transaction `rewriting`, so two of them cannot replace one file.

In an object store nobody can be kept from writing while files are removed: there who removes some
refuses those who looked at the table before (see `vacuum`).

deltalake does not sync its commits. We do, before anybody relies on one: a power cut before that
may undo the commit, though its files are there; the log still has the records then.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote

from decision.archive.errors import ArchiveError
from decision.archive.features import OTHER, features_type, types_of
from decision.archive.folder import ArchiveFolder
from decision.archive.forgetting import forget
from decision.archive.layout import TIME_OF, schema_of
from decision.archive.location import present, storage_options
from decision.archive.object_store import reached
from decision.archive.positions import transactions_at, transactions_in
from decision.archive.tables import (
    LOG,
    check,
    open_table,
    paths_of,
    properties,
    sizes_of,
    unusable,
)
from decision.files import is_remote, make_folder, sync_file, sync_folder

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable

_REWRITING: Final = "rewriting"
_REMOVALS: Final = "nextbest.removals"
"""A property of tables in object stores: how often others were refused before a removal."""
_TRIES: Final = 20
Given = TypeVar("Given")


class TableChanged(ArchiveError):
    """Somebody else has changed the table meanwhile: look again, and make the change anew."""


class Table:
    """A table of an archive, as of when it was last looked at (`look`)."""

    def __init__(self, folder: ArchiveFolder, name: str, delta: DeltaTable) -> None:
        self.folder = folder
        self.name = name
        self.path = folder.path / name
        self.delta = delta
        self._positions: dict[str, int | None] = {}
        self._has_all_positions = False

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
        path = folder.path / name
        make_folder(path)
        try:
            with reached(path):
                made = DeltaTable.create(
                    str(path),
                    delta_schema(name) if schema is None else schema,
                    partition_by=["date"],
                    configuration=properties(TIME_OF.get(name), **more),
                    storage_options=storage_options(path),
                    raise_if_key_not_exists=False,
                )
        except DeltaError as error:
            if (found := cls.find(folder, name)) is not None:  # another process has just made it
                return found
            raise unusable(path, error) from error
        table = cls(folder, name, made)
        table._sync(-1)
        return table

    @property
    def files(self) -> list[Path]:
        """The files that are there, by date. A date whose folder was removed is gone."""
        return present(paths_of(self.path, self.delta))

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
            with reached(self.path):
                self.delta.update_incremental()
        except DeltaError as error:
            raise unusable(self.path, error) from error
        if self.delta.version() != before:
            check(self.path, self.delta)
            self._note(range(before + 1, self.delta.version() + 1))

    def _note(self, versions: range) -> None:
        """Learns the application transactions of commits."""
        if not self._positions and not self._has_all_positions:
            return
        for version in versions:
            noted = transactions_in(self.path / LOG / f"{version:020}.json")
            if noted is None:
                self._positions, self._has_all_positions = {}, False
                return
            self._positions |= noted

    def position(self, app: str) -> int | None:
        """The version of an application transaction; None if it never was."""
        if app not in self._positions and not self._has_all_positions:
            self._learn_position(app)
        return self._positions.get(app)

    def _learn_position(self, app: str) -> None:
        """Learns those of all applications in one look; of one alone where that cannot be."""
        if not self._positions:
            every = transactions_at(self.path / LOG, self.delta.version())
            if every is not None:
                self._positions, self._has_all_positions = {**every}, True
                return
        with reached(self.path):
            self._positions[app] = self.delta.transaction_version(app)

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
        if is_remote(self.path):
            return
        for version in range(before + 1, self.delta.version() + 1):
            with suppress(FileNotFoundError):
                sync_file(self.path / LOG / f"{version:020}.json")
        sync_folder(self.path / LOG)

    def drop_missing(self) -> None:
        """Takes files out of the table whose date's folder somebody has removed."""
        every = paths_of(self.path, self.delta)
        if len(present(every)) < len(every):
            before = self.delta.version()
            with _refused(self.path):
                self.delta.repair()
            self.look()
            self._sync(before)

    def vacuum(self, hours: int = 0) -> list[Path]:
        """Removes files that were replaced so many hours ago, and what dead processes have left.

        Call it within `ArchiveFolder.writing(exclusive=True)`. Returns what was removed.
        """
        with reached(self.path):
            found = self.delta.vacuum(
                dry_run=True, retention_hours=hours, enforce_retention_duration=False, full=True
            )
        if found and self.folder.is_shared:
            self._refuse_others()
        named = [self.path.joinpath(*unquote(one).split("/")[-2:]) for one in found]
        removed = sorted(set(named).difference(paths_of(self.path, self.delta)))
        if removed:
            self.folder.step("before a removal")
        for path in removed:
            path.unlink(missing_ok=True)
        forget(self.folder.path, removed)
        self.folder.step("after a removal")
        return removed

    def _refuse_others(self) -> None:
        """Refuses the commits of all who have looked at the table before.

        Others write while files are removed. A file that was there before this, and that no commit
        names now, is left over: whoever wrote it cannot commit it any more.
        """

        def attempt() -> None:
            before = int(self.properties.get(_REMOVALS, "0"))
            self.set_properties(**{_REMOVALS: str(before + 1)})

        retried(self, attempt)


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
    """Says that somebody else was faster, or that the table is not one that can be written."""
    from deltalake.exceptions import CommitFailedError

    try:
        with reached(path):
            yield
    except CommitFailedError as error:
        said = str(error).splitlines()[0]
        if re.search(r"append-only|Unsupported table features", said):
            raise ArchiveError(
                f"{path} cannot be written: {said}; a newer version of nextbest or another program "
                "has set that: upgrade nextbest, or take it back with that program"
            ) from error
        raise TableChanged(f"{path}: {said}") from error


def retried(table: Table, attempt: Callable[[], Given]) -> Given:
    """What an attempt gives, made anew where others have changed the table meanwhile."""
    for _ in range(_TRIES):
        try:
            return attempt()
        except TableChanged:
            table.look()
    return attempt()
