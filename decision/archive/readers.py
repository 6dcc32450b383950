"""Other readers of the log: entries that they have not read yet are not trimmed.

A reader writes a heartbeat every minute; one without a heartbeat for a day counts as dead.
"""

from __future__ import annotations

from typing import Final

from decision.archive.errors import ArchiveError
from decision.core.clock import DAY, MINUTE
from decision.store.damage import whole
from decision.store.log import Log

REBUILD: Final = "rebuild"
"""The reader for which the log keeps entries until a rebuilding ends."""

SILENCE: Final = DAY
"""Microseconds without a heartbeat after which a reader counts as dead."""

_EVERY: Final = MINUTE
_BLOB: Final = f"reader:{REBUILD}"


class RebuildHeartbeat:
    """The heartbeat of a running rebuilding. Times are microseconds."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._last = 0

    async def start(self, now: int) -> None:
        """Call this before reading the log; it takes over from a rebuilding that was killed."""
        await self._write(now)

    async def beat(self, now: int) -> None:
        """Call this from time to time.

        Raises:
            ArchiveError: the rebuilding paused so long that the log was trimmed meanwhile.
        """
        if now - self._last >= _EVERY:
            if not await self._log.get_blob(_BLOB):
                raise ArchiveError(
                    "this rebuilding paused for a day, or another one ended, and the log was "
                    "trimmed meanwhile; run it again"
                )
            await self._write(now)

    async def stop(self) -> None:
        """Ends the reader: the log need not be kept for it any longer."""
        await self._log.leave_log(REBUILD)
        await self._log.put_blob(_BLOB, b"")

    async def _write(self, now: int) -> None:
        await self._log.put_blob(_BLOB, str(now).encode())
        self._last = now


async def leave_if_gone(log: Log, now: int) -> bool:
    """Ends the reader of a rebuilding that was killed; returns whether there was one."""
    last = await log.get_blob(_BLOB)
    if not last or now - (whole(last) or 0) < SILENCE:
        return False
    await log.leave_log(REBUILD)
    await log.put_blob(_BLOB, b"")
    return True
