"""Memory over all connections: bodies, lines and answers that nobody has taken are bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from decision.api.http_limits import HttpLimits
from decision.decoding import MOST_VALUES
from decision.server.byte_budget import ByteBudget
from tests.api.conftest import Api, running
from tests.api.test_batch_limits import HEAD, Stuck, chunk, line, lines_of
from tests.api.wires import Here, everything, serving_here, until

LIMITS = HttpLimits(head_seconds=2.0, write_seconds=2.0)
MIB = 1024 * 1024


BUDGETS: list[ByteBudget] = []


@pytest.fixture(autouse=True)
def _budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes the budgets that a server makes."""
    BUDGETS.clear()

    def made(limit: int) -> ByteBudget:
        BUDGETS.append(ByteBudget(limit))
        return BUDGETS[-1]

    monkeypatch.setattr("decision.api.bodies.ByteBudget", made)
    monkeypatch.setattr("decision.api.batch.ByteBudget", made)


@pytest.fixture
def here(rules: Path) -> Iterator[Here]:
    with serving_here(rules, limits=LIMITS, max_bytes_in_flight=4 * MIB) as found:
        yield found


def taken() -> int:
    """Bytes taken of the budgets of the server."""
    return sum(one.taken for one in BUDGETS)


def post(body: bytes, length: int = 0, path: bytes = b"/v1/decisions") -> bytes:
    return (
        b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (path, length or len(body), body)
    )


def test_bodies_beyond_the_bound_are_refused_small_ones_are_served_and_room_comes_back(
    here: Here,
) -> None:
    large = line(1, 900_000)
    wires = [here.connect() for _ in range(2)]
    for wire in wires:
        wire.sendall(post(large[:-10], len(large)))

    until(lambda: taken() > 1_700_000)
    answer = here.say(post(large))
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after: " in answer
    assert b"urn:nextbest:problem:unavailable" in answer
    assert here.say(post(line(2, 7_000))).startswith(b"HTTP/1.1 200")
    wires[0].sendall(large[-10:])  # one is answered, the other goes
    assert everything(wires[0]).startswith(b"HTTP/1.1 200")
    wires[1].close()
    until(lambda: here.say(post(large)).startswith(b"HTTP/1.1 200"))


def test_lines_beyond_the_bound_wait_and_all_are_answered(rules: Path) -> None:
    store = Stuck()
    with serving_here(
        rules, limits=LIMITS, store=store, max_bytes_in_flight=MIB, timeout_ms=20_000
    ) as here:
        store.stuck = True
        text = b"".join(chunk(line(number, 100_000)) for number in range(8))
        wires = [here.connect() for _ in range(4)]
        for wire in wires:
            wire.sendall(HEAD + text + b"0\r\n\r\n")
        until(lambda: here.protocol.admission.running >= 4)
        assert here.protocol.admission.running <= 5  # of 100 KB in 512 KB
        store.stuck = False
        for wire in wires:
            found = lines_of(everything(wire, silence=5))
            assert [row["customer_id"] for row in found] == [f"c-{n}" for n in range(8)]


def test_batches_that_end_in_any_way_leave_nothing_taken(rules: Path) -> None:
    store = Stuck()
    with serving_here(
        rules, limits=LIMITS, store=store, max_bytes_in_flight=MIB, timeout_ms=20_000
    ) as here:
        store.stuck = True
        for _ in range(3):
            with here.connect() as wire:
                wire.sendall(HEAD + b"".join(chunk(line(n, 100_000)) for n in range(8)))
                until(lambda: here.protocol.admission.running >= 4)
            until(lambda: here.protocol.admission.running == 0 and taken() == 0)
        store.stuck = False
        text = b"".join(chunk(line(number, 100_000)) for number in range(8))
        found = lines_of(here.say(HEAD + text + b"0\r\n\r\n"))
        assert len(found) == 8


def properties(count: int) -> dict[str, int]:
    return {f"q{number}": number for number in range(count)}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "place", "body"),
    [
        ("POST", "/v1/decisions", "context", {"placement": "app_home", "customer_id": "c"}),
        ("PUT", "/v1/customers/c", "attributes", {}),
    ],
)
async def test_a_body_of_too_many_values_is_a_400_that_names_the_field(
    api: Api, method: str, path: str, place: str, body: dict[str, Any]
) -> None:
    most = {**body, place: properties(MOST_VALUES // 2)}
    answer = await api.client.request(method, path, json=most)
    assert answer.status_code == 200, answer.text
    more = {**body, place: properties(MOST_VALUES + 1)}
    answer = await api.client.request(method, path, json=more)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["path"] == place
    assert "send fewer" in answer.json()["detail"]


@pytest.mark.anyio
async def test_commas_in_text_are_no_values(api: Api) -> None:
    answer = await api.decide(customer_id="c", context={"x": "a,b" * 30_000})
    assert answer.status_code == 200, answer.text


@pytest.mark.anyio
async def test_events_may_be_many_and_one_of_too_many_values_is_rejected_alone(api: Api) -> None:
    def event(number: int, count: int) -> dict[str, Any]:
        return {"customer_id": f"c-{number}", "type": "x", "properties": properties(count)}

    events = [event(number, 20) for number in range(1000)]
    answer = await api.client.post("/v1/events", json={"events": events})
    assert answer.json()["accepted"] == 1000
    answer = await api.client.post("/v1/events", json={"events": [event(1, 20_000), event(2, 1)]})
    assert answer.json()["accepted"] == 1
    assert "values" in answer.json()["rejected"][0]["detail"]
    events = [event(number, 9_000) for number in range(6)]
    answer = await api.client.post("/v1/events", json={"events": events})
    assert answer.status_code == 400, answer.text


@pytest.mark.anyio
async def test_a_bad_line_of_too_many_values_is_an_error_line(rules: Path) -> None:
    async with running(rules) as api:
        bad = {"customer_id": "c", "placement": "app_home", "context": properties(60_000)}
        body = json.dumps(bad).encode() + b"\n" + line(2)
        headers = {"content-type": "application/x-ndjson"}
        answer = await api.client.post("/v1/decisions/batch", content=body, headers=headers)
        rows = [json.loads(row) for row in answer.text.splitlines()]
        assert rows[0]["error"]["errors"][0]["path"] == "context"
        assert rows[1]["customer_id"] == "c-2"
