"""One client process: an open load of everything that an app asks, with retries as apps do them.

Told what to do by lines on stdin: `rate 500` (decisions a second), `pause`, `go`, `stop`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from benchmarks.campaign.http_client import Broken, Client, NotConnected, Reply, request
from benchmarks.campaign.journal import Journal, result_of
from benchmarks.campaign.waiting import until
from benchmarks.campaign.workload import Workload

BATCH: Final = 60
TICK: Final = 0.01
MOST_CALLS: Final = 1500
"""Calls in hand; what is due beyond that is not sent, so that a stall costs no memory."""

PATIENCE: Final = 20.0
"""Seconds for an answer, and for what is left at the end."""


class Load:
    """Sends, and writes down what came back."""

    def __init__(self, ports: list[int], journal: Journal, name: str, seed: str) -> None:
        self.clients = [Client(port) for port in ports]
        self.journal = journal
        self.work = Workload(name, seed)
        self.chance = self.work.chance
        self.rate = 0.0
        self.stopped = False
        self.open = asyncio.Event()
        self.open.set()
        self.in_hand = 0
        self.number = 0
        self.tasks: set[asyncio.Task[object]] = set()
        self.busy: set[str] = set()
        self.values: dict[str, int] = {}

    async def run(self) -> None:
        """Sends until told to stop; then waits for what is in hand."""
        due = 0.0
        before = time.monotonic()
        while not self.stopped:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            passed, before = now - before, now
            if not self.open.is_set():
                due = 0.0
                continue
            due += self.chance.expovariate(1 / (self.rate * passed)) if self.rate else 0.0
            while due >= 1:
                due -= self.next(int(due))
            if len(self.tasks) < MOST_CALLS:
                self.report()
        until = time.monotonic() + PATIENCE
        while (self.tasks or self.work.events) and time.monotonic() < until:
            self.report()
            await asyncio.sleep(TICK)

    def report(self) -> None:
        """Begins to send some of the events."""
        events = self.work.events
        if events:
            taken, self.work.events = events[:50], events[50:]
            self.go(self.send_events(taken))

    def go(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.done)

    def done(self, task: asyncio.Task[object]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    def next(self, due: int) -> int:
        """Begins the next call; returns how many decisions it asks for."""
        if len(self.tasks) >= MOST_CALLS:
            return due
        draw = self.chance.random()
        if due >= 1 and draw < 0.02:
            self.work.asked += BATCH
            self.go(self.batch())
            return BATCH
        if draw < 0.04:
            self.go(self.change())
        elif draw < 0.05 and self.work.recent:
            self.go(self.find(self.chance.choice(self.work.recent)))
        self.work.asked += 1
        self.go(self.decide())
        return 1

    async def call(self, kind: str, what: Any, raw: bytes, server: int) -> tuple[int, Reply | None]:
        """(the call's number, its answer or None); both are written down by who asked."""
        await self.open.wait()
        self.number += 1
        self.in_hand += 1
        number = self.number
        self.journal.write("s", number, kind, time.time(), server, what)
        try:
            try:
                return number, await self.clients[server].send(raw, PATIENCE)
            except NotConnected:  # the other one, as a load balancer does
                self.journal.write("s", number, kind, time.time(), 1 - server, what)
                return number, await self.clients[1 - server].send(raw, PATIENCE)
        except Broken as error:
            self.journal.write("l", number, time.time(), str(error), _lines(error.part, kind))
            return number, None
        finally:
            self.in_hand -= 1

    async def decide(self) -> None:
        what, body = self.work.question()
        server = self.chance.randrange(len(self.clients))
        raw = post("/v1/decisions", body)
        if what[1] is not None and self.chance.random() < 0.03:  # a twin, at the same time
            self.go(self.decide_once(what, raw, 1 - server))
        answered, wait = await self.decide_once(what, raw, server)
        if what[1] is None:
            return
        for attempt in range(4):
            if answered and self.chance.random() >= 0.07:
                return
            await asyncio.sleep(max(wait, self.chance.uniform(0.1, 0.5) * 2**attempt))
            if self.stopped:
                return
            server = self.chance.randrange(len(self.clients))
            answered, wait = await self.decide_once(what, raw, server)

    async def decide_once(self, what: list[Any], raw: bytes, server: int) -> tuple[bool, float]:
        """Whether the store was part of the answer; seconds to wait before it is asked again."""
        number, reply = await self.call("decide", [what], raw, server)
        if reply is None:
            return False, 0
        if reply.status != 200:
            self.journal.write("a", number, time.time(), reply.status, _text(reply))
            return False, float(reply.retry_after or 0)
        result = result_of(reply.body)
        self.journal.write("a", number, time.time(), 200, [result])
        return self.work.given(what[0], result), 0

    async def batch(self) -> None:
        questions = [self.work.question() for _ in range(BATCH)]
        body = b"".join(msgspec.json.encode(each) + b"\n" for _, each in questions)
        raw = request("POST", "/v1/decisions/batch", body, "application/x-ndjson")
        what = [each for each, _ in questions]
        number, reply = await self.call("batch", what, raw, self.chance.randrange(2))
        if reply is None:
            return
        if reply.status != 200:
            self.journal.write("a", number, time.time(), reply.status, _text(reply))
            return
        results = _lines(reply.body, "batch")
        self.journal.write("a", number, time.time(), 200, results)
        for one, result in zip(what, results, strict=False):
            self.work.given(one[0], result)

    async def send_events(self, events: list[dict[str, Any]]) -> None:
        """Sends events until they are answered."""
        await asyncio.sleep(self.chance.uniform(0, 0.5))
        raw = post("/v1/events", {"events": events})
        for attempt in range(12):
            server = self.chance.randrange(2)
            number, reply = await self.call("events", events, raw, server)
            wait = 0.0
            if reply is not None:
                wait = float(reply.retry_after or 0)
                results = json.loads(reply.body) if reply.status == 202 else _text(reply)
                self.journal.write("a", number, time.time(), reply.status, results)
                if reply.status == 202 and self.chance.random() >= 0.02:
                    return
            await asyncio.sleep(max(wait, min(2.0, 0.1 * 2**attempt)))

    async def find(self, decision_id: str) -> None:
        raw = request("GET", f"/v1/decisions/{decision_id}")
        await self.plain("find", decision_id, raw)

    async def change(self) -> None:
        """Changes one customer of the window; one change of a customer at a time."""
        customer = self.work.changing()
        if customer.startswith("hot-") or customer in self.busy:
            return
        self.busy.add(customer)
        try:
            await self.change_one(customer, int(customer.rpartition("-")[2]))
        finally:
            self.busy.discard(customer)

    async def change_one(self, customer: str, index: int) -> None:
        path = f"/v1/customers/{customer}"
        draw = self.chance.random()
        if index % 20 == 1 and customer[0] == "c" and draw < 0.3:
            other = f"n{customer[1:]}"
            await self.plain("merge", [customer, other], post(f"{path}/merge", {"from": other}))
        elif index % 20 == 2 and draw < 0.3:
            raw = _put(f"{path}/consents", {"tips": {"*": "denied"}})
            await self.plain("consent", customer, raw)
        elif index % 20 == 3 and draw < 0.3:
            await self.plain("erase", customer, request("DELETE", path))
        else:
            value = self.values[customer] = self.values.get(customer, 0) + 1
            raw = _put(path, {"attributes": {customer[0]: value}})
            await self.plain("put", [customer, value], raw)

    async def plain(self, kind: str, what: Any, raw: bytes) -> None:
        number, reply = await self.call(kind, what, raw, self.chance.randrange(2))
        if reply is not None:
            text = _text(reply) if reply.status >= 400 else ""
            self.journal.write("a", number, time.time(), reply.status, text)

    async def listen(self) -> None:
        """Obeys stdin; its end is a stop."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := (await reader.readline()).decode().split():
            if line[0] == "rate":
                self.rate = float(line[1])
            elif line[0] == "pause":
                self.open.clear()
                await until(lambda: not self.in_hand)
                print("paused", flush=True)
            elif line[0] == "go":
                self.open.set()
            elif line[0] == "asked":
                print(self.work.asked, flush=True)
            else:
                break
        self.stopped = True
        self.open.set()


def post(path: str, body: dict[str, Any]) -> bytes:
    """The bytes of a POST."""
    return request("POST", path, msgspec.json.encode(body))


def _put(path: str, body: dict[str, Any]) -> bytes:
    return request("PUT", path, msgspec.json.encode(body))


def _text(reply: Reply) -> str:
    return reply.body.decode(errors="replace")[:600]


def _lines(body: bytes, kind: str) -> list[Any]:
    """The complete lines of a batch; of other answers, nothing."""
    if kind != "batch":
        return []
    return [result_of(line) for line in body.split(b"\n")[:-1] if line]


async def main() -> None:
    """Connects to what it is told on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ports", required=True)
    parser.add_argument("--journal", required=True, type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--seed", required=True)
    given = parser.parse_args()
    ports = [int(port) for port in given.ports.split(",")]
    load = Load(ports, Journal(given.journal), given.name, given.seed)
    listening = asyncio.ensure_future(load.listen())
    await load.run()
    listening.cancel()


if __name__ == "__main__":
    uvloop.run(main())
