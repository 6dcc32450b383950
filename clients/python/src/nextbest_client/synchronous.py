"""What the waiting client is made of."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
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


class Base:
    """One for each process: it keeps connections open, and threads may share it.

    `timeout` is how many seconds an answer may keep one waiting. `retries` is how often a call is
    made again: only where that can do nothing twice, and after what `Retry-After` says, unless
    that is more than `longest_wait` seconds. `http` is a client of your own, for proxies,
    certificates or the size of the pool; you close it.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = 5.0,
        retries: int = 2,
        longest_wait: float = 30.0,
        http: httpx.Client | None = None,
    ) -> None:
        self._url = address(url)
        self._headers = authorization(key)
        self._timeout = timeout
        self._retries = Retries(retries, longest_wait)
        self._own = http is None
        self._http = httpx.Client() if http is None else http

    def close(self) -> None:
        """Closes all connections."""
        if self._own:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def decide_batch(
        self, requests: Iterable[Line], *, portion: int = 200, timeout: float | None = None
    ) -> Iterator[Decision | BadLine]:
        """Decides many requests, which may be lines of a file; a `BadLine` stands for a bad one.

        Requests are taken as answers are wanted, `portion` at a time, so there may be millions.
        """
        portions = Portions(portion, timeout)
        for request in requests:
            for ready in portions.add(request):
                yield from self._decided(ready)
        for ready in portions.rest():
            yield from self._decided(ready)

    def _decided(self, portion: Portion) -> list[Decision | BadLine]:
        exchange = Exchange(portion, self._retries)
        wait: float | None = 0.0
        while wait is not None:
            time.sleep(wait)
            wait = exchange.take(self._send(exchange.portion))
        return exchange.answers()

    def _send(self, call: Call[T]) -> T:
        return self._made(call, call.result, stream=False)

    def _stream(self, call: LinesCall) -> Iterator[Any]:
        answer = self._made(call, lambda answer: answer, stream=True)
        try:
            lines = Streamed(call, answer)
            for part in answer.iter_bytes():
                yield from lines.add(part)
            yield from lines.end()
        except httpx.HTTPError as error:
            raise failure_of(error) from error
        finally:
            answer.close()

    def _made(self, call: Call[Any], read: Callable[[httpx.Response], T], *, stream: bool) -> T:
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
                answer = self._http.send(request, stream=stream, follow_redirects=False)
                if answer.is_success:
                    return read(answer)
                failure = problem_of(answer.status_code, answer.headers, answer.read())
                if done_before(call, failure, made):
                    return read(httpx.Response(httpx.codes.NO_CONTENT))
            except httpx.HTTPError as error:
                failure = failure_of(error)
            except NextbestError as error:
                failure = error
            wait = self._retries.wait(call.repeatable, failure, made)
            if wait is None:
                raise failure
            time.sleep(wait)
        raise AssertionError
