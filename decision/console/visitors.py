"""Who looks at a page, as their cookies and their session say."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final, Protocol

import msgspec
from litestar import Request
from litestar.types import Receive, Scope

from decision.console.answers import cookies_of
from decision.console.language import LANGUAGES, Language, language, preferred
from decision.server.settings import is_loopback_host

SESSION_COOKIE: Final = "nextbest_session_"
"""What the name of the cookie begins with that has 256 random bits while somebody is signed in.

A browser sends a host's cookies to all its ports. So the rest of the name tells one store from
others (`sessions.cookie_name`): whoever signs in at one server stays signed in at the other.
"""

BROWSER_COOKIE: Final = "nextbest_browser"
"""256 random bits per browser. The token of its forms is made from them, and outlives sessions: a
form that was filled in before a session ended can be sent after signing in again."""

VIEW_COOKIE: Final = "nextbest_view"
"""Language and theme, as `zh.dark`."""

THEMES: Final = ("auto", "light", "dark")

SCOPES: Final = frozenset({"view", "edit", "publish", "operate"})
"""What keys may do in the console. `admin` has all of them, and each has `view`."""

_YEAR: Final = 365 * 24 * 3600


class Holder(msgspec.Struct, frozen=True):
    """The holder of a key: its name and scopes."""

    name: str
    scopes: frozenset[str]


class Problem(Protocol):
    """What an error is in HTTP."""

    headers: dict[str, str]
    detail: str

    @property
    def status(self) -> int: ...


class Door(Protocol):
    """What the console needs of the API: who may call, how bodies are read, what errors are."""

    @property
    def open(self) -> bool:
        """Whether there are no keys: then everything is allowed, from this machine alone."""

    def admit(self, scope: Scope) -> None:
        """Refuses a request for another host, and without keys one from another machine."""

    def holder(self, sha256: str) -> Holder | None:
        """Whose key has this hash; None where it is not known, was revoked or has expired."""

    async def read(self, scope: Scope, receive: Receive, largest: int) -> bytes:
        """The body of a form, within limits of size, time and memory."""

    def problem(self, error: Exception, scope: Scope) -> Problem:
        """The problem that an exception stands for; what is unforeseen is logged."""


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Who looks at a page. `name` is that of their key, `local` without keys, "" for nobody.

    `token` goes into every form (`csrf`), `session` is the name of the session in the store.
    """

    language: Language
    theme: str
    token: str
    name: str = ""
    scopes: frozenset[str] = frozenset()
    session: str = ""

    def may(self, scope: str) -> bool:
        """Whether they have a scope."""
        return scope in self.scopes


def visitor_of(request: Request[Any, Any, Any]) -> Visitor:
    """Who looks at the page; nobody in particular before the request was let in."""
    found: Visitor | None = request.scope["state"].get("visitor")
    return stranger(request.scope) if found is None else found


def stranger(scope: Scope) -> Visitor:
    """Somebody of whom only the browser is known. A browser that is new gets its cookie."""
    state: dict[str, Any] = scope["state"]
    known: Visitor | None = state.get("stranger")
    if known is not None:
        return known
    cookies = cookies_given(scope)
    browser = cookies.get(BROWSER_COOKIE, "")
    if len(browser) != 43:
        browser = secrets.token_urlsafe(32)
        if not from_elsewhere(scope):  # else it may have one, which such a request comes without
            cookies_of(scope).append(cookie(scope, BROWSER_COOKIE, browser, _YEAR))
    code, _, theme = cookies.get(VIEW_COOKIE, "").partition(".")
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    if code not in LANGUAGES:
        accept = b",".join(value for name, value in headers if name == b"accept-language")
        code = preferred(accept.decode("latin-1"))
    found = Visitor(
        language=language(code),
        theme=theme if theme in THEMES else "auto",
        token=_token(browser),
    )
    state["stranger"] = found
    return found


def from_elsewhere(scope: Scope) -> bool:
    """Whether a page of another site led here: then the request comes without our cookies."""
    return (b"sec-fetch-site", b"cross-site") in scope["headers"]


def scopes_of(scopes: Iterable[str]) -> frozenset[str]:
    """The console's scopes that a key has.

    >>> sorted(scopes_of(["decide", "edit"]))
    ['edit', 'view']
    """
    given = frozenset(scopes)
    if "admin" in given:
        return SCOPES
    found = given & SCOPES
    return found | {"view"} if found else found


def cookies_given(scope: Scope) -> dict[str, str]:
    """The cookies of a request."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name == b"cookie":
            for part in value.decode("latin-1").split(";"):
                key, _, text = part.strip().partition("=")
                found.setdefault(key, text)
    return found


def cookie(scope: Scope, name: str, value: str, lasts: int) -> str:
    """A `Set-Cookie` for the console alone; with `lasts` 0 (seconds) it removes the cookie.

    It is `Secure` unless the request came by plain HTTP to a name of this machine.
    """
    made: SimpleCookie = SimpleCookie()
    try:
        made[name] = value
    except CookieError:  # our own names and values always can
        raise AssertionError from None
    morsel = made[name]
    morsel.update({"path": "/console", "max-age": str(lasts), "samesite": "Strict"})
    morsel["httponly"] = True
    if not (scope["scheme"] == "http" and is_loopback_host(_host_name(scope))):
        morsel["secure"] = True
    return morsel.OutputString()


def host_of(scope: Scope) -> str:
    """The Host of a request as sent, in lower case: a name, and a port where it is not usual."""
    for name, value in scope["headers"]:
        if name == b"host":
            return value.decode("latin-1").strip().lower()
    return ""


def _host_name(scope: Scope) -> str:
    host = host_of(scope)
    return host.partition("]")[0].strip("[") if host.startswith("[") else host.partition(":")[0]


def _token(browser: str) -> str:
    digest = hashlib.sha256(b"nextbest console form\0" + browser.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
