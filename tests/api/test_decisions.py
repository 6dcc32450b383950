"""`/v1/decisions` over the application: the contract's fields, repeats, dry runs, looking up."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from decision.server.admission import Admission
from tests.api.conftest import Api, running

pytestmark = pytest.mark.anyio

FIELDS = {
    "decision_id", "request_id", "customer_id", "placement", "decided_at", "outcome", "selections",
    "reason", "not_before", "degraded", "policy_version", "model_version", "explanation",
}  # fmt: skip


async def test_a_decision_has_every_field_of_the_contract(api: Api) -> None:
    await api.consent()
    answer = await api.decide(customer_id="c-1", request_id="r-1")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    decision = answer.json()
    assert set(decision) == FIELDS
    assert (decision["outcome"], decision["request_id"]) == ("selected", "r-1")
    assert decision["explanation"] is None
    selection = decision["selections"][0]
    assert set(selection) == {
        "message", "channel", "content", "response_probability", "priority",
        "selection_probability", "reserved_until",
    }  # fmt: skip
    assert selection["message"] == "offer"
    assert datetime.fromisoformat(decision["decided_at"]).tzinfo == UTC


async def test_a_customer_never_seen_before_is_no_error(api: Api) -> None:
    decision = (await api.decide(customer_id="nobody")).json()
    assert (decision["outcome"], decision["reason"]) == ("none", "no_consent")
    hello = (await api.decide(customer_id="nobody", placement="app_home")).json()
    assert hello["outcome"] == "fallback"
    assert hello["selections"][0]["content"] == {"title": "你好 朋友"}


async def test_a_dry_run_may_say_what_would_come_at_another_time(api: Api) -> None:
    await api.consent()
    given = (await api.decide(customer_id="c-1")).json()
    at = datetime.fromisoformat(given["decided_at"]) + timedelta(days=30)
    then = await api.decide(customer_id="c-1", dry_run=True, at=at.isoformat(), explain=True)
    assert then.status_code == 200
    assert datetime.fromisoformat(then.json()["decided_at"]) == at
    [contact] = (await api.client.get("/v1/customers/c-1")).json()["contacts"]
    assert contact["state"] == "reserved"
    for more, why in (
        ({"at": at.isoformat()}, "at: is for a dry run alone"),
        ({"at": "9999-12-31T23:59:59Z", "dry_run": True}, "at: is more than a year from now"),
        ({"at": "0001-01-01T00:00:00Z", "dry_run": True}, "at: is more than a year from now"),
        ({"at": "2027-02-29T00:00:00Z", "dry_run": True}, "at: is"),
    ):
        refused = await api.decide(customer_id="c-1", **more)
        assert refused.status_code == 400
        assert refused.json()["detail"].startswith(why)


async def test_the_same_request_id_gives_the_same_decision_and_counts_once(api: Api) -> None:
    await api.consent()
    first, again = [
        (await api.decide(customer_id="c-1", request_id="r-77")).json() for _ in range(2)
    ]
    assert again == first
    contacts = (await api.client.get("/v1/customers/c-1")).json()["contacts"]
    assert len(contacts) == 1
    other = (await api.decide(customer_id="c-2", request_id="r-77")).json()
    assert other["decision_id"] != first["decision_id"]


async def test_explain_lists_every_candidate_of_the_policy(api: Api) -> None:
    await api.consent()
    rows = (await api.decide(customer_id="c-1", explain=True)).json()["explanation"]
    names = {(row["message"], row["channel"]) for row in rows}
    assert names == {
        ("hello", "in_app"), ("offer", "push"), ("offer", "email"), ("news", "email"),
    }  # fmt: skip
    by_name = {(row["message"], row["channel"]): row for row in rows}
    chosen = [row for row in rows if row["reason"] is None]
    assert [row["message"] for row in chosen] == ["offer"]
    hello = by_name["hello", "in_app"]
    assert hello["reason"] == "not_in_placement"
    assert hello["source"].startswith("rules/policy.yaml:")


async def test_a_dry_run_reserves_logs_and_counts_nothing(api: Api) -> None:
    await api.consent()
    decision = (await api.decide(customer_id="c-1", dry_run=True)).json()
    assert decision["selections"][0]["message"] == "offer"
    assert decision["selections"][0]["reserved_until"] is None
    assert (await api.client.get("/v1/customers/c-1")).json()["contacts"] == []
    found = await api.client.get(f"/v1/decisions/{decision['decision_id']}")
    assert found.status_code == 404
    counted = 'nextbest_decisions_total{outcome="selected",placement="outbound"}'
    assert await api.metric(counted) == 0
    assert await api.metric("nextbest_dry_runs_total") == 1


async def test_limit_asks_for_different_messages_and_channels_narrow(api: Api) -> None:
    await api.consent()
    two = (await api.decide(customer_id="c-1", limit=5, dry_run=True)).json()["selections"]
    assert sorted(one["message"] for one in two) == ["news", "offer"]
    push = (await api.decide(customer_id="c-1", channels=["push"], dry_run=True)).json()
    assert [one["channel"] for one in push["selections"]] == ["push"]
    none = (await api.decide(customer_id="c-1", channels=[], dry_run=True)).json()
    assert (none["outcome"], none["reason"]) == ("none", "not_in_placement")


async def test_an_alias_leads_to_its_customer(api: Api) -> None:
    await api.client.put("/v1/customers/c-1", json={"aliases": {"email": "li@example.com"}})
    alias = {"type": "email", "value": "li@example.com"}
    decision = (await api.decide(alias=alias)).json()
    assert decision["customer_id"] == "c-1"


async def test_an_event_with_an_id_is_recorded_and_one_without_is_not(api: Api) -> None:
    event: dict[str, Any] = {"type": "purchase", "properties": {"amount": 80}}
    await api.decide(customer_id="c-1", event=event)
    await api.decide(customer_id="c-1", event={**event, "id": "e-1"})
    await api.decide(customer_id="c-1", event={**event, "id": "e-1"})
    known = (await api.client.get("/v1/customers/c-1")).json()
    assert known["events"]["purchase"]["count"] == 1
    assert known["state"] == "buyer"


async def test_a_decision_is_found_again_with_its_explanation(api: Api) -> None:
    await api.consent()
    decision = (await api.decide(customer_id="c-1")).json()
    found = (await api.client.get(f"/v1/decisions/{decision['decision_id']}")).json()
    assert set(found) == FIELDS
    assert found["selections"][0]["message"] == "offer"
    assert len(found["explanation"]) == 4


async def test_looking_up_what_is_no_decision(api: Api) -> None:
    unknown = await api.client.get("/v1/decisions/01KAK0V4R0GZ8M4T1S8Q2W5X7C")
    assert (unknown.status_code, unknown.json()["title"]) == (404, "Not found")
    for bad in ("nonsense", "01KAK0V4R0GZ8M4T1S8Q2W5X7U", "é", "a%2Fb"):
        answer = await api.client.get(f"/v1/decisions/{bad}")
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["path"] == "decision_id"


async def test_the_log_keeps_no_contact_without_its_record(api: Api) -> None:
    await api.consent()
    ids = {(await api.decide(customer_id="c-1")).json()["decision_id"] for _ in range(3)}
    for decision_id in ids:
        assert (await api.client.get(f"/v1/decisions/{decision_id}")).status_code == 200


async def test_a_deadline_that_passes_gives_the_fallback(api: Api) -> None:
    store = api.engine.runtime.store
    real = store.read

    async def slow(*args: Any, **kwargs: Any) -> Any:
        import asyncio

        await asyncio.Event().wait()

    store.read = slow  # type: ignore[method-assign]
    try:
        answer = await api.decide(customer_id="c-1", placement="app_home", deadline_ms=5)
    finally:
        store.read = real  # type: ignore[method-assign]
    decision = answer.json()
    assert answer.status_code == 200
    assert decision["outcome"] == "fallback"
    assert "deadline" in decision["degraded"]
    assert await api.metric('nextbest_decisions_degraded_total{missing="deadline"}') == 1


async def test_the_clock_of_a_request_is_for_offline_use(api: Api) -> None:
    answer = await api.decide(customer_id="c-1", at="2026-01-01T00:00:00Z")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == "at"


async def test_the_answer_is_json_in_utf_8_as_it_is(api: Api) -> None:
    await api.client.put("/v1/customers/c-1", json={"attributes": {"first_name": "美玲"}})
    answer = await api.decide(customer_id="c-1", placement="app_home")
    assert "你好 美玲".encode() in answer.content
    assert json.loads(answer.content)["selections"][0]["content"]["title"] == "你好 美玲"


async def test_what_waited_beyond_its_deadline_is_a_fallback_and_costs_no_turn(
    rules: Path,
) -> None:
    admission = Admission()
    at_once = admission.limit.value
    for _ in range(at_once):
        assert admission.enter()
    async with running(rules, admission=admission) as api:
        asked = [
            asyncio.create_task(api.decide(customer_id=f"c-{n}", placement="app_home", **given))
            for n, given in enumerate(({"deadline_ms": 50}, {"deadline_ms": 30_000}))
        ]
        async with asyncio.timeout(20):
            while admission.waiting < 2:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        for _ in range(2):
            admission.leave()
        late, in_time = [(await one).json() for one in asked]
        assert (late["outcome"], late["degraded"]) == ("fallback", ["store", "deadline"])
        assert in_time["degraded"] == ["model"]
        assert admission.running == at_once - 2


async def test_ask_again_is_refused_where_nobody_would_send_what_is_decided_later(api: Api) -> None:
    answer = await api.decide(customer_id="c-1", ask_again=True)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == "ask_again"
