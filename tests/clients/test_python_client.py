"""The Python client, in both forms, does what the contract of all clients says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import httpx

from nextbest_client import AsyncClient, Client, NoAnswerError, ProblemError, TimedOutError
from nextbest_client.calls import Call, LinesCall, Retries, address, authorization, has_ids
from nextbest_client.errors import problem_of
from nextbest_client.lines import Portion, Portions, Request, Splitter
from tests.clients.contract import Contract, broken_pieces


def outcome_of(error: Exception) -> dict[str, Any]:
    match error:
        case ProblemError():
            return {
                "fails": "problem",
                "status": error.status,
                "kind": error.kind,
                "detail": error.detail,
                "retry_after": error.retry_after,
                "errors": [one._asdict() for one in error.errors],
            }
        case TimedOutError():
            return {"fails": "timed-out", "detail": str(error)}
        case NoAnswerError():
            return {"fails": "no-answer", "detail": str(error)}
        case ValueError():
            return {"fails": "bad-argument", "detail": str(error)}
    raise error


class Counted:
    """Lines, and how many were taken."""

    def __init__(self, lines: list[Any]) -> None:
        self.lines = lines
        self.taken = 0

    def __iter__(self) -> Iterator[Any]:
        for line in self.lines:
            self.taken += 1
            yield line


def streamed(step: dict[str, Any]) -> LinesCall:
    body = "\n".join(*step["with"]).encode()
    rest = {"body": body, "lines": True, "repeatable": True, **step["options"]}
    return LinesCall("POST", "/v1/decisions/batch", **rest)


_HTTP = httpx.Client()  # to make one takes longer than a call


def waiting(step: dict[str, Any]) -> Mapping[str, Any]:
    client = Client(step["url"], step["key"], longest_wait=5, http=_HTTP)
    try:
        if step["call"] == "stream":
            return {"gives": list(client._stream(streamed(step)))}
        call = getattr(client, step["call"])
        if step["call"] != "decide_batch":
            found = call(*step["with"], **step["options"])
            return {"gives": list(found) if isinstance(found, Iterator) else found}
        lines = Counted(*step["with"])
        answers = call(lines, **step["options"])
        first = next(answers)
        return {"taken": lines.taken, "gives": [first, *answers]}
    except Exception as error:
        return outcome_of(error)


async def with_asyncio(step: dict[str, Any], http: httpx.AsyncClient) -> Mapping[str, Any]:
    client = AsyncClient(step["url"], step["key"], longest_wait=5, http=http)
    try:
        if step["call"] == "stream":
            return {"gives": [one async for one in client._stream(streamed(step))]}
        call = getattr(client, step["call"])
        if step["call"] != "decide_batch":
            found = call(*step["with"], **step["options"])
            if isinstance(found, AsyncIterator):
                return {"gives": [one async for one in found]}
            return {"gives": await found}
        lines = Counted(*step["with"])
        answers = call(lines, **step["options"])
        first = await anext(answers)
        return {"taken": lines.taken, "gives": [first, *[one async for one in answers]]}
    except Exception as error:
        return outcome_of(error)


def test_the_waiting_client_keeps_the_contract(contract: Contract) -> None:
    assert contract.broken("python", waiting) == []


def test_the_client_for_asyncio_keeps_the_contract(contract: Contract) -> None:
    with asyncio.Runner() as runner:
        http = httpx.AsyncClient()
        assert contract.broken("asyncio", lambda s: runner.run(with_asyncio(s, http))) == []
        runner.run(http.aclose())


def _retry_after(header: str) -> float | None:
    return problem_of(503, {"retry-after": header}, b"").retry_after


def _wait(repeatable: bool, failure: int | str, after: float | None, made: int) -> float | None:
    if isinstance(failure, int):
        error: Any = ProblemError(failure, "", "", "", retry_after=after)
    else:
        error = NoAnswerError("", sent=failure == "lost")
    return Retries(most=2, longest_wait=7).wait(repeatable, error, made)


def _lines(text: str, size: int) -> list[Any]:
    lines, data = Splitter(), text.encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    found = [*(line for piece in pieces for line in lines.add(piece)), *lines.end()]
    return [json.loads(line) for line in found]


def numbers(portion: Portion) -> list[Any]:
    return [place.number if isinstance(place, Request) else place for place in portion.places]


def _portions(most: int, lines: list[Any]) -> list[Any]:
    portions = Portions(most, None)
    made = [ready for line in lines for ready in portions.add(line)]
    return [[numbers(one), one.repeatable] for one in [*made, *portions.rest()]]


_PIECES: dict[str, Callable[..., Any]] = {
    "address": address,
    "authorization": lambda key: authorization(key).get("authorization"),
    "has_ids": has_ids,
    "target": lambda template, path, query: Call[None]("GET", template, path, query).target,
    "retry_after": _retry_after,
    "wait": _wait,
    "kind": lambda status, body: problem_of(status, {}, body.encode()).kind,
    "lines": _lines,
    "portions": _portions,
}


def _piece(step: dict[str, Any]) -> Mapping[str, Any]:
    try:
        return {"gives": _PIECES[step["piece"]](*step["with"])}
    except ValueError as error:
        return outcome_of(error)


def test_its_pieces_give_what_the_contract_says() -> None:
    assert broken_pieces(_piece) == []
