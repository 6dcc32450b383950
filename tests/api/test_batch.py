"""`/v1/decisions/batch`: order, bad lines, limits, and clients that do not read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Api, running

pytestmark = pytest.mark.anyio

HEADERS = {"content-type": "application/x-ndjson"}


def line(number: int, **fields: Any) -> str:
    return json.dumps({"customer_id": f"c-{number}", "placement": "app_home", **fields})


async def batch(api: Api, body: Any) -> list[dict[str, Any]]:
    answer = await api.client.post("/v1/decisions/batch", content=body, headers=HEADERS)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(row) for row in answer.text.splitlines()]


async def test_answers_come_in_the_order_of_the_lines(api: Api) -> None:
    rows = await batch(api, "\n".join(line(number) for number in range(500)))
    assert [row["customer_id"] for row in rows] == [f"c-{number}" for number in range(500)]


async def test_a_bad_line_gives_an_error_line_and_the_rest_goes_on(api: Api) -> None:
    lines = [
        line(1),
        "not json",
        "",
        line(2, placement="nowhere"),
        '{"placement": "app_home"}',
        line(3, surprise=1),
        "[" * 1000,
        '{"customer_id": "\\ud800", "placement": "app_home"}',
        line(4),
    ]
    rows = await batch(api, "\r\n".join(lines) + "\n")
    assert [row.get("customer_id") for row in rows] == ["c-1", *[None] * 6, "c-4"]
    errors = [row["error"] for row in rows if "error" in row]
    assert [error["line"] for error in errors] == [2, 4, 5, 6, 7, 8]
    assert all(error["status"] == 400 for error in errors)
    assert [error["errors"][0]["path"] for error in errors][1:4] == [
        "placement", "customer_id", "surprise",
    ]  # fmt: skip


@pytest.mark.parametrize("body", ["", "\n", "\n\n  \r\n"])
async def test_nothing_in_gives_nothing_out(api: Api, body: str) -> None:
    assert await batch(api, body) == []


async def test_a_line_may_come_in_pieces_and_the_last_without_an_end(api: Api) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for byte in (line(1) + "\n" + line(2, context={"词": "中文"})).encode():
            yield bytes([byte])

    rows = await batch(api, pieces())
    assert [row["customer_id"] for row in rows] == ["c-1", "c-2"]


async def test_a_line_that_is_too_long_is_refused_alone(rules: Path) -> None:
    async with running(rules, max_body_bytes=1024) as api:
        long = line(2, context={"x": "y" * 5000})

        async def pieces() -> AsyncIterator[bytes]:
            text = "\n".join([line(1), long, line(3), long, line(5)]).encode()
            for start in range(0, len(text), 700):
                yield text[start : start + 700]

        for body in ("\n".join([line(1), long, line(3), long, line(5)]), pieces()):
            rows = await batch(api, body)
            assert [row.get("customer_id") for row in rows] == ["c-1", None, "c-3", None, "c-5"]
            assert [row["error"]["line"] for row in rows if "error" in row] == [2, 4]
            assert rows[1]["error"]["status"] == 413


async def test_a_body_that_is_too_large_says_so(rules: Path) -> None:
    async with running(rules, max_body_bytes=1024, max_batch_bytes=2048) as api:
        body = "\n".join(line(number) for number in range(100))
        declared = await api.client.post("/v1/decisions/batch", content=body, headers=HEADERS)
        assert declared.status_code == 413

        async def pieces() -> AsyncIterator[bytes]:
            for number in range(100):
                yield line(number).encode() + b"\n"

        rows = await batch(api, pieces())
        assert [row["customer_id"] for row in rows[:-1]] == [f"c-{n}" for n in range(len(rows) - 1)]
        assert rows[-1]["error"]["status"] == 413


async def test_decisions_made_at_once_are_bounded(rules: Path) -> None:
    async with running(rules, batch_concurrency=4) as api:
        real = api.engine.decide_with_verdict
        running_now = most = 0

        async def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal running_now, most
            running_now += 1
            most = max(most, running_now)
            try:
                await asyncio.sleep(0)
                return await real(*args, **kwargs)
            finally:
                running_now -= 1

        api.engine.decide_with_verdict = counted  # type: ignore[method-assign]
        rows = await batch(api, "\n".join(line(number) for number in range(100)))
        assert len(rows) == 100
        assert 1 < most <= 4 + 2


async def test_what_nobody_foresaw_fails_its_line_only(api: Api) -> None:
    real = api.engine.decide_with_verdict

    async def odd(request: Any) -> Any:
        if request.customer_id == "c-2":
            raise RuntimeError("boom")
        return await real(request)

    api.engine.decide_with_verdict = odd  # type: ignore[method-assign, assignment]
    rows = await batch(api, "\n".join([line(1), line(2), line(3)]))
    assert rows[1]["error"]["status"] == 500
    assert "boom" not in json.dumps(rows)
    assert rows[2]["customer_id"] == "c-3"


async def test_another_content_type_is_refused(api: Api) -> None:
    answer = await api.client.post("/v1/decisions/batch", json={})
    assert answer.status_code == 415


class Wire:
    """An ASGI client that sends everything before it reads anything."""

    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts
        self.sent = asyncio.Event()
        self.answer: list[bytes] = []

    async def receive(self) -> dict[str, Any]:
        if self.parts:
            return {
                "type": "http.request",
                "body": self.parts.pop(0),
                "more_body": bool(self.parts),
            }
        self.sent.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await self.sent.wait()
            self.answer.append(message["body"])


async def test_a_client_that_sends_all_before_it_reads_is_no_deadlock(api: Api) -> None:
    text = ("\n".join(line(number, context={"x": "y" * 3000}) for number in range(1500))).encode()
    size = 64 * 1024
    wire = Wire([text[start : start + size] for start in range(0, len(text), size)])

    # All of it is received although nothing of the answer is taken.
    async def receive() -> dict[str, Any]:
        message = await wire.receive()
        if not message["more_body"]:
            wire.sent.set()
        return message

    transport = api.client._transport
    assert isinstance(transport, httpx.ASGITransport)
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/decisions/batch", "raw_path": b"/v1/decisions/batch", "query_string": b"",
        "root_path": "", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {},
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/x-ndjson")],
    }  # fmt: skip
    async with asyncio.timeout(30):
        await transport.app(scope, receive, wire.send)  # type: ignore[arg-type]
    assert len(b"".join(wire.answer).splitlines()) == 1500


async def test_a_client_that_goes_away_ends_the_batch(api: Api) -> None:
    messages = [
        {"type": "http.request", "body": line(1).encode() + b"\n", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    transport = api.client._transport
    assert isinstance(transport, httpx.ASGITransport)
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/decisions/batch", "raw_path": b"/v1/decisions/batch", "query_string": b"",
        "root_path": "", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {},
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/x-ndjson")],
    }  # fmt: skip
    async with asyncio.timeout(10):
        await transport.app(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 200
