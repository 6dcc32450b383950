"""An engine on the memory store with a small policy of rule files."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from decision.core.clock import from_micros
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.rulebook.reader import load_files
from decision.store import MemoryStore, RedisStore
from tests.core.small import NOON
from tests.engine.schedule import Alone, Gated

RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes:
  marketing: {consent: opt_in}
  service: {consent: not_required}
channels:
  push: {cost: 0.01, reservation: {expires_after: 1h, then: release}}
  email: {reservation: {expires_after: 3d, then: count}}
placements:
  outbound: {channels: [push, email]}
  inbox: {channels: [email], fallback: receipt}
messages:
  offer:
    purpose: marketing
    category: sale
    tags: [coupon]
    channels: [push, email]
    value: 10
    budget: {total: 5}
    content: {title: "给 {{ customer.first_name | default('朋友') }}"}
  news:
    purpose: marketing
    category: content
    channels: [email]
    value: 5
    content: {title: News}
  receipt:
    purpose: service
    category: order
    channels: [email]
    placements: [inbox]
    value: 0
    content: {title: Receipt}
caps:
  two-a-week: {of: {purpose: marketing}, at_most: 2, within: 7d}
  once: {of: {purpose: marketing}, per: message, at_most: 1, within: 1d}
suppressions:
  dismissed: {event: message.dismissed, times: 2, within: 30d, per: message, pause: 60d}
states:
  power: {when: {events.app_open.count_7d: {gte: 3}}}
  low: {}
rules:
  spender: {when: {customer.spend: {gte: 1000}}, set: {customer.tier: gold}}
  gold: {when: {customer.tier: gold}, exclude: {messages: [news]}}
"""


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


_prefixes = itertools.count()


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest, clock: Clock, redis_url: str) -> Any:
    """Each of the stores, empty, with the test's clock where it has a clock of its own."""
    if request.param == "memory":
        yield MemoryStore(lambda: clock.now / 1_000_000)
    else:
        made = RedisStore(redis_url, prefix=f"engine{next(_prefixes)}:")
        yield made
        await made.close()


async def reload(engine: Engine, rules: str) -> None:
    """Puts other rules in force."""
    result = load_files({"rules.yaml": rules})
    assert result.definition is not None, result.diagnostics
    store, at = engine.runtime.store, from_micros(engine.runtime.clock())
    engine.use(await build_snapshot(result.definition, None, store, at, try_first=False))


@pytest.fixture
def make_engine(clock: Clock) -> Callable[..., Any]:
    """Makes an engine for rule text (`RULES` if left out) on a store (a fresh one if left out)."""

    async def make(rules: str = RULES, store: Any = None, **settings: Any) -> Engine:
        store = store or MemoryStore(lambda: clock.now / 1_000_000)
        await store.start()
        engine = Engine(store, EngineSettings(**settings), clock)
        if isinstance(store, Gated):
            engine.runtime.turns = engine.runtime.credits = engine.runtime.merges = Alone()
        await reload(engine, rules)
        return engine

    return make


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
