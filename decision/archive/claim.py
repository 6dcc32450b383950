"""Who archives a share of the log: one process at a time.

Tables are right without it (see `archiver`), but two would do all work twice. On a disk a lock
tells them apart, which ends with its process. An object store has no locks: there it is a claim in
Redis, which a process renews, and which ends a minute after it was killed. Who could not renew it
for so long loses it to whoever stands by, finds that out, and stands by itself.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack, suppress
from typing import Final
from uuid import uuid4

import msgspec

from decision.archive.errors import ShareTaken
from decision.archive.folder import ArchiveFolder, Share, holder_of, taken_by
from decision.archive.location import check_store
from decision.core.clock import MINUTE, SECOND
from decision.core.errors import StoreUnavailable
from decision.store.damage import decoded
from decision.store.log import Log

LASTS: Final = MINUTE
"""Microseconds for which a claim in Redis stands."""


class ShareHolder(msgspec.Struct, frozen=True):
    """Who archives a share, of how many, and where to. `token` is of one process alone."""

    folder: str
    of: int
    host: str
    process: int
    token: str


_decode: Final = msgspec.json.Decoder(ShareHolder).decode
_FIX: Final = "stop that one first, or wait a minute if it was killed"


class ShareClaim:
    """The claim of this process on a share of the log, for an archive of the name `group`."""

    def __init__(self, folder: ArchiveFolder, log: Log, group: str, share: Share) -> None:
        self._folder = folder
        self._log = log
        self._group = group
        self._share = share
        self._locks: ExitStack | None = None
        own = (str(folder.path), share.of, socket.gethostname(), os.getpid(), uuid4().hex)
        self._who = msgspec.json.encode(ShareHolder(*own))
        self._keeping: asyncio.Task[None] | None = None
        self._is_checked = False
        self.is_lost = False
        """Whether another process has the share by now."""

    async def take(self) -> None:
        """Has the share from now on; nothing changes where it has it.

        Raises:
            ShareTaken: another process has it, or a share of another number of shares.
            StoreUnavailable, OSError: Redis, or the folder, cannot be reached.
            ArchiveError: the object store cannot be used.
        """
        if self._folder.is_shared:
            if not self._is_checked:  # who stands by must be able to go on
                check_store(self._folder.path)
                self._is_checked = True
            await self._claim()
            self._keeping = self._keeping or asyncio.create_task(self._keep())
        elif self._locks is None:
            locks = ExitStack()
            locks.enter_context(self._folder.claimed(self._share))
            self._locks = locks

    async def give_back(self) -> None:
        """Leaves the share to others."""
        if self._locks is not None:
            self._locks.close()
            self._locks = None
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
            with suppress(StoreUnavailable):
                await self._log.claim_share(self._group, str(self._share), self._who, 0)

    async def _claim(self) -> None:
        other = await self._log.claim_share(self._group, str(self._share), self._who, LASTS)
        self.is_lost = other is not None
        if other is not None:
            held = decoded(f"the claim on share {self._share}", other, _decode)
            named = holder_of(held.process, held.host)
            raise taken_by(held.folder, self._share, named, of=held.of, fix=_FIX)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LASTS / SECOND / 6)
            with suppress(StoreUnavailable, ShareTaken):
                await self._claim()
