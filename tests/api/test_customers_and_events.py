"""`/v1/customers` and `/v1/events` over the application."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from decision.core import calendar
from tests.api.conftest import Api, running

pytestmark = pytest.mark.anyio


async def events(api: Api, *rows: Any) -> dict[str, Any]:
    answer = await api.client.post("/v1/events", json={"events": list(rows)})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_put_merges_and_a_null_deletes(api: Api) -> None:
    await api.client.put(
        "/v1/customers/c-1",
        json={
            "attributes": {"a": 1, "b": [1, "二"]},
            "timezone": "Asia/Shanghai",
            "reachable": ["push"],
        },
    )
    answer = await api.client.put("/v1/customers/c-1", json={"attributes": {"a": None, "c": True}})
    known = answer.json()
    assert known["attributes"] == {"b": [1, "二"], "c": True}
    assert (known["timezone"], known["reachable"]) == ("Asia/Shanghai", ["push"])
    assert (await api.client.get("/v1/customers/c-1")).json() == known


async def test_erasing_takes_everything_and_reads_give_404(api: Api) -> None:
    await api.client.put("/v1/customers/c-1", json={"aliases": {"email": "li@example.com"}})
    gone = await api.client.delete("/v1/customers/c-1")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await api.client.get("/v1/customers/c-1")).status_code == 404
    assert (await api.client.delete("/v1/customers/c-1")).status_code == 404
    decision = (await api.decide(alias={"type": "email", "value": "li@example.com"})).json()
    assert decision["customer_id"] != "c-1"


async def test_consents_hold_from_the_next_decision_on(api: Api) -> None:
    await api.consent()
    assert (await api.decide(customer_id="c-1", dry_run=True)).json()["outcome"] == "selected"
    await api.client.put(
        "/v1/customers/c-1/consents", json={"marketing": {"*": "denied", "email": "granted"}}
    )
    rows = (await api.decide(customer_id="c-1", dry_run=True, explain=True)).json()["explanation"]
    reasons = {(row["message"], row["channel"]): row["reason"] for row in rows}
    assert reasons["offer", "push"] == "no_consent"
    assert reasons["offer", "email"] is None


async def test_a_merge_unites_and_the_old_id_leads_on(api: Api) -> None:
    await api.client.put("/v1/customers/anon-9", json={"attributes": {"seen": 3}})
    await api.client.put("/v1/customers/c-1", json={"attributes": {"name": "Li"}})
    answer = await api.client.post("/v1/customers/c-1/merge", json={"from": "anon-9"})
    assert answer.status_code == 200
    assert answer.json()["attributes"] == {"seen": 3, "name": "Li"}
    assert (await api.client.get("/v1/customers/anon-9")).json()["customer_id"] == "c-1"
    unknown = await api.client.post("/v1/customers/c-1/merge", json={"from": "nobody"})
    assert unknown.status_code == 404
    same = await api.client.post("/v1/customers/c-1/merge", json={"from": "c-1"})
    assert (same.status_code, same.json()["errors"][0]["path"]) == (400, "from")


@pytest.mark.parametrize(
    "customer",
    ["a/b", "//", "张三", "a b+c", "100%", "..", "a%2Fb", "x?y#z", ".", "merge", "ä" * 100],
)
async def test_any_printable_id_can_be_in_the_path(api: Api, customer: str) -> None:
    path = "/v1/customers/" + quote(customer, safe="").replace(".", "%2E")
    made = await api.client.put(path, json={"attributes": {"x": 1}})
    assert (made.status_code, made.json().get("customer_id")) == (200, customer)
    assert (await api.client.put(path + "/consents", json={})).json()["customer_id"] == customer
    decision = await api.decide(customer_id=customer)
    assert decision.json()["customer_id"] == customer
    assert (await api.client.get(path)).json()["attributes"] == {"x": 1}
    assert (await api.client.delete(path)).status_code == 204


@pytest.mark.parametrize("bad", ["%FF", "%00", "a%0Ab", "x" * 257, "%E2%80%A8"])
async def test_an_id_that_cannot_be_one_is_refused(api: Api, bad: str) -> None:
    for answer in (
        await api.client.get(f"/v1/customers/{bad}"),
        await api.client.put(f"/v1/customers/{bad}", json={}),
        await api.client.delete(f"/v1/customers/{bad}"),
        await api.client.put(f"/v1/customers/{bad}/consents", json={}),
        await api.client.post(f"/v1/customers/{bad}/merge", json={"from": "c-1"}),
    ):
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["path"] == "customer_id"


async def test_events_are_recorded_once_by_id(api: Api) -> None:
    bought = {"id": "e1", "customer_id": "c-1", "type": "purchase", "properties": {"amount": 80}}
    assert await events(api, bought, bought) == {"accepted": 1, "duplicates": 1, "rejected": []}
    assert await events(api, bought) == {"accepted": 0, "duplicates": 1, "rejected": []}
    assert await api.metric('nextbest_events_total{result="duplicate"}') == 2
    assert await events(api) == {"accepted": 0, "duplicates": 0, "rejected": []}
    known = (await api.client.get("/v1/customers/c-1")).json()
    assert known["events"]["purchase"]["count"] == 1


async def test_bad_events_do_not_sink_the_others(api: Api) -> None:
    good = {"customer_id": "c-1", "type": "purchase"}
    answer = await events(
        api,
        good,
        7,
        {**good, "typ": 1},
        {**good, "at": "yesterday"},
        {"type": "purchase"},
        {**good, "at": "2999-01-01T00:00:00Z"},
        {**good, "at": "0001-01-01T00:00:00+23:59"},
        {**good, "properties": {"n": 10**25}},
        {**good, "decision_id": "nonsense"},
        {**good, "customer_id": "c\n1"},
        {**good, "type": ""},
        good,
    )
    assert (answer["accepted"], answer["duplicates"]) == (2, 0)
    assert [row["index"] for row in answer["rejected"]] == list(range(1, 11))
    details = {row["index"]: row["detail"] for row in answer["rejected"]}
    assert details[2] == 'typ: there is no such key; did you mean "type"?'
    assert details[3].startswith('at: is "yesterday", must be a time with an offset')
    assert details[4].startswith("customer_id:")
    assert details[7].startswith("properties.n:")
    assert await api.metric('nextbest_events_total{result="rejected"}') == 10
    assert await api.metric('nextbest_events_total{result="accepted"}') == 2


async def test_events_about_a_contact_change_it(api: Api) -> None:
    await api.consent()
    decision = (await api.decide(customer_id="c-1")).json()
    about = {"customer_id": "c-1", "decision_id": decision["decision_id"]}
    await events(api, {**about, "type": "message.shown"})
    contacts = (await api.client.get("/v1/customers/c-1")).json()["contacts"]
    assert [contact["state"] for contact in contacts] == ["confirmed"]
    await events(api, {**about, "type": "message.unsubscribed"})
    after = (await api.decide(customer_id="c-1", explain=True)).json()
    reasons = {
        row["channel"]: row["reason"] for row in after["explanation"] if row["message"] == "offer"
    }
    assert reasons[decision["selections"][0]["channel"]] == "no_consent"


async def test_so_many_events_a_request(rules: Path) -> None:
    async with running(rules, max_events=3) as api:
        row = {"customer_id": "c-1", "type": "page_view"}
        assert (await events(api, *[row] * 3))["accepted"] == 3
        answer = await api.client.post("/v1/events", json={"events": [row] * 4})
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "events")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"attributes": {"x": {"a": {"b": {"c": {"d": {"e": 1}}}}}}}, "attributes.x"),
        ({"attributes": {"x": "a\u0000b"}}, "attributes.x"),
        ({"attributes": {"x": 10**30}}, "attributes.x"),
        ({"attributes": {"": 1}}, "attributes"),
        ({"attributes": {"x": "y" * 200_000}}, "attributes"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"timezone": "localtime"}, "timezone"),
        ({"timezone": "posix/Asia/Tokyo"}, "timezone"),
        ({"timezone": 8}, "timezone"),
        ({"reachable": ["pussh"]}, "reachable[0]"),
        ({"aliases": {"email": ""}}, "aliases.email"),
        ({"aliases": {"email": "a\nb"}}, "aliases.email"),
        ({"attribute": {}}, "attribute"),
    ],
)
async def test_a_customer_that_cannot_be_stored_is_refused(
    api: Api, body: dict[str, Any], path: str
) -> None:
    answer = await api.client.put("/v1/customers/c-1", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["path"].startswith(path)
    assert (await api.client.get("/v1/customers/c-1")).status_code == 404


@pytest.mark.parametrize(
    ("body", "path", "hint"),
    [
        ({"marketting": {"*": "granted"}}, "marketting", "marketing"),
        ({"marketing": {"emial": "granted"}}, "marketing.emial", "email"),
        ({"marketing": {"email": "yes"}}, "marketing.email", "one of denied, granted"),
        ({"service": {"*": "granted"}, "marketing": "granted"}, "marketing", "an object"),
    ],
)
async def test_consents_that_mean_nothing_are_refused_with_the_mend(
    api: Api, body: dict[str, Any], path: str, hint: str
) -> None:
    answer = await api.client.put("/v1/customers/c-1/consents", json=body)
    assert answer.status_code == 400
    error = answer.json()["errors"][0]
    assert error["path"] == path
    assert hint in error["detail"]


async def test_a_stored_time_zone_that_is_not_known_here_spoils_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is decided in settings.timezone, which `degraded` says; others are not touched by it."""
    await api.consent("c-1")
    await api.client.put("/v1/customers/c-1", json={"timezone": "America/Nuuk"})
    known = calendar.known_zone
    monkeypatch.setattr(
        calendar, "known_zone", lambda name: None if name == "America/Nuuk" else known(name)
    )
    answer = (await api.decide(customer_id="c-1", explain=True)).json()
    assert (answer["outcome"], answer["degraded"]) == ("selected", ["model", "timezone"])
    again = (await api.client.get(f"/v1/decisions/{answer['decision_id']}")).json()
    assert again["explanation"] == answer["explanation"]
    assert (await api.client.get("/v1/customers/c-1")).json()["timezone"] == "America/Nuuk"
    events = [{"customer_id": name, "type": "app_open"} for name in ("c-1", "c-2")]
    sent = await api.client.post("/v1/events", json={"events": events})
    assert (sent.status_code, sent.json()["accepted"]) == (202, 2)
    assert (await api.decide(customer_id="c-2")).json()["degraded"] == ["model"]
    assert await api.metric('nextbest_decisions_degraded_total{missing="timezone"}') == 1
    # Where the zone is known, the decision is explained as it was made.
    monkeypatch.setattr(calendar, "known_zone", known)
    again = (await api.client.get(f"/v1/decisions/{answer['decision_id']}")).json()
    assert again["explanation"] == answer["explanation"]
