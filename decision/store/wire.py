"""One physical connection to Redis, shared by all requests of a process.

Commands of one turn of the event loop are written together; replies are matched to calls in
order. A caller that gave up leaves its place in the queue, so that replies stay in step.
Protocol: RESP 2 (https://redis.io/docs/latest/develop/reference/protocol-spec/).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import hiredis

from decision.core.errors import StoreUnavailable

Command = tuple[str | bytes | int, ...]

STALLED_AFTER: Final = 5.0
"""Seconds without a byte, while replies are due, after which a connection is given up."""

_MORE: Final = object()
_pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]
_WRITE_BUFFER = 1 << 20

_MENDS: Final = {
    "NOAUTH": "put the user and password into NEXTBEST_REDIS_URL",
    "WRONGPASS": "put the right user and password into NEXTBEST_REDIS_URL",
    "NOPERM": "allow its user all keys under the prefix, and EVAL",
    "READONLY": "it is a replica: let NEXTBEST_REDIS_URL lead to the primary",
    "LOADING": "it is reading its data: wait",
    "MISCONF": "it cannot write to its disk: make room, see its log",
    "OOM": "it is full: give it more memory",
    "FORMAT": "upgrade nextbest",
    "MOVED": "it is a cluster: let NEXTBEST_REDIS_URL lead to a single server",
}


class Refused(StoreUnavailable):
    """Redis answered a command with an error; `code` is its first word."""

    def __init__(self, where: str, error: Exception) -> None:
        self.code = str(error).split(" ", 1)[0]
        mend = _MENDS.get(self.code)
        super().__init__(f"Redis at {where} answered: {error}{'; ' + mend if mend else ''}")


class _Call:
    """A call that waits for one reply, or for a list of `count` replies."""

    __slots__ = ("count", "deadline", "future", "replies", "write")

    def __init__(
        self, future: asyncio.Future[Any], count: int | None, deadline: float, write: bool
    ) -> None:
        self.future = future
        self.count = count
        self.deadline = deadline
        self.write = write
        self.replies: list[Any] | None = None if count is None else []


class Wire(asyncio.Protocol):
    """A connection from the moment it is open until it is lost; then it is of no more use.

    `full` is true while no more calls should be sent: `limit` are waiting, or the other side
    does not read. `changed` is called when that ends, and once when the connection is lost.
    """

    def __init__(self, where: str, limit: int, changed: Callable[[Wire], None]) -> None:
        self.where = where
        self.full = False
        self.lost = False
        self._limit = limit
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._calls: deque[_Call] = deque()
        self._chunks: list[bytes] = []
        self._unsent = 0
        self._paused = False
        self._heard = 0.0
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

    async def pipeline(
        self, commands: Sequence[Command], timeout: float, *, write: bool = False
    ) -> list[Any]:
        """The replies to several commands, sent together; raises for the first that failed."""
        packed = b"".join(map(_pack, commands))
        replies: list[Any] = await self._send(packed, len(commands), timeout, write)
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
        if not self._calls:
            self._heard = now
        if not self._chunks:
            self._loop.call_soon(self._flush)
        self._chunks.append(packed)
        self._calls.append(_Call(future, count, deadline, write))
        self._unsent += 1
        if len(self._calls) >= self._limit:
            self.full = True
        if self._timer is None or deadline < self._timer.when():
            self._watch(deadline)
        return future

    def _flush(self) -> None:
        if not self.lost:
            self._transport.write(b"".join(self._chunks))
            self._unsent = 0
        self._chunks.clear()

    def _failure(self, why: str, *, uncertain: bool = False) -> StoreUnavailable:
        return StoreUnavailable(f"Redis at {self.where}: {why}", uncertain=uncertain)

    def _watch(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        """Fails the calls whose time is up; one timer serves them all."""
        now = self._loop.time()
        self._timer = None
        next_deadline = None
        for call in self._calls:
            if call.future.done():
                continue
            if call.deadline <= now:
                call.future.set_exception(self._failure("no answer in time", uncertain=call.write))
            elif next_deadline is None or call.deadline < next_deadline:
                next_deadline = call.deadline
        if self._calls and now - self._heard > STALLED_AFTER:
            self._transport.abort()
        if next_deadline is not None:
            self._watch(next_deadline)

    def _ease(self) -> None:
        if self.full and not self._paused and len(self._calls) < self._limit:
            self.full = False
            self._changed(self)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        calls = self._calls
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
            self._ease()

    def pause_writing(self) -> None:
        self._paused = self.full = True

    def resume_writing(self) -> None:
        self._paused = False
        self._ease()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        sent = len(self._calls) - self._unsent
        for index, call in enumerate(self._calls):
            if not call.future.done():
                call.future.set_exception(
                    self._failure("the connection was lost", uncertain=call.write and index < sent)
                )
        self._calls.clear()
        self._changed(self)


def parse_info(reply: bytes) -> dict[str, str]:
    """The fields of `INFO`."""
    lines = reply.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
