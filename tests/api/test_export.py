"""`GET /v1/customers/{id}/export`, and the command."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from decision.api.answers import Streamed
from decision.core.errors import StoreUnavailable
from decision.core.looking import Kept
from decision.server.audit import entries
from decision.server.keys.entries import make_key
from decision.store import MemoryStore
from tests.api.conftest import Api, running

pytestmark = pytest.mark.anyio


async def made(api: Api) -> None:
    await api.consent("c%2F1")
    await api.decide(customer_id="c/1", request_id="r-1")
    event = {"id": "e-1", "customer_id": "c/1", "type": "purchase", "properties": {"amount": 8}}
    assert (await api.client.post("/v1/events", json={"events": [event]})).status_code == 202


async def test_it_is_lines_of_json_that_end_with_complete(api: Api) -> None:
    await made(api)
    answer = await api.client.get("/v1/customers/c%2F1/export")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["kind"] for line in lines] == [
        *("export", "document", "answer", "event_ids", "consent", "decision", "event", "end"),
    ]
    assert lines[-1] == {"kind": "end", "complete": True, "lines": len(lines) - 1}
    document = lines[1]["document"]
    assert document["consents"]["marketing"]["*"]["source"] == "api"
    assert document["contacts"][0]["message"] == "offer"
    assert document["events"]["purchase"]["total"] == 1
    assert lines[2]["answer"]["decision_id"] == lines[5]["id"]
    assert lines[6]["record"]["properties"] == {"amount": 8}


async def test_nobody_known_is_a_404_and_no_entry_and_another_is_an_entry(api: Api) -> None:
    assert (await api.client.get("/v1/customers/ghost/export")).status_code == 404
    assert (await api.client.get("/v1/customers/%00/export")).status_code == 400
    await made(api)
    await api.client.get("/v1/customers/c%2F1/export")
    [entry] = await entries(api.engine.runtime.store)
    assert (entry.action, entry.result) == ("customer.export", "done")


async def test_the_whole_scope_is_needed(rules: Path, tmp_path: Path) -> None:
    secret, entry = make_key("reader", ["customers.read", "decide", "events", "admin"])
    keys = tmp_path / "keys.yaml"
    keys.write_text(json.dumps([msgspec.to_builtins(entry)]))
    async with running(rules, api_keys_file=str(keys)) as api:
        api.client.headers["authorization"] = f"Bearer {secret}"
        assert (await api.client.get("/v1/customers/c-1/export")).status_code == 403


async def test_a_store_that_does_not_answer_is_a_503_before_anything_is_sent(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object, **__: object) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(api.engine.runtime.store, "read", gone)
    assert (await api.client.get("/v1/customers/c-1/export")).status_code == 503


async def test_a_client_that_has_gone_ends_the_export(api: Api, rules: Path) -> None:
    """Nothing more is read."""
    asked = 0

    async def lines() -> Any:
        nonlocal asked
        for _ in range(100):
            asked += 1
            yield b"x" * 70_000

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) == 3:
            scope["state"]["client_gone"] = True

    scope: Any = {"state": {}}
    await Streamed(b"first\n", lines())(scope, None, send)  # type: ignore[arg-type]
    assert asked == 2


async def test_more_exports_than_may_be_at_once_are_refused(rules: Path) -> None:
    release, all_began = asyncio.Event(), asyncio.Event()
    began = 0

    class Slow(MemoryStore):
        async def kept_of(self, customer_id: str) -> Kept:
            nonlocal began
            began += 1
            if began == 4:
                all_began.set()
            await release.wait()
            return await super().kept_of(customer_id)

    async with running(rules, Slow()) as api:
        path = "/v1/customers/c-1/export"
        calls = [asyncio.create_task(api.client.get(path)) for _ in range(4)]
        await asyncio.wait_for(all_began.wait(), 20)
        refused = await api.client.get(path)
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        release.set()
        assert {(await call).status_code for call in calls} == {404}
        assert (await api.client.get(path)).status_code == 404
