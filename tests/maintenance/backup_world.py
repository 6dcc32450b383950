"""A store with something of all that a store can have, and what is under a prefix of Redis."""

from __future__ import annotations

from typing import Any

import redis

from decision.core.clock import HOUR, from_micros
from decision.core.schema import CustomerUpdate, DecisionRequest, Event
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.outbound.runner import Runner
from decision.rulebook.reader import load_files
from decision.store.kinds_of_keys import kind_of
from tests.outbound.world import present

RULES = load_files(
    {
        "all.yaml": """
settings: {timezone: UTC, currency: EUR, exploration: 0.5}
purposes: {ads: {consent: opt_in}, service: {consent: not_required}}
channels: {push: {reservation: {expires_after: 3h, then: count}}, in_app: {}}
placements: {outbound: {channels: [push], delivery: gateway}, home: {channels: [in_app]}}
messages:
  hello: {purpose: service, tags: [hello], channels: [push], value: 2, content: {title: Hi}}
  again: {purpose: service, tags: [again], channels: [push], value: 2, content: {title: Again}}
  coupon:
    purpose: ads
    channels: [in_app]
    value: 9
    budget: {total: 4}
    coupon: spring
    content: {title: "{{ coupon.code }}"}
  tea: {purpose: service, channels: [in_app], value: 5, content: {title: Tea}}
  cake: {purpose: service, channels: [in_app], value: 4, content: {title: Cake}}
coupons: {spring: {}}
caps: {home: {of: {channel: in_app}, at_most: 3, within: 1d}}
journeys:
  welcome:
    start: {event: follow}
    steps:
      hello: {ask: outbound, of: {tags: [hello]}}
      pause: {wait: 1h}
      again: {ask: outbound, of: {tags: [again]}}
      late: {wait: 20d}
      last: {ask: outbound, of: {tags: [again]}}
"""
    }
)


async def engine_on(store: Any, *, ago: int = 0) -> Engine:
    """An engine that draws alike on each store, and lives some microseconds ago."""
    engine = Engine(store, EngineSettings(seed="s-1"), lambda: present() - ago)
    assert RULES.definition is not None, RULES.diagnostics
    at = from_micros(engine.runtime.clock())
    engine.use(
        await build_snapshot(RULES.definition, None, store, at, try_first=False, durable=False)
    )
    return engine


def home(customer: str, request_id: str | None = None) -> DecisionRequest:
    return DecisionRequest(placement="home", customer_id=customer, request_id=request_id)


async def fill(store: Any, customers: int = 12) -> None:
    """Customers who did this and that: some an hour and more ago, so that it is time to go on."""
    engine = await engine_on(store, ago=2 * HOUR)
    await store.add_codes("spring", [f"SPRING-{number}" for number in range(6)])
    for number in range(customers):
        name = f"c-{number}"
        update = CustomerUpdate(attributes={"n": number}, aliases={"email": f"{name}@shop.cn"})
        await engine.customers.update(name, update)
        if number % 3 == 0:
            await engine.customers.set_consents(name, {"ads": {"*": "granted"}})
        await engine.decide_or_fail(home(name, f"r-{number}"))
        if number % 2 == 0:
            event = Event(id=f"e-{number}", customer_id=name, type="follow")
            assert not (await engine.events.record([event])).rejected
    await engine.customers.merge("c-1", "c-3")
    await engine.customers.erase_with_id("c-5")
    await Runner(engine).step_due()


def kept(url: str, prefix: str) -> dict[str, Any]:
    """All keys that are in a backup, or made anew of it, by name without prefix: type and content.

    What is due is told without when, since that is by the time at which it is put back.
    """
    with redis.from_url(url) as client:
        found: dict[str, Any] = {}
        for key in client.scan_iter(f"{prefix}*"):
            name = key.removeprefix(prefix.encode())
            if kind_of(name).treatment != "left":
                found[name.decode()] = _content(client, key, kind_of(name).treatment == "rebuilt")
        return found


def _content(client: Any, key: bytes, timeless: bool) -> Any:
    kind = client.type(key)
    if kind == b"string":
        return client.get(key)
    if kind == b"list":
        return sorted(client.lrange(key, 0, -1)) if timeless else client.lrange(key, 0, -1)
    if kind == b"hash":
        return client.hgetall(key)
    if kind == b"zset":
        pairs = client.zrange(key, 0, -1, withscores=True)
        return sorted(member for member, _ in pairs if member) if timeless else pairs
    about = client.xinfo_stream(key)
    readers = [(one["name"], one["last-delivered-id"]) for one in client.xinfo_groups(key)]
    return client.xrange(key), about["last-generated-id"], readers
