"""What asks a server: a closed loop, and an open one that does not leave out what had to wait."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import select
import selectors
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar

T = TypeVar("T")

CONNECTIONS: Final = 16
_END: Final = b"\r\n\r\n"


class RequestFailed(Exception):
    """A server answered with an error; the text has what it said."""


class Refused(RequestFailed):
    """A server answered 503, as one does that is asked more than it can do in time."""


class Load(NamedTuple):
    """What came of a load: seconds, and for each answer when it was due and what it took."""

    seconds: float
    due: list[float]
    times: list[float]
    refused: int = 0

    @property
    def answers(self) -> int:
        """How many there were."""
        return len(self.times)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds

    def at(self, share: float) -> float:
        """A quantile of the times, in ms; 0 where nothing was answered."""
        return quantile(self.times, share) * 1000


def quantile(values: list[float], share: float) -> float:
    """A quantile; 0 of no values.

    >>> quantile([3.0, 1.0, 2.0], 0.5)
    2.0
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def request_of(customer: str) -> bytes:
    """A request for a decision."""
    return post("/v1/decisions", body_of(customer))


def body_of(customer: str) -> dict[str, Any]:
    """What is asked of a decision, for one customer."""
    return {
        "customer_id": customer,
        "placement": "outbound",
        "event": {"type": "cart_add", "properties": {"cart_value": 320}},
        "context": {"device": "ios"},
    }


def post(path: str, body: dict[str, Any]) -> bytes:
    """The bytes of a request."""
    raw = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


def get(path: str) -> bytes:
    """The bytes of a request without a body."""
    return f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()


class Connection(asyncio.Protocol):
    """One connection to a server, on which requests follow one another."""

    def __init__(self) -> None:
        self._parts = b""
        self._head = b""
        self._missing = -1  # bytes of the body that have not come; -1: the head has not, either
        self._answer: asyncio.Future[bytes] | None = None

    @classmethod
    async def open(cls, port: int) -> Connection:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(cls, "127.0.0.1", port))[1]

    async def ask(self, request: bytes) -> bytes:
        """The body of the answer.

        Raises:
            RequestFailed: it is none.
            ConnectionError: the server has hung up.
        """
        self._answer = asyncio.get_running_loop().create_future()
        if self._transport.is_closing():
            raise ConnectionResetError("the server has hung up")
        self._transport.write(request)
        body = await self._answer
        if not self._head.startswith(b"HTTP/1.1 200"):
            kind = Refused if self._head.startswith(b"HTTP/1.1 503") else RequestFailed
            raise kind(f"{self._head.decode()}\n{body.decode()}")
        return body

    def close(self) -> None:
        self._transport.close()

    @property
    def closed(self) -> bool:
        """Whether either side has hung up: a server does so on one that was idle for long."""
        return self._transport.is_closing()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parts += data
        if self._missing < 0:
            head, end, rest = self._parts.partition(_END)
            if not end:
                return
            self._head, self._parts = head, rest
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self._missing = int(length or 0)
        if len(self._parts) >= self._missing and self._answer is not None:
            body, self._parts, self._missing = self._parts, b"", -1
            if not self._answer.done():
                self._answer.set_result(body)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("the server has hung up"))


if sys.platform == "linux":

    class _Exact(selectors.EpollSelector):
        """Waits as long as it is told. By itself epoll waits for whole milliseconds, rounded up: what
        is due would be sent up to one too late, several at once, and that would count as the server's."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is None or timeout > 0:
                select.select([self.fileno()], [], [], timeout)
            return super().select(0)

else:
    _Exact = selectors.DefaultSelector


def run(load: Coroutine[Any, Any, T]) -> T:
    """The result of a load, in an event loop whose timers are exact to some 0.1 ms."""
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_Exact())) as runner:
        return runner.run(load)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without garbage collection here: a full one takes 80 ms, which would count as the server's."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def closed_loop(port: int, requests: list[bytes], seconds: float, wide: int) -> Load:
    """So many connections, on each of which one request follows the other."""
    until, refused = 0.0, 0
    dues, times = list[float](), list[float]()
    draw = random.Random(wide)

    async def client() -> None:
        nonlocal refused
        connection = await Connection.open(port)
        while (began := time.perf_counter()) < until:
            try:
                await connection.ask(draw.choice(requests))
            except Refused:
                refused += 1
                continue
            dues.append(began)
            times.append(time.perf_counter() - began)
        connection.close()

    with uncollected():
        began = time.perf_counter()
        until = began + seconds
        await asyncio.gather(*(client() for _ in range(wide)))
    return Load(time.perf_counter() - began, dues, times, refused)


async def open_loop(
    port: int,
    requests: list[bytes],
    seconds: float,
    rate: float,
    ended: asyncio.Event | None = None,
) -> Load:
    """Requests at random times, `rate` a second, each timed from when it was due.

    A request that is due is sent at once, on a connection of its own where all others wait: a
    server that stalls does not hold back what would have been asked of it meanwhile. It goes on for
    so many seconds, or until `ended` is set.
    """
    draw, refused = random.Random(3), 0
    idle = [await Connection.open(port) for _ in range(CONNECTIONS)]
    dues, times = list[float](), list[float]()

    async def one(due: float) -> None:
        nonlocal refused
        while idle and idle[-1].closed:
            idle.pop()
        connection = idle.pop() if idle else await Connection.open(port)
        try:
            await connection.ask(draw.choice(requests))
        except Refused:
            refused += 1
        else:
            dues.append(due)
            times.append(time.perf_counter() - due)
        idle.append(connection)

    with uncollected():
        began = due = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            while (due := due + draw.expovariate(rate)) < began + seconds:
                if ended is not None and ended.is_set():
                    break
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                group.create_task(one(due))
    for connection in idle:
        connection.close()
    return Load(time.perf_counter() - began, dues, times, refused)
