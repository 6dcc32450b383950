"""In the sample policy no advertisement is chosen where a service message is due."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest

from decision.core.clock import from_micros
from decision.core.document import Document
from decision.core.policy import Policy
from decision.core.schema import DecisionRequest, TriggerEvent
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.rulebook.reader import load_folder
from decision.store.memory_store import MemoryStore
from tests.core.small import at

pytestmark = pytest.mark.anyio
RULES = Path(__file__).parents[1] / "rules"
NOW = at("2026-11-10T12:59:00+08:00")
GRANTED = {"marketing": {"*": "granted"}}
DUE = [
    ("order.shipped", "outbound", "order-shipped"),
    ("login.new_device", "outbound", "new-device"),
    ("payment.failed", "outbound", "payment-failed"),
    ("payment.failed", "app_home", "payment-failed"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Unkind:
    """A scorer that thinks the world of advertisements, and little of service, at random."""

    version = "unkind"

    def __init__(self, policy: Policy, seed: int) -> None:
        self.random = Random(seed)
        self.service = np.array([one.purpose == "service" for one in policy.candidates])

    def score(self, candidates: Any, values: Any, document: Document, now: int) -> Any:
        low, high = self.random.uniform(0.001, 0.1), self.random.uniform(0.5, 1)
        return np.where(self.service[candidates], low, high)

    def features(self, candidate: int, values: Any, document: Document, now: int) -> dict[str, Any]:
        return {}


async def sample_engine() -> Engine:
    loaded = load_folder(RULES)
    assert loaded.definition is not None
    store = MemoryStore(lambda: NOW / 1_000_000)
    await store.start()
    engine = Engine(store, EngineSettings(), lambda: NOW)
    engine.use(
        await build_snapshot(
            loaded.definition, None, store, from_micros(NOW), try_first=False, durable=False
        )
    )
    return engine


@pytest.mark.parametrize("unkind", [False, True], ids=["no model", "an unkind model"])
@pytest.mark.parametrize(("event", "placement", "message"), DUE)
async def test_each_of_many_customers_gets_the_service_message_and_by_the_same_channel(
    event: str, placement: str, message: str, unkind: bool
) -> None:
    engine = await sample_engine()
    if unkind:
        snapshot = engine.runtime.snapshot
        scorer = Unkind(snapshot.policy, 7)
        engine.use(msgspec.structs.replace(snapshot, scorer=scorer))
    given = set()
    for number in range(500):
        customer = f"c-{number}"
        await engine.customers.set_consents(customer, GRANTED)
        decision = await engine.decide(
            DecisionRequest(
                customer_id=customer,
                placement=placement,
                event=TriggerEvent(event, properties={"cart_value": 500}),
                context={"device": "ios"},
            )
        )
        (one,) = decision.selections
        given.add((one.message, one.channel, one.selection_probability))
    assert len(given) == 1
    assert {(name, chance) for name, _, chance in given} == {(message, 1.0)}
