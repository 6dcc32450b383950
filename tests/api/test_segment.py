"""Segment's calls: what real clients send counts once, and one bad event harms no other."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from decision.api.app import create_app
from decision.core.clock import MINUTE
from decision.engine import Engine
from decision.engine.runtime import wall_clock
from decision.server.keys.entries import digest
from decision.server.settings import ServerSettings, SettingsError
from decision.store import MemoryStore
from tests.api.conftest import Api, running

pytestmark = pytest.mark.anyio
SETTINGS = {
    "segment_traits": "plan,firstName=first_name",
    "segment_events": "Order Completed=purchase",
}


def track(number: int = 1, **fields: Any) -> dict[str, Any]:
    event = {
        "type": "track",
        "messageId": f"m-{number}",
        "userId": "c-1",
        "event": "Order Completed",
    }
    return {**event, **fields}


async def send(api: Api, *calls: Any, **fields: Any) -> dict[str, Any]:
    answer = await api.client.post("/v1/batch", json={"batch": list(calls), **fields})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def customer(api: Api, customer_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.client.get(f"/v1/customers/{customer_id}")).json()
    return found


async def test_a_batch_sent_again_counts_once_and_its_bad_events_are_named(rules: Path) -> None:
    bad = [
        {"type": "track", "messageId": "x"},
        {"type": "pageview", "userId": "c-1"},
        7,
        "text",
        None,
        track(2, timestamp="yesterday"),
        track(3, event=None),
        track(4, properties=[1]),
        track(5, userId="undefined"),
        track(6, properties={"n": 10**30}),
        track(7, messageId="i" * 300),
        track(8, properties={"text": "x" * 33_000}),
        track(9, userId={"id": 1}),
        track(10, event="message.clicked", properties={"decision_id": "no"}),
        track(11, timestamp="2999-01-01T00:00:00Z"),
    ]
    async with running(rules, **SETTINGS) as api:
        first = await send(api, track(0), *bad, track(1))
        again = await send(api, track(0), *bad, track(1))
        assert (first["accepted"], first["duplicates"]) == (2, 0)
        assert (again["accepted"], again["duplicates"]) == (0, 2)
        assert [row["index"] for row in first["rejected"]] == list(range(1, len(bad) + 1))
        assert (await customer(api, "c-1"))["events"]["purchase"]["count"] == 2
        shown = (await api.client.get("/v1/quarantine")).json()["rejected"]
        assert len(shown) == 2 * len(bad)
        assert shown[0]["id"] == "m-11" and shown[0]["source"] == "segment"
        assert await api.metric('nextbest_events_total{result="rejected"}') == 2 * len(bad)


@pytest.mark.parametrize(
    "bad", [b"NaN", b"Infinity", b'"\xff"', b'"\\ud800"', b"[" * 40 + b"]" * 40]
)
async def test_what_is_no_json_in_one_event_rejects_that_event_alone(
    rules: Path, bad: bytes
) -> None:
    good = json.dumps(track(1)).encode()
    wrong = json.dumps(track(2, properties={"n": "BAD"})).encode().replace(b'"BAD"', bad)
    body = b'{"batch": [' + wrong + b"," + good + b"]}"
    async with running(rules, **SETTINGS) as api:
        answer = await api.client.post(
            "/v1/batch", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 200, answer.text
        assert [row["index"] for row in answer.json()["rejected"]] == [0]
        assert answer.json()["accepted"] == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"batch": {}}', b'{"batch": null}', b"\xff"]
)
async def test_a_body_that_is_no_batch_is_a_400(api: Api, body: bytes) -> None:
    answer = await api.client.post(
        "/v1/batch", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400, answer.text


async def test_a_packed_body_is_unpacked_within_the_limit(api: Api) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    packed = gzip.compress(json.dumps({"batch": [track()]}).encode())
    answers = {}
    for name, body in {
        "packed": packed,
        "cut": packed[:-9],
        "more": packed + b"x",
        "plain": b"{}",
        "bomb": gzip.compress(b" " * 30_000_000),
    }.items():
        answer = await api.client.post("/v1/batch", content=body, headers=headers)
        answers[name] = answer.status_code
    assert answers == {"packed": 200, "cut": 400, "more": 400, "plain": 400, "bomb": 413}


async def test_of_a_batch_of_500_kb_the_event_that_is_too_large_is_rejected_alone(
    api: Api,
) -> None:
    big = [track(number, properties={"text": "x" * 30_000}) for number in range(17)]
    answer = await send(api, *big, track(99, properties={"text": "x" * 40_000}))
    assert (answer["accepted"], [row["index"] for row in answer["rejected"]]) == (17, [17])


@pytest.mark.parametrize("packed", [False, True])
async def test_what_rudderstack_sends_at_once_is_taken_whole(rules: Path, packed: bool) -> None:
    """100 events of up to 32 KB, which is more than other bodies may have."""
    big = [track(number, properties={"text": "x" * 32_000}) for number in range(100)]
    body = json.dumps({"batch": big}).encode()
    headers = {"content-type": "application/json"}
    if packed:
        body, headers["content-encoding"] = gzip.compress(body, 1), "gzip"
    async with running(rules, **SETTINGS) as api:
        answer = await api.client.post("/v1/batch", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["accepted"] == 100
    async with running(rules, segment_body_bytes=100_000) as api:
        answer = await api.client.post("/v1/batch", content=body, headers=headers)
        assert answer.status_code == 413


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "text/plain", "application/x-www-form-urlencoded", None],
)
async def test_a_body_is_json_whatever_type_a_client_names(
    api: Api, content_type: str | None
) -> None:
    """Browsers name text, and RudderStack's client for Node a form."""
    headers = {} if content_type is None else {"content-type": content_type}
    body = gzip.compress(json.dumps({"batch": [track()]}).encode())
    headers["content-encoding"] = "gzip"
    answer = await api.client.post("/v1/batch", content=body, headers=headers)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)


