"""One task for all requests of a connection that are answered within the protocol."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class ServingTask:
    """Answers the requests of one connection, one after another.

    A task for each request costs as much as parsing it: asyncio notes every task in a weak set, and
    its end takes another turn of the event loop. `tasks` are those under way, as uvicorn has them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[None]]) -> None:
        self._loop = loop
        self._tasks = tasks
        self._task: asyncio.Task[None] | None = None
        self._next: tuple[RequestResponseCycle, Any] | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._ended = False

    def begin(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Answers a request, once the answer before it is given."""
        self._next = cycle, app
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._serve())
        else:
            self._wake()
        self._tasks.add(self._task)

    def end(self) -> None:
        """Ends the task once nothing is under way: no request follows."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _serve(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            while True:
                while self._next is not None:
                    (cycle, app), self._next = self._next, None
                    await cycle.run_asgi(app)
                    del cycle  # it has what the request had
                self._tasks.discard(task)
                if self._ended:
                    return
                self._waiting = self._loop.create_future()
                await self._waiting
        finally:
            self._tasks.discard(task)
