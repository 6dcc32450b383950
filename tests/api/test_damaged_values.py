"""Whatever stands in Redis in place of a value of ours, nothing gets a 500, and the log says it."""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from decision.core.document import ContactKind
from decision.store import RedisStore, damage
from tests.api.conftest import RULES, Api, running

pytestmark = pytest.mark.anyio

BUDGETED = RULES.replace("    value: 10\n", "    value: 10\n    budget: {total: 100000}\n")
BUDGETED += "budgets: {coupons: {of: {tags: coupon}, spend: 100000}}\n"
DECIDED = "/v1/decisions"
BAD = (b"", b"\0", b"abc", b"\xff" * 40, b'{"a":1}', b"-1", b"9" * 23)
KEYS = {
    "document": "{home}c:{id}",
    "answers": "{home}r:{id}",
    "event ids": "{home}e:{id}",
    "log": "{home}log",
    "alias": "{alias}",
    "budget": "{prefix}{{budget}}:n:offer:total",
    "money": "{prefix}{{budget}}:n:coupons/CNY/ever",
    "token": "{home}t:{decision}",
    "ends": "{home}ends",
    "open leases": "{home}leases",
    "leases": "{prefix}{{budget}}:leases",
    "mark": "{prefix}{{health}}:mark",
    "beats": "{prefix}{{health}}:beats",
    "clocks": "{prefix}{{health}}:clocks",
    "trial": "{prefix}{{health}}:trial",
    "horizon": "{prefix}{{blob}}:contacts-kept",
    "erasures": "{prefix}{{history}}:erasures",
    "rewritings": "{prefix}{{history}}:file-rewrites",
    "pseudonym key": "{prefix}{{history}}:pseudonym-keys",
    "audit": "{prefix}{{history}}:audit",
}


@pytest.fixture(autouse=True)
def said_anew() -> Iterator[None]:
    damage._said.clear()
    yield
    damage._said.clear()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as made:
        yield made


@pytest.fixture
async def served(rules: Path, redis_url: str, prefix: str) -> AsyncIterator[Api]:
    (rules / "policy.yaml").write_text(BUDGETED, "utf-8")
    async with running(rules, RedisStore(redis_url, prefix=prefix)) as api:
        yield api


async def first(api: Api, customer: str) -> str:
    """A customer with everything that can be damaged; the id of their first decision."""
    body = {"attributes": {"x": 1}, "aliases": {"email": f"{customer}@example.org"}}
    assert (await api.client.put(f"/v1/customers/{customer}", json=body)).status_code == 200
    await api.consent(customer)
    event = {"id": "ev1", "type": "purchase"}
    answer = await api.decide(customer_id=customer, request_id="q1", event=event)
    assert answer.json()["outcome"] == "selected", answer.text
    found: str = answer.json()["decision_id"]
    return found


async def all_routes(api: Api, customer: str, decision_id: str) -> None:
    ask: dict[str, Any] = {"customer_id": customer, "placement": "outbound"}
    alias = {"type": "email", "value": f"{customer}@example.org"}
    event = {"customer_id": customer, "type": "purchase"}
    delivered = {**event, "type": "message.delivered", "decision_id": decision_id}
    path = f"/v1/customers/{customer}"
    calls: tuple[tuple[str, str, Any], ...] = (
        ("POST", DECIDED, {**ask, "request_id": "q1"}),
        ("POST", DECIDED, {**ask, "request_id": "q1", "explain": True}),
        ("POST", DECIDED, ask),
        ("POST", DECIDED, {**ask, "dry_run": True, "explain": True}),
        ("POST", DECIDED, {**ask, "event": {"id": "ev1", "type": "purchase"}}),
        ("POST", DECIDED, {"alias": alias, "placement": "outbound"}),
        ("POST", "/v1/events", {"events": [{**event, "id": "e2"}]}),
        ("GET", path, None),
        ("PUT", path, {"attributes": {"x": 2}, "aliases": {"email": alias["value"]}}),
        ("PUT", f"{path}/consents", {"marketing": {"*": "granted"}}),
        ("POST", f"{path}/merge", {"from": f"{customer}-other"}),
        ("GET", f"{DECIDED}/{decision_id}", None),
        ("POST", "/v1/events", {"events": [{**delivered, "id": "e9"}]}),
        ("GET", "/v1/policy", None),
        ("GET", "/health/ready", None),
        ("GET", "/metrics", None),
        ("DELETE", path, None),
    )
    for method, where, body in calls:
        answer = await api.client.request(method, where, json=body)
        said = f"{method} {where} {body}: {answer.status_code} {answer.text[:300]}"
        assert answer.status_code != 500 and "internal-error" not in answer.text, said
        if where == DECIDED and method == "POST":
            assert answer.status_code == 200, said
        if location := answer.headers.get("location"):
            assert (await api.client.get(location)).status_code in (200, 404, 503)


