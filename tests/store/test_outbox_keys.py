"""Every script of the outbox and of timers names its keys: they are in one slot of a Redis Cluster."""

from __future__ import annotations

import re
from typing import Any

import pytest

from decision.core.clock import DAY
from decision.core.delivery import SettledDelivery
from decision.core.timers import Wake
from decision.store import RedisStore
from decision.store.scripts import Script
from tests.store.build import NOW, commit_of, record
from tests.store.suite.test_outbox import ALL, LONG, ROOM, claim, delivery, write

pytestmark = pytest.mark.anyio


async def test_scripts_of_the_outbox_and_of_timers_name_their_keys_in_one_slot(
    redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, run, called = redis_store, Script.run, []

    async def recorded(script: Script, call: Any, keys: Any, arguments: Any = ()) -> Any:
        tags = {key[key.index("{") + 1 : key.index("}")] for key in keys}
        assert len(tags) == 1, keys
        called.append(script)
        # No key is made up within a script: each is a value of KEYS.
        code = re.sub(rb"--[^\n]*", b"", script.text)
        assert not re.search(rb"redis\.call\('\w+', '", code)
        return await run(script, call, keys, arguments)

    monkeypatch.setattr(Script, "run", recorded)
    await write(store, *(delivery(f"c-{n}", channel=("push", "email")[n % 2]) for n in range(9)))
    first, second, *_ = await store.claim_deliveries(ALL, ROOM, "w", 0)
    assert await store.begin_delivery(first, LONG)
    assert await store.postpone_delivery(first, 0, "503")
    assert await store.hold_delivery(second, "unknown", "lost")
    rows = (await store.deliveries("unknown")).rows
    assert await store.requeue_delivery(rows[0])
    third = (await claim(store))[0].delivery
    one = SettledDelivery(id=third.id, channel=third.channel, only="always")
    await store.commit(commit_of(await store.read(third.customer_id), "contacts", settled=[one]))
    begun, far = Wake(at=1, bucket="h1"), Wake(at=1, bucket="h5000000")
    for name, wake in {"d-1": begun, "d-2": far, second.delivery.customer_id: far}.items():
        await store.commit(commit_of(await store.read(name), "events", wake=wake, tally={"a": 1}))
    (waked,) = await store.claim_wakes(ALL, 9, LONG)
    assert await store.rearm(waked, far)
    await store.arm({"d-1": NOW + 9 * DAY, "d-2": 1})
    await store.erase(second.delivery.customer_id, record("erasure"))
    # The register, what writes and erases, two that change the outbox, four that change timers.
    assert len(set(called)) == 9
