"""The look at what a store still has: a loss is counted, logged, and shown for a day."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from decision.observability import get_logger
from decision.server.health import StoreHealth, Trouble, trouble
from decision.server.losses import Kind, Marks, evicted_since, losses
from decision.server.metrics import Metrics

SHOWN: Final = 86_400.0
"""Seconds for which a loss of data is shown."""

_log = get_logger()


class LossState(msgspec.Struct, frozen=True):
    """What a store had when it was looked at last, the latest loss, and its `time.monotonic()`."""

    marks: Marks | None = None
    lost: Trouble | None = None
    lost_at: float = 0.0


class LossWatch:
    """`memory` is a file that outlives server and store; where there is none, so does nothing."""

    def __init__(self, health: StoreHealth, metrics: Metrics, memory: Path | None) -> None:
        self.state = LossState()
        self._health = health
        self._metrics = metrics
        self._memory = memory

    def resume(self, state: LossState | None) -> None:
        """Goes on where the worker before ended, or else the server before."""
        if state is not None:
            self.state = state
        elif self._memory is not None:
            with suppress(OSError, msgspec.MsgspecError):
                self.state = LossState(msgspec.json.decode(self._memory.read_bytes(), type=Marks))

    def look(self, now: Marks) -> None:
        """Compares what a store has now with what it had."""
        before, lost, at = self.state.marks, self.state.lost, self.state.lost_at
        found = losses(before, now)
        self._metrics.store.lost(found.keys(), evicted_since(before, now))
        if found:
            lost, at = self._told(found), time.monotonic()
        elif time.monotonic() - at >= SHOWN:
            lost = None
        self.state = LossState(now, lost, at)
        self._health.note("data", lost)
        self._save(now)

    def _told(self, found: Mapping[Kind, str]) -> Trouble:
        lost = trouble("+".join(found), "; ".join(found.values()))
        if self.state.lost is not None and self.state.lost.code == lost.code:
            # Another loss of the same kind, which is no change to `StoreHealth`.
            _log.error("degraded", what="data", code=lost.code, problem=lost.text)
        return lost

    def _save(self, marks: Marks) -> None:
        if self._memory is not None:
            with suppress(OSError):
                written = self._memory.with_suffix(".new")
                written.write_bytes(msgspec.json.encode(marks))
                written.replace(self._memory)


def memory_beside(url: str | None) -> Path | None:
    """Where to remember what an embedded Redis had: in its folder, which outlives both."""
    parts = urlsplit(url or "")
    folder = Path(unquote(parts.path)).parent
    if parts.scheme != "unix" or not (folder / "users.lock").exists():
        return None
    return folder / "marks.json"
