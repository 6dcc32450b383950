"""Other readers of the log: while one reads, what it has not read is not trimmed.

A reader says again and again that it is alive; one that was killed is told by its silence.
"""

from __future__ import annotations

from typing import Final

from decision.archive.journal import ArchiveError
from decision.core.clock import DAY, MINUTE
from decision.store.log import Log

REBUILD: Final = "rebuild"
"""The name under which the log keeps what is not archived yet, until a rebuilding ends."""

SILENCE: Final = DAY
"""Microseconds without a word after which a reader is taken for dead."""

_SPEAKS: Final = MINUTE
_BLOB: Final = f"reader:{REBUILD}"


class RebuildHeartbeat:
    """The word that the rebuilding is alive, for the one that runs. Times are microseconds."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._said = 0

    async def start(self, now: int) -> None:
        """Before the log is read; what an earlier one has left behind is taken over."""
        await self._say(now)

    async def beat(self, now: int) -> None:
        """From time to time.

        Raises:
            ArchiveError: it stood still for so long that the log was trimmed meanwhile.
        """
        if now - self._said >= _SPEAKS:
            if not await self._log.get_blob(_BLOB):
                raise ArchiveError(
                    "the rebuilding stood still for a day, or another one ended, and the log was "
                    "trimmed meanwhile; run it again"
                )
            await self._say(now)

    async def stop(self) -> None:
        """The log need not be kept for it any more."""
        await self._log.leave_log(REBUILD)
        await self._log.put_blob(_BLOB, b"")

    async def _say(self, now: int) -> None:
        await self._log.put_blob(_BLOB, str(now).encode())
        self._said = now


async def leave_if_gone(log: Log, now: int) -> bool:
    """Forgets a rebuilding that was killed; whether there was one."""
    said = await log.get_blob(_BLOB)
    if not said or now - int(said) < SILENCE:
        return False
    await log.leave_log(REBUILD)
    await log.put_blob(_BLOB, b"")
    return True
