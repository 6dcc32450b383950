"""Whatever stands in Redis in place of a value of ours: each page is there, or says why not."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis

from decision.drafts.drafts import Drafts
from decision.server.activity import Activity
from decision.server.quarantine import entry_about, quarantine
from decision.store import RedisStore
from tests.console.addresses import every_page
from tests.console.conftest import browsing
from tests.console.test_rules import put

pytestmark = pytest.mark.anyio

_FROM_ARCHIVE = re.compile(
    "candidates|experiments|reports|models/|fate|report$|new$|sign-in|nothing|keys"
)
"""Pages that read nothing of the store which no other page reads."""

BAD = b"\xff\x00damaged"


def kind_of(key: bytes) -> bytes:
    """The key without what names one customer, hour or partition."""
    return re.sub(rb"\d+", b"#", re.sub(rb"[0-9a-f]{8,}", b"#", key))


def damage(redis: Redis, key: bytes) -> None:
    """Puts garbage in the place of each of its values, and a field or entry more beside them."""
    kind = str(redis.type(key), "ascii")  # type: ignore[arg-type]
    if kind == "string":
        redis.set(key, BAD)
    elif kind == "hash":
        for field in redis.hkeys(key):  # type: ignore[union-attr]
            redis.hset(key, field, BAD)
        redis.hset(key, BAD, BAD)
    elif kind == "list":
        for place in range(redis.llen(key)):  # type: ignore[arg-type]
            redis.lset(key, place, BAD)
    elif kind == "zset":
        redis.zadd(key, {BAD: -5, b"x": float("inf")})
    elif kind == "stream":
        redis.xadd(key, {b"kind": b"decision", b"body": BAD})


async def test_no_damaged_value_takes_a_page_away_without_a_word(
    redis_url: str, prefix: str
) -> None:
    rules, store = Path(__file__).parents[2] / "rules", RedisStore(redis_url, prefix=prefix)
    async with browsing(rules, store=store) as browser:
        client, engine = browser.client, browser.api.engine
        body = {"attributes": {"first_name": "li"}, "aliases": {"email": "li@example.com"}}
        assert (await client.put("/v1/customers/li", json=body)).is_success
        given = {"marketing": {"*": "granted"}}
        assert (await client.put("/v1/customers/li/consents", json=given)).is_success
        events = {"events": [{"type": "wechat_follow", "customer_id": "li"}]}
        assert (await client.post("/v1/events", json=events)).is_success
        for placement in ("outbound", "app_home"):
            asked = {"placement": placement, "customer_id": "li"}
            assert (await client.post("/v1/decisions", json=asked)).is_success
        await put(store)
        await Drafts(store).create("winter", "li")
        await quarantine(
            store, [entry_about(b"{}", "no", at=datetime.now(UTC), source="api", index=0)]
        )
        await browser.post("/console/journeys/welcome/pause", why="so")
        activity = Activity(engine.runtime.clock)
        activity.recorded("purchase")
        activity._now()["d", "outbound", "none", "no_consent"] += 1
        await activity.flush(store)
        pages = [page for page in every_page() if not _FROM_ARCHIVE.search(page)]
        pages.append("/console/customers?q=li%40example.com")
        with Redis.from_url(redis_url) as redis:
            keys = {kind_of(key): key for key in sorted(redis.keys(f"{prefix}*"))}
            assert len(keys) > 15
            failed = []
            for key in keys.values():
                held = redis.dump(key)
                damage(redis, key)
                answers = [(page, await browser.get(page)) for page in pages]
                failed += [(key, page) for page, answer in answers if answer.status_code == 500]
                redis.delete(key)
                if held is not None:
                    redis.restore(key, 0, held)
            assert not failed


@pytest.mark.parametrize("instead", ["nothing", "a file", "an empty folder", "garbage"])
async def test_whatever_stands_in_the_place_of_the_archive_no_page_fails(
    tmp_path: Path, instead: str
) -> None:
    archive, rules = tmp_path / "archive", Path(__file__).parents[2] / "rules"
    archive.mkdir()
    async with browsing(rules, archive=str(archive)) as browser:
        body = {"attributes": {"first_name": "li"}}
        assert (await browser.client.put("/v1/customers/li", json=body)).is_success
        if instead == "garbage":
            for place in ("_journal/manifest.json", "decisions/date=2026-11-27/part-1.parquet"):
                (archive / place).parent.mkdir(parents=True)
                (archive / place).write_bytes(BAD)
        elif instead != "an empty folder":
            archive.rmdir()
        if instead == "a file":
            archive.write_bytes(BAD)
        for page in [*every_page(), "/console/reports/data", "/console/candidates/data"]:
            answer = await browser.get(page)
            assert answer.status_code != 500, page
            if answer.is_redirect:
                assert (await browser.get(answer.headers["location"])).status_code != 500, page
