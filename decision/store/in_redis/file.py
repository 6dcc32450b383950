"""The append-only file of Redis: rewritten, it holds only what is in Redis now."""

from __future__ import annotations

from typing import Final

from decision.core.clock import MILLISECOND
from decision.core.ports import FileState
from decision.store.in_redis.base import RedisBase
from decision.store.refusals import Refused

_AT_A_TIME: Final = 500
"""Entries copied in one call: Redis does nothing else meanwhile."""

_ATTEMPTS: Final = 16


class RedisFile(RedisBase):
    """Implements `FileStore`."""

    async def file_state(self) -> FileState:
        infos = await self._infos()
        busy = {
            info.get(f"aof_rewrite_{name}", "0")
            for info in infos
            for name in ("in_progress", "scheduled")
        }
        return FileState(
            enabled=any(info.get("aof_enabled") == "1" for info in infos),
            busy=busy != {"0"},
            succeeded=all(info.get("aof_last_bgrewrite_status", "ok") == "ok" for info in infos),
            server=" ".join(info.get("run_id", "") for info in infos),
        )

    async def rewrite_file(self) -> str | None:
        for node in self.connection.nodes():
            try:
                await node.call(("BGREWRITEAOF",), self._timeout, write=True)
            except Refused as error:
                return f"{error.code}: {error.reason}"
        return None

    async def rewrite_log(self, partition: int) -> str | None:
        keys = [self.keys.log(partition), self.keys.log_copy(partition)]
        for _ in range(_ATTEMPTS):
            position = "-"
            while position:
                try:
                    reply = await self._run("rewrite_log", keys, [position, _AT_A_TIME])
                except Refused as error:
                    return f"{error.code}: {error.reason}"
                if reply is None:
                    break
                position = reply.decode()
            else:
                return None
        return "records were removed from it all the time"

    async def take_turn(self, name: str, lasts: int) -> bool:
        milliseconds = max(1, lasts // MILLISECOND)
        command = ("SET", self.keys.turn(name), "", "NX", "PX", milliseconds)
        return await self._caller(write=True)(command) is not None