def damages(redis: Redis, key: str) -> Iterator[str]:
    """Puts one damaged value after another under a key."""
    held = str(redis.type(key), "ascii")  # type: ignore[arg-type]
    for bad in BAD:
        redis.delete(key)
        redis.set(key, bad)
        yield f"string {bad!r}"
        if held == "hash":
            redis.delete(key)
            for field in (b"q1", b"\0q1", b"offer:total", b"\xff"):
                redis.hset(key, field, bad)
            yield f"fields {bad!r}"
            redis.hset(key, b"q1", struct.pack("<d", time.time() * 1000 + 1e6) + bad)
            yield f"live {bad!r}"
        if held == "list":
            redis.delete(key)
            redis.rpush(key, bad)
            yield f"entry {bad!r}"
    for kind, put in (
        ("list", lambda: redis.rpush(key, b"\xff\xfe", b"x")),
        ("hash", lambda: redis.hset(key, b"f", b"x")),
        ("zset", lambda: redis.zadd(key, {b"x": 1, b"noColon": 5})),
        ("set", lambda: redis.sadd(key, b"x")),
        ("stream", lambda: redis.xadd(key, {b"x": b"y"})),
    ):
        redis.delete(key)
        put()
        yield kind


@pytest.mark.parametrize("name", KEYS)
async def test_no_damaged_value_gives_a_500(
    served: Api, redis: Redis, prefix: str, name: str
) -> None:
    """Every kind of key, with values of every type, on every route."""
    keys = served.engine.runtime.store.keys  # type: ignore[attr-defined]
    number, more = 0, True
    while more:
        customer = f"k{number}"
        decision_id = await first(served, customer)
        home = keys.customer(customer).document.partition("c:")[0]
        alias = keys.alias("email", f"{customer}@example.org")
        parts = {"prefix": prefix, "home": home, "id": customer, "decision": decision_id}
        key = KEYS[name].format(alias=alias, **parts)
        held = redis.dump(key)
        for turn, _ in enumerate(damages(redis, key)):
            more = turn > number
            if turn == number:
                await all_routes(served, customer, decision_id)
        redis.delete(key)
        if held is not None and not key.startswith(home) and key != alias:
            redis.restore(key, 0, held)
        number += 1


@pytest.mark.parametrize("counter", ["offer:total", "coupons/CNY/ever"])
@pytest.mark.parametrize("bad", [b"", b"abc", b"1.5", b"-" + b"9" * 23, None])
async def test_a_damaged_counter_stops_its_budget_alone(
    served: Api,
    redis: Redis,
    prefix: str,
    bad: bytes | None,
    counter: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The budget counts as spent; other messages are given, and the log names the key."""
    await first(served, "c-1")
    await served.consent("c-2")
    key = f"{prefix}{{budget}}:n:{counter}"
    await served.engine.runtime.store.give_leases_back()  # what it has leased is not in doubt
    redis.delete(key)
    if bad is None:
        redis.rpush(key, "x")
    else:
        redis.set(key, bad)
    with caplog.at_level(logging.ERROR, "decision.store.damage"):
        answer = (await served.decide(customer_id="c-2")).json()
    assert answer["degraded"] == ["model"] and answer["outcome"] == "selected"
    assert [one["message"] for one in answer["selections"]] == ["news"]
    assert bad is None or key in caplog.text


async def test_a_damaged_kept_answer_is_not_decided_again(
    served: Api, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Its request id gets the fallback; other requests of the customer are decided."""
    await first(served, "c-1")
    key = served.engine.runtime.store.keys.customer("c-1").answers  # type: ignore[attr-defined]
    for bad in (b"", b"1234567", struct.pack("<d", time.time() * 1000 + 1e6) + b"no JSON"):
        redis.hset(key, "q1", bad)
        answer = (await served.decide(customer_id="c-1", request_id="q1")).json()
        assert answer["degraded"] == ["store"]
        assert (await served.decide(customer_id="c-1", request_id="q2")).json()["degraded"] == [
            "model"
        ]
    assert "is damaged" in caplog.text and "c-1" not in caplog.text


async def test_an_unreadable_entry_of_the_register_stops_only_what_has_it(
    served: Api, redis: Redis, redis_url: str, prefix: str
) -> None:
    """Names that are no UTF-8 and kinds that are none are passed over, also by a new server."""
    await first(served, "c-1")
    redis.rpush(f"{prefix}{{register}}:names", b"\xff\xfe")
    redis.rpush(f"{prefix}{{register}}:kinds", b"abc", b"")
    assert (await served.client.delete("/v1/customers/c-9")).status_code == 404
    async with running(served.rules, RedisStore(redis_url, prefix=prefix)) as other:
        await first(other, "c-2")
        assert (await other.client.get("/v1/customers/c-1")).status_code == 200
        store = other.engine.runtime.store
        wanted = ContactKind("new", "push", "marketing", "", ())
        (number,) = await store.register_kinds([wanted])
        assert isinstance(store, RedisStore)
        assert store.register_entries()[1][number - 1] == b""


def test_the_log_does_not_name_customers(caplog: pytest.LogCaptureFixture) -> None:
    """Of a customer's key the id is left out, and of an alias its value; the rest is said once."""
    for key in ("nb:{p1}:c:ann", "nb:{p1}:r:ann", "nb:{p1}:a:email:ann", "nb:{budget}:first"):
        damage.note(key, "x")
        damage.note(key, "x")
    assert "ann" not in caplog.text
    assert caplog.text.count("nb:{budget}:first") == 1 and caplog.text.count("nb:{p1}:c:…") == 1
