"""Bodies: read within limits of size and time, decoded, and refused in words a caller can mend."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar

import msgspec
from litestar.types import Receive, Scope

from decision.api.explaining import explain
from decision.api.problems import Problem, bad_field

T = TypeVar("T")

DEEPEST: Final = 32
"""How deep a body may be nested."""

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_LEAST, _MOST = -(2**63), 2**64 - 1
_DRAIN_SECONDS = 1.0


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


class JsonDecoder(Generic[T]):
    """Decodes JSON of one type, or raises a problem that names the field, the value and the mend.

    With `numbers` false, whole numbers of more than 64 bits are let through, for parts that are
    decoded later.
    """

    def __init__(self, type: type[T] | Any, *, numbers: bool = True) -> None:
        self.type = type
        self._numbers = numbers
        self._decode = msgspec.json.Decoder(type).decode

    def decode(self, body: bytes) -> T:
        """The value.

        Raises:
            Problem: 400.
        """
        check_depth(body)
        try:
            value: T = self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.explain(error, body) from None
        if self._numbers and _LONG_NUMBER.search(body):
            check_numbers(body)
        return value

    def explain(self, error: Exception, body: bytes) -> Problem:
        """The problem that a decoder's error stands for."""
        if isinstance(error, msgspec.ValidationError):
            return bad_field(*explain(str(error), body, self.type))
        if isinstance(error, UnicodeDecodeError):
            return bad_field("", "the body is not UTF-8")
        if isinstance(error, RecursionError):
            return _too_deep()
        if not body.strip():
            return bad_field("", "the body is empty; send a JSON object")
        reason = str(error).removeprefix("JSON is malformed: ")
        if reason == "Input data was truncated":
            reason = "it ends too early, or has half a character as a \\u escape"
        return bad_field("", f"the body is not JSON: {reason}")


def check_depth(body: bytes) -> None:
    """Refuses what is nested too deeply, before any decoder recurses into it.

    Raises:
        Problem: 400.
    """
    if body.count(b"{") + body.count(b"[") <= DEEPEST:
        return
    depth = 0
    for bracket in _STRINGS.sub(b"", body).translate(None, _NOT_BRACKETS):
        if bracket in b"{[":
            depth += 1
            if depth > DEEPEST:
                raise _too_deep()
        else:
            depth -= 1


def _too_deep() -> Problem:
    return bad_field("", f"the body is nested more than {DEEPEST} levels deep")


def check_numbers(body: bytes) -> None:
    """Refuses whole numbers that no store or log can keep.

    Raises:
        Problem: 400.
    """
    for path, value in _leaves(msgspec.json.decode(body), ""):
        if isinstance(value, int) and not _LEAST <= value <= _MOST:
            raise bad_field(
                path, f"{str(value)[:30]} does not fit into 64 bits; send it as text or rounded"
            )


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value
