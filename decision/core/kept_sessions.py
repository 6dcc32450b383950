"""Sessions of the console, as a store keeps them."""

from __future__ import annotations

from typing import Protocol


class SessionStore(Protocol):
    """Values that end by themselves, each under a name that nobody can guess."""

    async def put_session(self, name: str, data: bytes, lasts: int) -> None:
        """Keeps a value for `lasts` microseconds."""

    async def get_session(self, name: str) -> bytes | None:
        """The value; None where it has ended."""

    async def keep_session(self, name: str, lasts: int) -> None:
        """Keeps a value that has not ended for `lasts` microseconds from now."""

    async def end_session(self, name: str) -> None:
        """Ends a value; one that has ended stays so."""
