"""Answers: bytes that are ready to send, without a serialisation layer in between."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from litestar import Request
from litestar.types import HTTPResponseStartEvent, Receive, Scope, Send

from decision.api.problems import JSON, PRIVATE
from decision.core.errors import InputError

LONGEST_ID: Final = 256
_NDJSON: Final = (b"content-type", b"application/x-ndjson")
_PIECE: Final = 64 * 1024

encode_json = msgspec.json.Encoder().encode


class Answer:
    """A complete answer. JSON unless `content_type` says otherwise; never kept by caches."""

    __slots__ = ("content", "headers", "status", "type_header")

    def __init__(
        self,
        content: bytes,
        status: int = 200,
        content_type: tuple[bytes, bytes] = JSON,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.content = content
        self.status = status
        self.type_header = content_type
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer."""
        await send(self._start())
        await send({"type": "http.response.body", "body": self.content, "more_body": False})

    async def give(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Sends the answer to a request whose body has come; false if its client had gone.

        A server drops what is sent to a client that has gone, also while sending waits for the
        client to read. Our own notes it in the request's state (`BoundedProtocol`). Others say so
        only to `receive`, and only before the answer has ended.
        """
        if "body_received" in scope["state"]:
            await self(scope, receive, send)
            return "client_gone" not in scope["state"]
        await send(self._start())
        await send({"type": "http.response.body", "body": self.content, "more_body": True})
        if has_gone(receive):
            return False
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return True

    def _start(self) -> HTTPResponseStartEvent:
        headers = [PRIVATE, *self.headers]
        if self.status not in (204, 304):
            length = str(len(self.content)).encode()
            headers += [self.type_header, (b"content-length", length)]
        return {"type": "http.response.start", "status": self.status, "headers": headers}


class Streamed(Answer):
    """Lines of JSON, sent as they come; the first one has come. Only one task may send it."""

    __slots__ = ("first", "lines")

    def __init__(self, first: bytes, lines: AsyncGenerator[bytes, None]) -> None:
        super().__init__(b"", content_type=_NDJSON)
        self.first = first
        self.lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the lines, until they end or the client has gone."""
        headers = [PRIVATE, self.type_header]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        part = [self.first]
        size = len(self.first)
        async with contextlib.aclosing(self.lines) as lines:
            async for line in lines:
                part.append(line)
                size += len(line)
                if size >= _PIECE:
                    body = b"".join(part)
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    part, size = [], 0
                    if "client_gone" in scope["state"]:
                        return
        body = b"".join(part)
        await send({"type": "http.response.body", "body": body, "more_body": False})


def has_gone(receive: Receive) -> bool:
    """Whether the client of a request whose body has come has gone; asks without waiting."""
    asked: Any = receive()
    try:
        asked.send(None)
    except StopIteration as answer:
        gone: bool = answer.value["type"] == "http.disconnect"
        return gone
    asked.close()
    return False


def json_answer(value: Any, status: int = 200) -> Answer:
    """A value as JSON."""
    return Answer(encode_json(value), status)


def path_id(request: Request[Any, Any, Any], name: str) -> str:
    """An id in the path, where it may be percent-encoded.

    Raises:
        InputError: it is not UTF-8, or too long.
    """
    try:
        value = unquote(request.path_params[name], errors="strict")
    except UnicodeDecodeError:
        raise InputError(name, "is not percent-encoded UTF-8") from None
    if len(value) > LONGEST_ID:
        raise InputError(name, f"has {len(value)} characters, may have {LONGEST_ID}")
    return value
