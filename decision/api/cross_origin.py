"""Calls by web pages elsewhere (CORS): some paths, by pages of some origins."""

from __future__ import annotations

from typing import Any, Final

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from decision.api.middleware import send_problem
from decision.api.problems import Problem

_PREFLIGHT: Final = [
    (b"access-control-allow-methods", b"POST"),
    # What analytics.js and RudderStack's client for browsers send.
    (b"access-control-allow-headers", b"anonymousid, authorization, content-type, x-retry-count"),
    (b"access-control-max-age", b"7200"),
]


class CrossOrigin:
    """Answers preflights for `paths`, and lets pages of `origins` read what these paths answer.

    Pages elsewhere are refused there: a write key that a page carries is known to everybody.
    """

    def __init__(self, app: ASGIApp, origins: frozenset[str], paths: frozenset[str]) -> None:
        self.app = app
        self.origins = origins
        self.paths = paths

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http" or scope["path"] not in self.paths:
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        vary = (b"vary", b"Origin")
        allowed = [vary]
        if (origin := headers.get(b"origin")) is not None:
            if origin.decode("latin-1") not in self.origins:
                await _refuse(scope, send)
                return
            allowed += [
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", b"retry-after, x-request-id"),
            ]
            if scope["method"] == "-" and b"access-control-request-method" in headers:
                rows = [*allowed, *_PREFLIGHT]
                await send({"type": "http.response.start", "status": 204, "headers": rows})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *allowed]
            await send(message)

        await self.app(scope, receive, answer)


async def _refuse(scope: Scope, send: Send) -> None:
    detail = "pages of this origin may not call this; NEXTBEST_SEGMENT_ORIGINS names those that may"
    await send_problem(Problem("forbidden", detail, close=True), scope, send)
