"""The Python client, in both forms, does what the contract of all clients says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from nextbest_client import (
    AsyncClient,
    Client,
    NoAnswerError,
    ProblemError,
    TimedOutError,
)
from tests.clients.contract import CASES, Contract


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


def waiting(step: dict[str, Any]) -> Mapping[str, Any]:
    with Client(step["url"], step["key"], longest_wait=5) as client:
        call = getattr(client, step["call"])
        try:
            if step["call"] != "decide_batch":
                return {"gives": call(*step["with"], **step["options"])}
            lines = Counted(*step["with"])
            answers = call(lines, **step["options"])
            first = next(answers)
            return {"taken": lines.taken, "gives": [first, *answers]}
        except Exception as error:
            return outcome_of(error)


async def _with_asyncio(step: dict[str, Any]) -> Mapping[str, Any]:
    async with AsyncClient(step["url"], step["key"], longest_wait=5) as client:
        call = getattr(client, step["call"])
        try:
            if step["call"] != "decide_batch":
                return {"gives": await call(*step["with"], **step["options"])}
            lines = Counted(*step["with"])
            answers = call(lines, **step["options"])
            first = await anext(answers)
            return {"taken": lines.taken, "gives": [first, *[one async for one in answers]]}
        except Exception as error:
            return outcome_of(error)


def with_asyncio(step: dict[str, Any]) -> Mapping[str, Any]:
    return asyncio.run(_with_asyncio(step))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
@pytest.mark.parametrize(("client", "run"), [("python", waiting), ("asyncio", with_asyncio)])
def test_the_contract_holds(
    client: str, run: Any, case: dict[str, Any], contract: Contract
) -> None:
    contract.holds(client, case, run)
