"""A server of two workers, and many clients who all write for one customer."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.serving import NO_TLS, Server

pytestmark = pytest.mark.slow

CLIENTS, WRITES = 32, 1_000
RULES = """
settings: {timezone: UTC, currency: EUR}
purposes: {service: {consent: not_required}}
channels: {app: {}}
placements: {home: {channels: [app]}}
messages: {hello: {purpose: service, channels: [app], value: 1}}
caps: {three: {of: {}, at_most: 3, within: 7d}}
events: {line: {of: purchase, each: items}, gift: {of: purchase, each: items, for: event.to}}
states: {buyer: {when: {events.line.count: {gte: 1}, events.gift.count: {gte: 1}}}, other: {}}
"""


def test_all_that_many_clients_write_for_one_customer_is_written_and_counted_once(
    tmp_path: Path, redis_url: str
) -> None:
    """Half of it events, half decisions with an event; each names the customer itself as well."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "policy.yaml").write_text(RULES, "utf-8")
    settings = {"redis_url": redis_url, "key_prefix": "one:", "timeout_ms": 20_000}
    own = threading.local()
    answers: Counter[str] = Counter()
    with Server(tmp_path, workers=2, rules=tmp_path / "rules", **settings) as server:
        server.ready()

        def post(path: str, body: Any) -> tuple[int, Any]:
            if not hasattr(own, "connection"):
                own.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            own.connection.request(
                "POST", path, json.dumps(body), {"content-type": "application/json"}
            )
            answer = own.connection.getresponse()
            return answer.status, json.loads(answer.read())

        def write(number: int) -> str:
            event = {"type": "purchase", "id": f"e-{number}"}
            event["properties"] = {"items": [1, 2], "to": "ann"}
            if number % 2:
                status, body = post("/v1/events", {"events": [{**event, "customer_id": "ann"}]})
                return f"{status} {body.get('accepted')}"
            asked = {"placement": "home", "customer_id": "ann", "event": event}
            status, body = post("/v1/decisions", asked)
            return f"{status} {body.get('outcome')} {body.get('degraded')}"

        with ThreadPoolExecutor(CLIENTS) as clients:
            answers.update(clients.map(write, range(WRITES)))
        found = httpx.get(f"{server.url}/v1/customers/ann", verify=NO_TLS).json()
    assert answers == {
        "202 1": WRITES // 2,
        "200 selected ['model']": 3,
        "200 none ['model']": WRITES // 2 - 3,
    }
    assert {name: one["count"] for name, one in found["events"].items()} == {
        "line": 2 * WRITES,
        "gift": 2 * WRITES,
    }
