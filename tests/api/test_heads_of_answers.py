"""Heads of answers: the same bytes as uvicorn's."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from decision.api.cycle import Cycle

DATE = (b"date", b"Fri, 27 Nov 2026 00:00:00 GMT")
NAMES = st.sampled_from(
    [b"x-request-id", b"Cache-Control", b"connection", b"transfer-encoding", b"content-length"]
) | st.binary(max_size=8)
VALUES = st.sampled_from([b"close", b"keep-alive, Close", b"chunked", b"4", b"0", b""]) | st.binary(
    max_size=8
)


class Wire:
    """Stands for a connection: what was written, and whether it was closed."""

    read_paused = write_paused = False

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def resume_reading(self) -> None: ...


async def sent_by(
    kind: type[RequestResponseCycle], method: str, keep_alive: bool, messages: list[dict[str, Any]]
) -> tuple[Any, ...]:
    """What comes of an answer: bytes, the end of the connection, an error."""
    wire: Any = Wire()
    log = logging.getLogger(__name__)
    scope: Any = {"type": "http", "method": method, "state": {}}
    cycle = kind(
        scope=scope,
        transport=wire,
        flow=wire,
        logger=log,
        access_logger=log,
        access_log=False,
        default_headers=[DATE],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: None,
    )
    error = None
    try:
        for message in messages:
            await cycle.send(message)  # type: ignore[arg-type]
    except Exception as found:
        error = repr(found)
    return wire.written, wire.closed, cycle.response_complete, cycle.keep_alive, error


@given(
    st.sampled_from(["GET", "POST", "HEAD"]),
    st.booleans(),
    st.sampled_from([200, 204, 304, 503]),
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
    st.lists(st.sampled_from([b"", b"body"]), min_size=1, max_size=2),
)
def test_an_answer_is_sent_as_uvicorn_sends_it(
    method: str,
    keep_alive: bool,
    status: int,
    headers: list[tuple[bytes, bytes]],
    parts: list[bytes],
) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.response.start", "status": status, "headers": headers},
        *({"type": "http.response.body", "body": part, "more_body": True} for part in parts[:-1]),
        {"type": "http.response.body", "body": parts[-1]},
    ]

    async def both() -> None:
        ours = await sent_by(Cycle, method, keep_alive, messages)
        assert ours == await sent_by(RequestResponseCycle, method, keep_alive, messages)

    asyncio.run(both())


@pytest.mark.anyio
@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b=c", b"a\nb", b"a\0"])
async def test_nothing_in_a_header_begins_another(value: bytes) -> None:
    headers = [(b"content-length", b"0"), (b"x-request-id", value)]
    messages = [{"type": "http.response.start", "status": 200, "headers": headers}]
    written, *_, error = await sent_by(Cycle, "GET", True, messages)
    assert written == b"" and "Invalid HTTP header value" in error
