"""What all capabilities of the store in memory share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from decision.core.clock import SECOND
from decision.core.document import ContactKind
from decision.core.ports import FileState
from decision.store.codec import PacksDocuments
from decision.store.register import Register

Clock = Callable[[], float]
"""Gives the seconds since 1970."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class MemoryBase(PacksDocuments):
    """Implements `Lifecycle` and `FileStore`, with no file, and `KindRegister`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._register = Register(allowed=())
        self._turns: Expiring[str, bool] = Expiring()

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def ping(self) -> None: ...

    async def file_state(self) -> FileState:
        return FileState()

    async def rewrite_file(self) -> str | None:
        return None

    async def rewrite_log(self, partition: int) -> str | None:
        return None

    async def take_turn(self, name: str, lasts: int) -> bool:
        now = self._clock()
        free = self._turns.live(name, now) is None
        if free:
            self._turns[name] = (now + lasts / SECOND, True)
        return free

    async def register_kinds(self, kinds: Sequence[ContactKind]) -> list[int]:
        table = self._register.kinds
        table.learn(len(table.entries), table.missing(kinds))
        return [table.numbers[kind] for kind in kinds]


class Expiring(dict[Key, tuple[float, Value]]):
    """Values by key, each with the time at which it expires, in seconds since 1970."""

    def live(self, key: Key, now: float) -> Value | None:
        """The value, unless it has expired."""
        expiry, value = self.get(key, (now, None))
        return value if expiry > now else None

    def forget_expired(self, now: float) -> int:
        """Removes what has expired; returns how many values are left."""
        for key in [key for key, (expiry, _) in self.items() if expiry <= now]:
            del self[key]
        return len(self)
