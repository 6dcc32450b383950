"""Request bodies: read within limits of size, time and memory."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from litestar.types import Receive, Scope

from decision.api.header_facts import facts_of
from decision.api.problems import Problem, unavailable
from decision.server.admission import retry_after
from decision.server.byte_budget import ByteBudget, Share, weight
from decision.server.settings import ServerSettings

JSON_ONLY: Final = frozenset({b"application/json"})

_PLAIN: Final = frozenset({b"identity"})
_PACKED: Final = frozenset({b"identity", b"gzip"})

_SMALL: Final = 8 * 1024
"""Bytes up to which a body is not counted."""

_DRAIN_SECONDS: Final = 1.0


class Bodies:
    """The bodies in JSON that a worker has received and not answered yet, within a bound.

    Small ones are not counted: of these, the number of connections is bound enough.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.largest = settings.max_body_bytes
        self.seconds = settings.body_timeout_ms / 1000
        self.budget = ByteBudget(settings.max_bytes_in_flight // 2)
        self._small = min(_SMALL, self.largest)

    async def read_packed(
        self,
        scope: Scope,
        receive: Receive,
        *,
        types: frozenset[bytes] | None = JSON_ONLY,
        largest: int | None = None,
    ) -> bytes:
        """The whole body of a request, which may be packed with gzip, unpacked; else as `read`.

        Raises:
            Problem: as `read` does; 413 where it is too large unpacked, 400 where it cannot be
                unpacked.
        """
        largest = self.largest if largest is None else largest
        body = await self.read(scope, receive, types=types, encodings=_PACKED, largest=largest)
        if facts_of(scope).by_name.get(b"content-encoding", b"").lower() != b"gzip":
            return body
        unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            found = unpacking.decompress(body, largest + 1)
        except zlib.error:
            raise Problem("invalid-request", "the body is not gzip") from None
        if len(found) > largest:
            raise too_large(largest)
        if not unpacking.eof or unpacking.unused_data:
            raise Problem("invalid-request", "the body is not one whole stream of gzip")
        if len(found) > self._small:
            share = scope["state"].get("share")
            if share is None:
                share = scope["state"]["share"] = Share(self.budget)
            if not share.grow(weight(found)):
                raise self._crowded()
        return found

    async def read(
        self,
        scope: Scope,
        receive: Receive,
        *,
        types: frozenset[bytes] | None = JSON_ONLY,
        encodings: frozenset[bytes] = _PLAIN,
        largest: int | None = None,
    ) -> bytes:
        """The whole body of a request. Its share of memory is in the request's state, as `share`.

        `types` (None: any) and `encodings` are the contents it may have, `largest` its bytes,
        where that is not what the settings say of bodies.

        Raises:
            Problem: 415 for another content type, 413 where it is too large, 408 where it took too
                long, 400 where the client went away, 503 where others take all memory there is.
        """
        largest = self.largest if largest is None else largest
        check_headers(scope, types, largest, encodings)
        if (received := self._received(scope)) is not None:
            return received
        size = 0
        parts: list[bytes] = []
        share: Share | None = None
        try:
            async with asyncio.timeout(self.seconds):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        detail = "the client went away before its body ended"
                        raise Problem("invalid-request", detail)
                    part = message["body"]
                    size += len(part)
                    if size > self._small:
                        if share is None:
                            share = scope["state"]["share"] = Share(self.budget)
                        if size > largest or not share.grow(size):
                            break
                    if not message["more_body"]:
                        body = b"".join((*parts, part)) if parts else part
                        if share is not None and not share.grow(weight(body)):
                            raise self._crowded()
                        return body
                    parts.append(part)
        except TimeoutError:
            raise late(self.seconds) from None
        problem = too_large(largest) if size > largest else self._crowded(close=True)
        parts.clear()
        if share is not None:
            share.give()
        if message["more_body"]:
            await _drain(receive)
        raise problem

    def read_at_once(self, scope: Scope) -> bytes | None:
        """As `read`; None where the body has not come yet, or is to be counted."""
        check_headers(scope, JSON_ONLY, self.largest)
        return self._received(scope)

    def _received(self, scope: Scope) -> bytes | None:
        """A small body that has come."""
        received = scope["state"].get("body_received")
        return bytes(received) if received is not None and len(received) <= self._small else None

    def _crowded(self, *, close: bool = False) -> Problem:
        return unavailable(
            f"the requests under way take {self.budget.limit} bytes of memory, which is the most "
            "allowed; try again",
            retry_after(),
            close=close,
        )


def check_headers(
    scope: Scope,
    allowed: frozenset[bytes] | None,
    limit: int,
    encodings: frozenset[bytes] = _PLAIN,
) -> None:
    """Refuses a body by what its headers say of it. `allowed` are its types; None: any.

    Raises:
        Problem: 415 or 413.
    """
    facts, asked = facts_of(scope), (allowed, limit, encodings)
    if asked in facts.fits:
        return
    headers = facts.by_name
    given = headers.get(b"content-type", b"")
    if (
        allowed is not None
        and given not in allowed
        and given.split(b";", 1)[0].strip().lower() not in allowed
    ):
        shown = given.decode("latin-1")[:60] or "missing"
        wanted = " or ".join(sorted(name.decode() for name in allowed))
        raise Problem("unsupported-media-type", f"Content-Type is {shown}; send {wanted}")
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding.lower() not in encodings:
        shown = encoding.decode("latin-1")[:60]
        instead = "use gzip, or send" if b"gzip" in encodings else "send"
        raise Problem(
            "unsupported-media-type", f"Content-Encoding is {shown}; {instead} the body as it is"
        )
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and (len(length) > 18 or int(length) > limit):
        raise too_large(limit)
    facts.fits.add(asked)


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
