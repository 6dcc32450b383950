"""What an event counts as for another customer: once, whatever fails or is killed in between."""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from decision.core.clock import from_micros
from decision.core.schema import CustomerUpdate, DecisionRequest, Event, TriggerEvent
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.rulebook.reader import load_files
from decision.store import EmbeddedRedis, RedisStore
from tests.core.small import NOON
from tests.crash.harness import RULES, Server, until
from tests.crash.test_fault_points import ACTIONS, commands_of
from tests.store.proxy import Proxy

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

GIVING = RULES + (
    """
events:
  gift: {of: order, each: to, for: event.value}
scores:
  joy: {adds: {gift: 2}, half_life: 3650d}
rules:
  glad: {when: {events.gift.count_7d: {gte: 1}}, exclude: {messages: [a]}}
"""
)


async def engine_on(store: RedisStore) -> Engine:
    definition = load_files({"rules.yaml": GIVING}).definition
    assert definition is not None
    await store.start()
    engine = Engine(store, EngineSettings(seed="x"), lambda: NOON)
    engine.use(await build_snapshot(definition, None, store, from_micros(NOON), durable=False))
    return engine


async def gifts(store: RedisStore, *names: str) -> list[tuple[int, int]]:
    """(gifts counted, gifts in the score) of each customer."""
    found = []
    for name in names:
        document = (await store.read(name)).document
        history, score = document.events.get("gift"), document.scores.get("joy")
        found.append((history.total if history else 0, score.events if score else 0))
    return found


@pytest.mark.parametrize("kind", ["event", "decision"])
async def test_of_a_command_to_redis_that_fails_nothing_is_lost_and_nothing_counts_twice(
    redis_url: str, prefix: str, redis_store: RedisStore, kind: str
) -> None:
    numbers = itertools.count()
    async with Proxy(redis_url) as proxy:
        store = RedisStore(proxy.url, prefix=prefix)
        engine = await engine_on(store)

        async def send(number: int) -> bool:
            """Whether it is accepted for good."""
            names = [f"a-{number}", f"b-{number}", f"giver-{number}"]
            if kind == "event":
                order = Event(type="order", id="o", customer_id=names[2], properties={"to": names})
                try:
                    answer = await engine.events.record([order])
                except Exception:
                    return False
                return answer.accepted + answer.duplicates == 1
            trigger = TriggerEvent(type="order", id="o", properties={"to": names})
            request = DecisionRequest(placement="outbound", customer_id=names[2], event=trigger)
            return "store" not in (await engine.decide(request)).degraded

        async def prepare() -> int:
            number = next(numbers)
            for name in ("a", "b"):
                update = CustomerUpdate(attributes={"x": 1})
                await engine.customers.update(f"{name}-{number}", update)
            return number

        await send(await prepare())
        number = await prepare()
        points = await commands_of(proxy, lambda: send(number))
        # Two others; and the event itself, which an event writes with what it counts for its sender.
        assert ("EVALSHA", 3 if kind == "event" else 4) in points
        for (name, nth), action in itertools.product(points, ACTIONS):
            number = await prepare()
            getattr(proxy, action)(name, nth)
            assert await send(number) or await send(number)
            assert await send(number)
            who = (f"a-{number}", f"b-{number}", f"giver-{number}")
            assert await gifts(redis_store, *who) == [(1, 1)] * 3, f"{action} {name} {nth}"
        await engine.drain(10)
        await store.close()


async def test_killed_while_events_come_in_every_one_of_them_counts_once(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "rules.yaml").write_text(GIVING)
    names = [f"c-{number}" for number in range(5)]
    sent: set[tuple[str, str]] = set()
    stopped = False

    async def client(number: int, server: Server) -> None:
        chance = random.Random(number)
        async with httpx.AsyncClient(timeout=5) as http:
            for event in itertools.count():
                if stopped:
                    return
                who, given = f"giver-{number % 3}", chance.sample(names, 2)
                event_id = f"e-{number}-{event}"
                body: dict[str, Any] = {
                    "events": [
                        {
                            "type": "order",
                            "id": event_id,
                            "customer_id": who,
                            "properties": {"to": given},
                        }
                    ]
                }
                for _ in range(400):
                    try:
                        answer = await http.post(f"{server.url}/v1/events", json=body)
                        assert answer.status_code in (202, 503), answer.text
                        if answer.status_code == 202:
                            break
                    except httpx.HTTPError:
                        pass
                    await asyncio.sleep(0.05)
                assert answer.json()["rejected"] == []
                sent.update((event_id, one) for one in given)

    with EmbeddedRedis(tmp_path / "redis", fsync="everysec") as url:
        store = RedisStore(url)
        engine = await engine_on(store)
        for name in names:
            await engine.customers.update(name, CustomerUpdate(attributes={"x": 1}))
        server = Server(rules, url, tmp_path)
        await server.start()
        clients = [asyncio.ensure_future(client(number, server)) for number in range(6)]
        try:
            for _ in range(5):
                await until(random.Random(5).uniform(0.2, 0.5))
                server.kill()
                await server.start()
            await until(0.3)
            stopped = True
            await asyncio.gather(*clients)
        finally:
            stopped = True
            server.kill()
        wanted = [sum(one == name for _, one in sent) for name in names]
        assert await gifts(store, *names) == [(count, count) for count in wanted]
        print(f"\n{len(sent)} gifts over 5 kills")
        assert sum(wanted) > 20
        await store.close()
