"""The two ways by which a server answers a decision: within the protocol, and by the framework."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import uvicorn
from litestar import Litestar
from uvicorn.server import ServerState

from decision.api.app import create_app
from decision.api.http_limits import Connections
from decision.api.protocol import BoundedProtocol
from decision.api.request_heads import KnownHeads
from decision.engine import Engine
from decision.server.admission import Admission
from decision.server.settings import ServerSettings
from decision.store import MemoryStore

_VARYING: Final = (
    re.compile(rb'(?<="decision_id":")[^"]+'),
    re.compile(rb'(?<="decided_at":")[^"]+'),
    re.compile(rb"(?<=x-request-id: )[0-9a-f]{16}(?=\r)"),
    re.compile(rb'(?<=urn:nextbest:request:)[0-9a-f]{16}(?=")'),
    re.compile(rb"(?<=retry-after: )[0-9]+"),
)


class Doors:
    """One application behind two listening sockets, on an event loop of its own.

    `direct` is how many requests were answered within the protocol.
    """

    def __init__(self, runner: asyncio.Runner, engine: Engine) -> None:
        self.engine = engine
        self.direct = 0
        self._runner = runner
        self._doors: list[tuple[int, ServerState]] = []

    async def open(
        self, app: Litestar, admission: Admission
    ) -> Callable[[], Coroutine[Any, Any, None]]:
        """Starts the application and opens both doors; what is returned ends it."""
        started, ended = asyncio.Event(), asyncio.Event()

        async def live() -> None:
            async with app.lifespan():
                started.set()
                await ended.wait()

        async def end() -> None:
            ended.set()
            await living

        living = asyncio.create_task(live())
        await started.wait()
        config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None)  # type: ignore[arg-type]
        for direct in ({key: self._counted(one) for key, one in app.state.direct.items()}, {}):
            members = {"direct": direct, "admission": admission, "open": Connections()}
            members["known"] = KnownHeads()  # of the second none will be: it answers nothing itself
            protocol: Any = type("Protocol", (BoundedProtocol,), members)
            state = ServerState()
            state.default_headers = [(b"date", b"Sat, 28 Nov 2026 03:00:00 GMT")]

            def one(protocol: Any = protocol, state: ServerState = state) -> Any:
                return protocol(config=config, server_state=state, app_state={})

            server = await asyncio.get_running_loop().create_server(one, "127.0.0.1", 0)
            self._doors.append((server.sockets[0].getsockname()[1], state))
        return end

    def answers(self, *parts: bytes, count: int = 0) -> tuple[bytes, bytes]:
        """What both doors answer to the same bytes, sent in these parts, but for what varies.

        There are at least so many answers; more are awaited for some turns of the loop.
        """
        return self._runner.run(self._answers(parts, count))

    def settle(self) -> None:
        """Waits until nothing is under way: a body too large is read on for a second."""

        async def settled() -> None:
            while any(state.tasks for _, state in self._doors):
                await asyncio.sleep(0.001)

        self._runner.run(settled())

    async def _answers(self, parts: Sequence[bytes], count: int) -> tuple[bytes, bytes]:
        first, second = [_Client(port, state) for port, state in self._doors]
        try:
            for client in (first, second):
                await client.send(parts)
            silent, until = 0, asyncio.get_running_loop().time() + 10
            while silent < 10 and asyncio.get_running_loop().time() < until:
                await asyncio.sleep(0.001)
                news = [client.read() or not client.is_idle() for client in (first, second)]
                same = first.answer == second.answer and first.answer.count(b"HTTP/1.1 ") >= count
                silent = silent + 1 if same and not any(news) else 0
        finally:
            first.wire.close()
            second.wire.close()
        return first.answer, second.answer

    def _counted(self, app: Any) -> Any:
        async def counted(scope: Any, receive: Any, send: Any) -> None:
            self.direct += 1
            await app(scope, receive, send)

        return counted


class _Client:
    """A client of one door."""

    def __init__(self, port: int, state: ServerState) -> None:
        self._port = port
        self._state = state
        self._found = b""
        self._looks = 0
        self.wire = socket.socket()
        self.wire.setblocking(False)

    async def send(self, parts: Sequence[bytes]) -> None:
        """Sends the parts, each to be read for itself."""
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.wire, ("127.0.0.1", self._port))
        with contextlib.suppress(OSError):  # it is closed before all is sent
            for part in parts:
                await loop.sock_sendall(self.wire, part)
                await asyncio.sleep(0.001)

    def read(self) -> bool:
        """Whether there was something to read."""
        with contextlib.suppress(OSError):
            part = self.wire.recv(1 << 20)
            self._found += part
            self._looks = 0 if part else self._looks
            return bool(part)
        return False

    def is_idle(self) -> bool:
        """Whether no request is being answered, but for one that waits for its body."""
        self._looks += 1
        return not self._state.tasks or self._looks > 20

    @property
    def answer(self) -> bytes:
        """What came, but for what varies."""
        found = self._found
        for pattern in _VARYING:
            found = pattern.sub(b"_", found)
        return found


@contextlib.contextmanager
def both_doors(rules: Path, **settings: Any) -> Iterator[Doors]:
    """An application from its start to its end."""
    engine, admission = Engine(MemoryStore()), Admission(20)
    few = {"models": None, "console": False, "timeout_ms": 20_000}
    given = ServerSettings(rules=str(rules), **{**few, **settings})  # type: ignore[arg-type]
    app = create_app(engine, given, admission=admission)
    with asyncio.Runner() as runner:
        doors = Doors(runner, engine)
        end = runner.run(doors.open(app, admission))
        try:
            yield doors
        finally:
            runner.run(end())
