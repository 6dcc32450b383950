"""OFREP: a flag is a decision like any other; the bulk call is a look that changes nothing."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from decision.core.errors import NotReady
from decision.server.admission import Admission
from tests.api.conftest import Api, running
from tests.api.test_bad_input import problem_of
from tests.api.test_clients_gone import Slow
from tests.api.test_clients_gone import rules as one_message  # noqa: F401 - a fixture
from tests.api.wires import serving_here, until

pytestmark = pytest.mark.anyio

FLAGS = "/ofrep/v1/evaluate/flags"
EXPLORING = """
settings: {timezone: UTC, currency: EUR, exploration: 1}
purposes: {ads: {consent: not_required}}
channels: {app: {}}
placements: {home: {channels: [app]}}
messages:
"""


async def evaluate(
    api: Api, flag: str = "outbound", customer: str = "c-1", **context: Any
) -> dict[str, Any]:
    body = {"context": {"targetingKey": customer, **context}}
    answer = await api.client.post(f"{FLAGS}/{flag}", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def contacts(api: Api, customer: str = "c-1") -> list[dict[str, Any]]:
    found = await api.client.get(f"/v1/customers/{customer}")
    shown: list[dict[str, Any]] = found.json()["contacts"] if found.status_code == 200 else []
    return shown


def failed(answer: httpx.Response, status: int, code: str, key: str | None = "outbound") -> str:
    """The details of a failure, in the form of the protocol."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert found.get("key") == key and found["errorCode"] == code, found
    details: str = found["errorDetails"]
    return details


async def test_a_flag_is_a_decision_that_is_reserved_and_can_be_reported(api: Api) -> None:
    await api.consent()
    flag = await evaluate(api, nextbest={"channels": ["push"]})
    assert (flag["key"], flag["reason"], flag["variant"]) == (
        "outbound", "TARGETING_MATCH", "offer",
    )  # fmt: skip
    value, metadata = flag["value"], flag["metadata"]
    assert (value["message"], value["channel"], value["content"]) == (
        "offer", "push", {"title": "Offer "},
    )  # fmt: skip
    assert metadata["decision_id"] == value["decision_id"]
    assert metadata["outcome"] == "selected"
    assert datetime.fromisoformat(metadata["reserved_until"]) > datetime.fromisoformat(
        (await contacts(api))[0]["at"]
    )
    shown = {
        "customer_id": "c-1", "type": "message.shown", "decision_id": value["decision_id"],
    }  # fmt: skip
    answer = await api.client.post("/v1/events", json={"events": [shown]})
    assert answer.json()["accepted"] == 1, answer.text
    assert (await evaluate(api, nextbest={"channels": ["push"]}))["metadata"]["reason"] == "capped"


async def test_where_nothing_is_chosen_the_default_of_the_caller_holds(api: Api) -> None:
    flag = await evaluate(api)
    assert "value" not in flag
    assert (flag["reason"], flag["variant"]) == ("DEFAULT", "none")
    assert flag["metadata"]["reason"] == "no_consent"


async def test_a_fallback_is_a_value_that_is_no_match(api: Api) -> None:
    flag = await evaluate(api, "app_home")
    assert (flag["reason"], flag["variant"]) == ("DEFAULT", "hello")
    assert flag["value"]["content"] == {"title": "你好 朋友"}
    assert flag["metadata"]["outcome"] == "fallback"


