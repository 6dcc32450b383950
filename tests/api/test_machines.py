"""`machine: true` means the same at every way in: kept in the log, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from decision.core import records
from decision.core.identifiers import partition_of
from decision.core.schema import DecisionRequest
from decision.engine.loading import Loading
from decision.intake.rows import RowOptions, read_rows
from tests.api.conftest import RULES, Api, running
from tests.api.test_hooks import sent

pytestmark = pytest.mark.anyio
COUNTING = RULES.replace(
    "states:",
    """scores:
  keen: {adds: {message.clicked: 1}, half_life: 30d}
rules:
  one: {when: {score.keen: {gte: 1}, events.message.clicked.count: {gte: 1}}, exclude: {tags: [coupon]}}
states:""",
)
Way = Callable[[Api, dict[str, Any]], Awaitable[None]]


async def by_events(api: Api, click: dict[str, Any]) -> None:
    answer = await api.client.post("/v1/events", json={"events": [click]})
    assert answer.json()["accepted"] == 1


async def by_segment(api: Api, click: dict[str, Any]) -> None:
    about = {name: click[name] for name in ("decision_id", "message")}
    call = {"userId": "c-1", "event": click["type"], "messageId": click["id"]}
    answer = await api.client.post(
        "/v1/track", json={**call, "properties": {**click["properties"], **about}}
    )
    assert answer.status_code == 200, answer.text


async def by_cloud_events(api: Api, click: dict[str, Any]) -> None:
    about = {"decisionid": click["decision_id"], "message": click["message"]}
    event = {"specversion": "1.0", "type": click["type"], "source": "/a", "id": click["id"]}
    body = json.dumps({**event, "subject": "c-1", **about, "data": click["properties"]})
    headers = {"content-type": "application/cloudevents+json"}
    answer = await api.client.post("/v1/events", content=body, headers=headers)
    assert answer.json()["accepted"] == 1


async def by_a_decision(api: Api, click: dict[str, Any]) -> None:
    event = {name: click[name] for name in ("id", "type", "properties")}
    answer = await api.decide(customer_id="c-1", event=event, channels=["push"])
    assert answer.status_code == 200


async def by_files(api: Api, click: dict[str, Any], name: str, text: str) -> None:
    path = api.rules.parent / name
    path.write_text(text)
    loading = Loading(api.engine.runtime)
    for one in read_rows(str(path), name.rpartition(".")[2], RowOptions()):
        assert not isinstance(one, str) and one.row is not None, one
        await loading.put(one.row)


async def by_csv(api: Api, click: dict[str, Any]) -> None:
    mark = str(click["properties"]["machine"]).lower()
    head = "customer_id,type,at,event_id,property.machine"
    row = f"c-1,{click['type']},2026-01-02T00:00:00Z,{click['id']},{mark}"
    await by_files(api, click, "events.csv", f"{head}\n{row}\n")


async def by_ndjson(api: Api, click: dict[str, Any]) -> None:
    row = {"customer_id": "c-1", "type": click["type"], "at": "2026-01-02T00:00:00Z"}
    row |= {"event_id": click["id"], "property.machine": click["properties"]["machine"]}
    await by_files(api, click, "events.ndjson", json.dumps(row) + "\n")


WAYS = [by_events, by_segment, by_cloud_events, by_a_decision, by_csv, by_ndjson]


async def effects(api: Api) -> dict[str, Any]:
    """What the store keeps of clicks, without what is decided anew."""
    view = (await api.client.get("/v1/customers/c-1")).json()
    return {
        "contact": [one["state"] for one in view["contacts"] if one["channel"] == "email"],
        "clicks": view["events"].get("message.clicked", {}).get("count", 0),
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("machine", [True, False])
async def test_a_click_of_a_machine_is_kept_and_does_nothing(
    rules: Path, way: Way, machine: bool
) -> None:
    (rules / "policy.yaml").write_text(COUNTING, "utf-8")
    async with running(rules) as api:
        decision_id, _, message = (await sent(api)).partition(".")
        before = await effects(api)
        click = {
            "id": "click-1",
            "customer_id": "c-1",
            "type": "message.clicked",
            "decision_id": decision_id,
            "message": message,
            "properties": {"machine": machine},
        }
        await way(api, click)
        after = await effects(api)
        if machine:
            assert after == before
        else:
            assert after["clicks"] == 1
        logged = await api.engine.runtime.store.log_records(partition_of("c-1"))
        events = [records.decode_event(one.body) for one in logged if one.kind == "event"]
        [kept] = [one for one in events if one.type == "message.clicked"]
        assert kept.properties["machine"] is machine


async def test_a_machine_does_not_make_a_customer(rules: Path) -> None:
    async with running(rules) as api:
        asked = DecisionRequest(placement="app_home", customer_id="new")
        decision_id = (await api.engine.decide(asked)).decision_id
        click = {"customer_id": "new", "type": "message.opened", "decision_id": decision_id}
        await by_events(api, {**click, "id": "1", "properties": {"machine": True}})
        assert (await api.client.get("/v1/customers/new")).status_code == 404
