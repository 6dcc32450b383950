"""Names in the register: what the policy knows, nothing that customers brought."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from decision.core.schema import ConsentStatement, CustomerUpdate, Event
from decision.engine import Engine, build_snapshot
from decision.rulebook.reader import load_files

pytestmark = pytest.mark.anyio

RULES = """
purposes: {tips: {consent: opt_in}}
channels: {app: {}}
placements: {home: {channels: [app]}}
messages:
  hello:
    purpose: tips
    category: advice
    channels: [app]
    value: 1
    when: {customer.city: 上海, events.visit.sum_amount_7d: {gte: 1}}
    content: {title: Hello}
"""


async def test_only_names_of_the_policy_are_in_the_register(store: Any) -> None:
    definition = load_files({"rules.yaml": RULES}).definition
    assert definition is not None
    await store.start()
    engine = Engine(store)
    engine.use(await build_snapshot(definition, None, store, datetime.now(UTC), durable=False))
    update = CustomerUpdate(
        attributes={"city": "上海", "anna@example.com": 1},
        aliases={"陈安娜": "x"},
        timezone="Asia/Shanghai",
    )
    await engine.customers.update("c-1", update)
    said = ConsentStatement(state="granted", source="told me on the phone: Anna Chen")
    await engine.customers.set_consents("c-1", {"tips": {"app": said}})
    visits = [
        Event(type=name, customer_id="c-1", properties={"amount": 1, "Anna Chen": 2})
        for name in ("visit", "Anna Chen's birthday")
    ]
    assert (await engine.events.record(visits)).accepted == 2
    names = {entry.decode() for entry in store.register_entries()[0]}
    assert names == {"city", "Asia/Shanghai", "tips", "app", "visit", "amount"}
    found = await engine.customers.get("c-1")
    assert found.attributes == {"city": "上海", "anna@example.com": 1}
    assert found.aliases == {"陈安娜": ["x"]}
