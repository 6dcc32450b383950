"""The look at what a store still has: a loss is counted, logged, and shown for a day."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from decision.core.clock import from_micros
from decision.core.errors import StoreUnavailable
from decision.observability import get_logger
from decision.server.health.losses import Kind, Marks, evicted_since, losses
from decision.server.health.state import StoreHealth, Trouble, trouble
from decision.server.metrics import Metrics
from decision.store.health import Watched

SHOWN: Final = 86_400.0
"""Seconds for which a loss of data is shown."""

_log = get_logger()


class LossState(msgspec.Struct, frozen=True):
    """What a store had when it was looked at last, the latest loss, and its `time.monotonic()`."""

    marks: Marks | None = None
    lost: Trouble | None = None
    lost_at: float = 0.0


class Noted(msgspec.Struct, frozen=True):
    """A loss as the store keeps it: `at` is the store's time, microseconds."""

    code: str
    text: str
    at: int


class LossWatch:
    """`memory` is a file that outlives server and store; where there is none, so does nothing."""

    def __init__(self, health: StoreHealth, metrics: Metrics, memory: Path | None) -> None:
        self.state = LossState()
        self._health = health
        self._metrics = metrics
        self._memory = memory
        self._recalled = False

    def resume(self, state: LossState | None) -> None:
        """Goes on where the worker before ended, or else the server before."""
        if state is not None:
            self._recalled = True
            self.state = state
        elif self._memory is not None:
            with suppress(OSError, msgspec.MsgspecError):
                self.state = LossState(msgspec.json.decode(self._memory.read_bytes(), type=Marks))

    async def look(self, store: Watched, now: Marks, at: int) -> None:
        """Compares what a store has now, at its own time `at`, with what it had.

        What was lost is kept in the store, so that a server which starts within the day tells it.
        """
        if not self._recalled:
            with suppress(StoreUnavailable):
                self._recall(await store.noted_loss(), at)
                self._recalled = True
        if (found := self._compare(now, at)) is not None:
            noted = msgspec.json.encode(Noted(found.code, found.text, at))
            with suppress(StoreUnavailable):
                await store.note_loss(noted, round(SHOWN * 1000))

    def _recall(self, noted: bytes | None, now: int) -> None:
        """Takes over the loss that some server noticed, if this one knows of none."""
        if noted is None or self.state.lost is not None:
            return
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            loss = msgspec.json.decode(noted, type=Noted)
            lost = trouble(loss.code, loss.text)
            since = time.monotonic() - max(0, now - loss.at) / 1e6
            self.state = LossState(self.state.marks, lost, since)
            self._metrics.store.lost_before(loss.at / 1e6)

    def _compare(self, now: Marks, noticed: int) -> Trouble | None:
        """Notes what was lost since the last look; the loss, if there was one."""
        before, lost, at = self.state.marks, self.state.lost, self.state.lost_at
        found = losses(before, now)
        self._metrics.store.lost(found.keys(), evicted_since(before, now))
        if found:
            lost, at = self._told(found, noticed), time.monotonic()
        elif time.monotonic() - at >= SHOWN:
            lost = None
        self.state = LossState(now, lost, at)
        self._health.note("data", lost)
        self._save(now)
        return lost if found else None

    def _told(self, found: Mapping[Kind, str], at: int) -> Trouble:
        when = from_micros(at).isoformat(timespec="seconds")
        lost = trouble("+".join(found), f"{'; '.join(found.values())} (noticed at {when})")
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
