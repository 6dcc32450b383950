"""What Redis tells of its health: a trial of a write, its own account, rights, and the logs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Final

from decision.store.health import Beat, LogState, RefusalCount, ServerState
from decision.store.in_redis.base import RedisBase
from decision.store.in_redis.rights import trials
from decision.store.in_redis.server import state_of, state_of_all
from decision.store.refusals import Refused

_FORGOTTEN: Final = 60_000
"""Milliseconds after which the clock of a silent server is forgotten."""

_TRIMMED_AT_ONCE: Final = 1_000
"""Entries that one script removes at most."""

_STAY: Final = 150_000
"""Milliseconds for which every entry stays: longer than `commit.lua` looks back in the log."""


class RedisHealth(RedisBase):
    """Implements `Watched`."""

    @property
    def where(self) -> str:
        return self.connection.where

    @property
    def refused(self) -> RefusalCount:
        return self.connection.counts.refused

    async def beat(self, server: str, ahead: int | None) -> Beat:
        keys = [self.keys.health(name) for name in ("mark", "beats", "clocks", "trial")]
        arguments: list[str | int] = [os.urandom(8).hex(), server]
        arguments += ["" if ahead is None else str(ahead), _FORGOTTEN]
        now, mark, beats, clocks = await self._run("beat", keys, arguments)
        names = [name.decode(errors="replace") for name in clocks[::2]]
        found = dict(zip(names, map(int, clocks[1::2]), strict=True))
        return Beat(int(now), mark.decode(errors="replace"), beats, found)

    async def note_loss(self, loss: bytes, lasts: int) -> None:
        await self._caller(write=True)(("SET", self.keys.health("loss"), loss, "PX", lasts))

    async def noted_loss(self) -> bytes | None:
        found: bytes | None = await self._caller()(("GET", self.keys.health("loss")))
        return found

    async def server_state(self) -> ServerState:
        where = [node.where for node in self.connection.nodes()]
        states = [state_of(info, self._replicas) for info in await self._infos()]
        return (
            states[0] if len(states) == 1 else state_of_all(dict(zip(where, states, strict=True)))
        )

    async def missing_rights(self) -> list[str]:
        tried = list(trials(self.keys.health("rights")))
        missing: dict[str, None] = {}
        for node in self.connection.nodes():
            # What a node has no slot for, it refuses as well, but for another reason.
            connection, left = await node.wait(self._timeout)
            calls = (connection.reply(command, left, write=True) for _, command in tried)
            for (right, _), reply in zip(tried, await asyncio.gather(*calls), strict=True):
                if isinstance(reply, Exception) and Refused(node.where, reply).code == "NOPERM":
                    missing[right] = None
        return list(missing)

    async def look_at_logs(self, partitions: Sequence[int], limit: int) -> list[LogState]:
        arguments = [limit, _TRIMMED_AT_ONCE, _STAY]
        logs = map(self.keys.log, partitions)
        replies = await asyncio.gather(
            *(self._run("look_at_log", [log], arguments) for log in logs)
        )
        return [
            LogState(entries, size, readers, removed, _time_of(oldest))
            for entries, size, readers, removed, oldest in replies
        ]


def _time_of(entry_id: bytes) -> int | None:
    return int(entry_id.partition(b"-")[0]) * 1000 if entry_id else None
