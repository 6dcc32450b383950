"""Half a character in a body costs the one event that has it; everywhere the error says where."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.errors import InputError
from decision.decoding import JsonDecoder, decode_leniently
from decision.decoding.halves import misfit
from decision.intake.kafka import Incoming, Refused, actions_of
from decision.intake.segment import SegmentOptions
from tests.api.conftest import Api, running
from tests.api.test_bad_input import JSON, problem_of
from tests.api.test_hooks import BASIC, FILE, sent
from tests.intake.test_kafka import NOW, Message

pytestmark = pytest.mark.anyio
HALVES = [rb"\ud83d", rb"cut \uD83D", rb"\ude00", rb"\ud83d\ud83d", rb"\\\ud800x", b"\xed\xa0\xbd"]
BAD = [*(b'"%s"' % half for half in HALVES), b'"\xff"', b"NaN", b"-Infinity", b"1e999"]


def with_bad(value: Any, bad: bytes) -> bytes:
    """JSON in which a text or a key BAD is something that no text and no number is."""
    text = json.dumps(value).encode()
    return text.replace(b'"BAD":', b'"%s":' % bad.strip(b'"')).replace(b'"BAD"', bad)


@pytest.fixture
async def hooks(rules: Path, tmp_path: Path) -> AsyncIterator[Api]:
    path = tmp_path / "gateways.yaml"
    path.write_text(FILE)
    async with running(rules, gateways=str(path)) as found:
        yield found


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("envelope", [b'{"events": [%s]}', b"[%s]"])
async def test_the_other_events_of_a_request_are_recorded(
    api: Api, bad: bytes, envelope: bytes
) -> None:
    cloud = {"specversion": "1.0", "source": "/s", "type": "visit", "subject": "c-1"}
    own = {"type": "visit", "customer_id": "c-1"}
    batched = envelope.startswith(b"[")
    kind = "application/cloudevents-batch+json" if batched else "application/json"
    name = "data" if batched else "properties"
    event = {**cloud, "id": "{}"} if batched else own
    parts = [
        json.dumps({**event, name: {"a": r"\ud83d 😀 NaN"}}).replace("{}", "1").encode(),
        with_bad({**event, name: {"a": [{"b": "BAD"}]}}, bad),
        json.dumps(event).replace("{}", "2").encode(),
    ]
    body = envelope % b", ".join(parts)
    answer = await api.client.post("/v1/events", content=body, headers={"content-type": kind})
    assert answer.status_code == 202, answer.text
    assert answer.json()["accepted"] == 2
    [row] = answer.json()["rejected"]
    assert row["index"] == 1
    assert row["detail"].startswith(f"{name}.a[0].b: ")


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("method", "path", "body", "place"),
    [
        ("POST", "/v1/decisions", {"placement": "outbound", "customer_id": "BAD"}, "customer_id"),
        ("POST", "/v1/decisions", {"alias": {"type": "email", "value": "BAD"}}, "alias.value"),
        ("POST", "/v1/decisions", {"request_id": "BAD"}, "request_id"),
        ("POST", "/v1/decisions", {"context": {"BAD": 1}}, "context"),
        ("POST", "/v1/decisions", {"event": {"type": "BAD"}}, "event.type"),
        ("PUT", "/v1/customers/c-1", {"attributes": {"a": ["x", "BAD"]}}, "attributes.a[1]"),
        ("PUT", "/v1/customers/c-1", {"aliases": {"email": "BAD"}}, "aliases.email"),
        ("PUT", "/v1/customers/c-1/consents", {"marketing": {"BAD": "denied"}}, "marketing"),
        ("POST", "/v1/customers/c-1/merge", {"from": "BAD"}, "from"),
    ],
)
async def test_a_request_of_one_thing_is_refused_with_the_place(
    api: Api, method: str, path: str, body: Any, place: str, half: bytes
) -> None:
    content = with_bad(body, b'"%s"' % half)
    problem = problem_of(await api.client.request(method, path, content=content, headers=JSON), 400)
    [error] = problem["errors"]
    assert error["path"] == place
    assert "half a character" in error["detail"]


@pytest.mark.parametrize("bad", BAD)
async def test_the_other_lines_of_a_batch_of_decisions_are_answered(api: Api, bad: bytes) -> None:
    line = {"placement": "app_home", "customer_id": "c-1"}
    lines = [json.dumps(line).encode(), with_bad({**line, "context": {"a": "BAD"}}, bad)]
    answer = await api.client.post(
        "/v1/decisions/batch",
        content=b"\n".join([*lines, lines[0]]),
        headers={"content-type": "application/x-ndjson"},
    )
    found = [json.loads(row) for row in answer.text.splitlines()]
    assert ["decision_id" in json.dumps(row) for row in found] == [True, False, True]
    assert "context.a" in json.dumps(found[1])


@pytest.mark.parametrize("bad", BAD[:-1])
async def test_a_report_counts_whatever_its_free_text_is_like(hooks: Api, bad: bytes) -> None:
    """Its text is shown to nobody, and the bounce would be lost."""
    bounce = {
        "RecordType": "Bounce",
        "Type": "HardBounce",
        "Description": "BAD",
        "Metadata": {"nextbest": await sent(hooks)},
    }
    headers = {**BASIC, **JSON}
    content = with_bad(bounce, bad)
    answer = await hooks.client.post("/v1/hooks/post", content=content, headers=headers)
    assert answer.json()["accepted"] == 1, answer.text
    assert (await hooks.engine.customers.get("c-1")).unreachable == ["email"]


@pytest.mark.parametrize("bad", BAD)
def test_the_other_events_of_a_message_of_kafka_are_recorded(bad: bytes) -> None:
    own = {"type": "visit", "customer_id": "c-1"}
    body = with_bad({"events": [own, {**own, "properties": {"a": "BAD"}}, own]}, bad)
    found = actions_of(Message(body), NOW, 100_000, SegmentOptions())
    assert [type(one) for one in found] == [Incoming, Refused, Incoming]
    assert isinstance(found[1], Refused)
    assert found[1].detail.startswith("properties.a: ")


TEXTS = st.recursive(
    st.none() | st.text(st.characters(categories=["L", "N", "Cs", "P"]), max_size=5) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(categories=["L", "Cs"]), max_size=3), inner)
    ),
    max_leaves=8,
)


@given(st.lists(TEXTS, max_size=4))
def test_whatever_parts_are_like_each_is_read_or_refused_alone(values: list[Any]) -> None:
    parts = JsonDecoder(list[msgspec.Raw], numbers=False).decode(json.dumps(values).encode())
    assert len(parts) == len(values)
    for part, value in zip(parts, values, strict=True):
        text = json.dumps(value).encode()
        try:
            found = JsonDecoder(Any).decode(bytes(part))
        except InputError:
            assert misfit(text) is not None
        else:
            assert misfit(text) is None
            assert json.loads(json.dumps(found)) == value
        decode_leniently(text)


@pytest.mark.parametrize("inner", ['{"a": [{"sku": "s"}]} ' * 2_000, "\\" * 99_999, '"' * 99_999])
@pytest.mark.parametrize("cut", [1, 2, 20, 21])
def test_a_body_that_is_cut_off_within_a_long_text_is_read_through_once(
    inner: str, cut: int
) -> None:
    """Were every quote in it looked at to the end, this would take minutes."""
    body = json.dumps({"events": [{"type": "visit", "properties": {"raw": inner}}]}).encode()
    with pytest.raises(InputError, match="it ends too early"):
        JsonDecoder(dict[str, Any]).decode(body[: -cut - 4])
    with pytest.raises(msgspec.DecodeError):
        decode_leniently(body[: -cut - 4])
