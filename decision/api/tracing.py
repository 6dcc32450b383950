"""A span around every request: it continues the caller's trace, and names it in the answer."""

from __future__ import annotations

from typing import Any, Final

from litestar.types import ASGIApp, Message, Receive, Send

from decision.server.tracing import Tracing

NOT_TRACED: Final = frozenset({"/health/live", "/health/ready", "/metrics"})
"""What machines ask for every few seconds."""


class TracingMiddleware:
    """Around the application, only where traces are exported.

    `traceparent` of the request is continued, `traceresponse` of the answer names the span.
    """

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self.app = app
        self.tracing = tracing

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http" or scope["path"] in NOT_TRACED:
            await self.app(scope, receive, send)
            return
        span = self.tracing.begin(scope["method"], scope["headers"])
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                header = (b"traceresponse", span.header)
                message["headers"] = [*message["headers"], header]
            await send(message)

        try:
            await self.app(scope, receive, answer)
        finally:
            span.end(scope["method"], scope.get("path_template"), status)
