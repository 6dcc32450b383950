"""Whatever is raised on purpose has an answer of its own; a 500 is a defect, and only that."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from decision.api.errors import as_problem
from decision.api.problems import overloaded, problem_bytes, turned_away
from decision.core.errors import NextbestError, Overloaded
from decision.core.ports import ReadResult
from decision.engine.crediting import CountFirst
from decision.engine.turns import too_many
from decision.store import MemoryStore
from tests.api.conftest import Api, running
from tests.api.test_bad_input import problem_of
from tests.core.test_errors import all_modules

pytestmark = pytest.mark.anyio
all_modules()


def kinds(below: type[NextbestError] = NextbestError) -> Iterator[type[NextbestError]]:
    yield below
    for one in below.__subclasses__():
        yield from kinds(one)


def made(kind: type[NextbestError]) -> NextbestError:
    """One of that kind, with something for each argument that it needs."""
    if kind is Overloaded:
        return Overloaded(2)
    error = kind.__new__(kind)
    Exception.__init__(error, "secret-4711", "secret-4711")
    for name in inspect.signature(kind.__init__).parameters:
        setattr(error, name, [] if name in ("diagnostics", "errors") else "secret-4711")
    values: dict[str, Any] = {
        "code": "OOM",
        "amount": 5,
        "window": 60,
        "headers": {},
        "kind": "conflict",
        "errors": [],
        "diagnostics": [],
        "uncertain": True,
        "retry_after": 2,
    }
    for name, value in values.items():
        setattr(error, name, value)
    return error


KINDS = sorted(set(kinds()), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_of_ours_has_an_answer_that_is_no_500(kind: type[NextbestError]) -> None:
    problem = as_problem(made(kind), "r-1")
    assert 400 <= problem.status < 600
    assert problem.status != 500
    assert problem.detail
    if problem.status == 503:
        assert int(problem.headers["retry-after"]) >= 1


def test_too_many_writes_for_one_customer_are_not_said_to_be_the_stores_fault() -> None:
    problem = as_problem(too_many("secret-4711"), "r-1")
    assert (problem.status, problem.headers["retry-after"]) == (503, "1")
    assert problem.detail == "too much is written at once for one customer; try again"


def test_an_error_that_nobody_raises_on_purpose_is_a_500() -> None:
    assert as_problem(ZeroDivisionError("secret-4711"), "r-1").status == 500
    assert "secret-4711" not in as_problem(ZeroDivisionError("secret-4711"), "r-1").detail


class Failing(MemoryStore):
    """A store that raises what it is told to, whatever it is asked."""

    error: Exception | None = None

    async def read(self, *given: Any, **named: Any) -> ReadResult:
        if self.error is not None:
            raise self.error
        return await super().read(*given, **named)


@pytest.fixture
async def failing(rules: Path) -> AsyncIterator[tuple[Api, Failing]]:
    store = Failing()
    async with running(rules, store) as api:
        yield api, store


# One that says "do this first, then again" is no store's to raise: it would be done for ever.
FROM_BELOW = [kind for kind in KINDS if kind is not CountFirst]


@pytest.mark.parametrize("kind", FROM_BELOW, ids=lambda kind: kind.__name__)
async def test_no_error_from_below_becomes_a_500_on_any_route(
    failing: tuple[Api, Failing], kind: type[NextbestError]
) -> None:
    api, store = failing
    body = {"customer_id": "c-1", "placement": "app_home"}
    store.error = made(kind)
    answers = [
        await api.client.post("/v1/decisions", json=body),
        await api.client.post("/v1/events", json={"events": [{"customer_id": "c", "type": "x"}]}),
        await api.client.put("/v1/customers/c-1", json={"attributes": {"a": 1}}),
        await api.client.get("/v1/customers/c-1"),
        await api.client.put("/v1/customers/c-1/consents", json={"marketing": {"*": "denied"}}),
    ]
    for answer in answers:
        assert answer.status_code != 500, answer.text
        assert "secret-4711" not in answer.text or answer.status_code < 500
    batch = await api.client.post(
        "/v1/decisions/batch",
        content=json.dumps(body),
        headers={"content-type": "application/x-ndjson"},
    )
    assert batch.status_code == 200
    row = batch.json()
    assert row.get("error", {}).get("status") != 500


async def test_overload_is_a_503_that_says_when_to_come_back(
    failing: tuple[Api, Failing],
) -> None:
    api, store = failing
    store.error = Overloaded(2)
    answer = await api.client.get("/v1/customers/c-1")
    assert problem_of(answer, 503)["type"] == "urn:nextbest:problem:unavailable"
    assert answer.headers["retry-after"] == "2"


@pytest.mark.parametrize("own", [b"", b"r-1", b"x" * 128, b"with blanks"])
def test_what_is_refused_at_the_door_is_the_same_problem(own: bytes) -> None:
    headers = [(b"host", b"a"), (b"x-request-id", own or b"r-2")]
    found, expected = turned_away(headers, 3), problem_bytes(overloaded(Overloaded(3)), headers)
    if own != b"with blanks":  # for it each makes an id
        assert found == expected
    head, _, body = found.partition(b"\r\n\r\n")
    assert b"content-length: %d\r\n" % len(body) in head
    assert json.loads(body)["instance"].rpartition(":")[2].encode() in head
