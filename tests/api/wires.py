"""A server in this process, on a real socket, and clients that write bytes to it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from litestar import Litestar

from decision.api.app import create_app
from decision.api.http_limits import Connections, HttpLimits
from decision.api.protocol import BoundedProtocol
from decision.core.ports import Store
from decision.engine import Engine
from decision.server.admission import Admission
from decision.server.settings import ServerSettings
from decision.store import MemoryStore

LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Here:
    """The server: its port, its connections as they are now, and its admission control."""

    def __init__(self, server: uvicorn.Server, protocol: type[BoundedProtocol]) -> None:
        self.server = server
        self.protocol = protocol
        self.port: int = server.servers[0].sockets[0].getsockname()[1]

    @property
    def connections(self) -> list[Any]:
        return list(self.server.server_state.connections)

    def connect(self, seconds: float = 20, receive_buffer: int | None = None) -> socket.socket:
        wire = socket.socket()
        if receive_buffer:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        wire.settimeout(seconds)
        wire.connect(("127.0.0.1", self.port))
        return wire

    def say(self, data: bytes, *, seconds: float = 20) -> bytes:
        """All that comes back until the server closes, or is silent for half a second."""
        with self.connect(seconds) as wire:
            wire.sendall(data)
            return everything(wire)


def everything(wire: socket.socket, silence: float = 0.5) -> bytes:
    """What comes until the other side closes, or says nothing after it has said something."""
    found = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while part := wire.recv(65536):
            found += part
            wire.settimeout(silence)
    return found


def until(wanted: Callable[[], Any], seconds: float = 20) -> Any:
    """Asks again until the answer is true."""
    end = time.monotonic() + seconds
    while not (found := wanted()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)
    return found


def stays(wanted: Callable[[], Any], seconds: float = 1) -> bool:
    """Whether something is true all the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not wanted():
            return False
        time.sleep(0.01)
    return True


@contextlib.contextmanager
def serving_here(
    rules: Path,
    *,
    loop: str = "uvloop",
    limits: HttpLimits | None = None,
    store: Store | None = None,
    admission: Admission | None = None,
    app: Any = None,
    **settings: Any,
) -> Iterator[Here]:
    """A server from its start to its end."""
    given = ServerSettings(rules=str(rules), models=None, **settings)
    admission = admission or Admission(given.timeout_ms / 1000)
    members: dict[str, Any] = {
        "limits": limits or HttpLimits.of(given), "admission": admission, "open": Connections(),
    }  # fmt: skip
    protocol: Any = type("Protocol", (BoundedProtocol,), members)
    app = app or create_app(
        Engine(store or MemoryStore()), given, admission=admission, connections=members["open"]
    )
    protocol.direct = app.state.get("direct", {}) if isinstance(app, Litestar) else {}
    config = uvicorn.Config(
        app, port=0, http=protocol, loop=loop, ws="none", log_config=None, access_log=False,  # type: ignore[arg-type]
        server_header=False, timeout_graceful_shutdown=1, timeout_keep_alive=5,
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        yield Here(server, protocol)
    finally:
        server.should_exit = True
        thread.join(20)
