"""HTTP for gateways: bounded in time and size, no redirects, no proxies, checked targets.

What matters is known of each failure: whether anything was sent before it. If not, the delivery can
be tried again; if so, its outcome is unknown.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import httpcore
import msgspec

from decision.gateways.failures import words_of
from decision.gateways.problems import Problem
from decision.gateways.protocol import Rejected, Retry, Unknown
from decision.gateways.targets import PinnedBackend, TargetRefused, Targets, problem_of_host

LARGEST_REPLY: Final = 64 * 1024
"""Bytes of a reply that are read; the rest is cut."""

LONGEST_WAIT: Final = 24 * 3600.0
"""Seconds of a Retry-After that are obeyed."""

_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OF_HTTP: Final = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "expect"}
)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_IDLE: Final = 2.0  # below what servers close after, so that a request does not meet the close
_FAILURES: Final = (
    TimeoutError,
    OSError,  # with those of TLS
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
)


class Reply(msgspec.Struct, frozen=True):
    """An answer. `end`: all of its body is there, it was `cut` as too large, or `lost` on the way.

    Names of `headers` are in lower case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    end: Literal["complete", "cut", "lost"] = "complete"

    def retry_after(self, now: float | None = None) -> float | None:
        """Seconds after which the server wants to be asked again; None where it does not say.

        >>> Reply(429, {"retry-after": "120"}, b"").retry_after()
        120.0
        >>> Reply(503, {"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT",
        ...     "date": "Fri, 31 Dec 1999 23:59:09 GMT"}, b"").retry_after()
        50.0
        """
        given = self.headers.get("retry-after", "").strip()
        if given.isascii() and given.isdigit():
            return min(float(given[:9]), LONGEST_WAIT)
        if (at := _date(given)) is None:
            return None
        # By the server's own clock where it shows it: ours may differ.
        if (there := _date(self.headers.get("date", ""))) is None:
            there = time.time() if now is None else now
        return min(max(0.0, at - there), LONGEST_WAIT)


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


@cache
def tls_context() -> ssl.SSLContext:
    """The certificates of the system, or of `SSL_CERT_FILE`; reading them takes a while."""
    return ssl.create_default_context()


class HttpClient:
    """Sends requests to one gateway's provider, on connections that are used again."""

    def __init__(self, *, timeout: float, targets: Targets) -> None:
        self._timeout = timeout
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls_context(),
            max_connections=None,
            keepalive_expiry=_IDLE,
            network_backend=PinnedBackend(targets),
        )

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Reply | Retry | Rejected | Unknown:
        """The reply to a request; without one, what that means for the delivery."""
        began = False
        status, fields = 0, {}

        async def trace(name: str, info: Any) -> None:
            nonlocal began
            began = began or name.endswith("send_request_headers.started")

        rows = [*headers.items(), ("content-length", str(len(body)))]
        limits = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout)
        try:
            encoded = [(name.encode("ascii"), value.encode("latin-1")) for name, value in rows]
            async with (
                asyncio.timeout(self._timeout),
                self._pool.stream(
                    method,
                    url,
                    headers=[(b"host", _host(url)), *encoded],
                    content=body,
                    extensions={"timeout": limits, "trace": trace},
                ) as answer,
            ):
                status, fields = answer.status, _fields(answer.headers)
                found = b""
                async for part in answer.aiter_stream():
                    found += part
                    if len(found) > LARGEST_REPLY:
                        return Reply(status, fields, found[:LARGEST_REPLY], "cut")
                return Reply(status, fields, found)
        except TargetRefused as error:
            return Retry(reason=str(error))
        except (UnicodeEncodeError, httpcore.LocalProtocolError):
            return Rejected("the request has a header that HTTP cannot send")
        except _FAILURES as error:
            if status:
                return Reply(status, fields, b"", "lost")
            reason = self._reason(error)
            return Unknown(reason) if began else Retry(reason=reason)

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError | httpcore.TimeoutException):
            return f"no answer within {self._timeout:g} s"
        return words_of(error)

    async def close(self) -> None:
        """Closes the connections."""
        await self._pool.aclose()


def _host(url: str) -> bytes:
    return urlsplit(url).netloc.encode("ascii")


def _fields(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def problem_of_url(url: str, allowed: bool | list[str]) -> tuple[str, str] | None:
    """What is wrong with the URL of a gateway: message and hint, or None.

    Names are resolved later, each time; an address that is written out is judged now.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "it is not a URL", "write https://example.com/path"
    if parts.scheme not in ("http", "https") or not host or port == 0 or not url.isascii():
        return "it must begin with https:// or http:// and a host", "write https://example.com/path"
    if any(ord(sign) <= 0x20 or ord(sign) == 0x7F for sign in url):
        return "it has a blank or a control character", "encode it with %"
    if "@" in parts.netloc:
        return "it has a login", "send it in a header: headers: {Authorization: …}"
    if parts.fragment:
        return "it has a part after #, which is never sent", "delete the part"
    return problem_of_host(host, allowed)


def problems_of_headers(headers: Mapping[str, str]) -> Iterator[Problem]:
    """What is wrong with the headers of a config."""
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            yield "headers", "a name has a sign that HTTP does not allow", ""
        elif name.lower() in _OF_HTTP:
            yield f"headers.{name}", "it is made by HTTP itself", "delete it"
        elif _CONTROL.search(value):
            yield f"headers.{name}", "it has a line break or a control character", ""
