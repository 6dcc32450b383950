"""One physical connection to Redis, shared by all requests of a process.

Commands of one turn of the event loop are written together; replies are matched to calls in
order. A call that was given up keeps its place in the queue, so that replies stay in step.
Protocol: RESP 2 (https://redis.io/docs/latest/develop/reference/protocol-spec/).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import hiredis
import msgspec

from decision.core.errors import StoreUnavailable
from decision.store.refusals import Refused

Argument = str | bytes | int
Command = tuple[Argument, ...]

STALLED_AFTER: Final = 5.0
"""Seconds without a byte, while replies are due, after which a connection is given up."""

_MORE: Final = object()
_pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]
_WRITE_BUFFER = 1 << 20


class _PendingReply(msgspec.Struct, eq=False):
    """A call that waits, until `deadline` of the loop, for a reply or a list of `count` replies."""

    future: asyncio.Future[Any]
    count: int | None
    replies: list[Any] | None
    deadline: float
    write: bool


class PipelinedConnection(asyncio.Protocol):
    """A connection from the moment it is open until it is lost; it does not come back.

    `full` is true while no more calls should be sent: `limit` are waiting, or the other side
    does not read. `on_change` is called when that ends, and once when the connection is lost.
    """

    def __init__(
        self, where: str, limit: int, on_change: Callable[[PipelinedConnection], None]
    ) -> None:
        self.where = where
        self.full = False
        self.lost = False
        self._limit = limit
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._pending: deque[_PendingReply] = deque()
        self._chunks: list[bytes] = []
        self._unsent = 0
        self._writing_paused = False
        self._received_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def call(self, command: Command, timeout: float, *, write: bool = False) -> Any:
        """The reply to one command.

        Raises:
            Refused: Redis answered with an error; nothing was done.
            StoreUnavailable: no reply within `timeout` seconds, or the connection was lost.
        """
        reply = await self._send(_pack(command), None, timeout, write)
        if isinstance(reply, hiredis.ReplyError):
            raise Refused(self.where, reply)
        return reply

    async def pipeline(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """The replies to several reads, sent together; raises for the first that failed."""
        packed = b"".join(map(_pack, commands))
        replies: list[Any] = await self._send(packed, len(commands), timeout, False)
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise Refused(self.where, reply)
        return replies

    def close(self) -> None:
        """Ends the connection; calls under way fail."""
        self._transport.abort()

    def _send(
        self, packed: bytes, count: int | None, timeout: float, write: bool
    ) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        if self.lost:
            future.set_exception(self._failure("the connection was lost"))
            return future
        now = self._loop.time()
        deadline = now + timeout
        if not self._pending:
            self._received_at = now
        if not self._chunks:
            self._loop.call_soon(self._flush)
        self._chunks.append(packed)
        replies: list[Any] | None = None if count is None else []
        self._pending.append(_PendingReply(future, count, replies, deadline, write))
        self._unsent += 1
        if len(self._pending) >= self._limit:
            self.full = True
        if self._timer is None or deadline < self._timer.when():
            self._set_timer(deadline)
        return future

    def _flush(self) -> None:
        if not self.lost:
            self._transport.write(b"".join(self._chunks))
            self._unsent = 0
        self._chunks.clear()

    def _failure(self, why: str, *, uncertain: bool = False) -> StoreUnavailable:
        return StoreUnavailable(f"Redis at {self.where}: {why}", uncertain=uncertain)

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        """Fails the calls whose time is up; one timer serves them all."""
        now = self._loop.time()
        self._timer = None
        next_deadline = None
        for call in self._pending:
            if call.future.done():
                continue
            if call.deadline <= now:
                call.future.set_exception(self._failure("no answer in time", uncertain=call.write))
            elif next_deadline is None or call.deadline < next_deadline:
                next_deadline = call.deadline
        if self._pending and now - self._received_at > STALLED_AFTER:
            self._transport.abort()
        if next_deadline is not None:
            self._set_timer(next_deadline)

    def _clear_full(self) -> None:
        if self.full and not self._writing_paused and len(self._pending) < self._limit:
            self.full = False
            self._on_change(self)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER)

    def data_received(self, data: bytes) -> None:
        self._received_at = self._loop.time()
        calls = self._pending
        next_reply = self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := next_reply()) is not _MORE:
                call = calls[0]
                if call.replies is not None:
                    call.replies.append(reply)
                    if len(call.replies) != call.count:
                        continue
                    reply = call.replies
                calls.popleft()
                if not call.future.done():
                    call.future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self._transport.abort()
        if self.full:
            self._clear_full()

    def pause_writing(self) -> None:
        self._writing_paused = self.full = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._clear_full()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        sent = len(self._pending) - self._unsent
        for index, call in enumerate(self._pending):
            if not call.future.done():
                call.future.set_exception(
                    self._failure("the connection was lost", uncertain=call.write and index < sent)
                )
        self._pending.clear()
        self._on_change(self)
