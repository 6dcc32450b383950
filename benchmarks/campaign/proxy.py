"""One address in front of Redis that can be led elsewhere, slowed down, cut and closed."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, cast

_HOST: Final = "127.0.0.1"


class Proxy:
    """Passes TCP connections on to `upstream`, a port of this machine.

    `upstream` counts for new connections: those that are open stay where they are, as behind a
    virtual address. `delay` is in seconds, in each direction.
    """

    def __init__(self, port: int, upstream: int) -> None:
        self.port = port
        self.upstream = upstream
        self.delay = 0.0
        self._ends: set[_End] = set()
        self._server: asyncio.Server | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Accepts connections (again)."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _End(self), _HOST, self.port)

    def refuse(self) -> None:
        """Accepts no more connections, and cuts those there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self, *, in_reply: bool = False) -> None:
        """Cuts every connection: at once, or in the middle of what comes next."""
        for end in list(self._ends):
            if in_reply:
                end.cut_in_next = True
            else:
                end.abort()

    def connect(self, client: _End) -> None:
        """Begins to connect a client's end with Redis."""
        task = asyncio.get_running_loop().create_task(self._connect(client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, client: _End) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, far = await loop.create_connection(lambda: _End(self, client), _HOST, self.upstream)
        except OSError:
            client.abort()
        else:
            client.pair(far)

    def add(self, end: _End) -> None:
        self._ends.add(end)

    def discard(self, end: _End) -> None:
        self._ends.discard(end)


class _End(asyncio.Protocol):
    """One end of a passed-on connection; what it receives goes to the other end."""

    def __init__(self, proxy: Proxy, other: _End | None = None) -> None:
        self._proxy = proxy
        self._other = other
        self._transport: asyncio.Transport | None = None
        self._late: deque[tuple[float, bytes]] = deque()
        self._from_redis = other is not None
        self.cut_in_next = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._proxy.add(self)
        if not self._from_redis:
            self._proxy.connect(self)

    def pair(self, other: _End) -> None:
        """Passes on what came while there was no other end."""
        self._other = other
        if self._transport is None or self._transport.is_closing():
            other.abort()
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self.cut_in_next and self._from_redis:
            self._pass(data[: len(data) // 2])
            self.abort(gently=True)
            return
        delay = self._proxy.delay
        if not delay and not self._late and self._other is not None:
            self._pass(data)
            return
        loop = asyncio.get_running_loop()
        self._late.append((loop.time() + delay, data))
        loop.call_later(delay + 0.001, self._flush)

    def _flush(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._late and self._other is not None and self._late[0][0] <= now:
            self._pass(self._late.popleft()[1])

    def _pass(self, data: bytes) -> None:
        other = self._other
        if other is not None and other._transport is not None:
            other._transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._proxy.discard(self)
        if self._other is not None:
            self._other.abort()

    def abort(self, *, gently: bool = False) -> None:
        """Closes both ends; gently: what was passed on still arrives."""
        for end in (self, self._other):
            if end is not None and end._transport is not None:
                if gently:
                    end._transport.close()
                else:
                    end._transport.abort()
