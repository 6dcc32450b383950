"""The journeys of the rules that a store was used with are read for `check --against`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from decision.releases.earlier import earlier_journeys
from decision.releases.publishing import publish, put_files
from decision.rulebook.reader import load_files
from decision.store.redis_store import RedisStore
from tests.rulebook.gallery import SHOP

JOURNEY = """
placements: {crm: {channels: [push], delivery: gateway}}
journeys: {welcome: {start: {event: sign_up}, steps: {%s: {ask: crm}}}}
"""


def test_what_is_published_comes_first_and_what_cannot_be_read_is_left_out(
    redis_url: str, prefix: str
) -> None:
    async def prepare() -> None:
        store = RedisStore(redis_url, prefix=prefix)
        await store.start()
        await put_files(store, "damaged", {"a.yaml": "placements: ["})
        for step in ("older", "latest"):
            files = {SHOP.name: SHOP.read_text("utf-8"), "j.yaml": JOURNEY % step}
            definition = load_files(files).definition
            assert definition is not None
            await put_files(store, step, definition.files)
        await publish(store, definition, "me", "", datetime.now(UTC))
        await store.close()

    assert earlier_journeys(redis_url, ["older"], prefix) == []
    asyncio.run(prepare())
    found = earlier_journeys(redis_url, ["damaged", "gone", "older"], prefix)
    assert [one.steps[0].name for one in found] == ["latest", "older"]
    assert earlier_journeys("redis://127.0.0.1:1/0", ["older"], prefix) == []
