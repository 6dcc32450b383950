"""Pages that are sent while they are made: how far the work is, then its result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any, Final, TypeVar

from litestar.types import Receive, Scope, Send

from decision.console.answers import HTML, Answer

MARK: Final = "<!-- the rest comes later -->"
"""In a template: where the pieces go. What people write is escaped, so it is there but once."""

T = TypeVar("T")


class Streamed(Answer):
    """A page around pieces of HTML. Whoever goes away ends what makes them."""

    __slots__ = ("_pieces",)

    def __init__(self, page: Answer, pieces: AsyncIterator[bytes]) -> None:
        super().__init__(page.content, page.status, kind=HTML)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it, until the end or until nobody listens."""
        before, _, after = self.content.partition(MARK.encode())

        async def body(data: bytes, more: bool) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})

        async def all_of_it() -> None:
            await send(self.start(scope))
            await body(before, True)
            async with aclosing(self._pieces):  # type: ignore[type-var]
                async for piece in self._pieces:
                    await body(piece, True)
            await body(after, False)

        sending = asyncio.create_task(all_of_it())
        watching = asyncio.create_task(gone(receive))
        try:
            await asyncio.wait((sending, watching), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, watching):
                task.cancel() if not task.done() else None
            with suppress(asyncio.CancelledError):
                await sending


async def gone(receive: Receive) -> None:
    """Ends when whoever asked has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def told(
    work: Callable[[Callable[[Any], None]], Coroutine[Any, Any, T]],
    show: Callable[[Any], str],
    done: Callable[[T], Awaitable[bytes]],
) -> AsyncIterator[bytes]:
    """Pieces for work that tells how far it is: `show` says each in HTML, `done` its result."""
    news: asyncio.Queue[Any] = asyncio.Queue()
    task = asyncio.create_task(work(news.put_nowait))
    try:
        while not task.done():
            waiting = asyncio.create_task(news.get())
            await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                yield show(waiting.result()).encode()
            else:
                waiting.cancel()
        yield await done(await task)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
