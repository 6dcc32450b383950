"""What surrounds every request: its id, its path as sent, a bound on its headers, and HEAD."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import msgspec
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from decision.api.header_facts import facts_of
from decision.api.problems import PRIVATE, Problem, sane_request_id
from decision.api.request_heads import LARGEST_HEAD
from decision.observability import get_logger

_log = get_logger()


def http_request_id(scope: Scope) -> str:
    """The id of a request: the caller's `X-Request-ID`, or one of ours."""
    state: dict[str, Any] = scope["state"]
    found: str = state["request_id"]
    return found


class RequestMiddleware:
    """The outermost layer around the application.

    HEAD is answered as GET is, without the body: a route needs to know of GET alone. OPTIONS is
    answered by what a method that no route has gets: that names all that there are.
    """

    def __init__(self, app: ASGIApp, *, log_requests: bool = False) -> None:
        self.app = app
        self.log_requests = log_requests

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        size, header = begin(scope)
        method, status = scope["method"], 0
        if method == "HEAD":
            scope = {**scope, "method": "GET"}
        elif method == "OPTIONS":
            scope = {**scope, "method": "-"}

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if method == "OPTIONS" and status == 405:
                    status = message["status"] = 204
                    message["headers"] = _allowed(message["headers"])
                message["headers"] = [*message["headers"], header]
            elif message["type"] == "http.response.body" and (method == "HEAD" or status == 204):
                message["body"] = b""
            await send(message)

        if size > LARGEST_HEAD:
            await send_problem(headers_too_large(), scope, answer)
            return
        # Kept as sent, so that an id may have an encoded slash; routes decode what they take.
        raw = scope.get("raw_path")
        if raw is None:
            scope["path"] = quote(scope["path"])
        elif b"%" in raw:
            scope["path"] = raw.partition(b"?")[0].decode("latin-1")
        if "//" in scope["path"]:  # routing would leave it out, and rules of a proxy would not see
            problem = Problem("not-found", "the path has an empty part (//); /schema lists paths")
            await send_problem(problem, scope, answer)
            return
        try:
            await self.app(scope, receive, answer)
        finally:
            end(scope)
        if self.log_requests:
            log_request(scope, method, scope.get("path_template"), status, began)


def begin(scope: Scope) -> tuple[int, tuple[bytes, bytes]]:
    """Notes a request's id in its state; the bytes of its headers, and the answer's `X-Request-ID`.

    The request is not among those that are `entering` any more.
    """
    state = scope["state"]
    admission = state.pop("entering", None)
    if admission is not None:
        admission.entering -= 1
    facts = facts_of(scope)
    request_id = sane_request_id(facts.by_name.get(b"x-request-id", b""))
    state["request_id"] = request_id.decode()
    return facts.size, (b"x-request-id", request_id)


def headers_too_large() -> Problem:
    """A 431 for a request whose headers have more than `LARGEST_HEAD` bytes."""
    return Problem("headers-too-large", f"send at most {LARGEST_HEAD} bytes of headers")


def end(scope: Scope) -> None:
    """Gives back the memory that a request had for its body."""
    share = scope["state"].get("share")
    if share is not None:
        share.give()


def log_request(scope: Scope, method: str, route: str | None, status: int, began: float) -> None:
    """Logs a request that is answered; never its path, which may name a customer."""
    _log.debug(
        "request",
        request_id=http_request_id(scope),
        method=method,
        route=route,
        status=status,
        ms=round((time.perf_counter() - began) * 1000, 2),
    )


def _allowed(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What an answer to OPTIONS has of the headers of a 405."""
    allowed = {b"OPTIONS"}
    for name, value in headers:
        if name == b"allow":
            allowed |= {method.strip() for method in value.split(b",")}
    return [PRIVATE, (b"allow", b", ".join(sorted(allowed)))]


async def send_problem(
    problem: Problem,
    scope: Scope,
    send: Send,
    *headers: tuple[bytes, bytes],
    coded: bool = False,
) -> None:
    """Answers with a problem, and further headers; `coded`, for clients that read a code."""
    details = problem.coded if coded else problem.details
    body = msgspec.json.encode(details(http_request_id(scope)))
    rows = [*problem.encoded_headers(body), *headers]
    await send({"type": "http.response.start", "status": problem.status, "headers": rows})
    await send({"type": "http.response.body", "body": body, "more_body": False})
