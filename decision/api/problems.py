"""Errors as RFC 9457 problem details: a stable `type` and `title`, the varying text in `detail`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from decision.core.errors import FieldError, NextbestError

JSON: Final = (b"content-type", b"application/json")
PRIVATE: Final = (b"cache-control", b"no-store")
_PROBLEM_JSON: Final = (b"content-type", b"application/problem+json")


class Kind(msgspec.Struct, frozen=True):
    """A kind of problem: its HTTP status, and a title that is the same for all of the kind."""

    status: int
    title: str


KINDS: Final[dict[str, Kind]] = {
    "invalid-request": Kind(400, "The request cannot be used"),
    "unauthorized": Kind(401, "A valid API key is needed"),
    "forbidden": Kind(403, "The API key does not allow this"),
    "not-found": Kind(404, "Not found"),
    "method-not-allowed": Kind(405, "Method not allowed"),
    "request-timeout": Kind(408, "The request took too long to arrive"),
    "conflict": Kind(409, "Conflict with current state"),
    "policy-refused": Kind(409, "The policy cannot be put in force"),
    "too-large": Kind(413, "The request is too large"),
    "unsupported-media-type": Kind(415, "The content type cannot be read"),
    "headers-too-large": Kind(431, "The request's headers are too large"),
    "internal-error": Kind(500, "The server failed"),
    "unavailable": Kind(503, "The server cannot do this at the moment"),
}
"""Kind → what it is. `urn:nextbest:problem:<kind>` is the problem's `type`."""

KIND_BY_STATUS: Final = {kind.status: name for name, kind in reversed(KINDS.items())}
"""HTTP status → the first kind that has it."""


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every error (RFC 9457). `instance` names the request, as `X-Request-ID` does."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[FieldError] = []


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
    return Problem("invalid-request", text, errors=[FieldError(path, detail)])
