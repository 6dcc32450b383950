"""Many decisions, sent in portions: memory stays small, and a portion can be sent again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict, cast, final

import httpx

from nextbest_client.calls import Call, decoded, encoded, has_ids
from nextbest_client.errors import NoAnswerError
from nextbest_client.types import Decision, DecisionRequest, FieldError

LARGEST: Final = 1024 * 1024
"""Bytes of a portion, unless one line alone is larger."""
TIMEOUT: Final = 60.0


@final
class LineProblem(TypedDict):
    """Why a line of a batch was not decided; `line` counts from 1."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None
    errors: list[FieldError]
    line: int


@final
class BadLine(TypedDict):
    """What stands in the place of a decision where its line cannot be used."""

    error: LineProblem


Line = str | bytes | DecisionRequest


@dataclass(frozen=True)
class Portion(Call[list[Decision | BadLine]]):
    """Lines that are sent together. `places`: their numbers, or what is wrong with one."""

    places: list[int | BadLine] = field(default_factory=list)

    def result(self, answer: httpx.Response) -> list[Decision | BadLine]:
        """A decision or a bad line for each place."""
        lines = iter([line for line in answer.content.split(b"\n") if line])
        found: list[Decision | BadLine] = []
        for place in self.places:
            if not isinstance(place, int):
                found.append(place)
                continue
            line = next(lines, None)
            if line is None:
                raise NoAnswerError("the answer has fewer lines than the batch", sent=True)
            one = decoded(answer, line)
            if "error" in one:
                one["error"]["line"] = place
            found.append(cast("Decision | BadLine", one))
        return found


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
            self.places.append(_bad(self.number, error))
        else:
            if not data:
                return
            if self.lines and self.size + len(data) > LARGEST:
                yield from self.rest()
            self.lines.append(data)
            self.places.append(self.number)
            self.size += len(data) + 1
            self.repeatable &= repeatable
        if len(self.places) >= self.most:
            yield from self.rest()

    def rest(self) -> Iterator[Portion]:
        """What is left, as a portion."""
        if self.places:
            yield Portion(
                "POST",
                "/v1/decisions/batch",
                body=b"\n".join(self.lines),
                lines=True,
                repeatable=self.repeatable,
                timeout=self.timeout,
                places=self.places,
            )
        self._empty()

    def _empty(self) -> None:
        self.lines: list[bytes] = []
        self.places: list[int | BadLine] = []
        self.size = 0
        self.repeatable = True


def _line(line: Line) -> tuple[bytes, bool]:
    """A request as a line, and whether it can be sent twice. Text is sent as it is."""
    if not isinstance(line, str | bytes):
        return encoded(line), has_ids(line)
    data = line.encode() if isinstance(line, str) else line
    data = data.strip().replace(b"\n", b" ")
    try:
        return data, has_ids(json.loads(data))
    except (ValueError, TypeError, AttributeError):
        return data, True  # it is no request, so nothing is done


def _bad(number: int, error: Exception) -> BadLine:
    return {
        "error": {
            "type": "urn:nextbest:problem:invalid-request",
            "title": "The request cannot be used",
            "status": 400,
            "detail": str(error),
            "instance": None,
            "errors": [{"path": "", "detail": str(error)}],
            "line": number,
        }
    }


class Splitter:
    """Bytes as they come → JSON of complete lines. Only a line feed ends a line."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.parts: list[bytes] = []

    def add(self, data: bytes) -> Iterator[Any]:
        """The lines that are complete with this."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole = b"".join([*self.parts, line])
            self.parts = []
            if whole.strip():
                yield decoded(self.answer, whole)
        if rest:
            self.parts.append(rest)

    def end(self) -> Iterator[Any]:
        """The last line, where no line feed ends it."""
        yield from self.add(b"\n")
