"""The shop of the demo is open: customers come, and its app and tills call the server's API."""

from __future__ import annotations

import asyncio
import math
from random import Random
from typing import Any, Final

import httpcore
import msgspec

from decision.core.clock import SECOND
from decision.core.schema import Decision, Event
from decision.engine.runtime import wall_clock
from decision.simulation.deeds import CLICKED, OUTBOUND, Deed, visit
from decision.simulation.people import SEED, ShopCustomer, draw_customer

_VISITS: Final = 1 / 600
"""Of each customer, in a second, until there are `_MOST` together."""
_MOST: Final = 0.5
_HURRY: Final = 60
"""A visit goes by so many times as fast: its minutes are seconds."""
_CLICKS: Final = 0.15
_BROKEN: Final = 300.0
"""Seconds between two events of a till that does not know how purchases are told."""
_AGAIN: Final = 5.0
"""Seconds until the next call where the server did not answer."""
_SECONDS: Final = {"connect": 5.0, "read": 30.0, "write": 30.0, "pool": 30.0}
_JSON: Final[dict[bytes | str, bytes | str]] = {"content-type": "application/json"}


class OpenShop:
    """Customers of these numbers visit, now and then; `url` is the server's."""

    def __init__(self, url: str, numbers: range) -> None:
        self._url = url
        self._numbers = numbers
        self._draw = Random(wall_clock()).random
        self._pool = httpcore.AsyncConnectionPool(max_connections=4)

    async def run(self) -> None:
        """Goes on until it is cancelled; a server that does not answer is waited for."""
        rate = min(_MOST, len(self._numbers) * _VISITS)
        async with self._pool, asyncio.TaskGroup() as group:
            group.create_task(self.broken_till())
            while True:
                group.create_task(self._visit(self._somebody()))
                await asyncio.sleep(-math.log(1 - self._draw()) / rate)

    def _somebody(self) -> ShopCustomer:
        number = self._numbers[int(self._draw() * len(self._numbers))]
        return draw_customer(SEED, number, wall_clock())

    async def _visit(self, who: ShopCustomer) -> None:
        now = wall_clock()
        for at, deed in visit(who, now, self._draw):
            await asyncio.sleep((at - now) / SECOND / _HURRY)
            now = at
            await self._does(deed)

    async def _does(self, deed: Deed) -> None:
        if isinstance(deed, Event):
            await self._call("/v1/events", {"events": [deed]})
            return
        answer = await self._call("/v1/decisions", deed)
        if answer is None:
            return
        decision = msgspec.json.decode(answer, type=Decision)
        kinds = [] if deed.placement == OUTBOUND else ["message.shown"]
        kinds += [CLICKED] if self._draw() < _CLICKS else []
        about: dict[str, Any] = {
            "customer_id": decision.customer_id,
            "decision_id": decision.decision_id,
        }
        for one in decision.selections:
            for kind in kinds:
                await asyncio.sleep(1)
                event = Event(type=kind, message=one.message, **about)
                await self._call("/v1/events", {"events": [event]})

    async def broken_till(self) -> None:
        """One of the shop's tills names customers and amounts in a way of its own, for ever."""
        while True:
            who = self._somebody()
            told = {"type": "purchase", "customer": who.customer_id, "amount": "186,00 CNY"}
            await self._call("/v1/events", {"events": [told]})
            await asyncio.sleep(_BROKEN)

    async def _call(self, path: str, body: Any) -> bytes | None:
        """What is answered; None where the server refuses, or does not answer."""
        content, patience = msgspec.json.encode(body), {"timeout": _SECONDS}
        try:
            answer = await self._pool.request(
                "POST", self._url + path, headers=_JSON, content=content, extensions=patience
            )
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
            await asyncio.sleep(_AGAIN)
            return None
        return answer.content if answer.status < 300 else None
