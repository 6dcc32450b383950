"""A proxy that does damage: what the first segment of a path asks for, the first so many times.

`/~lost~2~pass~TOKEN/v1/decisions` is `/v1/decisions`, where the first two requests with this token lose
their answers. So a client is told of a fault by its address, and may have a path in it.
"""

from __future__ import annotations

import http.client
import json
import select
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.ports import free_port

_BOUND = 10.0
_NOT_FORWARDED = {"host", "connection", "content-length", "transfer-encoding", "keep-alive"}


def _problem(status: int, kind: str, detail: str, **more: Any) -> bytes:
    return json.dumps(
        {
            "type": f"urn:nextbest:problem:{kind}",
            "title": kind,
            "status": status,
            "detail": detail,
            "instance": None,
            "errors": [],
            **more,
        }
    ).encode()


def _line(status: int, **more: Any) -> bytes:
    """The answer to a batch of one line that was not decided."""
    return b'{"error":' + _problem(status, "x", "not now", line=1, **more) + b"}\n"


ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "busy": (429, {"retry-after": "0"}, _problem(429, "rate-limited", "slower, please")),
    "unavailable": (503, {"retry-after": "0"}, _problem(503, "unavailable", "no store")),
    "conflict": (
        409,
        {},
        _problem(409, "policy-refused", "x", errors=[{"path": "messages.tea", "detail": "no"}]),
    ),
    "page": (502, {"content-type": "text/html"}, b"<h1>Bad gateway</h1>"),
    "hello": (200, {"content-type": "text/html"}, b"<h1>Please log in</h1>"),
    "moved": (308, {"location": "/v1/policy"}, b""),
    "empty": (200, {}, b""),
    "null": (200, {}, b"null"),
    "number": (200, {}, b"3\n"),
    "list": (200, {}, b"[]\n"),
    "nan": (200, {}, b"NaN"),
    "deep": (200, {}, b"[" * 200_000),
    "deep-problem": (400, {}, b'{"a":' * 200_000),
    "no-gzip": (200, {"content-encoding": "gzip"}, b"this is not packed"),
    "no-gzip-problem": (500, {"content-encoding": "gzip"}, b"this is not packed"),
    "bad-error": (200, {}, b'{"error": 3}\n'),
    "null-error": (200, {}, b'{"error": null}\n'),
    "list-error": (200, {}, b'{"error": []}\n'),
    "odd-problem": (
        400,
        {},
        b'{"type": "urn:nextbest:problem:x", "title": 1, "detail": null, "errors": [null]}',
    ),
    "no-such-page": (404, {"content-type": "text/html"}, b"<h1>Not found</h1>"),
    "busy-line": (200, {}, _line(429, retry_after=0)),
    "long-busy-line": (200, {}, _line(429, retry_after=3600)),
    "unavailable-line": (200, {}, _line(503, retry_after=0)),
    "bad-line": (200, {}, _line(400, retry_after=None)),
}


class FaultyProxy:
    """The proxy of one server; `seen` counts the requests of each token."""

    def __init__(self, port: int) -> None:
        self.seen: Counter[str] = Counter()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.timeout = _BOUND
                super().handle_one_request()

            def log_message(self, *_: Any) -> None:
                pass

            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                _, fault, times, then, rest = self.path.split("~", 4)
                token, _, path = rest.partition("/")
                proxy.seen[token] += 1
                fault = fault if proxy.seen[token] <= int(times) else then
                if fault in ANSWERS:
                    self.answer(*ANSWERS[fault])
                elif fault == "hang":
                    self.wait_until_gone()
                    self.close_connection = True
                else:
                    self.forward("/" + path, body, fault)

            do_GET = do_POST = do_PUT = do_DELETE = do

            def wait_until_gone(self) -> None:
                select.select([self.connection], [], [], _BOUND)

            def forward(self, path: str, body: bytes, fault: str) -> None:
                wire = http.client.HTTPConnection("127.0.0.1", port, timeout=_BOUND)
                kept = {k: v for k, v in self.headers.items() if k.lower() not in _NOT_FORWARDED}
                wire.request(self.command, path, body or None, kept)
                given = wire.getresponse()
                data = given.read()
                wire.close()
                if fault == "lost":
                    self.close_connection = True
                    return
                headers = {k: v for k, v in given.getheaders() if k.lower() not in _NOT_FORWARDED}
                self.answer(given.status, headers, data, fault)

            def answer(
                self, status: int, headers: dict[str, str], body: bytes, fault: str = ""
            ) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if fault == "short":  # ended, as a connection does that nobody can see was cut
                    body = b"".join(body.splitlines(keepends=True)[:-1])
                    self.send_header("connection", "close")
                elif status != 204:
                    self.send_header("content-length", str(len(body)))
                self.end_headers()
                broken = fault in ("cut", "stall")
                self.wfile.write(body[: len(body) // 2] if broken else body)
                if fault == "stall":
                    self.wait_until_gone()
                self.close_connection = self.close_connection or broken

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def address(self, via: str, token: str) -> str:
        """The address by which a client meets a fault: `lost 2`, or `pass`; `nobody` listens.

        A second fault, as in `lost 2 page`, is for the requests after the first ones.
        """
        if via == "nobody":
            return f"http://127.0.0.1:{free_port()}"
        fault, times, then = (*via.split(), *("1", "pass")[max(0, len(via.split()) - 1) :])
        return f"{self.url}/~{fault}~{times}~{then}~{token}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
