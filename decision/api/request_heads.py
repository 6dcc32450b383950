"""What a request's head must be before anything reads it: one Host, one framing of the body."""

from __future__ import annotations

import functools
import re
import urllib.parse
from collections.abc import Sequence
from typing import Any, Final

import httptools

from decision.api.header_facts import HeaderFacts
from decision.api.problems import Problem

LARGEST_HEAD: Final = 32 * 1024
"""Bytes that a request's headers may have in all."""

MOST_HEADERS: Final = 128
"""Headers that a request may have."""

_MOST_REMEMBERED: Final = 256
_LARGEST_REMEMBERED: Final = 2 * 1024
"""How many heads are remembered, and of how many bytes each at most."""

_GUARDED: Final = (b"/v1/decisions", b"/v1/events", b"/v1/customers", b"/ofrep/")

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_VERSIONS: Final = ("1.1", "1.0")


class Head:
    """A request's head, once it is read. `path` and `query` are as they were sent.

    `facts` are those of its headers. `guarded` is whether its path is refused while too much is
    under way; health, metrics and the rest are not. `scope` is what an ASGI scope has of it:
    whoever fills in the rest takes a copy.
    """

    __slots__ = ("facts", "guarded", "headers", "keeps_alive", "method", "path", "scope")

    def __init__(
        self,
        headers: list[tuple[bytes, bytes]],
        method: bytes,
        version: str,
        path: bytes,
        query: bytes,
        keeps_alive: bool,
    ) -> None:
        self.headers = headers
        self.method = method
        self.path = path
        self.keeps_alive = keeps_alive
        self.facts = HeaderFacts(headers)
        self.guarded = path.startswith(_GUARDED)
        text = path.decode("ascii")
        self.scope: dict[str, Any] = {
            "type": "http",
            "http_version": version,
            "headers": headers,
            "method": method.decode("ascii"),
            "path": urllib.parse.unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
        }


class KnownHeads:
    """Heads that came before, by their bytes: a client sends the same ones again and again.

    The same bytes between two requests mean the same, so these need not be parsed again.
    """

    def __init__(self) -> None:
        self._heads: dict[bytes, tuple[Head, int]] = {}

    def note(self, request: bytes, head: Head, body: int) -> None:
        """Remembers the head of a request with a body of so many bytes, whose length it tells."""
        raw = request[: len(request) - body]
        if raw.find(_END) != len(raw) - len(_END) or len(raw) > _LARGEST_REMEMBERED:
            return  # it is not all there is before the body, such as that of a chunk
        if head.facts.by_name.get(b"content-length") == b"%d" % body:
            if len(self._heads) >= _MOST_REMEMBERED:
                self._heads.clear()
            self._heads[raw] = head, body

    def find(self, request: bytes) -> tuple[Head, bytes] | None:
        """The head and the body of a whole request; None where its head is not known."""
        end = request.find(_END) + len(_END)
        found = self._heads.get(request[:end])
        if found is None or len(request) - end != found[1]:
            return None
        return found[0], request[end:]


_END: Final = b"\r\n\r\n"


def read_head(headers: list[tuple[bytes, bytes]], url: bytes, method: bytes, version: str) -> Any:
    """The target of a request as httptools has parsed it, or the `Problem` with its head.

    Host is made to be that of the target, where the target names one.
    """
    if len(headers) > MOST_HEADERS:
        detail = f"the request has {len(headers)} headers; send at most {MOST_HEADERS}"
        return Problem("headers-too-large", detail)
    if (problem := _problem(headers, method, version)) is not None:
        return problem
    try:
        target: Any = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        return Problem("invalid-request", "the target of the request is not a URL")
    if target.host is None:
        return target
    return _use_host_of_target(headers, target) or target


def _problem(headers: Sequence[tuple[bytes, bytes]], method: bytes, version: str) -> Problem | None:
    """Why a request with these headers is refused; None where it is not.

    A proxy in front of us may read such a head in another way than we do. Then it and we see
    different requests, of which one was never checked (request smuggling).
    """
    host: bytes | None = None
    coded = False
    for name, value in headers:
        if name == b"host":
            if host is not None:
                return Problem("invalid-request", "the request has two Host headers; send one")
            host = value
        elif name == b"transfer-encoding":
            coded = True
            if value.lower() != b"chunked":
                shown = value[:60].decode("latin-1")
                return Problem(
                    "invalid-request", f"Transfer-Encoding is {shown}; only chunked is read"
                )
    if version not in _VERSIONS:
        return Problem("invalid-request", f"this is HTTP/{version}; send HTTP/1.1")
    if host is None:
        if version != "1.0":
            return Problem("invalid-request", "the request has no Host header; send one")
    elif not _is_host(host):
        shown = host[:60].decode("latin-1") or "empty"
        return Problem("invalid-request", f"Host is {shown}; send a name or address, and a port")
    if coded and version == "1.0":
        return Problem("invalid-request", "HTTP/1.0 has no Transfer-Encoding; send HTTP/1.1")
    if method == b"CONNECT":
        return Problem("invalid-request", "this is no proxy; CONNECT is not served")
    return None


def _use_host_of_target(headers: list[tuple[bytes, bytes]], target: Any) -> Problem | None:
    """Puts the host of a target such as `http://host/path` in the place of Host, as RFC 9112 says.

    `target` is the target as httptools has parsed it. Why the request is refused, where it is.
    """
    host = b"[%b]" % target.host if b":" in target.host else bytes(target.host)
    if target.port:
        host += b":%d" % target.port
    if target.userinfo or not _is_host(host):
        return Problem("invalid-request", "the target of the request names no host that can be")
    headers[:] = [(b"host", host), *(row for row in headers if row[0] != b"host")]
    return None


@functools.lru_cache(256)
def _is_host(value: bytes) -> bool:
    return len(value) <= 300 and _HOST.fullmatch(value) is not None
