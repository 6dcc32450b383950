"""uvicorn's HTTP protocol, with the deadline and the bound on request heads that it lacks."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from decision.api.middleware import LARGEST_HEAD
from decision.api.problems import Problem


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose request head is too slow or too large.

    uvicorn ends idle connections between requests, and keeps one that has sent nothing yet, or
    half a head, for ever.
    """

    head_seconds: ClassVar[float] = 10.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_size = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected; the time to send a head starts."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feeds the parser. A head that comes in one piece, as most do, needs no timer."""
        self._head_size += len(data)
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            if self._head_size > LARGEST_HEAD:
                self._refuse(Problem("headers-too-large", f"send at most {LARGEST_HEAD} bytes"))
            elif self._head_timer is None:
                self._start_timer()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is complete; a next one may follow on the connection."""
        super().on_message_complete()
        self._head_size = 0

    def send_400_response(self, msg: str) -> None:
        """What is not HTTP gets a problem as well."""
        self._refuse(Problem("invalid-request", msg))

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            detail = f"the request's head did not arrive within {self.head_seconds:g} s"
            self._refuse(Problem("request-timeout", detail))

    def _refuse(self, problem: Problem) -> None:
        """Answers without the application, and closes."""
        body = msgspec.json.encode(problem.details())
        headers = [*problem.encoded_headers(body), (b"connection", b"close")]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[problem.status] + lines + b"\r\n" + body)
        self.transport.close()
