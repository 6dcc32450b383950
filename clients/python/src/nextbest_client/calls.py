"""One call as data: what its answer means, and when it is made again. No I/O happens here."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

import httpx

from nextbest_client.errors import (
    NextbestError,
    NoAnswerError,
    ProblemError,
    TimedOutError,
    parsed,
    problem_of,
)

T = TypeVar("T")

_AGAIN: Final = (408, 429, 502, 503, 504)


def address(url: str) -> str:
    """The address of a server, as paths are put after it.

    Raises:
        ValueError: it is not one, or has more than scheme, host, port and path.
    """
    wrong = ValueError("the address is no http:// or https:// one with a host")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):  # it would name the address, and so a password in it
        raise wrong from None
    if not good:
        raise wrong
    if parts.username is not None or "?" in url or "#" in url:
        raise ValueError("the address may have a host, a port and a path: no login, no query")
    return url.rstrip("/")


def authorization(key: str | None) -> dict[str, str]:
    """The header for a key. Blanks and line ends around it are left out, as files have them.

    Raises:
        ValueError: it has characters that a key cannot have.
    """
    key = (key or "").strip()
    if any(not "!" <= sign <= "~" for sign in key):
        raise ValueError("the key has characters that no key has")
    return {"authorization": f"Bearer {key}"} if key else {}


@dataclass(frozen=True)
class Call(Generic[T]):
    """A call. `repeatable`: made twice, it does no more than once."""

    method: str
    template: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    body: bytes | None = None
    lines: bool = False
    repeatable: bool = False
    timeout: float | None = None

    @property
    def target(self) -> str:
        """Path and query.

        Raises:
            ValueError: a part of the path cannot be one.
        """
        for name, value in self.path.items():
            if value in ("", ".", ".."):
                raise ValueError(f"{name} cannot be {value!r}")
        filled = self.template.format(**{k: quote(v, safe="") for k, v in self.path.items()})
        given = {name: _plain(value) for name, value in self.query.items() if value is not None}
        return f"{filled}?{urlencode(given)}" if given else filled

    @property
    def headers(self) -> dict[str, str]:
        """The headers of this call alone."""
        if self.body is None:
            return {}
        return {"content-type": "application/x-ndjson" if self.lines else "application/json"}

    def result(self, answer: httpx.Response) -> T:
        """What a successful answer means: the end of `Location`, where it has one.

        Raises:
            ProblemError: it has a body, so the answer is not nextbest's.
        """
        if answer.status_code != httpx.codes.NO_CONTENT:
            raise problem_of(answer.status_code, answer.headers, answer.content)
        where = answer.headers.get("location")
        return cast(T, where and where.rpartition("/")[2])


class JsonCall(Call[T]):
    """A call that is answered with JSON."""

    def result(self, answer: httpx.Response) -> T:
        """The JSON."""
        return cast(T, decoded(answer, answer.content))


@dataclass(frozen=True)
class LinesCall(Call[Any]):
    """A call that is answered with lines of JSON. `last`: which `kind` the last one may have."""

    last: tuple[str, ...] = ()


def decoded(answer: httpx.Response, data: bytes) -> dict[str, Any]:
    """The JSON object of an answer, or of one of its lines.

    Raises:
        ProblemError: it is none, so the answer is not nextbest's.
    """
    try:
        return parsed(data)
    except ValueError:
        raise problem_of(answer.status_code, answer.headers, data) from None


def encoded(body: Any) -> bytes:
    """A body as JSON; a time with an offset may be a `datetime`.

    Raises:
        ValueError: a number is not finite, a time has no offset, or it is nested too deeply.
        TypeError: something in it is nothing that JSON has.
    """
    try:
        text = json.dumps(
            body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_time
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return text.encode()


def encoded_lines(lines: Iterable[Any]) -> bytes:
    """Values as lines of JSON. See `encoded`."""
    return b"".join(encoded(line) + b"\n" for line in lines)


def has_ids(body: object) -> bool:
    """Whether a request can be sent twice, because it names what it does or does nothing."""
    if not isinstance(body, Mapping):
        return True  # it is no request, so nothing is done
    if "events" in body:
        events = body["events"]
        return not isinstance(events, list | tuple) or all(
            bool(event.get("id")) for event in events if isinstance(event, Mapping)
        )
    return bool(body.get("request_id") or body.get("dry_run"))


def failure_of(error: httpx.HTTPError) -> NextbestError:
    """A failed connection, or an answer that cannot be unpacked, as an error of ours."""
    unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
    kind = TimedOutError if isinstance(error, httpx.TimeoutException) else NoAnswerError
    said = str(error) or type(error).__name__
    return kind(f"no answer: {said}", sent=not isinstance(error, unsent))


@dataclass(frozen=True)
class Retries:
    """How often a call is made again, and the longest wait between, in seconds."""

    most: int = 2
    longest_wait: float = 30.0

    def wait(self, repeatable: bool, error: NextbestError, made: int) -> float | None:
        """Seconds until a call is made again; None: it is not. `made`: how often it was made.

        Only what is repeatable is made again, and what the server has certainly not done.
        """
        after = None
        if isinstance(error, ProblemError):
            again = error.status in _AGAIN and (repeatable or error.status == 429)
            after = error.retry_after
        else:
            again = isinstance(error, NoAnswerError) and (repeatable or not error.sent)
        if after is None:
            after = min(0.2 * 2 ** (made - 1) * random.uniform(0.5, 1.5), self.longest_wait)
        return after if again and made <= self.most and after <= self.longest_wait else None


def done_before(call: Call[Any], error: NextbestError, made: int) -> bool:
    """Whether this failure says that an earlier attempt, of which the answer was lost, did it."""
    gone = isinstance(error, ProblemError) and error.kind == "not-found"
    return call.method == "DELETE" and made > 1 and gone


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return _time(value)
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _time(value: Any) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} is nothing that JSON has")
    if value.tzinfo is None:
        raise ValueError(f"the time {value} has no offset; use datetime.now(UTC), for one")
    return value.isoformat()
