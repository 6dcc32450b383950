"""Coupon codes under faults and kills: given ⊆ loaded, none with two customers, counts add up."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from decision.core import records as log
from decision.core.clock import from_micros
from decision.core.coupons import CouponCounts
from decision.core.identifiers import PARTITIONS
from decision.core.schema import DecisionRequest
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.rulebook.reader import load_files
from decision.store import RedisStore
from tests.core.small import NOON
from tests.crash.harness import Clients, Server, until
from tests.crash.test_fault_points import ACTIONS, commands_of
from tests.crash.test_kill import KillableRedis
from tests.store.proxy import Proxy

pytestmark = pytest.mark.anyio
RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {tips: {consent: opt_out}, service: {consent: not_required}}
channels:
  push: {reservation: {expires_after: 3d, then: count}}
placements: {outbound: {channels: [push]}}
coupons: {spring: {}}
messages:
  a: {purpose: tips, channels: [push], value: 9, coupon: spring, content: {title: "{{ coupon.code }}"}}
  b: {purpose: tips, channels: [push], value: 1, content: {title: B}}
caps: {two: {of: {message: a}, at_most: 2, within: 7d}}
"""


async def given_codes(store: RedisStore) -> list[str]:
    """The codes of all selections in the log."""
    found: list[str] = []
    for partition in range(PARTITIONS):
        for row in await store.log_records(partition):
            if row.kind == "decision":
                made = log.decode_decision(row.body)
                found += [one.coupon for one in made.selections if one.coupon is not None]
    return found


async def test_whatever_operation_fails_a_code_is_with_one_customer_or_free(
    redis_url: str, prefix: str, redis_store: RedisStore
) -> None:
    definition = load_files({"rules.yaml": RULES}).definition
    assert definition is not None
    await redis_store.add_codes("spring", [f"C{number}" for number in range(200)])
    names = (f"c-{number}" for number in itertools.count())
    shown: dict[str, str] = {}
    async with Proxy(redis_url) as proxy:
        store = RedisStore(proxy.url, prefix=prefix)
        await store.start()
        engine = Engine(store, EngineSettings(), lambda: NOON)
        engine.use(await build_snapshot(definition, None, store, from_micros(NOON), durable=False))

        async def decide(customer: str) -> Any:
            asked = DecisionRequest(placement="outbound", customer_id=customer, request_id="r")
            decision = await engine.decide(asked)
            for one in decision.selections:
                if one.message == "a":
                    before = shown.setdefault(one.content["title"], customer)
                    assert before == customer, f"{one.content} is with {before} and {customer}"
            return decision

        await decide(next(names))
        points = await commands_of(proxy, lambda: decide(next(names)))
        assert {*points} >= {("EVALSHA", 1), ("EVALSHA", 2)}  # the code, the commit
        for (name, nth), action in itertools.product(points, ACTIONS):
            customer = next(names)
            getattr(proxy, action)(name, nth)
            first = await decide(customer)
            again = await decide(customer)
            if first.outcome == "selected":
                assert again == first
            else:
                assert "store" in first.degraded
                assert again.outcome == "selected"
        await engine.drain(10)
        await store.close()
    counts = await redis_store.count_codes("spring", NOON + 2 * 3_600_000_000)
    given = await given_codes(redis_store)
    assert len(given) >= len(shown)
    assert counts == CouponCounts(
        loaded=200,
        free=200 - len(shown),
        held=len(shown),
        given_back=counts.given_back,
    )


@pytest.mark.slow
async def test_servers_and_redis_killed_under_clients_give_no_code_twice(tmp_path: Path) -> None:
    await killed(tmp_path, rounds=3, codes=150)


@pytest.mark.soak
async def test_forty_kills_of_servers_and_redis_give_no_code_twice(tmp_path: Path) -> None:
    await killed(tmp_path, rounds=40, codes=1500)


async def killed(folder: Path, *, rounds: int, codes: int) -> None:
    """Servers and Redis killed in turn while 64 clients ask until the pool has run dry."""
    rules = folder / "rules"
    rules.mkdir()
    (rules / "rules.yaml").write_text(RULES)
    redis = KillableRedis(folder / "redis")
    url = redis.start()
    store = RedisStore(url)
    await store.start()
    loaded = [f"C{number}" for number in range(codes)]
    await store.add_codes("spring", loaded)
    running = [Server(rules, url, folder) for _ in range(2)]
    for server in running:
        await server.start()
    clients = Clients(running, [f"c-{number}" for number in range(codes)], seed=3)
    load = asyncio.ensure_future(clients.run(64))
    chance = random.Random(5)
    try:
        for number in range(rounds):
            await until(chance.uniform(0.3, 0.8))
            if number % 2:
                running[number // 2 % 2].kill()
                await running[number // 2 % 2].start()
            else:
                redis.kill()
                redis.start()
        await until(1.0)
        clients.stopped = True
        await load
        assert not clients.wrong, clients.wrong[:5]
        await check(url, clients, loaded)
    finally:
        clients.stopped = True
        load.cancel()
        for server in running:
            server.kill()
        await store.close()
        redis.stop()


async def check(url: str, clients: Clients, loaded: Sequence[str]) -> None:
    store = RedisStore(url)
    await store.start()
    try:
        answered = [
            (one["content"]["title"], customer, decision["decision_id"])
            for (customer, _), decision in clients.answers.items()
            for one in decision["selections"]
            if one["message"] == "a"
        ]
        codes = [code for code, _, _ in answered]
        assert len(codes) == len(set(codes))
        assert set(codes) <= set(loaded)
        logged = await given_codes(store)
        assert len(logged) == len(set(logged))
        assert set(codes) <= set(logged) <= set(loaded)
        counts = await store.count_codes("spring", 0)
        assert counts.loaded == len(loaded) == counts.free + counts.held
        # A process that dies between taking and committing leaves its code held.
        assert len(logged) <= counts.held <= len(logged) + 64
        print(f"\n{len(codes)} codes answered, {len(logged)} logged, {counts}")
        assert codes
    finally:
        await store.close()
