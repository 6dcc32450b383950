"""TLS and logins before the broker for tests, which has neither: what a real broker does first.

It speaks Kafka's protocol as far as that takes: it answers the two requests of SASL itself, adds them
to the versions that the broker knows, and names its own address where the broker names its. All
else is the broker's.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

API_VERSIONS, HANDSHAKE, AUTHENTICATE = 18, 17, 36
UNSUPPORTED_MECHANISM, UNSUPPORTED_VERSION, AUTHENTICATION_FAILED = 33, 35, 58


class Front:
    """What stands before a broker; `logins` counts those that were accepted."""

    def __init__(self, broker: str, tls: ssl.SSLContext | None, login: tuple[str, str] | None):
        host, _, port = broker.rpartition(":")
        self._broker = (host or "127.0.0.1", int(port))
        self._tls = tls
        self._login = login
        self.logins = 0
        self.address = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Front]:
        """The front, from its start to its end."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self._port = server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(*self._broker)
        known = self._login is None
        try:
            while True:
                request = await _frame(reader)
                key, version = _int(request[:2]), _int(request[2:4])
                head, body = request[4:8], request[10 + max(0, _int(request[8:10])) :]
                if key == HANDSHAKE:
                    good = body[2:] == b"PLAIN"
                    error = 0 if good else UNSUPPORTED_MECHANISM
                    answer = head + _bytes(error) + (1).to_bytes(4) + _bytes(5) + b"PLAIN"
                elif key == AUTHENTICATE:
                    known = body[4:].decode().split("\0")[1:] == list(self._login or ())
                    self.logins += known
                    said = _bytes(0 if known else AUTHENTICATION_FAILED) + _bytes(-1)
                    answer = head + said + bytes(4) + (bytes(8) if version else b"")
                elif key == API_VERSIONS and version:
                    answer = head + _bytes(UNSUPPORTED_VERSION) + bytes(4)
                elif not known and key != API_VERSIONS:
                    return
                else:
                    inner_writer.write(len(request).to_bytes(4) + request)
                    answer = self._own_address(await _frame(inner_reader))
                    if key == API_VERSIONS:
                        answer = _with_sasl(answer)
                writer.write(len(answer).to_bytes(4) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            inner_writer.close()
            writer.close()

    def _own_address(self, answer: bytes) -> bytes:
        _, port = self._broker
        place = b"127.0.0.1"
        return answer.replace(place + port.to_bytes(4), place + self._port.to_bytes(4))


async def _frame(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(_int(await reader.readexactly(4)))


def _int(data: bytes) -> int:
    return int.from_bytes(data, signed=True)


def _bytes(number: int) -> bytes:
    return number.to_bytes(2, signed=True)


def _with_sasl(answer: bytes) -> bytes:
    """The versions of a broker (version 0 of that answer), with those of SASL."""
    count = _int(answer[6:10]) + 2
    rows = b"".join(_bytes(key) + _bytes(0) + _bytes(1) for key in (HANDSHAKE, AUTHENTICATE))
    return answer[:6] + count.to_bytes(4) + rows + answer[10:]
