"""A store that stops to answer when a test says so."""

from __future__ import annotations

import inspect
from typing import Any

from decision.core.errors import StoreUnavailable
from decision.store import MemoryStore


class Unreachable(MemoryStore):
    """Answers until `down`; then nothing it is asked is answered."""

    down = False

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name != "close" and inspect.iscoroutinefunction(found) and self.down:

            async def unanswered(*_: Any, **__: Any) -> Any:
                raise StoreUnavailable("no answer", code="timeout")

            return unanswered
        return found