async def test_what_came_of_each_event_is_told_by_its_place_in_the_batch(rules: Path) -> None:
    """Although customers are dealt with side by side."""
    decision = "00000000-0000-7000-8000-000000000000"
    about = {"decision_id": decision}
    async with running(rules, **SETTINGS) as api:
        calls = [track(number, userId=f"c-{number % 23}") for number in range(60)]
        for place in (3, 30, 59):  # refused only when they are recorded
            calls[place] |= {"event": "message.clicked", "properties": about}
        calls.insert(40, {"type": "identify", "userId": "c-1", "traits": {"plan": "pro"}})
        first, again = await send(api, *calls), await send(api, *calls)
        for answer in (first, again):
            assert [row["index"] for row in answer["rejected"]] == [3, 30, 60]
        assert (first["accepted"], first["duplicates"]) == (58, 0)
        assert (again["accepted"], again["duplicates"]) == (1, 57)
        counts = [
            (await customer(api, f"c-{number}"))["events"]["purchase"]["count"]
            for number in range(23)
        ]
        assert sum(counts) == 57


@pytest.mark.parametrize("count", [0, 10_000])
async def test_a_batch_may_have_any_number_of_events(rules: Path, count: int) -> None:
    async with running(rules, **SETTINGS) as api:
        calls = [track(number, userId=f"c-{number % 9}") for number in range(count)]
        assert await send(api, *calls) == {
            "success": True,
            "accepted": count,
            "duplicates": 0,
            "rejected": [],
        }


@pytest.mark.parametrize("body", [b"{", b'{"batch": 7}'])
async def test_errors_have_the_code_and_message_that_clients_read(api: Api, body: bytes) -> None:
    """RudderStack's client for Python takes an error without them for a failure of the network."""
    headers = {"content-type": "application/json"}
    answer = await api.client.post("/v1/batch", content=body, headers=headers)
    found = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (found["code"], found["message"]) == ("invalid-request", found["detail"])
    assert "code" not in (await api.client.post("/v1/events", json=[])).json()


async def test_times_are_put_right_by_what_the_client_says_it_was_when_it_sent(
    rules: Path,
) -> None:
    """A client whose clock is an hour ahead; the event was 10 s before it was sent."""
    async with running(rules, **SETTINGS) as api:
        theirs = datetime.now(UTC) + timedelta(hours=1)
        event = track(timestamp=(theirs - timedelta(seconds=10)).isoformat())
        answer = await send(api, event, sentAt=theirs.isoformat())
        assert answer["accepted"] == 1
        last = (await customer(api, "c-1"))["events"]["purchase"]["last_at"]
        off = datetime.now(UTC) - datetime.fromisoformat(last)
        assert timedelta(seconds=9) < off < timedelta(seconds=70)
        assert (await send(api, track(2, timestamp=event["timestamp"])))["rejected"]


@pytest.mark.parametrize("minutes", [-60, -6, -5, 5, 6, 60])
async def test_a_server_whose_clock_is_off_takes_what_says_when_it_was_sent(
    rules: Path, minutes: int
) -> None:
    """Without `sentAt` an event of its future, by more than five minutes, is rejected."""
    off = minutes * MINUTE
    async with running(rules, clock=lambda: wall_clock() + off, **SETTINGS) as api:
        sent = datetime.now(UTC)
        first = (sent - timedelta(seconds=20)).isoformat()
        assert (await send(api, track(timestamp=first), sentAt=sent.isoformat()))["accepted"] == 1
        view = (await customer(api, "c-1"))["events"]["purchase"]
        last = datetime.fromisoformat(view["last_at"]) - timedelta(minutes=minutes)
        assert timedelta(seconds=19) < sent - last < timedelta(seconds=21)
        told = await send(api, track(2, timestamp=sent.isoformat()))
        assert told["accepted"] == (minutes > -6)


