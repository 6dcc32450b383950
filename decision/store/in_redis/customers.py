"""The ids of all customers in Redis, found by walking over its keys."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Final

from decision.core.identifiers import partition_of
from decision.store.in_redis.scanning import RedisScanning
from decision.store.keys import escape_pattern

_AT_A_TIME: Final = 250
"""Keys looked at in one call: Redis does nothing else meanwhile, for about 0.2 ms."""


class RedisCustomers(RedisScanning):
    """Implements `CustomerStore`."""

    async def customer_ids(self) -> AsyncIterator[list[str]]:
        async for keys in self._scan(self._pattern, _AT_A_TIME):
            yield self._customers(keys)

    async def walk(self, place: str) -> tuple[list[str], str | None]:
        server, _, cursor = place.rpartition(" ")
        nodes = self.connection.nodes()
        number = next((n for n, node in enumerate(nodes) if node.run_id == server), 0)
        node, about = nodes[number], (self._pattern, _AT_A_TIME)
        known = bool(server) and node.run_id == server
        cursor, keys = await self._part(node, cursor if known else "0", *about)
        if known and node.run_id != server:
            cursor, keys = await self._part(node, "0", *about)
        names = self._customers(keys)
        if cursor != "0":
            return names, f"{node.run_id} {cursor}"
        return names, f"{nodes[number + 1].run_id} 0" if number + 1 < len(nodes) else None

    @property
    def _pattern(self) -> str:
        return escape_pattern(self.keys.prefix) + "{p*}:c:*"

    def _customers(self, keys: Sequence[bytes]) -> list[str]:
        """The customers whose documents are among keys."""
        # The pattern of Redis also fits other keys, such as an alias with `}:c:` in its value.
        of_customer = re.compile(
            re.escape(self.keys.prefix.encode()) + rb"\{p(\d+)\}:c:(.+)", re.DOTALL
        )
        names = (_customer_of(of_customer.fullmatch(key)) for key in keys)
        return [name for name in names if name is not None]


def _customer_of(key: re.Match[bytes] | None) -> str | None:
    """The customer whose document a key is; None where it is another key."""
    if key is None:
        return None
    try:
        name = key[2].decode()
    except UnicodeDecodeError:
        return None
    return name if int(key[1]) == partition_of(name) else None
