"""How far the log is archived: the table `_progress`, which is committed after all others.

The log is read on from its positions, and trimmed up to them: what they say is in every table. Its
rows are digests of the ids of the last days (see `known_ids`); its properties say whose archive
this is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

from decision.archive import earlier
from decision.archive.change import TableChange
from decision.archive.folder import ArchiveFolder
from decision.archive.positions import entry_of, version_of
from decision.archive.table import Table
from decision.core.identifiers import PARTITIONS

TABLE: Final = "_progress"
_ID: Final = "nextbest.archive"
_GROUP: Final = "nextbest.group"
_PSEUDONYMOUS: Final = "nextbest.pseudonymous"


class ArchiveState(NamedTuple):
    """Whose archive a folder is: its id and its name in the store; and the last archived entry of
    each partition that has one."""

    archive_id: str
    group: str
    positions: dict[int, str]


def read_state(path: Path) -> ArchiveState | None:
    """The state of the archive in a folder; None if there is none.

    Raises:
        ArchiveError: it is damaged, or a newer version has written it.
    """
    if earlier.is_there(path):
        found = earlier.read(path)
        return ArchiveState(found.archive_id, found.group, found.positions)
    progress = Progress.find(ArchiveFolder(path))
    return None if progress is None else progress.state


def position_of(group: str, partition: int) -> str:
    """The application transaction that is a partition's position."""
    return f"{group}/p{partition}"


class Progress:
    """The table, for who writes it."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.archive_id = table.properties[_ID]
        self.group = table.properties[_GROUP]

    @classmethod
    def find(cls, folder: ArchiveFolder) -> Progress | None:
        """That of an archive; None where there is none.

        Raises:
            ArchiveError: it is damaged, or a newer version has written it.
        """
        table = Table.find(folder, TABLE)
        return None if table is None else cls(table)

    @classmethod
    def make(
        cls,
        folder: ArchiveFolder,
        group: str,
        archive_id: str | None = None,
        *,
        pseudonymous: bool = True,
    ) -> Progress:
        """That of an archive, which is made for a group if it is not there."""
        import pyarrow as pa

        schema = pa.schema([("digests", pa.binary()), ("date", pa.string())])
        named = {
            _ID: archive_id or uuid4().hex,
            _GROUP: group,
            _PSEUDONYMOUS: str(pseudonymous).lower(),
        }
        return cls(Table.make(folder, TABLE, schema, **named))

    @property
    def pseudonymous(self) -> bool:
        """Whether no erasure in the archive has the customer's id (see `pseudonymous`)."""
        return self.table.properties.get(_PSEUDONYMOUS) == "true"

    def is_pseudonymous(self) -> None:
        """Notes that none has."""
        self.table.set_properties(**{_PSEUDONYMOUS: "true"})

    def position(self, partition: int) -> str:
        """The last archived entry of a partition; "" where its log is to be read from its start."""
        version = self.table.position(position_of(self.group, partition))
        return entry_of(version) if version else ""

    def is_reset(self, partition: int) -> bool:
        """Whether a partition was begun again, and nothing of it was archived since."""
        return self.table.position(position_of(self.group, partition)) == 0

    @property
    def state(self) -> ArchiveState:
        """What readers ask."""
        found = {number: self.position(number) for number in range(PARTITIONS)}
        return ArchiveState(
            self.archive_id, self.group, {number: one for number, one in found.items() if one}
        )

    def commit(
        self,
        digests: Mapping[str, Any],
        positions: Mapping[int, str],
        oldest: str,
        more: Mapping[str, int] | None = None,
    ) -> list[Path]:
        """Commits digests by date, and positions; what is of before the date `oldest` goes. `more`
        are further application transactions. Returns the files that keep the digests.

        Raises:
            TableChanged: another process was faster; nothing was changed.
        """
        import pyarrow as pa

        change = TableChange(self.table)
        try:
            for day, own in digests.items():
                change.add(day, pa.table({"digests": pa.array([own.tobytes()], pa.binary())}))
            for path in self.table.files:
                if path.parent.name.removeprefix("date=") < oldest:
                    change.remove(path)
            return change.commit({**versions_of(self.group, positions), **(more or {})})
        except BaseException:
            change.abandon()
            raise


def versions_of(group: str, positions: Mapping[int, str]) -> dict[str, int]:
    """Positions as application transactions."""
    return {position_of(group, number): version_of(at) for number, at in positions.items()}
