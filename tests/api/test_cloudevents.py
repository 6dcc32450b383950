"""CloudEvents in each of the three modes are the same events, each of them once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from decision.core.errors import StoreUnavailable
from tests.api.conftest import Api

pytestmark = pytest.mark.anyio
EVENT = {
    "specversion": "1.0",
    "type": "purchase",
    "source": "/shop",
    "id": "7",
    "subject": "c-1",
    "time": "2026-01-01T00:00:00Z",
}


async def send(api: Api, content_type: str, body: Any, **headers: str) -> dict[str, Any]:
    answer = await api.client.post(
        "/v1/events",
        content=json.dumps(body),
        headers={"content-type": content_type, **headers},
    )
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def structured(api: Api, **fields: Any) -> dict[str, Any]:
    return await send(api, "application/cloudevents+json; charset=utf-8", {**EVENT, **fields})


async def test_an_event_sent_in_three_modes_is_one_event(api: Api) -> None:
    data = {"amount": 80}
    batch = [{**EVENT, "data": data}, 7, {**EVENT, "id": "8"}, {**EVENT, "source": "/other"}]
    binary = {f"ce-{name}": value for name, value in EVENT.items()}
    first = await structured(api, data=data)
    second = await send(api, "application/cloudevents-batch+json", batch)
    third = await send(api, "application/json", data, **binary)
    assert (first["accepted"], first["duplicates"]) == (1, 0)
    assert (second["accepted"], second["duplicates"]) == (2, 1)
    assert [row["index"] for row in second["rejected"]] == [1]
    assert (third["accepted"], third["duplicates"]) == (0, 1)
    found = (await api.client.get("/v1/customers/c-1")).json()
    assert found["events"]["purchase"]["count"] == 3


async def test_an_extension_names_the_customer_before_the_subject(api: Api) -> None:
    await structured(api, customerid="c-2", subject="order/7")
    assert (await api.client.get("/v1/customers/c-2")).status_code == 200


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"id": ""}, "id"),
        ({"source": None}, "source"),
        ({"type": 7}, "type"),
        ({"subject": None}, "subject"),
        ({"subject": 7}, "subject"),
        ({"time": "yesterday"}, "time"),
        ({"data": [1]}, "data"),
        ({"data": "text"}, "data"),
        ({"data_base64": "e30="}, "data_base64"),
        ({"decisionid": "x"}, "decision_id"),
        ({"decision_id": "x"}, "decision_id"),
        ({"decisionId": "x"}, "decisionId"),
    ],
)
async def test_what_cannot_be_used_is_rejected_by_its_name_there(
    api: Api, fields: dict[str, Any], path: str
) -> None:
    answer = await structured(api, **fields)
    assert answer["rejected"][0]["detail"].startswith(path), answer


async def test_long_sources_are_told_apart(api: Api) -> None:
    for source in ("/" + "x" * 300, "/" + "x" * 301):
        assert (await structured(api, source=source))["accepted"] == 1
        assert (await structured(api, source=source))["duplicates"] == 1


async def test_what_is_rejected_is_in_the_quarantine_and_names_nobody(api: Api) -> None:
    alias = {"type": "email", "value": "ann@example.com"}
    bad = [
        {"type": "purchase", "customer_id": "c-1", "id": "7"},
        {"type": "", "customer_id": "c-secret", "id": "8"},
        {
            "type": "message.clicked",
            "customer_id": "c-secret",
            "decision_id": "01J",
            "message": "x",
        },
        {"type": "purchase", "alias": alias, "at": "yesterday", "properties": {"note": "n-secret"}},
        7,
    ]
    answer = await api.client.post("/v1/events", json={"events": bad})
    told = answer.json()["rejected"]
    assert [row["index"] for row in told] == [1, 2, 3, 4]
    await send(api, "application/cloudevents+json", {**EVENT, "id": "", "subject": "c-secret"})
    shown = (await api.client.get("/v1/quarantine")).json()["rejected"]
    assert "secret" not in str(shown) and "ann@" not in str(shown)
    assert [(row["source"], row["index"]) for row in shown] == [
        ("cloudevents", 0), *(("events", index) for index in (4, 3, 2, 1))
    ]  # fmt: skip
    assert shown[-1]["id"] == "8" and shown[2]["event"] == "purchase"


async def test_events_are_not_sent_again_because_the_quarantine_cannot_be_written(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*given: object) -> None:
        raise StoreUnavailable("it is full")

    monkeypatch.setattr(api.engine.runtime.store, "append_history", fails)
    both = [{"type": "purchase", "customer_id": "c-1"}, {"type": "purchase"}]
    answer = await api.client.post("/v1/events", json={"events": both})
    assert answer.status_code == 202 and answer.json()["accepted"] == 1
