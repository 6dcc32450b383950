"""Waits until replicas have what a server has acknowledged (`WAIT`), for all who ask at once.

It has a connection of its own: `WAIT` holds up whatever follows it on a connection, and reads need
not wait for replicas. There a small write goes ahead of it, because a server waits for what was
written over the same connection, and with it for all that was written before. One is under way at
a time, and whoever asks meanwhile shares the next: many commits cost one `WAIT`.

Once replicas have not come along in time, nobody waits for them any more: it is tried aside until
they do.

https://redis.io/docs/latest/commands/wait/
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from decision.core.errors import StoreUnavailable
from decision.store.pipelined_connection import PipelinedConnection
from decision.store.shared_reading import SharedReading
from decision.store.uptime import uptime

if TYPE_CHECKING:
    from decision.store.connection import SharedConnection

WAIT_FOR: Final = 0.1
"""Seconds that replicas have to acknowledge."""

_REPLY_IN: Final = 1.0
"""Seconds that the server has to say so, beside those."""

_KEPT: Final = 1_000
"""Milliseconds for which the small write is kept."""


class ReplicaWait:
    """`connection` is used by nobody else; `replicas` is how many must have it."""

    def __init__(self, connection: SharedConnection, replicas: int) -> None:
        self._connection = connection
        self._replicas = replicas
        self._waits = SharedReading(self._wait)
        self._key = ""
        self._behind = False
        self._trying: asyncio.Task[None] | None = None
        connection.begin()

    async def close(self) -> None:
        """Ends the connection."""
        if self._trying is not None:
            self._trying.cancel()
        await self._connection.close()

    async def reached(self, key: str, run_id: str, timeout: float) -> bool:
        """Whether enough replicas have all that a run of the server has acknowledged by now.

        `key` is one that the server has; it is written to. False as well where it is not known.
        """
        self._key = key
        if self._behind:
            if self._trying is None or self._trying.done():
                self._trying = asyncio.get_running_loop().create_task(self._try())
            return False
        try:
            async with asyncio.timeout(min(timeout, 2 * WAIT_FOR)):
                return await self._waits.since(uptime()) == run_id
        except (TimeoutError, StoreUnavailable):
            return False

    async def _try(self) -> None:
        try:
            await self._waits.since(uptime())
        except StoreUnavailable:
            await asyncio.sleep(WAIT_FOR)

    async def _wait(self) -> str:
        """The run of the server whose replicas have all; empty where they do not."""
        write = ("SET", self._key, "", "PX", _KEPT)
        wait = ("WAIT", self._replicas, round(WAIT_FOR * 1000))
        count = 0
        try:
            _, count = await self._connection.pipeline([write, wait], WAIT_FOR + _REPLY_IN)
        finally:
            self._behind = count < self._replicas
        return "" if self._behind else self._connection.run_id


async def learn_run(connection: PipelinedConnection) -> None:
    """Notes which run of the server it is, on a connection that waits for replicas."""
    said: bytes = await connection.call(("INFO", "server"), _REPLY_IN)
    connection.run_id = said.partition(b"run_id:")[2].split(None, 1)[0].decode()
