"""Segment's calls from browsers: analytics.js as it is, from the origins that may, and no others."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decision.api.app import create_app
from decision.api.segment import LARGEST_UNKNOWN
from decision.engine import Engine
from decision.server.keys.entries import digest
from decision.server.settings import ServerSettings, SettingsError
from decision.store import MemoryStore
from tests.api.conftest import Api, running

pytestmark = pytest.mark.anyio
ORIGIN = "https://shop.example"
BASIC = {"authorization": "Basic " + base64.b64encode(b"web-key:").decode()}
TEXT = {"content-type": "text/plain"}
PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-retry-count",
}


def call(kind: str, **fields: Any) -> dict[str, Any]:
    """As @segment/analytics-next 1.84 sends it."""
    page = {
        "path": "/cart",
        "referrer": "",
        "search": "?x=1",
        "title": "Shop",
        "url": "https://shop.example/cart?x=1",
    }
    return {
        "timestamp": "2026-11-21T10:00:00.264Z",
        "integrations": {},
        "type": kind,
        "context": {
            "page": page,
            "userAgent": "Mozilla/5.0",
            "locale": "en-US",
            "library": {"name": "analytics.js", "version": "npm:next-1.84.3"},
            "campaign": {},
            "timezone": "UTC",
        },
        "messageId": f"ajs-next-1795752407265-{kind}",
        "userId": "c-1",
        "anonymousId": "5e759c03-4438-4f35-a85e-ed737213d6eb",
        "writeKey": "web-key",
        "sentAt": "2026-11-21T10:00:00.337Z",
        "_metadata": {"bundled": ["Segment.io"], "unbundled": [], "bundledIds": []},
        **fields,
    }


CALLS = [
    call("identify", traits={"plan": "pro"}),
    call("track", event="purchase", properties={"revenue": 80}, userId=None),
    call("page", name="Cart", properties={"path": "/cart", "name": "Cart"}),
    call("screen", name="S", properties={}),
    call("group", groupId="g-1", traits={"name": "G"}),
    call("alias", previousId="c-1"),
]


@pytest.fixture
async def web(rules: Path, tmp_path: Path) -> AsyncIterator[Api]:
    """A server with a write key, for pages of one origin."""
    keys = tmp_path / "keys.yaml"
    rows = [
        {"name": scope, "scopes": [scope], "sha256": digest(key)}
        for scope, key in (("events", b"web-key"), ("decide", b"other-key"))
    ]
    keys.write_text(json.dumps(rows))
    settings = {"api_keys_file": str(keys), "segment_origins": f"{ORIGIN}, http://localhost:3000"}
    async with running(rules, segment_traits="plan", **settings) as found:
        yield found


@pytest.mark.parametrize("batched", [False, True])
async def test_what_analytics_js_sends_is_taken(web: Api, batched: bool) -> None:
    headers = {**TEXT, **BASIC, "origin": ORIGIN}
    if batched:
        body = {"writeKey": "web-key", "batch": CALLS, "sentAt": CALLS[0]["sentAt"]}
        requests: list[tuple[str, dict[str, Any]]] = [("/v1/b", body)]
    else:
        requests = [(f"/v1/{one['type'][0]}", one) for one in CALLS]
    accepted = 0
    for path, sent in requests:
        answer = await web.client.post(path, content=json.dumps(sent), headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["rejected"] == []
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        accepted += answer.json()["accepted"]
    assert accepted == len(CALLS)


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/track", "/v1/t"])
@pytest.mark.parametrize(
    ("key", "headers", "status"),
    [
        ("web-key", {}, 200),
        ("web-key", {"authorization": "Bearer wrong"}, 401),
        ("wrong", {}, 401),
        ("other-key", {}, 403),
        (None, {}, 401),
        (7, {}, 401),
        ("", {}, 401),
        ("wrong", BASIC, 200),
    ],
)
async def test_the_write_key_may_be_in_the_body_where_no_header_has_one(
    web: Api, path: str, key: Any, headers: dict[str, str], status: int
) -> None:
    """As `sendBeacon` sends it, which can set no headers."""
    event = call("track", event="purchase")
    del event["writeKey"]
    body = {"batch": [event]} if path in ("/v1/batch", "/v1/b") else event
    sent = json.dumps({**body, "writeKey": key})
    answer = await web.client.post(path, content=sent, headers={**TEXT, **headers})
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.json()["code"] in ("unauthorized", "forbidden")
    elsewhere = await web.client.post("/v1/events", json={"writeKey": "web-key", "events": []})
    assert elsewhere.status_code == 401


async def test_without_a_key_in_a_header_a_body_may_be_no_larger_than_a_page_sends(
    web: Api,
) -> None:
    body = json.dumps({"writeKey": "web-key", "batch": [], "x": "x" * LARGEST_UNKNOWN})
    small = await web.client.post("/v1/batch", content=body, headers=TEXT)
    large = await web.client.post("/v1/batch", content=body, headers={**TEXT, **BASIC})
    assert (small.status_code, large.status_code) == (413, 200)


async def test_a_preflight_is_answered_for_pages_that_may(web: Api) -> None:
    for origin in (ORIGIN, "http://localhost:3000"):
        answer = await web.client.options("/v1/b", headers={"origin": origin, **PREFLIGHT})
        assert answer.status_code == 204 and answer.content == b""
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-allow-methods"] == "POST"
        allowed = answer.headers["access-control-allow-headers"].split(", ")
        assert {"authorization", "content-type", "x-retry-count", "anonymousid"} <= {*allowed}
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://shop.example", "https://shop.example:8443", "*", ""],
)
async def test_pages_elsewhere_may_not_call(web: Api, origin: str) -> None:
    headers = {**TEXT, "origin": origin}
    sent = json.dumps(call("track", event="purchase"))
    for answer in (
        await web.client.options("/v1/b", headers={**headers, **PREFLIGHT}),
        await web.client.post("/v1/t", content=sent, headers=headers),
    ):
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    assert (await web.client.get("/health/live")).status_code == 200


async def test_errors_can_be_read_by_pages_that_may_call(web: Api) -> None:
    headers = {**TEXT, **BASIC, "origin": ORIGIN}
    answer = await web.client.post("/v1/b", content="{", headers=headers)
    assert answer.status_code == 400
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "retry-after" in answer.headers["access-control-expose-headers"]


async def test_other_paths_and_programs_know_of_no_origins(web: Api) -> None:
    asked = {"origin": ORIGIN, **PREFLIGHT}
    elsewhere = await web.client.options("/v1/events", headers=asked)
    assert "access-control-allow-origin" not in elsewhere.headers
    program = await web.client.post("/v1/b", content='{"batch": []}', headers={**TEXT, **BASIC})
    assert program.status_code == 200
    assert "access-control-allow-origin" not in program.headers


async def test_without_the_setting_no_page_may_read_answers(api: Api) -> None:
    answer = await api.client.options("/v1/b", headers={"origin": ORIGIN, **PREFLIGHT})
    assert answer.status_code == 204
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "wrong", ["*", "shop.example", "https://shop.example/", "https://Shop.example", "null"]
)
def test_an_origin_that_is_none_stops_the_start(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"NEXTBEST_SEGMENT_ORIGINS: .* is no origin"):
        create_app(Engine(MemoryStore()), ServerSettings(segment_origins=wrong))
