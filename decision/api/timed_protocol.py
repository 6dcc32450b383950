"""The time that a connection may take, and how it ends.

uvicorn keeps a client for ever that does not read, and one that sends half a request.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from decision.api.http_limits import HttpLimits
from decision.api.sockets import keep_little_unsent, unread_bytes

_SLOWEST: Final = 1024
"""Bytes per second that a client must take of an answer that waits for it."""


class _Flow(FlowControl):
    """uvicorn's flow control, which reads on after each answer, unless reading is `held`."""

    held = False

    def resume_reading(self) -> None:
        if self.read_paused and not self.held:
            super().resume_reading()


class TimedProtocol(HttpToolsProtocol):
    """A connection that ends in time, whatever its client does or leaves undone.

    `_in_body` says that a body is still to come, `_ended` that nothing more is parsed, and
    `_idle_since` since when a next request is waited for.
    """

    limits: ClassVar[HttpLimits] = HttpLimits()

    flow: _Flow

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_body = False
        self._ended = False
        self._rest = b""  # received, and to be parsed after the requests before it
        self._idle_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self.write, self.is_closing = transport.write, transport.is_closing
        keep_little_unsent(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._end()
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().connection_lost(exc)

    def close(self) -> None:
        """Ends the connection when what is written has been sent.

        While a body is still coming, a client may not look at its answer, and loses it if we
        just close: then only our side is closed, and what comes is thrown away for some time.
        Requests behind the one that is answered get no answer, and are not begun.
        """
        self.pipeline.clear()
        coming = self._in_body and not self._ended
        self._end()
        if coming and self.transport.can_write_eof():
            self.flow.held = False
            self.flow.resume_reading()
            self.transport.write_eof()
            self._timer = self.loop.call_later(self.limits.head_seconds, self.transport.abort)
        else:
            self.transport.close()
            self._timer = self.loop.call_later(self.limits.write_seconds, self.transport.abort)

    def pause_writing(self) -> None:
        """The client does not take what is sent; it has some time to do so."""
        super().pause_writing()
        self._unread = unread_bytes(self.transport)
        self._write_timer = self.loop.call_later(self.limits.write_seconds, self._look_at_reader)

    def resume_writing(self) -> None:
        """The client reads."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _look_at_reader(self) -> None:
        left = unread_bytes(self.transport)
        seconds = self.limits.write_seconds
        if self._unread - left < _SLOWEST * seconds:
            self.transport.abort()
        else:
            self._unread = left
            self._write_timer = self.loop.call_later(seconds, self._look_at_reader)

    # One timer per connection for the time between requests, and not one per request.

    def timeout_keep_alive_handler(self) -> None:
        """Closes if no next request has come; looks again later if there was one meanwhile."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None or self.transport.is_closing():
            return
        left = self._idle_since + self.timeout_keep_alive - time.monotonic()
        if left > 0:
            self._look_later(left)
        else:
            self.close()

    def _wait_for_next(self) -> None:
        self._idle_since = time.monotonic()
        if self.timeout_keep_alive_task is None:
            self._look_later(self.timeout_keep_alive)

    def _wait_no_more(self) -> None:
        self._idle_since = None

    def _look_later(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.limits.head_seconds, self._late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        """A head, or the rest of a body, has not come in time."""
        raise NotImplementedError

    def _end(self) -> None:
        """Parses nothing any more."""
        self._ended = True
        self._rest = b""
        self._stop_timer()
        self._wait_no_more()
        self._unset_keepalive_if_required()
