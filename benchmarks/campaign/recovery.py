"""After a fault: what works again, and when; asked of every worker, over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from benchmarks.campaign.http_client import Broken, Client, request
from benchmarks.campaign.servers import Server

RECOVERS_WITHIN: Final = 30.0
"""Seconds after which servers that do not decide again are restarted, and it is a finding."""

STEPS: Final = ("ready", "decides", "records")
"""`/health/ready` is 200; a decision is made with the store; an event is accepted."""

_PATIENCE: Final = 5.0
_OVERLOADED: Final = "more to do than it can do"


class Recovery(NamedTuple):
    """Seconds from a fault's end: until all was well at once, None where it never was.

    `steps` has the seconds until each step worked everywhere for the first time. `refused` counts
    what was refused meanwhile under overload, and then asked again: that is no fault of the store.
    """

    seconds: float | None
    steps: dict[str, float]
    refused: int


class Probes:
    """Asks two times as many questions as a server has workers, each on its own connection."""

    def __init__(self) -> None:
        self.customers: list[str] = []
        """Who was asked about."""
        self._refused = 0

    async def recovery(self, servers: Sequence[Server]) -> Recovery:
        """Waits until every server is ready, decides with the store, and takes events, at once."""
        began, self._refused = time.monotonic(), 0
        asked = [server for server in servers for _ in range(2 * server.workers)]
        waiting = {step: set(range(len(asked))) for step in STEPS}
        steps: dict[str, float] = {}
        while time.monotonic() - began < RECOVERS_WITHIN:
            found = await asyncio.gather(*(self._probe(server) for server in asked))
            for step in STEPS:
                waiting[step] -= {place for place, worked in enumerate(found) if step in worked}
                if not waiting[step]:
                    steps.setdefault(step, time.monotonic() - began)
            if all(len(worked) == len(STEPS) for worked in found):
                return Recovery(time.monotonic() - began, steps, self._refused)
            await asyncio.sleep(0.1)
        return Recovery(None, steps, self._refused)

    async def _probe(self, server: Server) -> set[str]:
        """What works on one connection."""
        customer = f"probe-{len(self.customers) + 1}"
        self.customers.append(customer)
        question = {"placement": "outbound", "customer_id": customer, "deadline_ms": 1000}
        event = {"id": customer, "customer_id": customer, "type": "visit"}
        client, worked = Client(server.port), set()
        try:
            status, _ = await self._ask(client, request("GET", "/health/ready"))
            if status == 200:
                worked.add("ready")
            status, body = await self._ask(client, _json("/v1/decisions", question))
            if status == 200 and "store" not in json.loads(body)["degraded"]:
                worked.add("decides")
            status, _ = await self._ask(client, _json("/v1/events", {"events": [event]}))
            if status == 202:
                worked.add("records")
        except Broken:
            pass
        finally:
            client.close()
        return worked

    async def _ask(self, client: Client, raw: bytes) -> tuple[int, bytes]:
        """Asks again where the answer is that there is too much to do."""
        until = time.monotonic() + _PATIENCE
        while True:
            reply = await client.send(raw, _PATIENCE)
            overloaded = reply.status == 503 and _OVERLOADED.encode() in reply.body
            if not overloaded or time.monotonic() > until:
                return reply.status, reply.body
            self._refused += 1
            await asyncio.sleep(0.05)


def _json(path: str, body: object) -> bytes:
    return request("POST", path, json.dumps(body).encode())
