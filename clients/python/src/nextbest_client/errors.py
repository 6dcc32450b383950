"""What can go wrong with a call.

NextbestError
├── ProblemError      the server answered, and it is no success (RFC 9457), or not nextbest's answer
└── NoAnswerError     the connection failed, or ended before the answer did
    └── TimedOutError the answer took longer than `timeout`
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple, Never

_TYPE = "urn:nextbest:problem:"


class FieldProblem(NamedTuple):
    """A field of a request that cannot be used: its path, as `event.at`, and how to fix it."""

    path: str
    detail: str


class NextbestError(Exception):
    """A call failed."""


class ProblemError(NextbestError):
    """The server's answer is a problem.

    `kind` is the end of the problem's type, such as `invalid-request` or `not-found`; it is empty
    where the answer is not nextbest's, but that of a proxy. `errors` names each bad field.
    `instance` names the request in the server's log. `retry_after` is in seconds.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        errors: tuple[FieldProblem, ...] = (),
        instance: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {kind or title}: {detail}" if detail else f"{status} {title}")
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.errors = errors
        self.instance = instance
        self.retry_after = retry_after


class NoAnswerError(NextbestError):
    """There is no complete answer. `sent`: the server may have done what was asked."""

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.sent = sent


class TimedOutError(NoAnswerError):
    """The answer took too long."""


def problem_of(status: int, headers: Mapping[str, str], body: bytes) -> ProblemError:
    """An answer that is no success, as an error."""
    retry_after = _seconds(headers.get("retry-after"))
    try:
        found = parsed(body)
        kind = _text(found["type"])
        if not kind.startswith(_TYPE):
            raise ValueError(kind)
        instance = found.get("instance")
        errors = [FieldProblem(_text(one["path"]), _text(one["detail"])) for one in found["errors"]]
        return ProblemError(
            status,
            kind.removeprefix(_TYPE),
            _text(found["title"]),
            _text(found["detail"]),
            tuple(errors),
            None if instance is None else _text(instance),
            retry_after,
        )
    except (ValueError, TypeError, KeyError):
        title = HTTPStatus(status).phrase if status in list(HTTPStatus) else "Unknown status"
        detail = " ".join(body[:200].decode("utf-8", "replace").split())
        return ProblemError(status, "", title, detail, retry_after=retry_after)


def parsed(data: bytes) -> dict[str, Any]:
    """The JSON object that these bytes are. Every answer of nextbest is one, and every line.

    Raises:
        ValueError: they are none, or one that is nested too deeply to be read.
    """
    try:
        found = json.loads(data, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def _no_number(name: str) -> Never:
    """Python would take NaN and Infinity, which JSON does not have."""
    raise ValueError(f"{name} is no JSON")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it is no text")
    return value


def _seconds(given: str | None) -> float | None:
    """`Retry-After`: seconds, or a date."""
    if given is None:
        return None
    if given.strip().isdecimal():
        return float(given)
    try:
        at = parsedate_to_datetime(given)
        return max(0.0, (at - datetime.now(UTC)).total_seconds()) if at.tzinfo else None
    except (ValueError, OverflowError):  # a date that is none, or that cannot be counted with
        return None
