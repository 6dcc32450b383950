"""Decisions that the log no longer holds, looked up in the archive.

Reading needs PyArrow, of the extra `archive`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from decision.archive.errors import UnreadableFile
from decision.archive.location import location
from decision.archive.lookup import ArchivedDecision, look_up
from decision.core.errors import NextbestError
from decision.core.said import Say
from decision.core.schema import Decision
from decision.engine.replay import LookBack, Replay
from decision.installation import PackagesMissing, require
from decision.server.aside import Aside
from decision.server.settings import SettingsError

T = TypeVar("T")

_AT_ONCE: Final = 4
_FOUND_WITHIN: Final = 20.0
"""Seconds for a look-up, the wait for its turn included."""


def check_readable() -> None:
    """Refuses to look into an archive without the packages that read it.

    Raises:
        SettingsError: they are missing; the text says how to install them.
    """
    try:
        require("reading the archive", "pyarrow")
    except PackagesMissing as error:
        raise SettingsError(str(error)) from None


class ArchivedDecisions:
    """The folder that `nextbest archive --out` writes.

    Raises:
        SettingsError: archives cannot be read here.
    """

    def __init__(self, folder: str, replay: Replay) -> None:
        check_readable()
        try:
            self.folder = location(folder)
        except NextbestError as error:
            raise SettingsError(f"NEXTBEST_ARCHIVE: {error}") from None
        self._replay = replay
        self._seen = False  # whether it has had anything
        self._aside = Aside(f"the archive {folder}", _AT_ONCE)

    async def find(self, decision_id: str) -> Decision | None:
        """The decision with its full explanation, as from the log; None if it is not there.

        Raises:
            Unanswered: the archive cannot be read in time.
            ArchiveError: it is damaged, or not there.
        """
        found = await self.look(decision_id)
        return None if found is None else found.decision

    async def look(self, decision_id: str, say: Say = str) -> LookBack | None:
        """As `find`, with what the decision was made from.

        Where what it saw is not kept, the explanation has what the archive says of its
        candidates, and contents stay empty.

        Raises:
            Unanswered: the archive cannot be read in time.
            ArchiveError: it is damaged, or not there.
        """
        found = await self.read(partial(self._look_up, decision_id))
        if found is None:
            return None
        record, document, files = found.record, found.document, found.rule_files
        if document is not None:
            decision = await self._replay.explained(record, document, files, say)
            if decision.explanation is not None:
                return LookBack(decision, record, document, files)
        decision = await self._replay.explained(record, None, None)
        return LookBack(msgspec.structs.replace(decision, explanation=found.rows), record, None)

    async def read(self, work: Callable[[], T]) -> T:
        """What a look into the archive gives, beside the event loop.

        Raises:
            Unanswered: the archive cannot be read in time.
            ArchiveError: it is damaged, or not there.
        """
        try:
            return await self._aside.run(work, _FOUND_WITHIN)
        except NextbestError:
            raise
        except (ArithmeticError, LookupError, OSError, TypeError, ValueError) as error:
            # What damaged bytes come to, after the layers that would have named the file.
            raise UnreadableFile(f"the archive {self.folder} cannot be read: {error!r}") from error

    def check_there(self) -> None:
        """Refuses an archive that is not there. It blocks.

        Raises:
            UnreadableFile: it is not.
        """
        if not self.folder.is_dir():
            raise missing(self.folder)

    def _look_up(self, decision_id: str) -> ArchivedDecision | None:
        """`look_up`; what is not found proves nothing while the archive is not there.

        An unmounted archive leaves no folder, or an empty one.
        """
        found = look_up(self.folder, decision_id)
        if found is None:
            try:
                empty = not any(self.folder.iterdir())
            except OSError as error:
                raise missing(self.folder) from error
            if empty and self._seen:
                raise missing(self.folder)
            if empty:
                return None
        self._seen = True
        return found


def missing(folder: Path) -> UnreadableFile:
    """The error for an archive that is not there."""
    return UnreadableFile(
        f"the archive {folder} is not there: mount it, or correct NEXTBEST_ARCHIVE"
    )
