"""uvicorn's HTTP protocol, with bounds on time and memory that it lacks.

What a connection holds is bounded, whatever its client does:

- a head has a time limit, a size and a number of headers; the rest of a body that nobody needs,
  because its answer is given, has a time limit as well;
- trailers and chunk extensions are no body: beyond a constant they must stay in proportion to it;
- requests sent ahead (pipelined) are parsed only a few at a time, and reading stops meanwhile;
- a client that does not take its answer is cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from decision.api.cycle import Cycle
from decision.api.limited_protocol import LimitedProtocol
from decision.api.problems import Problem
from decision.api.request_heads import LARGEST_HEAD, Head, KnownHeads, read_head
from decision.api.serving_task import ServingTask

_MOST_UNKNOWN: Final = 32
"""Heads of a connection that were not known, one after another, after which none is looked for: its
client gives each an id of its own."""


class BoundedProtocol(LimitedProtocol):
    """One connection. The class variables are set once a process, before it listens.

    `direct` is method and path → what answers such requests in the place of the application. It has
    the same interface, and finds the request's `Cycle` in its state.
    """

    direct: ClassVar[Mapping[tuple[bytes, bytes], Any]] = {}
    known: ClassVar[KnownHeads] = KnownHeads()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._whole = True  # whether nothing came yet, or it ended with its request
        self._begun = 0  # requests that began in the piece that is parsed
        self._head: Head | None = None  # of the last one that is answered directly
        self._unknown = 0  # heads that were not known since the last that was
        self._serving = ServingTask(self.loop, self.tasks)
        self._excess = 0  # bytes received that are no body
        self._under_way = self.cycle
        self._asgi = {"version": self.asgi_version, "spec_version": "2.3"}

    def eof_received(self) -> None:
        """The client sends nothing more: as to most servers, it has gone, and gets no answer."""
        self._tell_gone()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._tell_gone()
        self._serving.end()
        super().connection_lost(exc)

    def _tell_gone(self) -> None:
        """Tells the request that is under way, and begins none of those behind it.

        Of several on the connection, uvicorn would tell the last, which is not under way.
        """
        self.pipeline.clear()
        cycle = self._under_way
        if not cycle.response_complete:
            cycle.disconnected = True
            cycle.scope["state"]["client_gone"] = True
            cycle.message_event.set()
            self.flow.resume_writing()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._under_way = cycle
        if app is self.app:
            super()._start_asgi_task(cycle, app)
        else:
            self._serving.begin(cycle, app)

    # What comes in.

    def _feed(self, piece: bytes | memoryview) -> None:
        between, self._begun = self._whole, 0
        looks = between and self._unknown < _MOST_UNKNOWN and self.cycle.response_complete
        request = piece if looks else None
        if isinstance(request, bytes) and (known := self.known.find(request)) is not None:
            self._unknown = 0
            self._take(*known)
            return
        self._excess += len(piece)
        self._whole = False
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_after_upgrade(bytes(piece[upgrade.args[0] :]))
        except httptools.HttpParserError as error:
            self._refuse(Problem("invalid-request", f"this is not HTTP/1.1: {_reason(error)}"))
            return
        if self._excess > LARGEST_HEAD:
            if self._in_head:
                problem = Problem("headers-too-large", f"send at most {LARGEST_HEAD} bytes")
            else:
                detail = "the chunks of the body have too much in them that is no body"
                problem = Problem("invalid-request", detail)
            self._refuse(problem)
        elif self._timer is None and not self._ended:
            if self._in_head:
                if not self._whole:
                    self._start_timer()
                elif isinstance(request, bytes) and self._begun == 1:
                    self._note(request)
            elif self.cycle.response_complete:
                self._start_timer()  # for a body that nobody needs

    def _take(self, head: Head, body: bytes) -> None:
        """Takes a whole request with a head that is known."""
        if self._timer is not None:
            self._stop_timer()
        if self._idle_since is not None:
            self._wait_no_more()
        self.expect_100_continue, self.headers = False, head.headers
        self._begin(head)
        cycle = self.cycle
        if self._ended or cycle.response_complete:  # it is refused
            self.on_body(body)
            self.on_message_complete()
            return
        self._in_head, self._in_body, self._whole, self._excess = True, False, True, 0
        cycle.body = body  # type: ignore[assignment]  # nothing is added to it
        cycle.more_body = False
        cycle.scope["state"]["body_received"] = body
        cycle.message_event.set()

    def _note(self, request: bytes) -> None:
        """Remembers the head of a request that came alone and whole, unless it asks for more."""
        head = self._head
        if head is not None and head.keeps_alive and not self.expect_100_continue:
            self._unknown += 1
            self.known.note(request, head, len(self.cycle.body))

    def on_message_begin(self) -> None:
        """A head begins."""
        if self._ended:
            return
        if self._idle_since is not None:
            self._wait_no_more()
        self._in_head, self._whole = True, False
        self._begun += 1
        self._head = None
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; a trailer, which comes after the head, is nobody's."""
        if not self._in_head or self._ended:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is complete: the request is refused, or given to the application."""
        if self._ended:
            return
        self._excess = 0
        self._stop_timer()
        parser = self.parser
        version, method = parser.get_http_version(), parser.get_method()
        target = read_head(self.headers, self.url, method, version)
        if isinstance(target, Problem):
            self._refuse(target)
            return
        path, query = target.path or b"/", target.query or b""
        keeps_alive = self._over_limit is None and version != "1.0" and parser.should_keep_alive()
        self._begin(Head(self.headers, method, version, path, query, keeps_alive))

    def _begin(self, head: Head) -> None:
        """Begins a request with this head, or refuses it."""
        raw_path = head.path
        if self._over_limit is not None and self._refused_here(raw_path):
            self._refuse(self._limit_problem())
            return
        self._in_head, self._in_body = False, True
        waits = not self.cycle.response_complete
        guarded = head.guarded
        if guarded and not waits and not self.flow.write_paused and self.admission.full():
            self._turn_away(head.keeps_alive)
            return
        state: dict[str, Any] = {**self.app_state, "header_facts": head.facts}
        scope: Any = head.scope.copy()
        scope["asgi"] = self._asgi
        scope["server"], scope["client"] = self.server, self.client
        scope["scheme"], scope["root_path"] = self.scheme, self.root_path
        scope["state"] = state
        self.scope = scope
        if guarded and not waits:
            state["entering"] = self.admission
            self.admission.entering += 1
        # By place: by name it takes as long again.
        self.cycle = cycle = Cycle(
            scope,
            self,  # type: ignore[arg-type]  # it closes as we must
            self.flow,
            self.logger,
            self.access_logger,
            False,
            self.server_state.default_headers,
            asyncio.Event(),
            self.expect_100_continue,
            head.keeps_alive,
            self.on_response_complete,
        )
        app = self.app
        if (direct := self.direct.get((head.method, raw_path))) is not None:
            app, state["cycle"] = direct, cycle
            self._head = head
        if waits:
            self.pipeline.appendleft((cycle, app))
            self._hold()
        else:
            self._start_asgi_task(cycle, app)

    def on_chunk_header(self) -> None:
        """A chunk begins; so many bytes around it are usual."""
        self._excess = max(0, self._excess - 16)

    def on_body(self, body: bytes) -> None:
        """A part of the body; a third is allowed for the chunks' sizes."""
        self._excess = max(0, self._excess - 3 * len(body))
        cycle = self.cycle
        if self._ended or cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The request is complete; a next one may follow on the connection."""
        if self._ended or (self.parser.should_upgrade() and _framing(self.headers)):
            return  # an upgrade that we ignore: its body is still to come
        self._in_head, self._in_body, self._whole = True, False, True
        self._excess = 0
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.scope["state"]["body_received"] = cycle.body
            cycle.message_event.set()
        elif not self.transport.is_closing():
            self._stop_timer()
            self._wait_for_next()

    def _go_on_after_upgrade(self, rest: bytes) -> None:
        """Ignores `Upgrade`, as the standard allows: with a parser that has not seen it.

        Java's own client asks for HTTP/2 in this way with its first request.
        """
        self.parser = httptools.HttpRequestParser(self)
        framing = _framing(self.headers)
        if framing and not self._ended:
            self._ended = True  # this head is known already
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
            self._ended = False
        if rest and not self._ended:
            self._feed(rest)

    # What goes out.

    def on_response_complete(self) -> None:
        """An answer is written: the next request has its turn."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._refusal is not None:
            self._answer(self._refusal)
        elif self._ended:
            return
        elif self._in_body:
            if self._timer is None:
                self._start_timer()
        elif self._timer is None and not self._rest:  # else the next one has begun to come
            self._wait_for_next()
        if self._rest:
            self.loop.call_soon(self._parse_rest)
        else:
            if self.flow.held or self.pipeline:
                self._hold()
            self.flow.resume_reading()


def _framing(headers: list[tuple[bytes, bytes]] | None) -> bytes:
    """The header that says how long the body is; empty where there is none."""
    for name, value in headers or ():
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 \t")):
            return name + b": " + value + b"\r\n"
    return b""


def _reason(error: httptools.HttpParserError) -> str:
    """What the parser says, as part of a sentence."""
    text = str(error.args[0]) if error.args else "it cannot be parsed"
    if "callback" in text.lower():
        return "its target cannot be parsed"
    return text[:1].lower() + text[1:].replace("`", "")
