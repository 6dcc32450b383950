"""Answers that have lines, and many decisions, sent in portions.

Memory stays small, and a portion can be sent again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, NotRequired, TypedDict, cast, final

import httpx

from nextbest_client.calls import Call, LinesCall, Retries, decoded, encoded, has_ids
from nextbest_client.errors import NoAnswerError, ProblemError, parsed, problem_of
from nextbest_client.types import Decision, DecisionRequest, FieldError

LARGEST: Final = 1024 * 1024
"""Bytes of a portion, unless one line alone is larger."""
TIMEOUT: Final = 60.0


@final
class LineProblem(TypedDict):
    """Why a line of a batch was not decided; `line` counts from 1, `retry_after` is in seconds."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None
    errors: list[FieldError]
    line: int
    retry_after: NotRequired[int | None]


@final
class BadLine(TypedDict):
    """What stands in the place of a decision where its line cannot be used."""

    error: LineProblem


Line = str | bytes | DecisionRequest


class Request(NamedTuple):
    """A line that is sent: its number, and whether it can be sent twice."""

    number: int
    data: bytes
    repeatable: bool


@dataclass(frozen=True)
class Portion(Call[list[Decision | BadLine]]):
    """Lines that are sent together. `places`: each of them, or what is wrong with it."""

    places: list[Request | BadLine] = field(default_factory=list)

    @classmethod
    def of(cls, places: list[Request | BadLine], timeout: float) -> Portion:
        """The call that sends these lines."""
        requests = [place for place in places if isinstance(place, Request)]
        return cls(
            "POST",
            "/v1/decisions/batch",
            body=b"\n".join(request.data for request in requests),
            lines=True,
            repeatable=all(request.repeatable for request in requests),
            timeout=timeout,
            places=places,
        )

    def result(self, answer: httpx.Response) -> list[Decision | BadLine]:
        """A decision or a bad line for each place."""
        lines = iter([line for line in answer.content.split(b"\n") if line])
        found: list[Decision | BadLine] = []
        for place in self.places:
            if not isinstance(place, Request):
                found.append(place)
                continue
            line = next(lines, None)
            if line is None:
                raise NoAnswerError("the answer has fewer lines than the batch", sent=True)
            one = decoded(answer, line)
            if "error" in one:
                if not isinstance(one["error"], dict):
                    raise problem_of(answer.status_code, answer.headers, line)
                one["error"]["line"] = place.number
            found.append(cast("Decision | BadLine", one))
        return found


class Exchange:
    """One portion, and what of it the server refuses for now: that is sent again.

    `portion` is what to send next. Each line that is decided is progress, after which those left
    have all their tries again: so a batch of any size goes on at the rate that its key has.
    """

    def __init__(self, portion: Portion, retries: Retries) -> None:
        self.portion = portion
        self._retries = retries
        self._answers: dict[int, Decision | BadLine] = {}
        self._open = list(range(len(portion.places)))
        self._made = 0

    def take(self, answers: list[Decision | BadLine]) -> float | None:
        """Notes the answers to `portion`; seconds until the next one is sent, else None."""
        decided = any("error" not in one for one in answers)
        self._made = 0 if decided else self._made + 1
        again: list[int] = []
        waits: list[float] = []
        for at, place, one in zip(self._open, self.portion.places, answers, strict=True):
            self._answers[at] = one
            if isinstance(place, Request) and (wait := self._wait(place, one)) is not None:
                again.append(at)
                waits.append(wait)
        if not again:
            return None
        places = dict(zip(self._open, self.portion.places, strict=True))
        self.portion = Portion.of([places[at] for at in again], self.portion.timeout or TIMEOUT)
        self._open = again
        return max(waits)

    def answers(self) -> list[Decision | BadLine]:
        """The last answer to each line, in order."""
        return list(self._answers.values())

    def _wait(self, request: Request, answer: Any) -> float | None:
        if "error" not in answer:
            return None
        status, after = answer["error"].get("status"), answer["error"].get("retry_after")
        after = max(0.0, float(after)) if isinstance(after, int | float) else None
        problem = ProblemError(status, "", "", "", retry_after=after)
        return self._retries.wait(request.repeatable, problem, self._made)


class Portions:
    """Collects lines. Blank ones are counted, and otherwise left out."""

    def __init__(self, most: int, timeout: float | None) -> None:
        if most < 1:
            raise ValueError(f"a portion cannot have {most} lines")
        self.most = most
        self.timeout = TIMEOUT if timeout is None else timeout
        self.number = 0
        self._empty()

    def add(self, line: Line) -> Iterator[Portion]:
        """The portion that is complete with or before this line, if any."""
        self.number += 1
        try:
            data, repeatable = _line(line)
        except (ValueError, TypeError) as error:
            self.places.append(_bad(self.number, str(error)))
        else:
            if not data:
                return
            if self.size and self.size + len(data) > LARGEST:
                yield from self.rest()
            self.places.append(Request(self.number, data, repeatable))
            self.size += len(data) + 1
        if len(self.places) >= self.most:
            yield from self.rest()

    def rest(self) -> Iterator[Portion]:
        """What is left, as a portion."""
        if self.places:
            yield Portion.of(self.places, self.timeout)
        self._empty()

    def _empty(self) -> None:
        self.places: list[Request | BadLine] = []
        self.size = 0


def _line(line: Line) -> tuple[bytes, bool]:
    """A request as a line, and whether it can be sent twice. Text is sent as it is."""
    if not isinstance(line, str | bytes):
        return encoded(line), has_ids(line)
    data = line.encode() if isinstance(line, str) else line
    data = data.strip().replace(b"\n", b" ")
    try:
        return data, has_ids(parsed(data))
    except ValueError:
        return data, True  # it is no request, so nothing is done


def _bad(number: int, detail: str) -> BadLine:
    return {
        "error": {
            "type": "urn:nextbest:problem:invalid-request",
            "title": "The request cannot be used",
            "status": 400,
            "detail": detail,
            "instance": None,
            "errors": [{"path": "", "detail": detail}],
            "line": number,
        }
    }


class Splitter:
    """Bytes as they come → complete lines. Only a line feed ends a line."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def add(self, data: bytes) -> Iterator[bytes]:
        """The lines that are complete with this."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole = b"".join([*self.parts, line])
            self.parts = []
            if whole.strip():
                yield whole
        if rest:
            self.parts.append(rest)

    def end(self) -> Iterator[bytes]:
        """The last line, where no line feed ends it."""
        yield from self.add(b"\n")


class Streamed:
    """The lines of an answer, as they come, and whether they came to their end."""

    def __init__(self, call: LinesCall, answer: httpx.Response) -> None:
        self._call = call
        self._answer = answer
        self._splitter = Splitter()
        self._ended = False

    def add(self, data: bytes) -> Iterator[dict[str, Any]]:
        """What is complete with these bytes."""
        yield from self._read(self._splitter.add(data))

    def end(self) -> Iterator[dict[str, Any]]:
        """The last line, where no line feed ends it.

        Raises:
            NoAnswerError: the answer ended before its last line.
        """
        yield from self._read(self._splitter.end())
        if not self._ended:
            raise NoAnswerError("the answer ended before its last line", sent=True)

    def _read(self, lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
        for line in lines:
            found = decoded(self._answer, line)
            self._ended = not self._call.last or found.get("kind") in self._call.last
            yield found