async def test_the_context_names_an_alias_an_event_and_what_rules_read(
    rules: Path, tmp_path: Path
) -> None:
    more = """
messages:
  ios-news:
    purpose: service
    channels: [in_app]
    placements: [app_home]
    value: 1
    when: {context.device: ios, event.type: purchase, event.amount: {gt: 100}}
    content: {title: "{{ context.device }}"}
"""
    (rules / "more.yaml").write_text(more)
    event = {"type": "purchase", "id": "e-1", "properties": {"amount": 120.5}}
    async with running(rules) as api:
        update = {"attributes": {"first_name": "Ann"}, "aliases": {"email": "ann@example.org"}}
        await api.client.put("/v1/customers/c-9", json=update)
        options = {"alias_type": "email", "event": event}
        flag = await evaluate(
            api, "app_home", "ann@example.org", device="ios", nextbest=options, targetingKeys="x"
        )
        assert (flag["variant"], flag["value"]["content"]) == ("ios-news", {"title": "ios"})
        stored = (await api.client.get("/v1/customers/c-9")).json()
        assert stored["events"]["purchase"]["count"] == 1
        assert [row["message"] for row in stored["contacts"]] == ["ios-news"]


async def test_the_same_request_id_gives_the_same_flag_again(api: Api) -> None:
    await api.consent()
    first, again = [await evaluate(api, nextbest={"request_id": "r-1"}) for _ in range(2)]
    assert first == again and first["variant"] == "offer"
    assert len(await contacts(api)) == 1


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", "PARSE_ERROR", "empty"),
        (b"{", "PARSE_ERROR", "not JSON"),
        (b"[]", "PARSE_ERROR", "an object"),
        (b"\xff", "PARSE_ERROR", ""),
        (b'{"context": ' + b"[" * 40 + b"]" * 40 + b"}", "PARSE_ERROR", "nested"),
        (b"{}", "TARGETING_KEY_MISSING", "targetingKey"),
        (b'{"context": {}}', "TARGETING_KEY_MISSING", "targetingKey"),
        (b'{"context": {"targetingKey": ""}}', "TARGETING_KEY_MISSING", "targetingKey"),
        (b'{"context": {"targetingKey": null}}', "TARGETING_KEY_MISSING", "targetingKey"),
        (b'{"context": null}', "INVALID_CONTEXT", "context"),
        (b'{"context": {"targetingKey": 5}}', "INVALID_CONTEXT", "context.targetingKey: is 5"),
        (b'{"context": {"targetingKey": " "}}', "INVALID_CONTEXT", "context.targetingKey"),
        (b'{"context": {"targetingKey": "null"}}', "INVALID_CONTEXT", "context.targetingKey"),
        (b'{"context": {"targetingKey": "%s"}}' % (b"x" * 257), "INVALID_CONTEXT", "targetingKey"),
        (b'{"context": {"targetingKey": "a", "": 1}}', "INVALID_CONTEXT", "context"),
        (b'{"context": {"targetingKey": "a", "n": 1%s}}' % (b"0" * 30), "INVALID_CONTEXT", "64"),
        (b'{"context": {"targetingKey": "a", "nextbest": 1}}', "INVALID_CONTEXT", "nextbest"),
        (
            b'{"context": {"targetingKey": "a", "nextbest": {"chanels": []}}}',
            "INVALID_CONTEXT", "channels",
        ),
        (
            b'{"context": {"targetingKey": "a", "nextbest": {"dry_run": true}}}',
            "INVALID_CONTEXT", "dry_run",
        ),
        (
            b'{"context": {"targetingKey": "a", "nextbest": {"channels": ["pusch"]}}}',
            "INVALID_CONTEXT", 'context.nextbest.channels[0]: "pusch"',
        ),
        (
            b'{"context": {"targetingKey": "a", "nextbest": {"request_id": ""}}}',
            "INVALID_CONTEXT", "context.nextbest.request_id",
        ),
        (
            b'{"context": {"targetingKey": "a", "nextbest": {"event": '
            b'{"type": "x", "at": "2999-01-01T00:00:00Z"}}}}',
            "INVALID_CONTEXT", "context.nextbest.event.at",
        ),
    ],
)  # fmt: skip
async def test_a_context_that_cannot_be_used_is_refused_in_the_form_of_the_protocol(
    api: Api, body: bytes, code: str, words: str
) -> None:
    headers = {"content-type": "application/json; charset=utf-8"}
    for flag in ("outbound", None):
        path = FLAGS if flag is None else f"{FLAGS}/{flag}"
        answer = await api.client.post(path, content=body, headers=headers)
        assert words in failed(answer, 400, code, flag)


