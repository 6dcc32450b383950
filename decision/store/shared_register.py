"""The register as Redis holds it: two lists that only ever grow at their end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from decision.core.document import ContactKind
from decision.store.keys import Keys
from decision.store.register import Kinds, Names, Register
from decision.store.scripts import APPEND, Call
from decision.store.wire import Refused

_AT_ONCE: Final = 1_000
"""Entries appended by one script call, at most."""


class SharedRegister:
    """A process's register, kept in step with the one in Redis.

    Every method raises `RegisterClash` where a number means one thing here and another there.
    """

    def __init__(self, keys: Keys) -> None:
        self.local = Register()
        self._names = keys.names
        self._kinds = keys.kinds
        self._tables: tuple[tuple[str, Names | Kinds], ...] = (
            (keys.names, self.local.names),
            (keys.kinds, self.local.kinds),
        )

    async def agree(self, call: Call) -> None:
        """Learns what Redis holds, and puts back, under the same numbers, what it has lost."""
        for key, table in self._tables:
            while True:
                held = await call(("LRANGE", key, 0, -1))
                table.learn(0, held)
                lost = table.entries[len(held) :][:_AT_ONCE]
                if not lost:
                    break
                await APPEND.run(call, [key], [len(held), *lost])

    async def check(self, call: Call) -> None:
        """`agree`, where Redis holds fewer entries than this process knows."""
        lengths = [await call(("LLEN", key)) for key, _ in self._tables]
        if any(
            length < len(table.entries)
            for length, (_, table) in zip(lengths, self._tables, strict=True)
        ):
            await self.agree(call)

    async def refresh(self, call: Call) -> None:
        """Learns the entries that other processes have appended."""
        for key, table in self._tables:
            known = len(table.entries)
            table.learn(known, await call(("LRANGE", key, known, -1)))

    async def add_names(self, call: Call, names: list[str]) -> None:
        """Gives numbers to names, as far as there is room."""
        table = self.local.names
        await self._append(call, self._names, table, lambda: table.missing(names))

    async def add_kinds(self, call: Call, kinds: list[ContactKind]) -> None:
        """Gives numbers to kinds of contacts."""
        table = self.local.kinds
        await self._append(call, self._kinds, table, lambda: table.missing(kinds))

    async def _append(
        self, call: Call, key: str, table: Names | Kinds, missing: Callable[[], list[bytes]]
    ) -> None:
        while entries := missing()[:_AT_ONCE]:
            known = len(table.entries)
            try:
                reply = await APPEND.run(call, [key], [known, *entries])
            except Refused as error:
                if error.code != "LOST":
                    raise
                await self.agree(call)
            else:
                table.learn(known, entries if reply == 1 else reply)
