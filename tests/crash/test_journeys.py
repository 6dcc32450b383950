"""Runners, a server and Redis killed by signal 9: every timer comes, and no step is taken twice.

`SOAK_TIMERS` is how many customers there are, each with a run of its own (2,000 where it is left
out; a million takes hours).
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from decision.core import records as log
from decision.core.identifiers import PARTITIONS
from decision.store import RedisStore
from tests.crash.harness import Server
from tests.crash.test_kill import KillableRedis

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

TIMERS = int(os.environ.get("SOAK_TIMERS", "2000"))
AHEAD = 300
"""Seconds by which the clock of one runner is ahead."""

RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {service: {consent: not_required}}
channels: {push: {}}
placements: {outbound: {channels: [push]}}
messages:
  hello: {purpose: service, tags: [hello], channels: [push], value: 2, content: {title: Hello}}
  again: {purpose: service, tags: [again], channels: [push], value: 1, content: {title: Again}}
journeys:
  welcome:
    start: {event: follow}
    again: never
    goal: {event: purchase}
    steps:
      hello: {ask: outbound, of: {tags: [hello]}}
      pause: {wait: 3s}
      again: {ask: outbound, of: {tags: [again]}}
      done: {end: finished}
"""
_AHEAD_CODE = f"""
import time
now = time.time_ns
time.time_ns = lambda: now() + {AHEAD} * 1_000_000_000
import runpy
runpy.run_module("decision.cli", run_name="__main__")
"""


class Runner:
    """One `nextbest outbound`; one that is `ahead` has another clock."""

    def __init__(self, folder: Path, url: str, *, ahead: bool = False) -> None:
        self.command = [sys.executable, *(("-c", _AHEAD_CODE) if ahead else ("-m", "decision.cli"))]
        self.command += ["outbound", "--rules", "rules", "--redis-url", url]
        self.folder = folder
        self.log = folder / "runners.log"
        self.kills = -1
        self.process: subprocess.Popen[bytes] | None = None
        self.kill()

    def kill(self, *, again: bool = True) -> None:
        """Signal 9; then it is started again."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if again:
            self.kills += 1
            root = str(Path(__file__).resolve().parents[2])
            with self.log.open("ab") as out:
                self.process = subprocess.Popen(
                    self.command,
                    cwd=self.folder,
                    env={**os.environ, "PYTHONPATH": root, "NEXTBEST_LOG_LIMIT_MB": "0"},
                    stdout=out,
                    stderr=out,
                )


async def send(server: Server, kind: str, numbers: list[int]) -> None:
    """Sends events, with ids, until the server has them."""
    chance = random.Random(5)
    async with httpx.AsyncClient(timeout=20) as client:
        for first in range(0, len(numbers), 100):
            events = [
                {"id": f"{kind}-{number}", "type": kind, "customer_id": f"c-{number}"}
                for number in numbers[first : first + 100]
            ]
            while True:
                try:
                    answer = await client.post(f"{server.url}/v1/events", json={"events": events})
                    if answer.status_code == 202 and not answer.json().get("rejected"):
                        break
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(chance.uniform(0.05, 0.2))


async def test_timers_come_once_whatever_dies(tmp_path: Path) -> None:
    """Three runners, of which one has a clock five minutes ahead."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "policy.yaml").write_text(RULES, "utf-8")
    redis = KillableRedis(tmp_path / "redis")
    url, began = redis.start(), time.monotonic()
    server = Server(tmp_path / "rules", url, tmp_path, "--log-limit-mb", "0")
    await server.start()
    runners = [Runner(tmp_path, url, ahead=number == 0) for number in range(3)]
    bought = list(range(0, TIMERS, 5))

    async def load() -> None:
        await send(server, "follow", list(range(TIMERS)))
        await send(server, "purchase", bought)

    loading, chance, kills = asyncio.create_task(load()), random.Random(14), Counter[str]()
    try:
        left = 12
        while left or not loading.done():
            await asyncio.sleep(chance.uniform(1.0, 4.0))
            victim = chance.choice(("runner", "runner", "server", "redis"))
            kills[victim] += 1
            if victim == "runner":
                chance.choice(runners).kill()
            elif victim == "server":
                server.kill()
                await server.start()
            else:
                redis.kill()
                redis.start()
            left = max(0, left - 1)
        await loading
        store = RedisStore(url)
        await store.start()
        async with asyncio.timeout(2 * AHEAD + TIMERS / 20):
            while await _under_way(store):
                await asyncio.sleep(1)
        took = time.monotonic() - began
        found = await _check(store, set(bought))
        await store.close()
        assert "Traceback" not in runners[0].log.read_text()
    finally:
        loading.cancel()
        for runner in runners:
            runner.kill(again=False)
        server.kill()
        redis.stop()
    print(f"\n{TIMERS:,} runs in {took:.0f} s, killed {dict(kills)}: {found}")


async def _under_way(store: RedisStore) -> int:
    counts = await store.tallies()
    return sum(number for name, number in counts.items() if "!" not in name)


async def _check(store: RedisStore, bought: set[int]) -> dict[str, Any]:
    """By id: each run has started, asked for each step at most once, and ended once."""
    asked: Counter[str | None] = Counter()
    steps: defaultdict[str, Counter[str]] = defaultdict(Counter)
    ends: defaultdict[str, list[str]] = defaultdict(list)
    runs: defaultdict[str, set[str]] = defaultdict(set)
    made, told = set(), set()
    for partition in range(PARTITIONS):
        for row in await store.log_records(partition):
            if row.kind == "decision":
                decision = log.decode_decision(row.body)
                asked[decision.request_id] += 1
                made.add(decision.decision_id)
                assert "store" not in decision.degraded
            elif row.kind == "journey":
                one = log.decode_journey(row.body)
                runs[one.customer_id].add(one.run)
                steps[one.run].update(one.steps)
                if one.asked is not None:
                    steps[one.run][f"{one.asked} asked"] += 1
                    told.add(one.decision_id)
                if one.ended is not None:
                    ends[one.run].append(one.ended)
    assert set(runs) == {f"c-{number}" for number in range(TIMERS)}
    assert all(len(own) == 1 for own in runs.values())
    assert set(asked.values()) == {1} and made == told
    assert all(len(own) == 1 for own in ends.values()) and len(ends) == TIMERS
    for customer, (run,) in ((name, tuple(own)) for name, own in runs.items()):
        assert max(steps[run].values(), default=1) == 1, (customer, steps[run])
        if ends[run] == ["finished"]:
            assert steps[run]["hello asked"] == steps[run]["again asked"] == 1, (customer, steps)
        else:
            assert ends[run] == ["goal"] and int(customer[2:]) in bought, customer
    counts = await store.tallies()
    reasons = Counter(why for (why,) in ends.values())
    assert {name.partition("!")[2]: number for name, number in counts.items()} == reasons
    return {"asks": len(asked), "ends": dict(reasons), "timers": await store.count_wakes()}
