"""What the servers of a store tell each other of themselves."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Announced(NamedTuple):
    """What a server has told last, and how long ago, in microseconds by the store's clock."""

    ago: int
    about: bytes


class ServerStore(Protocol):
    """Servers by name, each with a few bytes about itself."""

    async def announce(self, server: str, about: bytes, forgotten: int) -> None:
        """Tells the others of a server; those silent for `forgotten` microseconds are forgotten."""

    async def announced(self) -> dict[str, Announced]:
        """All servers that are not forgotten."""
