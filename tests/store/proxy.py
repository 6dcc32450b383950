"""A proxy between a store and its Redis that breaks connections at a chosen command.

    async with Proxy(redis_url) as proxy:
        store = RedisStore(proxy.url)
        proxy.drop_reply("EVALSHA")          # executed, but its reply never arrives
        proxy.cut_before("EVALSHA", nth=2)   # never reaches Redis
        proxy.cut_mid_reply("GET")           # half of the reply arrives
        held = proxy.hold("GET")             # the reply waits until held.set()
        late = proxy.strand("EVALSHA")       # the client is cut; Redis gets it after late.set()
        proxy.errors["GET"] = "OOM …"        # is the reply to each GET; "*" is every command

Commands of a connection are passed on one at a time, so that each reply is known by its command.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ssl import SSLContext
from types import TracebackType
from typing import Literal
from urllib.parse import unquote, urlsplit

import hiredis

Action = Literal["drop_reply", "cut_before", "cut_mid_reply", "hold", "strand"]


@dataclass
class Fault:
    """What happens to the nth command from now on, in any connection, that has this name.

    The name is that of the command, or its first argument: the digest of a script.
    """

    name: str
    action: Action
    nth: int
    event: asyncio.Event = field(default_factory=asyncio.Event)


class Proxy:
    """Listens on a free port of the loopback; `url` leads to it."""

    def __init__(self, upstream: str, tls: SSLContext | None = None) -> None:
        self._tls = tls
        self._upstream = urlsplit(upstream)
        self._faults: list[Fault] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.open: set[asyncio.StreamWriter] = set()
        self.on_fault: Callable[[], Awaitable[None]] | None = None
        self.seen: Counter[str] = Counter()
        self.errors: dict[str, str] = {}
        self.connections = 0
        self.url = ""
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Proxy:
        await self.listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def listen(self) -> None:
        """Accepts connections (again)."""
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'rediss' if self._tls else 'redis'}://127.0.0.1:{self.port}"

    async def refuse(self) -> None:
        """Accepts no more connections, and cuts those there are."""
        if self._server is not None:
            self._server.close()
        self.cut()

    def lead_to(self, upstream: str) -> None:
        """Leads new connections to another server."""
        self._upstream = urlsplit(upstream)

    def cut(self) -> None:
        """Cuts every connection at once."""
        for writer in self.open:
            writer.transport.abort()

    def drop_reply(self, name: str, nth: int = 1) -> Fault:
        return self._add(name, "drop_reply", nth)

    def cut_before(self, name: str, nth: int = 1) -> Fault:
        return self._add(name, "cut_before", nth)

    def cut_mid_reply(self, name: str, nth: int = 1) -> Fault:
        return self._add(name, "cut_mid_reply", nth)

    def hold(self, name: str, nth: int = 1) -> asyncio.Event:
        return self._add(name, "hold", nth).event

    def strand(self, name: str, nth: int = 1) -> asyncio.Event:
        return self._add(name, "strand", nth).event

    def forget(self) -> None:
        """Leaves out the faults that have not happened: else they meet a later command."""
        self._faults.clear()

    def _add(self, name: str, action: Action, nth: int) -> Fault:
        self._faults.append(Fault(name, action, nth))
        return self._faults[-1]

    def _fault_for(self, names: Sequence[str]) -> Fault | None:
        for fault in self._faults:
            if fault.name in names:
                fault.nth -= 1
                if fault.nth == 0:
                    self._faults.remove(fault)
                    return fault
        return None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open.add(writer)
        self.connections += 1
        up_writer = None
        try:
            if self._upstream.scheme == "unix":
                path = unquote(self._upstream.path)
                up_reader, up_writer = await asyncio.open_unix_connection(path)
            else:
                host, port = self._upstream.hostname, self._upstream.port or 6379
                up_reader, up_writer = await asyncio.open_connection(host, port)
            await self._serve(reader, writer, up_reader, up_writer)
        except (ConnectionError, RuntimeError, asyncio.CancelledError):
            pass  # RuntimeError: uvloop's word for a transport that is closed
        finally:
            writer.transport.abort()
            if up_writer is not None:
                up_writer.transport.abort()
            self.open.discard(writer)
            self._tasks.discard(task)

    async def _serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        commands = hiredis.Reader()
        while chunk := await reader.read(1 << 16):
            commands.feed(chunk)
            while (command := commands.gets()) is not False:
                names = [part.decode(errors="replace") for part in command[:2]]
                self.seen[names[0]] += 1
                said = [self.errors[name] for name in (*names, "*") if name in self.errors]
                if said:
                    writer.write(f"-{said[0]}\r\n".encode())
                    await writer.drain()
                    continue
                fault = self._fault_for(names)
                if fault is not None and self.on_fault is not None:
                    await self.on_fault()
                if fault is not None and fault.action == "cut_before":
                    return
                if fault is not None and fault.action == "strand":
                    writer.transport.abort()
                    await fault.event.wait()
                up_writer.write(hiredis.pack_command(tuple(command)))
                reply = await _whole_reply(up_reader)
                if fault is not None:
                    if fault.action == "drop_reply":
                        return
                    if fault.action == "cut_mid_reply":
                        writer.write(reply[: len(reply) // 2])
                        await writer.drain()
                        return
                    if fault.action == "hold":
                        await fault.event.wait()
                writer.write(reply)
                await writer.drain()


async def _whole_reply(reader: asyncio.StreamReader) -> bytes:
    """The bytes of exactly one reply: nothing else is under way on this connection."""
    replies, raw = hiredis.Reader(), b""
    while True:
        chunk = await reader.read(1 << 16)
        if not chunk:
            raise ConnectionResetError
        raw += chunk
        replies.feed(chunk)
        if replies.gets() is not False:
            return raw


async def until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Waits for a state to come about."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)
