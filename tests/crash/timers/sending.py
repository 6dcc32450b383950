"""Events sent to servers that are killed, each until one has it."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import httpx
import msgspec

from tests.crash.harness import Server
from tests.crash.timers.story import EARLY, event, kind_of, start_of

_TOGETHER: Final = 100
_AT_ONCE: Final = 24
"""Requests: a server writes the customers of one request one after another, each to the disk."""

_JSON: Final = {"Content-Type": "application/json"}


class Sending:
    """Sends what starts the runs of so many customers, and what comes early for some.

    `sent` is how many have started. A purchase comes about when its timer does, in half of the
    cases before, a visit once it is waited for; those with far timers buy in the end.
    """

    def __init__(self, servers: Sequence[Server], customers: int, wait: int) -> None:
        self._servers, self._customers, self._wait = servers, customers, wait
        self._chance = random.Random(5)
        self.sent = 0

    async def starts(self) -> None:
        """Starts everybody, and sends what comes early as its time comes."""
        later: deque[tuple[float, list[dict[str, Any]]]] = deque()
        step = _TOGETHER * _AT_ONCE
        for first in range(0, self._customers, step):
            numbers = range(first, min(first + step, self._customers))
            await self._send([start_of(number) for number in numbers])
            self.sent = numbers[-1] + 1
            later.append((time.monotonic() + self._wait, _early(numbers, "goal", "visit")))
            while later and later[0][0] <= time.monotonic():
                await self._send(later.popleft()[1])
        for due, events in later:
            await asyncio.sleep(due - time.monotonic())
            await self._send(events)

    async def ends(self) -> None:
        """Has those buy who have a far timer."""
        step = 20 * _TOGETHER * _AT_ONCE
        for first in range(0, self._customers, step):
            last = min(first + step, self._customers)
            await self._send(_early(range(first, last), "far"))

    async def _send(self, events: Sequence[dict[str, Any]]) -> None:
        parts = [events[at : at + _TOGETHER] for at in range(0, len(events), _TOGETHER)]
        async with httpx.AsyncClient(timeout=60) as client:
            await asyncio.gather(*(self._post(client, part) for part in parts))

    async def _post(self, client: httpx.AsyncClient, events: Sequence[dict[str, Any]]) -> None:
        body = msgspec.json.encode({"events": events})
        while True:
            try:
                url = f"{self._chance.choice(self._servers).url}/v1/events"
                answer = await client.post(url, content=body, headers=_JSON)
                assert answer.status_code // 100 in (2, 5), answer.text
                if answer.status_code == 202 and not answer.json().get("rejected"):
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(self._chance.uniform(0.05, 0.2))


def _early(numbers: range, *kinds: str) -> list[dict[str, Any]]:
    return [event(one, EARLY[kind_of(one)]) for one in numbers if kind_of(one) in kinds]
