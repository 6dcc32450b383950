"""A batch: lines in, lines out, streamed, in order, with a bound on decisions at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from litestar.types import HTTPReceiveMessage, Receive, Scope, Send

from decision.api.answers import encode_json
from decision.api.bodies import late, too_large
from decision.api.errors import as_problem
from decision.api.middleware import http_request_id
from decision.api.problems import PRIVATE, Problem, unavailable
from decision.core.schema import DecisionRequest
from decision.engine import Engine, UngivenDecision
from decision.server.admission import Admission, retry_after
from decision.server.byte_budget import ByteBudget, weight
from decision.server.settings import ServerSettings

_ROOM: Final = 1024 * 1024
_PATIENCE: Final = 1.0
_SLOWEST: Final = 100
"""Bytes per second at which a batch must arrive; what it waits for us is not counted."""
_PIECE: Final = 64 * 1024
_HEADERS: Final = [(b"content-type", b"application/x-ndjson"), PRIVATE]


class Batches:
    """The batches of one worker.

    `waiting` is the bytes that they have sent ahead, together; `budget` is for lines that are
    begun, and for answers that are not sent.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.most = settings.max_batches
        self.largest = settings.max_batch_bytes
        self.open = 0
        self.waiting = 0
        self.budget = ByteBudget(settings.max_bytes_in_flight // 2)

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """A batch, from its start to its end.

        Raises:
            Problem: 503, where as many are under way as may be.
        """
        if self.open >= self.most:
            detail = f"{self.most} batches are being answered, which is the most allowed; try again"
            raise unavailable(detail, retry_after(), close=True)
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


class Batch:
    """One batch request.

    Three tasks: one receives, one starts a decision for each line, one sends the answers. The
    first two wait while those after them are busy, so that memory stays small. But a client
    that sends all before it reads anything would then wait for us as we for it: after a moment
    without movement we read on, as long as all batches together have sent less than
    `max_batch_bytes` ahead. Then a client that still does not read is cut off in time.

    Once the client has gone, no more lines are begun, and what it was not given is withdrawn.
    """

    def __init__(
        self,
        engine: Engine,
        settings: ServerSettings,
        decode: Callable[[bytes], DecisionRequest],
        admission: Admission,
        batches: Batches,
        spend: Callable[[], Awaitable[None]],
    ) -> None:
        self.engine = engine
        self.admission = admission
        self.batches = batches
        self.spend = spend
        self.decode = decode
        self.largest_line = settings.max_body_bytes
        self.largest = settings.max_batch_bytes
        self.seconds = settings.body_timeout_ms / 1000
        self.started: asyncio.Queue[tuple[int, asyncio.Task[bytes]] | None] = asyncio.Queue(
            settings.batch_concurrency
        )
        self.parts: asyncio.Queue[bytes | Problem | None] = asyncio.Queue()
        self.waiting = 0
        self.held = 0  # of the budget
        self.room = asyncio.Event()
        self.gone = False
        self.not_given: dict[int, UngivenDecision] = {}  # line number → what it has reserved

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the request."""
        self.request_id = http_request_id(scope)
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        try:
            async with asyncio.TaskGroup() as group:
                receiving = group.create_task(self._receive(receive))
                group.create_task(self._start(group))
                await self._send(send)
                receiving.cancel()
        finally:
            self.batches.waiting -= self.waiting
            self._give(self.held)
            for decision in self.not_given.values():
                self.engine.withdraw(decision)

    async def _receive(self, receive: Receive) -> None:
        """Body → `parts`, and what ends it: None, or the problem for the last line.

        Goes on until it is cancelled or the client has gone, which is what comes next.
        """
        total = 0
        waited = 0.0
        patient = True
        coming = asyncio.create_task(self._message(receive))
        end: Problem | None = None
        try:
            while True:
                began = time.monotonic()
                left = min(self.seconds, self._left(waited, total))
                if not (await asyncio.wait([coming], timeout=left))[0]:
                    end = late(self.seconds)
                    break
                waited += time.monotonic() - began
                message = coming.result()
                if message["type"] != "http.request":
                    break
                coming = asyncio.create_task(self._message(receive))
                part = message["body"]
                total += len(part)
                if total > self.largest:
                    end = too_large(self.largest)
                    break
                self._count(len(part))
                self.parts.put_nowait(part)
                if not message["more_body"]:
                    break
                while self._ahead(patient):
                    self.room.clear()
                    try:
                        async with asyncio.timeout(_PATIENCE):
                            await self.room.wait()
                    except TimeoutError:
                        patient = False
            self.parts.put_nowait(end)
            while (await coming)["type"] == "http.request":
                coming = asyncio.create_task(self._message(receive))
        finally:
            coming.cancel()

    async def _message(self, receive: Receive) -> HTTPReceiveMessage:
        """The next part of the body, or that the client has gone: noted at once."""
        message: HTTPReceiveMessage = await receive()  # type: ignore[assignment]
        if message["type"] != "http.request":
            self.gone = True
            self.room.set()
        return message

    def _ahead(self, patient: bool) -> bool:
        """Whether a client that is there has sent so much that it has to wait for us."""
        crowded = self.batches.waiting > self.batches.largest
        return not self.gone and self.waiting > _ROOM and (patient or crowded)

    def _left(self, waited: float, total: int) -> float:
        """Seconds in which the next part of the body must come."""
        return max(0.0, self.seconds + total / _SLOWEST - waited)

    def _count(self, size: int) -> None:
        """Counts bytes that are received and not begun."""
        self.waiting += size
        self.batches.waiting += size

    async def _lines(self) -> AsyncIterator[tuple[int, bytes | Problem]]:
        """(line number, line or what is wrong with it), empty lines left out."""
        number, rest, skipping = 0, b"", False
        while True:
            part = await self.parts.get()
            if not isinstance(part, bytes):
                break
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                number += 1
                if skipping:
                    skipping = False
                elif len(line) > self.largest_line:
                    yield number, self._long_line()
                elif line.strip():
                    yield number, line
                if self.gone:
                    return
            if len(rest) > self.largest_line:
                if not skipping:
                    yield number + 1, self._long_line()
                rest, skipping = b"", True
            self._count(-len(part))
            self.room.set()
        if isinstance(part, Problem):
            yield number + 1, part
        elif rest.strip() and not self.gone:
            yield number + 1, rest

    def _long_line(self) -> Problem:
        return Problem("too-large", f"the line is larger than {self.largest_line} bytes")

    async def _start(self, group: asyncio.TaskGroup) -> None:
        """Starts a decision for each line; waits where enough are under way."""
        async for number, line in self._lines():
            size = weight(line) if isinstance(line, bytes) else 0
            await self.batches.budget.wait(size)
            self.held += size
            task = group.create_task(self._answer(number, line, size))
            await self.started.put((number, task))
        await self.started.put(None)

    def _give(self, size: int) -> None:
        """Gives back what was held of the budget; less than nothing: holds more."""
        self.held -= size
        self.batches.budget.give(size)

    async def _answer(self, number: int, line: bytes | Problem, size: int) -> bytes:
        """The line that answers a line; never raises. From now on the answer is held instead."""
        answer = b"" if self.gone else await self._answered(number, line)
        self._give(size - len(answer))
        return answer

    async def _answered(self, number: int, line: bytes | Problem) -> bytes:
        try:
            if isinstance(line, Problem):
                raise line
            await self.spend()
            request = self.decode(line)
            async with self.admission.turn(line=True):
                if self.gone:
                    return b""
                decided = await self.engine.decide_with_verdict(request)
            if ungiven := self.engine.ungiven(request, decided):
                self.not_given[number] = ungiven
            return encode_json(decided.decision) + b"\n"
        except Exception as error:  # noqa: BLE001 - becomes an error line; the rest goes on
            problem = as_problem(error, self.request_id)
            return encode_json({"error": problem.of_line(number, self.request_id)}) + b"\n"

    async def _send(self, send: Send) -> None:
        """Sends the answers in order, those that are ready together."""
        ready: list[bytes] = []
        last = size = 0

        async def flush() -> None:
            nonlocal size
            if not ready or self.gone:
                return
            body = b"".join(ready)
            ready.clear()
            size = 0
            await send({"type": "http.response.body", "body": body, "more_body": True})
            # What is sent to a client that has gone is dropped: its going is heard first.
            await asyncio.sleep(0)
            if not self.gone:
                self._given(last)
            self._give(len(body))
            self.room.set()

        while True:
            if self.started.empty():
                await flush()
            started = await self.started.get()
            if started is None:
                break
            number, task = started
            if not task.done():
                await flush()
            answer = await task
            ready.append(answer)
            last = number
            size += len(answer)
            if size >= _PIECE:
                await flush()
        await flush()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _given(self, last: int) -> None:
        """Notes that the answers up to that of line `last` are given."""
        for number in [number for number in self.not_given if number <= last]:
            del self.not_given[number]
