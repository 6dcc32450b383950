"""Delivery reports that do not count: a line of the log now and then, and the quarantine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final

from decision.core.clock import from_micros
from decision.core.errors import StoreUnavailable
from decision.core.schema import Event
from decision.engine.runtime import Runtime
from decision.observability import get_logger
from decision.server.quarantine import Quarantined, quarantine, without_names

_EVERY: Final = 60.0
"""Seconds between two lines about a gateway and a result: anybody can call the route."""

_log = get_logger()


class LostReports:
    """Tells of the reports of all gateways that do not count. `clock` counts seconds."""

    def __init__(self, runtime: Runtime, clock: Callable[[], float] = monotonic) -> None:
        self._runtime = runtime
        self._clock = clock
        self._told: dict[tuple[str, str], float] = {}
        self._since: Counter[tuple[str, str]] = Counter()

    def tell(self, gateway: str, result: str, problem: str, number: int = 1) -> None:
        """Logs it, with how many there were since the last line, at most once a minute.

        `gateway` is one of the file, so few are remembered.
        """
        key = (gateway, result)
        self._since[key] += number
        now = self._clock()
        if now - self._told.get(key, -_EVERY) < _EVERY:
            return
        self._told[key] = now
        many = self._since.pop(key)
        _log.warning("reports_lost", gateway=gateway, result=result, reports=many, problem=problem)

    async def unreadable(self, gateway: str, number: int, problem: str) -> None:
        """Tells of reports that are signed and have a form that is not known."""
        self.tell(gateway, "unreadable", problem, number)
        await self._keep([self._entry(gateway, 0, problem)])

    async def rejected(self, gateway: str, refused: Sequence[tuple[Event, str]]) -> None:
        """Tells of reports that do not fit the contact or the policy."""
        if not refused:
            return
        entries = [
            self._entry(
                gateway,
                index,
                without_names(detail, [one.customer_id or ""]),
                event=one.type,
                id=one.id,
            )
            for index, (one, detail) in enumerate(refused)
        ]
        self.tell(gateway, "rejected", entries[0].detail, len(entries))
        await self._keep(entries)

    def _entry(
        self,
        gateway: str,
        index: int,
        detail: str,
        event: str | None = None,
        id: str | None = None,
    ) -> Quarantined:
        at = from_micros(self._runtime.clock())
        return Quarantined(
            at=at, source="reports", detail=detail, index=index, place=gateway, event=event, id=id
        )

    async def _keep(self, entries: Sequence[Quarantined]) -> None:
        # What is recorded of the request stays so; a provider would send all of it again.
        with suppress(StoreUnavailable):
            await quarantine(self._runtime.store, entries)
