"""A small HTTP client for load: kept connections, raw bytes, and what had arrived when one broke."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, cast

import httptools


class Broken(Exception):
    """The connection ended, or the time was up, before the answer was complete."""

    def __init__(self, why: str, part: bytes = b"") -> None:
        super().__init__(why)
        self.part = part


class NotConnected(Broken):
    """Nothing was sent."""


class Reply(NamedTuple):
    """A complete answer."""

    status: int
    body: bytes
    retry_after: str


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self._waiting: asyncio.Future[Reply] | None = None
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._retry_after = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    async def exchange(self, request: bytes, seconds: float) -> Reply:
        assert self.transport is not None
        self._reset()
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        try:
            async with asyncio.timeout(seconds):
                return await self._waiting
        except TimeoutError:
            raise Broken("time-out", self._part()) from None

    def _part(self) -> bytes:
        return b"".join(self._parts)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not HTTP: {error}")

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self._retry_after = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.lost = True
        if self._waiting is not None and not self._waiting.done():
            reply = Reply(self._parser.get_status_code(), self._part(), self._retry_after)
            self._waiting.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail("the connection was lost")

    def _fail(self, why: str) -> None:
        self.lost = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Broken(why, self._part()))


class Client:
    """Asks one server; opens connections as they are needed, up to `most`."""

    def __init__(self, port: int, most: int = 500) -> None:
        self._port = port
        self._idle: list[_Connection] = []
        self._places = asyncio.Semaphore(most)

    async def send(self, request: bytes, seconds: float) -> Reply:
        """The answer.

        Raises:
            Broken: there is none, or only a part of it.
        """
        async with self._places:
            connection = await self._connection()
            try:
                return await connection.exchange(request, seconds)
            except BaseException:
                connection.lost = True
                raise
            finally:
                if not connection.lost:
                    self._idle.append(connection)
                elif connection.transport is not None:
                    connection.transport.abort()

    def close(self) -> None:
        """Closes the connections that are kept."""
        for connection in self._idle:
            if connection.transport is not None:
                connection.transport.close()

    async def _connection(self) -> _Connection:
        while self._idle:
            if not (connection := self._idle.pop()).lost:
                return connection
        try:
            async with asyncio.timeout(5):
                loop = asyncio.get_running_loop()
                found = await loop.create_connection(_Connection, "127.0.0.1", self._port)
                return found[1]
        except (OSError, TimeoutError) as error:
            raise NotConnected(f"not connected: {type(error).__name__}") from None


def request(
    method: str, path: str, body: bytes = b"", content_type: str = "application/json"
) -> bytes:
    """The bytes of a request."""
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    if body or method in ("POST", "PUT"):
        head += f"content-type: {content_type}\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body
