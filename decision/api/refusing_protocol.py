"""A connection that reads no more than it may parse yet, and refuses without the application."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

from decision.api.problems import Problem, problem_bytes, turned_away
from decision.api.timed_protocol import TimedProtocol
from decision.server.admission import Admission

_PIECE: Final = 4096
"""Bytes that are parsed before a look at how many requests they held: at most 150."""

_MOST_THROWN_AWAY: Final = 16 * 1024 * 1024
"""Bytes that are read and thrown away so that a client gets to see why."""


class _Answered:
    """Stands for a request that needs no application: it is answered."""

    response_complete = True
    message_event = asyncio.Event()


_ANSWERED: Final[Any] = _Answered()


class RefusingProtocol(TimedProtocol):
    """One connection. `admission` is set once a process, before it listens."""

    admission: ClassVar[Admission] = Admission()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = _ANSWERED
        self._thrown_away = 0
        self._turned_away = False  # refused under overload, and not read for a moment
        self._refusal: Problem | None = None  # to be sent after the answers before it

    # What comes in.

    def data_received(self, data: bytes) -> None:
        """Parses what came, as far as it may be parsed yet."""
        if self._ended:
            self._thrown_away += len(data)
            if self._thrown_away > _MOST_THROWN_AWAY:
                self.transport.abort()
        elif self._rest:
            self._rest += data
        elif len(data) <= _PIECE and not (self.pipeline or self._turned_away):
            self._feed(data)
        else:
            self._rest = data
            self._parse_rest()

    def _parse_rest(self) -> None:
        """Parses piece by piece; stops where a request has to wait for the one before it."""
        rest, self._rest = memoryview(self._rest), b""
        start = 0
        while start < len(rest) and not (self.pipeline or self._turned_away or self._ended):
            self._feed(rest[start : start + _PIECE])
            start += _PIECE
        if not self._ended and start < len(rest):
            self._rest = bytes(rest[start:])
        self._hold()
        if not (self._ended or self._in_body or self.flow.held):
            self.flow.resume_reading()  # it may have been held, and nothing else would go on

    def _hold(self) -> None:
        """Stops reading while there is something to parse, or to answer, before what comes."""
        held = self._rest or self.pipeline or self._turned_away
        self.flow.held = bool(held) and not self._ended
        if self.flow.held:
            self.flow.pause_reading()

    def _feed(self, piece: bytes | memoryview) -> None:
        """Parses a piece of what came."""
        raise NotImplementedError

    # Refusals.

    def send_400_response(self, msg: str) -> None:
        """What is not HTTP gets a problem as well."""
        self._refuse(Problem("invalid-request", msg))

    def _late(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._in_body:
            self.close()
        else:
            seconds = self.limits.head_seconds
            detail = f"the request's head did not arrive within {seconds:g} s"
            self._refuse(Problem("request-timeout", detail))

    def _turn_away(self, keep_alive: bool) -> None:
        """Refuses a request at the least cost: no task, and no application."""
        self.cycle = _ANSWERED
        self.transport.write(turned_away(self.headers, self.admission.turn_away()))
        if not keep_alive:
            self.close()
        elif self.admission.hold:
            self._turned_away = True
            self._hold()
            self.admission.hold_back(self._read_on)

    def _read_on(self) -> None:
        """Reads again from a connection that was refused."""
        self._turned_away = False
        if not self._ended and not self.transport.is_closing():
            self._parse_rest()
            self.flow.resume_reading()

    def _refuse(self, problem: Problem) -> None:
        """Answers without the application, after the answers before it, and closes."""
        cycle = self.cycle
        under_way = not cycle.response_complete
        if under_way and self._in_body:  # it is this request's body that is wrong
            cycle.disconnected = True
            cycle.message_event.set()
            if self.pipeline:
                self.pipeline.popleft()
            else:
                under_way = False
                if cycle.response_started:
                    self.close()
                    return
        elif not under_way and self._in_body:  # and its answer is given
            self.close()
            return
        self._end()
        if under_way:
            self._refusal = problem
            self.flow.pause_reading()
        else:
            self._answer(problem)

    def _answer(self, problem: Problem) -> None:
        self._refusal = None
        self.transport.write(problem_bytes(problem, self.headers or (), close=True))
        self._in_body, self._ended = True, False  # what else comes is thrown away
        self.close()
