"""One physical connection to Redis, shared by all requests of a process.

Commands of one turn of the event loop are written together; replies are matched to calls in
order. A call that was given up keeps its place in the queue, so that replies stay in step; one
that was given up before it was written is not written any more.

A connection is *stalled* from a call that timed out without a byte received since it was written,
until a byte comes. New calls then fail at once if Redis has been silent for longer than they would
wait. The calls under way are the probe: a reply to any of them ends it.

Protocol: RESP 2 (https://redis.io/docs/latest/develop/reference/protocol-spec/).
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Final, cast

import hiredis
import msgspec

from decision.core.errors import StoreUnavailable
from decision.store.health import RefusalCount
from decision.store.refusals import WRONG_SERVER, Refused

Argument = str | bytes | int
Command = tuple[Argument, ...]

STALLED_AFTER: Final = 5.0
"""Seconds without a byte, while replies are due, after which a connection is given up."""

_MORE: Final = object()
_pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]
_UNSENT_BYTES = 1 << 20
"""Bytes that wait to be written, from which on no more calls should be sent."""

_KIND: Final = re.compile(
    r"\{(p|budget|register|blob|history|turn|health)\d*\}:(c|r|e|x|a|log|copy|n|t|ends|first|names|"
    r"kinds|mark|beats|lacks|clocks|loss|trial|rights|servers)?(?::|$)?"
)

KEPT_FOR: Final = 2.0
"""Seconds for which a connection is kept, even if what is refused on it asks for another."""


def asked_of(command: Command) -> str:
    """A command and the kinds of its keys, as in `GET on {p}:c`, without anybody's id.

    >>> asked_of(("GET", "nb:{p114}:c:ann"))
    'GET on {p}:c'
    >>> asked_of(("EVALSHA", "d1", 2, "nb:{budget}:n:spring", "nb:{p1}:log", b"{budget}:n"))
    'EVALSHA on {budget}:n, {p}:log'
    """
    kinds: dict[str, None] = {}
    for key in command[1:]:
        if isinstance(key, str) and (found := _KIND.search(key)):
            kinds[f"{{{found[1]}}}:{found[2] or ''}".rstrip(":")] = None
    return f"{command[0]!s} on {', '.join(kinds)}" if kinds else f"{command[0]!s}"


class ConnectionCounts(msgspec.Struct):
    """What happened to a process's connections since it started."""

    lost: int = 0
    """Connections that ended, for whatever reason, but not by `close`."""
    stalls: int = 0
    """Times that a connection was stalled."""
    failed_at_once: int = 0
    """Calls that were not sent because the connection was stalled."""
    refused: RefusalCount = msgspec.field(default_factory=RefusalCount)
    """Errors that Redis answered calls with."""
    unconfirmed: int = 0
    """Commits of which it is not known whether enough replicas have them."""
    redirects: dict[str, int] = msgspec.field(default_factory=dict)
    """Calls that a node of a cluster did not carry out, and that were sent again, by code."""


class _PendingReply(msgspec.Struct, eq=False):
    """A call that waits, until `deadline` of the loop, for a reply or a list of `count` replies.

    `sent_at` is 0 until its bytes are handed to the transport.
    """

    future: asyncio.Future[Any]
    packed: bytes
    count: int | None
    replies: list[Any] | None
    deadline: float
    write: bool
    sent_at: float = 0.0


