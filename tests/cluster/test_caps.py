"""Caps under load while a slot moves and a primary is killed, promoted away from, and comes back.

Just before the kill its replica is cut off, so that what is acknowledged then is lost: with `wait`
answers say so, without nobody knows. Counts are printed: `-s`, or `make soak`.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress

import pytest
import redis

from decision.core.clock import from_micros
from decision.core.schema import Decision, DecisionRequest
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.rulebook.reader import load_files
from decision.store import RedisStore
from decision.store.cluster.slots import slot_of_key
from tests.cluster.servers import Cluster

pytestmark = pytest.mark.anyio

CAP = 3
RULES = f"""
purposes: {{service: {{consent: not_required}}}}
channels: {{push: {{reservation: {{expires_after: 3d, then: count}}}}}}
placements: {{outbound: {{channels: [push]}}}}
messages: {{hello: {{purpose: service, channels: [push], value: 1, content: {{body: Hello}}}}}}
caps: {{few: {{of: {{purpose: service}}, at_most: {CAP}, within: 7d}}}}
"""
CUSTOMERS = 400
"""Customers of a round, each asked for by two engines at once."""


async def engine_on(url: str, prefix: str, replicas: int) -> Engine:
    store = RedisStore(url, prefix=prefix, replicas=replicas)
    await store.start()
    engine = Engine(store, EngineSettings())
    result = load_files({"rules.yaml": RULES})
    assert result.definition is not None, result.diagnostics
    now = from_micros(engine.runtime.clock())
    engine.use(await build_snapshot(result.definition, None, store, now, try_first=False))
    return engine


class Load:
    """Asks for decisions for random customers, and counts what was given to whom."""

    def __init__(self, engines: list[Engine], names: list[str]) -> None:
        self.engines, self.names = engines, names
        self.given = Counter[str]()
        self.durable = Counter[str]()
        self.seen = Counter[str]()
        self.stopped = False

    async def run(self, engine: Engine) -> None:
        while not self.stopped:
            name = random.choice(self.names)
            answer = await engine.decide(
                DecisionRequest(customer_id=name, placement="outbound", deadline_ms=1000)
            )
            self.count(name, answer)

    def count(self, name: str, answer: Decision) -> None:
        said = [one for one in answer.degraded if one != "model"]
        self.seen["+".join(said) or answer.outcome] += 1
        if answer.outcome == "selected":
            self.given[name] += 1
            self.durable[name] += not said

    async def waited_for(self, number: int) -> None:
        """Until so many more were answered."""
        until = self.seen.total() + number
        while self.seen.total() < until:
            await asyncio.sleep(0.01)


async def one_round(cluster: Cluster, load: Load, prefix: str) -> None:
    """A slot moves and a primary is killed, under load; then it comes back."""
    slots = [slot_of_key(f"{prefix}{{p{number}}}:log") for number in range(256)]
    tasks = [asyncio.create_task(load.run(load.engines[n % 2])) for n in range(24)]
    await load.waited_for(200)
    slot = random.choice(slots)
    others = {cluster.owner_of(one) for one in slots} - {cluster.owner_of(slot)}
    target = random.choice(sorted(others, key=lambda server: server.port))
    moving = asyncio.create_task(asyncio.to_thread(cluster.move, slot, target, 0.005))
    await load.waited_for(200)
    with suppress(redis.RedisError):
        await moving
    victim = cluster.owner_of(random.choice(slots))
    load.names = [f"{name}-later" for name in load.names]  # nobody of them has reached a cap
    victim.run("ACL", "SETUSER", "default", "-psync", "-sync")  # until it is started again
    victim.run("CLIENT", "KILL", "TYPE", "replica")
    await load.waited_for(200)
    victim.kill()
    await asyncio.to_thread(cluster.promoted, victim)
    await load.waited_for(300)
    victim.start()
    await asyncio.to_thread(cluster.settled)
    await load.waited_for(300)
    load.stopped = True
    await asyncio.gather(*tasks)


async def rounds(cluster: Cluster, prefix: str, replicas: int, number: int) -> Counter[str]:
    """What was given, and for how many customers a cap was exceeded."""
    engines = [await engine_on(cluster.url, prefix, replicas) for _ in range(2)]
    found = Counter[str]()
    for one in range(number):
        load = Load(engines, [f"r{one}-{name}" for name in range(CUSTOMERS)])
        await one_round(cluster, load, prefix)
        found.update(load.seen)
        found["exceeded"] += sum(count > CAP for count in load.given.values())
        found["exceeded by durable answers"] += sum(n > CAP for n in load.durable.values())
    for engine in engines:
        store = engine.runtime.store
        assert isinstance(store, RedisStore)
        for code, count in store.connection.counts.redirects.items():
            found[code] += count
        await store.close()
    print(f"\n{number} kills, replicas={replicas}: {dict(found)}")
    return found


async def test_no_cap_is_exceeded_by_answers_that_replicas_have(
    cluster: Cluster, prefix: str
) -> None:
    found = await rounds(cluster, prefix, 1, 1)
    assert found["exceeded by durable answers"] == 0 and found["selected"] > 100


@pytest.mark.soak
@pytest.mark.parametrize("replicas", [1, 0], ids=["wait", "none"])
async def test_no_cap_is_exceeded_in_ten_kills(
    cluster: Cluster, prefix: str, replicas: int
) -> None:
    found = await rounds(cluster, prefix, replicas, 10)
    assert found["selected"] > 1000
    if replicas:
        assert found["exceeded by durable answers"] == 0