@pytest.mark.parametrize("flag", ["app_hom", "x" * 300, "%FF", "a%2Fb", "null", "🙂"])
async def test_a_placement_that_there_is_not_is_a_flag_not_found(api: Api, flag: str) -> None:
    answer = await api.client.post(f"{FLAGS}/{flag}", json={"context": {"targetingKey": "c-1"}})
    assert answer.status_code == 404, answer.text
    assert answer.json()["errorCode"] == "FLAG_NOT_FOUND"
    if flag == "app_hom":
        assert 'did you mean "app_home"?' in failed(answer, 404, "FLAG_NOT_FOUND", flag)


@pytest.mark.parametrize("path", [FLAGS, f"{FLAGS}/outbound"])
async def test_what_fails_has_the_form_of_the_protocol_where_there_is_one(
    api: Api, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async def fail(*given: Any) -> None:
        raise error

    monkeypatch.setattr(type(api.engine), "decide_with_verdict", fail)
    monkeypatch.setattr(type(api.engine), "preview", fail)
    body = {"context": {"targetingKey": "c-1"}}
    error: Exception = ZeroDivisionError("secret-4711")
    answer = await api.client.post(path, json=body)
    assert "secret" not in failed(answer, 500, "GENERAL", None if path == FLAGS else "outbound")
    error = NotReady("no policy")
    answer = await api.client.post(path, json=body)
    assert problem_of(answer, 503) and answer.headers["retry-after"] == "1"


async def test_the_preview_shows_every_placement_and_changes_nothing(api: Api) -> None:
    await api.consent()
    before = (await api.client.get("/v1/customers/c-1")).json()
    made = await api.metric('nextbest_decisions_total{outcome="selected",placement="outbound"}')
    event = {"type": "cart_add", "id": "e-1", "properties": {"cart_value": 7}}
    body = {"context": {"targetingKey": "c-1", "nextbest": {"event": event, "request_id": "r"}}}
    answers = [await api.client.post(FLAGS, json=body) for _ in range(5)]
    flags = answers[0].json()["flags"]
    assert [row["key"] for row in flags] == ["app_home", "outbound"]
    assert flags[1]["value"] == {
        "message": "offer", "channel": flags[1]["value"]["channel"],
        "content": {"title": "Offer 7"},
    }  # fmt: skip
    assert (await api.client.get("/v1/customers/c-1")).json() == before
    assert made == await api.metric(
        'nextbest_decisions_total{outcome="selected",placement="outbound"}'
    )
    records = [await api.engine.runtime.store.log_records(part) for part in range(256)]  # type: ignore[attr-defined]
    assert not [row for rows in records for row in rows if row.kind == "decision"]
    assert len({answer.headers["etag"] for answer in answers}) == 1


async def test_the_tag_of_a_preview_stays_while_it_does_and_saves_the_answer(api: Api) -> None:
    body = {"context": {"targetingKey": "c-1"}}
    first = await api.client.post(FLAGS, json=body)
    etag = first.headers["etag"]
    for given in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await api.client.post(FLAGS, json=body, headers={"if-none-match": given})
        assert again.status_code == 304 and again.content == b"", given
        assert again.headers["etag"] == etag and "content-type" not in again.headers
    await api.consent()
    changed = await api.client.post(FLAGS, json=body, headers={"if-none-match": etag})
    assert changed.status_code == 200 and changed.headers["etag"] != etag


async def test_a_preview_explores_alike_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "exploring"
    folder.mkdir()
    message = "  m{}: {{purpose: ads, channels: [app], value: 1, content: {{title: x}}}}\n"
    (folder / "all.yaml").write_text(EXPLORING + "".join(map(message.format, range(20))))
    async with running(folder) as api:
        bodies = [{"context": {"targetingKey": f"c-{number % 10}"}} for number in range(50)]
        found = [(await api.client.post(FLAGS, json=body)).json()["flags"][0] for body in bodies]
        assert all(flag == found[index % 10] for index, flag in enumerate(found))
        assert len({flag["variant"] for flag in found}) > 1


def test_a_flag_that_nobody_was_given_reserves_nothing(one_message: Path) -> None:  # noqa: F811
    store = Slow()
    body = b'{"context": {"targetingKey": "c-1", "text": "hi"}}'
    head = (
        b"POST /ofrep/v1/evaluate/flags/home HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    with serving_here(one_message, store=store, timeout_ms=20_000) as here:
        with here.connect() as wire:
            wire.sendall(head + body)
            until(lambda: store.made)
            wire.close()
            until(lambda: all(one.transport.is_closing() for one in here.connections))
            store.go.set()
            until(lambda: store.states("c-1") == ["RELEASED"])
        assert store.spent() == 0 and store.not_given() == 1


def test_too_many_flags_at_once_are_refused_before_the_application(rules: Path) -> None:
    admission = Admission()
    admission.full = lambda: True  # type: ignore[method-assign]
    with serving_here(rules, admission=admission) as here:
        for path in (FLAGS, f"{FLAGS}/outbound"):
            body = {"context": {"targetingKey": "c-1"}}
            answer = httpx.post(f"http://127.0.0.1:{here.port}{path}", json=body)
            assert int(problem_of(answer, 503) and answer.headers["retry-after"]) >= 1
    assert admission.refused == 2


def test_the_provider_of_openfeature_gets_decisions(rules: Path) -> None:
    """The Python package as it is, against a server on a socket."""
    provider = pytest.importorskip("openfeature.contrib.provider.ofrep").OFREPProvider
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.exception import (
        FlagNotFoundError,
        InvalidContextError,
        TargetingKeyMissingError,
        TypeMismatchError,
    )
    from openfeature.flag_evaluation import Reason

    with serving_here(rules) as here:
        url = f"http://127.0.0.1:{here.port}"
        httpx.put(f"{url}/v1/customers/c-1/consents", json={"marketing": {"*": "granted"}})
        client, default = provider(url), {"message": "of my own"}
        ann = EvaluationContext("c-1", {"device": "ios", "nextbest": {"channels": ["push"]}})
        found = client.resolve_object_details("outbound", default, ann)
        assert (found.reason, found.variant) == (Reason.TARGETING_MATCH, "offer")
        assert found.value["content"] == {"title": "Offer "}
        assert found.flag_metadata["decision_id"] == found.value["decision_id"]
        found = client.resolve_object_details("outbound", default, ann)
        assert (found.value, found.reason, found.variant) == (default, Reason.DEFAULT, "none")
        assert found.flag_metadata["reason"] == "capped"
        assert client.resolve_object_details("app_home", {}, EvaluationContext("c-1")).variant == (
            "hello"
        )
        for flag, context, error in (
            ("nothing", ann, FlagNotFoundError),
            ("outbound", None, TargetingKeyMissingError),
            ("outbound", EvaluationContext(None, {"a": 1}), TargetingKeyMissingError),
            ("outbound", EvaluationContext("c-1", {"nextbest": 1}), InvalidContextError),
        ):
            with pytest.raises(error):
                client.resolve_object_details(flag, default, context)
        with pytest.raises(TypeMismatchError):
            client.resolve_string_details("app_home", "", EvaluationContext("c-1"))


async def test_many_flags_at_once_for_one_customer_break_no_cap(api: Api) -> None:
    await api.consent()
    found = await asyncio.gather(
        *(evaluate(api, nextbest={"channels": ["push"]}) for _ in range(20))
    )
    assert sorted(flag["variant"] for flag in found) == ["none"] * 19 + ["offer"]
    assert len(await contacts(api)) == 1
    assert json.dumps(found).count('"TARGETING_MATCH"') == 1
