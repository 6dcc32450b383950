"""The register as Redis holds it: two lists that only ever grow at their end."""

from __future__ import annotations

from collections.abc import Sequence
from operator import lt
from typing import Any, Final

from decision.store.keys import Keys
from decision.store.refusals import Refused
from decision.store.register import Item, Register, Table
from decision.store.scripts import SCRIPTS, Call

_AT_ONCE: Final = 1_000
"""Entries appended by one script call, at most."""


class SharedRegister:
    """A process's register, kept in step with the one in Redis.

    Every method raises `RegisterClash` where a number means one thing here and another there.
    """

    def __init__(self, keys: Keys) -> None:
        self.local = Register(allowed=())
        self._tables: dict[str, Table[Any]]
        self._tables = {keys.names: self.local.names, keys.kinds: self.local.kinds}

    async def agree(self, call: Call) -> None:
        """Learns what Redis holds, and puts back, under the same numbers, what it has lost."""
        for key, table in self._tables.items():
            while True:
                held = await call(("LRANGE", key, 0, -1))
                table.learn(0, held)
                lost = table.entries[len(held) :][:_AT_ONCE]
                if not lost:
                    break
                await SCRIPTS["append"].run(call, [key], [len(held), *lost])

    async def check(self, call: Call) -> None:
        """`agree`, where Redis holds fewer entries than this process knows."""
        lengths = [await call(("LLEN", key)) for key in self._tables]
        known = [len(table.entries) for table in self._tables.values()]
        if any(map(lt, lengths, known)):
            await self.agree(call)

    async def refresh(self, call: Call) -> None:
        """Learns the entries that other processes have appended."""
        for key, table in self._tables.items():
            known = len(table.entries)
            table.learn(known, await call(("LRANGE", key, known, -1)))

    async def add(self, call: Call, table: Table[Item], items: Sequence[Item]) -> None:
        """Gives numbers to items of a table, as long as there is space."""
        key = next(key for key, other in self._tables.items() if other is table)
        put_back = False
        while entries := table.missing(items)[:_AT_ONCE]:
            known = len(table.entries)
            try:
                reply = await SCRIPTS["append"].run(call, [key], [known, *entries])
            except Refused as error:
                if error.code != "LOST" or put_back:
                    raise
                await self.agree(call)
                put_back = True
            else:
                put_back = False
                table.learn(known, entries if reply == 1 else reply)
