"""A walk over the keys of Redis, node by node where there are several."""

from __future__ import annotations

from collections.abc import AsyncIterator

from decision.core.errors import StoreUnavailable
from decision.store.connection import SharedConnection
from decision.store.in_redis.base import RedisBase


class RedisScanning(RedisBase):
    """What Redis' cursor promises, and no more: what is there all the time comes at least once."""

    async def _scan(self, pattern: str, at_a_time: int) -> AsyncIterator[list[bytes]]:
        """The keys that fit a pattern, part by part; of each part so many are looked at.

        Raises:
            StoreUnavailable: Redis does not answer, or a key may have been missed.
        """
        connection = self.connection
        nodes = await connection.settled_nodes()
        moves = connection.moves
        for node in nodes:
            cursor, server = "0", ""
            while True:
                cursor, keys = await self._part(node, cursor, pattern, at_a_time)
                server = server or node.run_id
                if server != node.run_id:
                    # A cursor means nothing to another server, nor to this one after a restart.
                    raise StoreUnavailable(
                        "Redis was restarted, or replaced by another, while its keys were listed; "
                        "begin again"
                    )
                yield keys
                if cursor == "0":
                    break
        if await connection.settled_nodes() != nodes or connection.moves != moves:
            raise StoreUnavailable(
                "slots of the cluster were moved while its keys were listed; begin again"
            )

    async def _part(
        self, node: SharedConnection, cursor: str, pattern: str, at_a_time: int
    ) -> tuple[str, list[bytes]]:
        """The next cursor, and some keys."""
        command = ("SCAN", cursor, "MATCH", pattern, "COUNT", at_a_time)
        following, keys = await node.call(command, self._timeout)
        return following.decode(), keys
