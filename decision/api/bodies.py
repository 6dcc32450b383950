"""Request bodies: read within limits of size and time."""

from __future__ import annotations

import asyncio
from typing import Final

from litestar.types import Receive, Scope

from decision.api.problems import Problem

_DRAIN_SECONDS: Final = 1.0


async def read_body(
    scope: Scope, receive: Receive, allowed: frozenset[bytes], limit: int, seconds: float
) -> bytes:
    """The whole body of a request in one of the `allowed` content types.

    Raises:
        Problem: 415 for another content type, 413 where it is larger than `limit` bytes, 408
            where it took longer than `seconds`, 400 where the client went away.
    """
    check_headers(scope, allowed, limit)
    size = 0
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Problem("invalid-request", "the client went away before its body ended")
                part = message["body"]
                size += len(part)
                if size > limit:
                    break
                if not message["more_body"]:
                    return b"".join((*parts, part)) if parts else part
                parts.append(part)
    except TimeoutError:
        raise late(seconds) from None
    await _drain(receive)
    raise too_large(limit)


def check_headers(scope: Scope, allowed: frozenset[bytes], limit: int) -> None:
    """Refuses a body by what its headers say of it.

    Raises:
        Problem: 415 or 413.
    """
    headers = dict(scope["headers"])
    given = headers.get(b"content-type", b"")
    if given not in allowed and given.split(b";", 1)[0].strip().lower() not in allowed:
        shown = given.decode("latin-1")[:60] or "missing"
        wanted = " or ".join(sorted(name.decode() for name in allowed))
        raise Problem("unsupported-media-type", f"Content-Type is {shown}; send {wanted}")
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding.lower() != b"identity":
        shown = encoding.decode("latin-1")[:60]
        raise Problem(
            "unsupported-media-type", f"Content-Encoding is {shown}; send the body as it is"
        )
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and (len(length) > 18 or int(length) > limit):
        raise too_large(limit)


def late(seconds: float) -> Problem:
    """A 408 that names the limit."""
    return Problem("request-timeout", f"the body did not arrive within {seconds:g} s", close=True)


def too_large(limit: int) -> Problem:
    """A 413 that names the limit."""
    return Problem("too-large", f"the body is larger than {limit} bytes; send less", close=True)


async def _drain(receive: Receive) -> None:
    """Reads on for a moment, so that an honest client gets to read the answer."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request" or not message["more_body"]:
                    return
    except TimeoutError:
        return
