"""Answers of the console: HTML with the headers that every one has, redirects, assets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from litestar.types import Receive, Scope, Send
from litestar.types.asgi_types import HTTPResponseStartEvent

from decision.engine.worker import run_in_worker

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
)
"""No inline script or style, nothing of another host, in no frame."""

HTML: Final = "text/html; charset=utf-8"
_ALWAYS: Final = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)
_NO_STORE: Final = "no-store"

SIGNS: Final = "/?=&%+:,;@!$'()*~-._#"
"""What stands in an address as it is, besides letters and digits."""


class Answer:
    """An answer of the console. Cookies that were set for the request go with it."""

    __slots__ = ("content", "headers", "status")

    def __init__(
        self,
        content: bytes,
        status: int = 200,
        *,
        kind: str = HTML,
        cache: str = _NO_STORE,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.content = content
        self.status = status
        self.headers = {"content-type": kind, "cache-control": cache, **(headers or {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        await send(self.start(scope, len(self.content)))
        await send({"type": "http.response.body", "body": self.content, "more_body": False})

    def start(self, scope: Scope, length: int | None = None) -> HTTPResponseStartEvent:
        """Status and headers; without a length where that is not known yet."""
        rows = [(name.encode(), value.encode("latin-1")) for name, value in self.headers.items()]
        cookies = [(b"set-cookie", one.encode("latin-1")) for one in cookies_of(scope)]
        sized = [] if length is None else [(b"content-length", str(length).encode())]
        headers = [*_ALWAYS, *rows, *cookies, *sized]
        return {"type": "http.response.start", "status": self.status, "headers": headers}

    def to_asgi_response(self, **_: Any) -> Answer:
        """Itself: Litestar asks this of what an exception handler returns."""
        return self


class Later(Answer):
    """An answer whose content is made when it is sent, beside the event loop."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[], str], status: int) -> None:
        super().__init__(b"", status)
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Makes and sends it."""
        self.content = (await run_in_worker(self._make)).encode()
        await super().__call__(scope, receive, send)


def redirect(path: str, *, htmx: bool = False) -> Answer:
    """Leads on to a path of the console by GET. A browser follows it; htmx loads it anew.

    What cannot stand in an address is percent-encoded, so that no path ends a header.
    """
    path = quote(path, safe=SIGNS)
    if htmx:
        return Answer(b"", 200, headers={"hx-redirect": path})
    return Answer(b"", 303, headers={"location": path})


def cookies_of(scope: Scope) -> list[str]:
    """The `Set-Cookie` headers that go with the answer to this request; add to it."""
    found: list[str] = scope["state"].setdefault("console_cookies", [])
    return found
