"""The console served over HTTP from a thread, for browsers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

from decision.api.app import create_app
from decision.core.ports import Store
from decision.engine import Engine
from decision.server.settings import ServerSettings
from decision.store import MemoryStore
from tests.ports import free_port

T = TypeVar("T")


class Site:
    """One server; `url` is its address. `engine` is its engine, to be called by `run`."""

    def __init__(
        self, rules: Path, keys: Path | None = None, store: Store | None = None, **settings: Any
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.engine = Engine(store or MemoryStore())
        given = ServerSettings(
            rules=str(rules),
            port=self.port,
            api_keys_file=None if keys is None else str(keys),
            **{"models": None, "timeout_ms": 20_000, **settings},
        )
        app = create_app(self.engine, given)
        config = uvicorn.Config(app, port=self.port, log_level="error", loop="asyncio", ws="none")
        self._server = uvicorn.Server(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await self._server.serve()

        asyncio.run(serve())

    def run(self, work: Coroutine[Any, Any, T], seconds: float = 60) -> T:
        """The result of work on the engine, done on the server's event loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def __enter__(self) -> Site:
        self._thread.start()
        started = threading.Event()
        while not self._server.started:
            assert self._thread.is_alive(), "the server did not start"
            started.wait(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()
