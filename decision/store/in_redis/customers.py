"""The ids of all customers in Redis, found by walking over its keys."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final

from decision.core.errors import StoreUnavailable
from decision.core.identifiers import partition_of
from decision.store.in_redis.base import RedisBase
from decision.store.keys import escape_pattern

_AT_A_TIME: Final = 250
"""Keys looked at in one call: Redis does nothing else meanwhile, for about 0.2 ms."""


class RedisCustomers(RedisBase):
    """Implements `CustomerStore`."""

    async def customer_ids(self) -> AsyncIterator[list[str]]:
        cursor, server = "0", ""
        while True:
            cursor, names = await self._part(cursor)
            server = server or self._run_id
            if server != self._run_id:
                # A cursor means nothing to another server, nor to this one after a restart.
                raise StoreUnavailable(
                    "Redis was restarted, or replaced by another, while its customers were listed; "
                    "begin again"
                )
            yield names
            if cursor == "0":
                return

    async def walk(self, place: str) -> tuple[list[str], str | None]:
        server, _, cursor = place.rpartition(" ")
        cursor, names = await self._part(cursor or "0")
        if server not in ("", self._run_id):
            cursor, names = await self._part("0")
        return names, None if cursor == "0" else f"{self._run_id} {cursor}"

    async def _part(self, cursor: str) -> tuple[str, list[str]]:
        """The next cursor, and the customers among some keys."""
        pattern = escape_pattern(self.keys.prefix) + "{p*}:c:*"
        command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _AT_A_TIME)
        following, keys = await self._caller()(command)
        # The pattern of Redis also fits other keys, such as an alias with `}:c:` in its value.
        of_customer = re.compile(
            re.escape(self.keys.prefix.encode()) + rb"\{p(\d+)\}:c:(.+)", re.DOTALL
        )
        names = (_customer_of(of_customer.fullmatch(key)) for key in keys)
        return following.decode(), [name for name in names if name is not None]


def _customer_of(key: re.Match[bytes] | None) -> str | None:
    """The customer whose document a key is; None where it is another key."""
    if key is None:
        return None
    try:
        name = key[2].decode()
    except UnicodeDecodeError:
        return None
    return name if int(key[1]) == partition_of(name) else None
