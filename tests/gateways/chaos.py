"""A server that answers with any bytes, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Writer = asyncio.StreamWriter


@dataclass
class Request:
    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """`answers` are given in turn; the last one again and again.

    An answer is bytes, or a coroutine function that gets the writer. The connection is closed
    after it, unless it is bytes and `keep` is set.
    """

    answers: list[bytes | Callable[[Writer], Awaitable[None]]]
    keep: bool = False
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in?a=b"

    async def serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *rest = head.split("\r\n")
                headers = {
                    name: one.split(": ", 1)[1]
                    for one in rest
                    if one
                    for name in [one.split(": ", 1)[0].lower()]
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                answer = self.answers[min(len(self.requests), len(self.answers) - 1)]
                self.requests.append(Request(line, headers, body))
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(writer)
                if not self.keep:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    rows = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\n{rows}content-length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def serving(
    *answers: bytes | Callable[[Writer], Awaitable[None]],
    host: str = "127.0.0.1",
    keep: bool = False,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Server]:
    server = Server(list(answers), keep)
    listening = await asyncio.start_server(server.serve, host, 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server


async def hang(writer: Writer) -> None:
    await asyncio.sleep(30)


async def drip(writer: Writer) -> None:
    """A head that comes a byte at a time: each in time, all of it never."""
    writer.write(b"HTTP/1.1 200 OK\r\nx: ")
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.01)
