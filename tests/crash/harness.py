"""Real servers, a real Redis, and clients that go on asking while either is killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from decision.core import records as log
from decision.core.document import ContactState
from decision.core.identifiers import PARTITIONS
from decision.store import RedisStore
from tests.ports import free_port

RULES = """
settings: {timezone: UTC, currency: EUR}
purposes: {tips: {consent: opt_out}}
channels:
  push: {reservation: {expires_after: 3d, then: count}}
  email: {reservation: {expires_after: 3d, then: count}}
placements: {outbound: {channels: [push, email]}}
messages:
  a: {purpose: tips, category: x, channels: [push, email], value: 3, content: {title: A}}
  b: {purpose: tips, category: y, channels: [push, email], value: 2, content: {title: B}}
  c: {purpose: tips, category: y, channels: [email], value: 2, content: {title: C}}
  d: {purpose: tips, category: z, channels: [push], value: 4, budget: {total: 25}, content: {title: D}}
caps:
  week: {of: {purpose: tips}, at_most: 6, within: 7d}
  message: {of: {}, per: message, at_most: 2, within: 7d}
  push: {of: {channel: push}, at_most: 3, within: 7d}
"""
SPENDING = (
    RULES.replace("push: {res", "push: {cost: 0.01, res").replace(
        "email: {res", "email: {cost: 0.03, res"
    )
    + "budgets: {money: {of: {category: y}, spend: 1.5}}\n"
)
"""The same, where two of the messages share a sum of money."""
COSTS = {"push": 10_000, "email": 30_000}
MONEY = ("money/EUR/ever", 1_500_000)
CAPS = {"week": 6, "message": 2, "push": 3}
BUDGET = ("d", 25)


class Server:
    """One `nextbest serve` process on a port of its own."""

    def __init__(self, rules: Path, redis_url: str, folder: Path, *extra: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [
            sys.executable,
            "-m",
            "decision.cli",
            "serve",
            "--rules",
            str(rules),
            "--models",
            str(folder / "no-models"),
            "--redis-url",
            redis_url,
            "--port",
            str(self.port),
            "--seed",
            "crash",
            *extra,
        ]
        self._log = folder / f"server-{self.port}.log"
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        with self._log.open("ab") as out:
            self.process = subprocess.Popen(
                self._command,
                stdout=out,
                stderr=out,
                cwd=self._log.parent,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )
        async with httpx.AsyncClient(timeout=2) as client:
            for _ in range(600):
                if self.process.poll() is not None:
                    raise AssertionError(self._log.read_text()[-4000:])
                try:
                    answer = await client.get(f"{self.url}/health/ready")
                    if answer.status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.05)
        raise AssertionError(f"not ready: {self._log.read_text()[-4000:]}")

    def kill(self) -> None:
        """Signal 9, and waits until the process is gone."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass
class Clients:
    """Asks for decisions, with request ids, until told to stop; remembers every answer."""

    servers: Sequence[Server]
    customers: Sequence[str]
    seed: int = 1
    answers: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    stopped: bool = False

    async def run(self, concurrency: int) -> None:
        limits = httpx.Limits(max_connections=concurrency)
        async with httpx.AsyncClient(timeout=5, limits=limits) as client:
            await asyncio.gather(*[self._one(client, number) for number in range(concurrency)])

    async def _one(self, client: httpx.AsyncClient, number: int) -> None:
        chance = random.Random(f"{self.seed}/{number}")
        asked = 0
        while not self.stopped:
            asked += 1
            customer = chance.choice(self.customers)
            request_id = f"{self.seed}-{number}-{asked}"
            for _ in range(chance.choice([1, 1, 2])):
                await self._ask(client, chance, customer, request_id)

    async def _ask(
        self, client: httpx.AsyncClient, chance: random.Random, customer: str, request_id: str
    ) -> None:
        body = {"placement": "outbound", "customer_id": customer, "request_id": request_id}
        server = chance.choice(self.servers)
        try:
            answer = await client.post(f"{server.url}/v1/decisions", json=body)
        except httpx.HTTPError:
            self.seen["lost"] += 1
            await asyncio.sleep(0.1)
            return
        if answer.status_code == 503:
            self.seen["503"] += 1
            await asyncio.sleep(0.01)
            return
        if answer.status_code != 200:
            self.wrong.append(f"{answer.status_code} {answer.text[:200]}")
            return
        decision = answer.json()
        self.seen[decision["outcome"]] += 1
        if "store" in decision["degraded"]:
            self.seen["degraded"] += 1
            return
        before = self.answers.setdefault((customer, request_id), decision)
        if before != decision:
            self.wrong.append(f"{request_id} answered {before} and then {decision}")


@dataclass
class Found:
    """What is stored in the end."""

    contacts: int
    selections: int
    decisions: int


async def verify(redis_url: str, clients: Clients, servers: Sequence[Server]) -> Found:
    """Contacts stored = decisions logged, caps hold, answered requests repeat their answer."""
    assert not clients.wrong, clients.wrong[:5]
    store = RedisStore(redis_url)
    await store.start()
    try:
        logged: dict[str, Counter[tuple[str, str]]] = {}
        ids: Counter[str] = Counter()
        for partition in range(PARTITIONS):
            for row in await store.log_records(partition):
                if row.kind != "decision":
                    continue
                record = log.decode_decision(row.body)
                ids[record.decision_id] += 1
                made = logged.setdefault(record.customer_id, Counter())
                made.update((pick.message, pick.channel) for pick in record.selections)
        assert not [name for name, count in ids.items() if count > 1]
        contacts = spent = money = 0
        for customer in clients.customers:
            document = (await store.read(customer)).document
            stored: Counter[tuple[str, str]] = Counter()
            counted: Counter[tuple[str, str]] = Counter()
            for contact in document.contacts:
                kind = document.kinds[contact.kind]
                stored[kind.message, kind.channel] += 1
                # Whose answer was too late, as Redis was away, was released: another may be made.
                counted[kind.message, kind.channel] += contact.state != ContactState.RELEASED
            assert stored == logged.get(customer, Counter()), customer
            total = sum(stored.values())
            assert sum(counted.values()) <= CAPS["week"], document.contacts
            for message in "abcd":
                own = counted[message, "push"] + counted[message, "email"]
                assert own <= CAPS["message"], document.contacts
            push = sum(n for (_, channel), n in counted.items() if channel == "push")
            assert push <= CAPS["push"], document.contacts
            contacts += total
            spent += counted[BUDGET[0], "push"]
            money += sum(
                COSTS[channel] * n for (message, channel), n in counted.items() if message in "bc"
            )
        assert spent <= BUDGET[1]
        taken = (await store.budget_counts([MONEY[0]]))[MONEY[0]].taken
        assert money <= taken <= MONEY[1]
        print(f"\n{money} of {taken} millionths spent on contacts")
        for decision in clients.answers.values():
            assert ids[decision["decision_id"]] == 1
    finally:
        await store.close()
    async with httpx.AsyncClient(timeout=10) as client:
        for (customer, request_id), before in clients.answers.items():
            body = {"placement": "outbound", "customer_id": customer, "request_id": request_id}
            answer = await client.post(f"{servers[0].url}/v1/decisions", json=body)
            assert answer.json() == before
    return Found(contacts, sum(map(Counter.total, logged.values())), len(ids))


async def until(seconds: float) -> None:
    """Lets the clients work for a while: load, not a wait for a state."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(0.02)
