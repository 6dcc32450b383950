"""Errors as RFC 9457 problem details: a stable `type` and `title`, the varying text in `detail`."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import msgspec

from decision.core.errors import FieldError, NextbestError, Overloaded

JSON: Final = (b"content-type", b"application/json")
PRIVATE: Final = (b"cache-control", b"no-store")
_PROBLEM_JSON: Final = (b"content-type", b"application/problem+json")


class Kind(msgspec.Struct, frozen=True):
    """A kind of problem: its HTTP status, and a title that is the same for all of the kind."""

    status: int
    title: str


KINDS: Final[dict[str, Kind]] = {
    "invalid-request": Kind(400, "The request cannot be used"),
    "unauthorized": Kind(401, "Authentication failed"),
    "forbidden": Kind(403, "Access is not allowed"),
    "not-found": Kind(404, "Not found"),
    "method-not-allowed": Kind(405, "Method not allowed"),
    "request-timeout": Kind(408, "The request took too long to arrive"),
    "conflict": Kind(409, "Conflict with current state"),
    "policy-refused": Kind(409, "The policy cannot be put in force"),
    "too-large": Kind(413, "The request is too large"),
    "unsupported-media-type": Kind(415, "The content type cannot be read"),
    "rate-limited": Kind(429, "The rate is used up"),
    "headers-too-large": Kind(431, "The request's headers are too large"),
    "internal-error": Kind(500, "The server failed"),
    "unavailable": Kind(503, "The server cannot do this at the moment"),
}
"""Kind → what it is. `urn:nextbest:problem:<kind>` is the problem's `type`."""

KIND_BY_STATUS: Final = {kind.status: name for name, kind in reversed(KINDS.items())}
"""HTTP status → the first kind that has it."""


_SANE_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every error (RFC 9457). `instance` names the request, as `X-Request-ID` does."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[FieldError] = []


class LineProblem(ProblemDetails, frozen=True, kw_only=True):
    """A problem of one line of a batch. Lines count from 1.

    A line has no headers, so `retry_after` says here what `Retry-After` says elsewhere: the seconds
    after which to send it again.
    """

    line: int
    retry_after: int | None


class CodedProblem(ProblemDetails, frozen=True, kw_only=True):
    """A problem for clients that read `code` and `message` of an error."""

    code: str
    message: str


class Problem(NextbestError):
    """Ends a request with a problem.

    `close` also ends the connection: for requests with a body that is left unread.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})
        if close:
            self.headers["connection"] = "close"

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.kind].status

    def details(self, request_id: str | None = None) -> ProblemDetails:
        """What goes into the body."""
        kind = KINDS[self.kind]
        return ProblemDetails(
            type=f"urn:nextbest:problem:{self.kind}",
            title=kind.title,
            status=kind.status,
            detail=self.detail,
            instance=f"urn:nextbest:request:{request_id}" if request_id else None,
            errors=self.errors,
        )

    def of_line(self, line: int, request_id: str) -> LineProblem:
        """What stands in the place of the answer to one line."""
        after = self.headers.get("retry-after")
        details = msgspec.structs.asdict(self.details(request_id))
        return LineProblem(**details, line=line, retry_after=None if after is None else int(after))

    def coded(self, request_id: str | None = None) -> CodedProblem:
        """What goes into the body, with a code."""
        details = msgspec.structs.asdict(self.details(request_id))
        return CodedProblem(**details, code=self.kind, message=self.detail)

    def encoded_headers(self, body: bytes) -> list[tuple[bytes, bytes]]:
        """The headers of the answer with this body."""
        return [
            _PROBLEM_JSON,
            PRIVATE,
            (b"content-length", str(len(body)).encode()),
            *((name.encode(), value.encode("latin-1")) for name, value in self.headers.items()),
        ]


def bad_field(path: str, detail: str) -> Problem:
    """A 400 that names one field."""
    text = f"{path}: {detail}" if path else detail
    return Problem("invalid-request", text, errors=[FieldError(path, str(detail))])


def unavailable(detail: str, retry_after: int = 1, *, close: bool = False) -> Problem:
    """A 503 that says after how many seconds to try again."""
    return Problem("unavailable", detail, headers={"retry-after": str(retry_after)}, close=close)


def overloaded(error: Overloaded) -> Problem:
    """A 503 for what is refused under overload."""
    return unavailable(str(error), error.retry_after)


def sane_request_id(given: bytes) -> bytes:
    """The caller's own id of a request, where it can be one; else one made here."""
    return given if given and _SANE_ID.fullmatch(given) else b"%016x" % random.getrandbits(64)


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The id of a request with these headers."""
    found = b""
    for name, value in headers:
        if name == b"x-request-id":
            found = value
    return sane_request_id(found)


def problem_bytes(
    problem: Problem, headers: Iterable[tuple[bytes, bytes]] = (), *, close: bool = False
) -> bytes:
    """A problem as a complete answer, to a request with these headers."""
    request_id = request_id_of(headers)
    body = msgspec.json.encode(problem.details(request_id.decode()))
    rows = [*problem.encoded_headers(body), (b"x-request-id", request_id)]
    if close:
        rows.append((b"connection", b"close"))
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in rows)
    phrase = HTTPStatus(problem.status).phrase
    return f"HTTP/1.1 {problem.status} {phrase}\r\n".encode() + lines + b"\r\n" + body


_MARK: Final = b"request-id-here"
_TURNED_AWAY: Final = problem_bytes(overloaded(Overloaded(7)), [(b"x-request-id", _MARK)])
_HEAD, _, _BODY = _TURNED_AWAY.replace(_MARK, b"%b").partition(b"\r\n\r\n")
_HEAD = re.sub(rb"content-length: \d+", b"content-length: %d", _HEAD)
_HEAD = _HEAD.replace(b"retry-after: 7", b"retry-after: %d") + b"\r\n\r\n"


def turned_away(headers: Iterable[tuple[bytes, bytes]], retry_after: int) -> bytes:
    """`problem_bytes` of an overload, made ahead: under load it is made thousands of times."""
    request_id = request_id_of(headers)
    body = _BODY % request_id
    return _HEAD % (len(body), retry_after, request_id) + body