class PipelinedConnection(asyncio.Protocol):
    """A connection from the moment it is open until it is lost; it does not come back.

    `full` is true while no more calls should be sent: `limit` are waiting, or the other side
    does not read. `on_change` is called when that ends, and once when the connection is lost.
    Errors with a code of `wrong_server` end it. `run_id` is that of the server, once it was asked.
    """

    def __init__(
        self,
        where: str,
        limit: int,
        on_change: Callable[[PipelinedConnection], None],
        counts: ConnectionCounts,
        wrong_server: frozenset[str] = WRONG_SERVER,
    ) -> None:
        self.where = where
        self.run_id = ""
        self._wrong_server = wrong_server
        self.full = False
        self.lost = False
        self.ended = "was lost"
        self.stalled = False
        self._limit = limit
        self._on_change = on_change
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self.opened_at = self._loop.time()
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._unsent: list[_PendingReply] = []
        self._unsent_bytes = 0
        self._pending: deque[_PendingReply] = deque()
        self._writing_paused = False
        self._received_at = 0.0
        self._timer: asyncio.Handle | None = None
        self._wakes_at = math.inf
        self._refusal: Refused | None = None

    @property
    def silent_since(self) -> float:
        """The time of the loop since which replies are due and nothing was received."""
        return self._received_at if self._pending else self._loop.time()

    async def call(self, command: Command, timeout: float, *, write: bool = False) -> Any:
        """The reply to one command.

        Raises:
            Refused: Redis answered with an error; nothing was done.
            StoreUnavailable: no reply within `timeout` seconds, or the connection was lost.
        """
        reply = await self._send(_pack(command), None, timeout, write)
        if isinstance(reply, hiredis.ReplyError):
            raise self.refused(reply, command)
        return reply

    async def pipeline(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """The replies to several reads, sent together; raises for the first that failed."""
        replies: list[Any] = await self.replies(commands, timeout)
        for reply, command in zip(replies, commands, strict=True):
            if isinstance(reply, hiredis.ReplyError):
                raise self.refused(reply, command)
        return replies

    def reply(
        self, command: Command, timeout: float, *, write: bool = False
    ) -> asyncio.Future[Any]:
        """As `call`, but an error that Redis answers with is the reply."""
        return self._send(_pack(command), None, timeout, write)

    def replies(
        self, commands: Sequence[Command], timeout: float, *, write: bool = False
    ) -> asyncio.Future[list[Any]]:
        """As `pipeline`, but errors that Redis answers with are among the replies."""
        return self._send(b"".join(map(_pack, commands)), len(commands), timeout, write)

    def fail_if_silent_for(self, timeout: float) -> None:
        """Raises `StoreUnavailable` where the connection is stalled for at least so long."""
        if self.stalled and self._loop.time() - self._received_at >= timeout:
            self._counts.failed_at_once += 1
            raise self._failure("stalled", "it has stopped answering")

    def close(self) -> None:
        """Ends the connection; calls under way fail."""
        self._transport.abort()

    def _send(
        self, packed: bytes, count: int | None, timeout: float, write: bool
    ) -> asyncio.Future[Any]:
        if self.lost:
            raise self._why_lost()
        if timeout <= 0:
            raise self._late()
        if self.stalled:
            self.fail_if_silent_for(timeout)
        loop, unsent = self._loop, self._unsent
        now, future = loop.time(), loop.create_future()
        deadline = now + timeout
        if not unsent and not self._writing_paused:
            loop.call_soon(self._flush)
        replies: list[Any] | None = None if count is None else []
        unsent.append(_PendingReply(future, packed, count, replies, deadline, write))
        self._unsent_bytes += len(packed)
        if len(self._pending) + len(unsent) >= self._limit or self._unsent_bytes >= _UNSENT_BYTES:
            self.full = True
        if deadline < self._wakes_at:
            self._wake_at(min(deadline, now + STALLED_AFTER))
        return future

    def _flush(self) -> None:
        """Writes what is still wanted of the calls that were not written yet."""
        if self._writing_paused or self._transport.is_closing():
            return
        now, pending = self._loop.time(), self._pending
        if not pending:
            self._received_at = now
        chunks = []
        for call in self._unsent:
            if not call.future.done():
                call.sent_at = now
                chunks.append(call.packed)
                call.packed = b""
                pending.append(call)
        self._unsent.clear()
        self._unsent_bytes = 0
        if chunks:
            self._transport.write(b"".join(chunks))
        if self.full:
            self._clear_full()

    def _failure(self, code: str, reason: str, *, uncertain: bool = False) -> StoreUnavailable:
        message = f"Redis at {self.where}: {reason}"
        return StoreUnavailable(message, uncertain=uncertain, code=code, reason=reason)

    def _late(self, *, uncertain: bool = False) -> StoreUnavailable:
        return self._failure("timeout", "no answer in time", uncertain=uncertain)

    def _why_lost(self, *, uncertain: bool = False) -> StoreUnavailable:
        if self._refusal is not None:  # nothing was under way when it came
            return copy(self._refusal)
        return self._failure("lost", "the connection was lost", uncertain=uncertain)

    def refused(self, reply: Exception, command: Command) -> Refused:
        """An error reply; one that only another server would give ends this connection."""
        error = Refused(self.where, reply, asked_of(command))
        self._counts.refused.note(error)
        if error.code in self._wrong_server and self._loop.time() - self.opened_at >= KEPT_FOR:
            self.give_up(f"was given up, because the server may be another now: {error}")
        return error

    def give_up(self, ended: str) -> None:
        """Ends the connection; `ended` says why, after "the connection"."""
        if not self._transport.is_closing():
            self.ended = ended
            self._transport.abort()

    def _wake_at(self, time: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = time
        self._timer = self._loop.call_at(time, self._expire)

    def _expire(self) -> None:
        """Fails the calls whose time is up; one timer serves them all."""
        now = self._loop.time()
        self._timer, self._wakes_at = None, math.inf
        wakes_at, unanswered = math.inf, False
        for call in (*self._pending, *self._unsent):
            if call.deadline <= now:
                # Also of a call that was cancelled: its caller may keep the same deadline.
                unanswered = unanswered or call.sent_at >= self._received_at > 0
                if not call.future.done():
                    sent = call.sent_at > 0
                    call.future.set_exception(self._late(uncertain=call.write and sent))
            elif call.deadline < wakes_at:
                wakes_at = call.deadline
        if self._pending:
            given_up_at = self._received_at + STALLED_AFTER
            if given_up_at <= now:
                self.give_up(f"was given up after {STALLED_AFTER:g} s of silence")
                return
            wakes_at = min(wakes_at, given_up_at)
        if unanswered and not self.stalled:
            # Only after the loop has looked at the socket: it may have been late itself.
            self._loop.call_soon(self._loop.call_soon, self._judge, self._received_at)
        if wakes_at < math.inf:
            self._wake_at(wakes_at)

    def _judge(self, received_at: float) -> None:
        """Stalled, if nothing was received since."""
        if received_at == self._received_at and self._pending and not self.lost:
            self.stalled = True
            self._counts.stalls += 1

    def _clear_full(self) -> None:
        waiting = len(self._pending) + len(self._unsent)
        if self.full and waiting < self._limit and self._unsent_bytes < _UNSENT_BYTES:
            self.full = False
            self._on_change(self)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        # What the socket does not take stays here, where a call that is given up can be taken out.
        self._transport.set_write_buffer_limits(high=1, low=0)

    def data_received(self, data: bytes) -> None:
        self._received_at = self._loop.time()
        self.stalled = False
        calls = self._pending
        next_reply = self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := next_reply()) is not _MORE:
                if not calls:
                    self._unasked(reply)
                    return
                call = calls[0]
                if call.replies is not None:
                    call.replies.append(reply)
                    if len(call.replies) != call.count:
                        continue
                    reply = call.replies
                calls.popleft()
                if not call.future.done():
                    call.future.set_result(reply)
        except hiredis.ProtocolError:
            self._transport.abort()
        if self.full:
            self._clear_full()

    def _unasked(self, reply: object) -> None:
        """A reply to nothing: Redis says so why it takes no more clients, before it hangs up."""
        if isinstance(reply, hiredis.ReplyError):
            self._refusal = Refused(self.where, reply)
        self._transport.abort()

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        for call in (*self._pending, *self._unsent):
            if not call.future.done():
                sent = call.sent_at > 0
                call.future.set_exception(self._why_lost(uncertain=call.write and sent))
        self._on_change(self)
        self._pending.clear()
        self._unsent.clear()
