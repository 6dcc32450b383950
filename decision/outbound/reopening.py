"""What senders and people tell each other of gateways that are left alone."""

from __future__ import annotations

from collections.abc import Collection

from decision.core.clock import SECOND
from decision.core.ports import Store
from decision.engine.left_alone import LeftAlone, note_left_alone, resumed_mark
from decision.outbound.lanes import Lane
from decision.outbound.logs import log_opened


class LaneWatch:
    """Opens lanes whose gateway somebody has resumed, and notes which are closed until when."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._marks: dict[str, bytes | None] = {}
        self._noted: dict[str, LeftAlone] = {}

    async def look(self, lanes: Collection[Lane], now: int) -> None:
        """Looks at all lanes once; `now` in microseconds."""
        for gateway in {lane.name for lane in lanes}:
            mark = await resumed_mark(self._store, gateway)
            if self._marks.setdefault(gateway, mark) == mark:
                continue
            self._marks[gateway] = mark
            for lane in lanes:
                if lane.name == gateway and lane.answered():
                    log_opened(lane, "was resumed, and is tried again")
        for lane in lanes:
            await self._note(lane, now)

    async def _note(self, lane: Lane, now: int) -> None:
        """Notes what has changed: a gateway that works is told once."""
        until = now + int(lane.closed_for * SECOND) if lane.failing else 0
        before = self._noted.get(lane.channel)
        if before is not None and 0 < until <= before.until + SECOND:
            until = before.until  # the same time, but for the clocks
        one = LeftAlone(lane.name, until, lane.failures, lane.reason)
        if one != before:
            await note_left_alone(self._store, lane.channel, one)
            self._noted[lane.channel] = one
