"""What the client for asyncio is made of."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from nextbest_client.calls import (
    Call,
    LinesCall,
    Retries,
    address,
    authorization,
    done_before,
    failure_of,
)
from nextbest_client.errors import NextbestError, problem_of
from nextbest_client.lines import BadLine, Exchange, Line, Portion, Portions, Streamed
from nextbest_client.types import Decision

T = TypeVar("T")


class AsyncBase:
    """One for each event loop: it keeps connections open. For what it takes see `Base`."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = 5.0,
        retries: int = 2,
        longest_wait: float = 30.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._url = address(url)
        self._headers = authorization(key)
        self._timeout = timeout
        self._retries = Retries(retries, longest_wait)
        self._own = http is None
        self._http = httpx.AsyncClient() if http is None else http

    async def close(self) -> None:
        """Closes all connections."""
        if self._own:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def decide_batch(
        self,
        requests: Iterable[Line] | AsyncIterable[Line],
        *,
        portion: int = 200,
        timeout: float | None = None,
    ) -> AsyncIterator[Decision | BadLine]:
        """Decides many requests, which may be lines of a file; a `BadLine` stands for a bad one.

        Requests are taken as answers are wanted, `portion` at a time, so there may be millions.
        """
        portions = Portions(portion, timeout)
        async for request in _each(requests):
            for ready in portions.add(request):
                for one in await self._decided(ready):
                    yield one
        for ready in portions.rest():
            for one in await self._decided(ready):
                yield one

    async def _decided(self, portion: Portion) -> list[Decision | BadLine]:
        exchange = Exchange(portion, self._retries)
        wait: float | None = 0.0
        while wait is not None:
            await asyncio.sleep(wait)
            wait = exchange.take(await self._send(exchange.portion))
        return exchange.answers()

    async def _send(self, call: Call[T]) -> T:
        return await self._made(call, call.result, stream=False)

    async def _stream(self, call: LinesCall) -> AsyncIterator[Any]:
        answer = await self._made(call, lambda answer: answer, stream=True)
        try:
            lines = Streamed(call, answer)
            async for part in answer.aiter_bytes():
                for line in lines.add(part):
                    yield line
            for line in lines.end():
                yield line
        except httpx.HTTPError as error:
            raise failure_of(error) from error
        finally:
            await answer.aclose()

    async def _made(
        self, call: Call[Any], read: Callable[[httpx.Response], T], *, stream: bool
    ) -> T:
        """What `read` makes of the answer to a call, which is made again where that is right."""
        try:
            request = self._http.build_request(
                call.method,
                self._url + call.target,
                content=call.body,
                headers={**self._headers, **call.headers},
                timeout=self._timeout if call.timeout is None else call.timeout,
            )
        except httpx.InvalidURL as error:  # longer than any address can be
            raise ValueError(f"the path cannot be sent: {error}") from None
        failure: NextbestError
        for made in itertools.count(1):
            try:
                answer = await self._http.send(request, stream=stream, follow_redirects=False)
                if answer.is_success:
                    return read(answer)
                failure = problem_of(answer.status_code, answer.headers, await answer.aread())
                if done_before(call, failure, made):
                    return read(httpx.Response(httpx.codes.NO_CONTENT))
            except httpx.HTTPError as error:
                failure = failure_of(error)
            except NextbestError as error:
                failure = error
            wait = self._retries.wait(call.repeatable, failure, made)
            if wait is None:
                raise failure
            await asyncio.sleep(wait)
        raise AssertionError


async def _each(requests: Iterable[Line] | AsyncIterable[Line]) -> AsyncIterator[Line]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request
