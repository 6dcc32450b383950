"""Forms: read within limits, and taken only from the console's own pages."""

from __future__ import annotations

import hmac
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

from litestar import Request
from litestar.types import Scope

from decision.console.answers import SIGNS
from decision.console.errors import PageError, TokenRefused
from decision.console.language import N_
from decision.console.visitors import BROWSER_COOKIE, Visitor, cookies_given, host_of
from decision.engine.worker import run_in_worker

LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a form."""

SMALL: Final = 16 * 1024
"""Bytes of a form that anybody may send."""

KEPT: Final = 2 * 1024 * 1024
"""Bytes of a form that are kept for somebody whose session has ended, to be sent again."""

LARGEST_AT_ONCE: Final = 100_000
"""Bytes of a form up to which reading it delays nobody."""

MOST_FIELDS: Final = 10_000
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "-"})

_Request = Request[Any, Any, Any]


class Form:
    """The fields of a form, or of a query.

    >>> form = Form([("name", "li"), ("tag", "a"), ("tag", "b")])
    >>> form.text("name"), form.all("tag"), form.text("none", "-")
    ('li', ['a', 'b'], '-')
    """

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self.fields = fields

    def text(self, name: str, otherwise: str = "") -> str:
        """A field's text; the last, where it was sent more than once."""
        return next((value for key, value in reversed(self.fields) if key == name), otherwise)

    def long_text(self, name: str) -> str:
        """A text of several lines, with a plain line feed at their ends, which forms do not have.

        >>> Form([("text", "a\\r\\nb")]).long_text("text")
        'a\\nb'
        """
        return self.text(name).replace("\r\n", "\n")

    def all(self, name: str) -> list[str]:
        """All that were sent under a name."""
        return [value for key, value in self.fields if key == name]

    def number(self, name: str, otherwise: int, least: int = 0, most: int = 1_000_000) -> int:
        """A whole number within bounds; `otherwise` where there is none."""
        text = self.text(name)
        if not (text.isascii() and text.isdigit() and len(text) < 12):
            return otherwise
        return min(max(int(text), least), most)


def query_of(request: _Request) -> Form:
    """The query of a request, in which a page's state is."""
    return parsed(request.scope["query_string"])


def form_of(request: _Request) -> Form:
    """The form of a request, which was read when it was let in."""
    found: Form = request.scope["state"]["form"]
    return found


async def read_form(data: bytes) -> Form:
    """The fields of an encoded form; a long one is read beside the event loop."""
    if len(data) > LARGEST_AT_ONCE:
        return await run_in_worker(partial(parsed, data))
    return parsed(data)


def parsed(data: bytes) -> Form:
    """The fields of an encoded form.

    Raises:
        PageError: 400, it has too many.
    """
    try:
        return Form(
            parse_qsl(
                data.decode("latin-1"),
                keep_blank_values=True,
                errors="replace",
                max_num_fields=MOST_FIELDS,
            )
        )
    except ValueError:
        raise PageError(400, N_("The form has too many fields.")) from None


def check_origin(scope: Scope) -> None:
    """Refuses what another site's page sends.

    Raises:
        PageError: 403.
    """
    headers = {name: value.decode("latin-1").lower() for name, value in scope["headers"]}
    origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
    if site not in (None, "same-origin") or (origin is None and site is None):
        raise PageError(403, _FOREIGN)
    if origin is not None and _place(origin) != host_of(scope):
        raise PageError(403, _FOREIGN)


def check_token(scope: Scope, visitor: Visitor, form: Form) -> None:
    """Refuses a form without the token of the browser's own pages.

    Raises:
        TokenRefused: another token, or none.
        PageError: 403, the browser sent no cookie.
    """
    if BROWSER_COOKIE not in cookies_given(scope):
        raise PageError(403, _NO_COOKIE)
    headers = dict(scope["headers"])
    given = headers.get(b"x-csrf-token", b"").decode("latin-1") or form.text("csrf")
    if not hmac.compare_digest(given.encode(), visitor.token.encode()):
        raise TokenRefused(403, _NO_TOKEN)


def local_path(path: str) -> str:
    """A path of the console to go to; Home, where it is none of ours.

    >>> local_path("/console/rules?file=a"), local_path("//evil.example/console")
    ('/console/rules?file=a', '/console')
    """
    ours = path == "/console" or path.startswith(("/console/", "/console?"))
    if not ours or "\\" in path or not path.isprintable() or "//" in path.partition("?")[0]:
        return "/console"
    return quote(path, safe=SIGNS)


def _place(origin: str) -> str:
    """Host and port of an origin, as a Host header has them; "" for `null` and what is none."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    usual = {"http": ":80", "https": ":443"}.get(parts.scheme)
    return parts.netloc.removesuffix(usual) if usual else ""


_FOREIGN: Final = N_(
    "This was sent by a page of another site, or through a proxy that changes the Host. Open the "
    "console, and send it from there."
)
_NO_COOKIE: Final = N_(
    "The browser did not send the console's cookie. Allow cookies for this site, and open the "
    "console by https, or on this machine by localhost."
)
_NO_TOKEN: Final = N_("The page that sent this is too old. Load it again, and send it once more.")