async def test_each_call_has_its_path(rules: Path) -> None:
    read = ", ".join(
        f"events.{name}.count: {{gte: 1}}"
        for name in ("cart_add", "group", "page_view", "screen_view")
    )
    text = (rules / "policy.yaml").read_text("utf-8")
    text = text.replace("  other: {}", f"  reader: {{when: {{{read}}}}}\n  other: {{}}")
    (rules / "policy.yaml").write_text(text, "utf-8")
    async with running(rules, **SETTINGS) as api:
        calls: dict[str, dict[str, Any]] = {
            "track": {"event": "cart_add", "properties": {"amount": 3}},
            "page": {"name": "Home", "context": {"page": {"url": "https://x.test/", "ip": 1}}},
            "screen": {"name": "Start"},
            "group": {"groupId": "g-1", "traits": {"secret": 1}},
            "identify": {"traits": {"plan": "pro", "firstName": "Mei", "phone": "1", "city": None}},
        }
        for name, call in calls.items():
            answer = await api.client.post(f"/v1/{name}", json={"userId": "c-1", **call})
            assert (answer.status_code, answer.json()["accepted"]) == (200, 1), answer.text
        found = await customer(api, "c-1")
        assert found["attributes"] == {"plan": "pro", "first_name": "Mei"}
        assert sorted(found["events"]) == ["cart_add", "group", "page_view", "screen_view"]


async def test_no_trait_is_stored_that_the_settings_do_not_name(api: Api) -> None:
    assert (await send(api, {"type": "identify", "userId": "c-1", "traits": {"plan": "pro"}}))[
        "accepted"
    ] == 1
    assert (await api.client.get("/v1/customers/c-1")).status_code == 404


async def test_who_was_anonymous_is_known_once_identified(rules: Path) -> None:
    async with running(rules, **SETTINGS) as api:
        await send(api, track(1, userId=None, anonymousId="a-1"))
        assert (await customer(api, "anonymous_id:a-1"))["events"]["purchase"]["count"] == 1
        await send(api, {"type": "identify", "userId": "c-1", "anonymousId": "a-1"})
        await send(api, track(2, userId=None, anonymousId="a-1"))
        assert (await customer(api, "c-1"))["events"]["purchase"]["count"] == 2


@pytest.mark.parametrize("merges", [False, True])
@pytest.mark.parametrize("previous", ["c-0", "a-1"])
async def test_alias_merges_only_where_that_is_switched_on(
    rules: Path, merges: bool, previous: str
) -> None:
    async with running(rules, segment_merge=merges, **SETTINGS) as api:
        await send(api, track(1, userId="c-0"), track(2, userId=None, anonymousId="a-1"))
        await send(api, track(3), {"type": "alias", "userId": "c-1", "previousId": previous})
        count = (await customer(api, "c-1"))["events"]["purchase"]["count"]
        assert count == (2 if merges else 1)


async def test_a_write_key_is_a_key_with_the_scope_events(rules: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    rows = [
        {"name": scope, "scopes": [scope], "sha256": digest(scope.encode())}
        for scope in ("events", "decide")
    ]
    keys.write_text(json.dumps(rows))

    async def status(path: str, authorization: str, client: httpx.AsyncClient) -> int:
        answer = await client.post(
            path, json={"batch": [track()], "events": []}, headers={"authorization": authorization}
        )
        return answer.status_code

    def basic(text: str) -> str:
        return "Basic " + base64.b64encode(text.encode()).decode()

    async with running(rules, api_keys_file=str(keys)) as api:
        assert await status("/v1/batch", basic("events:"), api.client) == 200
        assert await status("/v1/batch", "Bearer events", api.client) == 200
        assert await status("/v1/batch", basic("decide:"), api.client) == 403
        assert await status("/v1/batch", basic("wrong:"), api.client) == 401
        assert await status("/v1/batch", "Basic %%%", api.client) == 401
        assert await status("/v1/events", basic("events:"), api.client) == 401


async def test_the_quarantine_names_no_customer(api: Api) -> None:
    decision = (await api.decide(customer_id="c-ann")).json()["decision_id"]
    about = {"decision_id": decision}
    await send(api, track(userId="c-other", event="message.clicked", properties=about))
    shown = (await api.client.get("/v1/quarantine")).text
    assert "is not a decision for customer" in shown
    assert "c-other" not in shown and "c-ann" not in shown


def test_a_setting_that_cannot_be_read_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="NEXTBEST_SEGMENT_TRAITS"):
        create_app(Engine(MemoryStore()), ServerSettings(segment_traits="plan,=x"))
