"""Policy and reload, health, metrics, the description; a store that is away at the start."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from decision.analytics.reports.kinds import KINDS
from decision.api.app import create_app
from decision.api.segment import SEGMENT_PATHS
from decision.core.errors import StoreUnavailable
from decision.engine import Engine
from decision.rulebook.checking import RulesRefused
from decision.server.metrics import forget_dead
from decision.server.settings import SETTINGS, ServerSettings, SettingsError
from decision.server.settings_reading import read_settings, to_environ
from decision.store import MemoryStore
from tests.api.conftest import RULES, Api, running
from tests.api.test_bad_input import problem_of

pytestmark = pytest.mark.anyio


async def until(wanted: Any, seconds: float = 20) -> Any:
    """Asks again until the answer is true."""
    async with asyncio.timeout(seconds):
        while not (found := await wanted()):
            await asyncio.sleep(0.02)
        return found


async def test_the_policy_in_force_is_told(api: Api) -> None:
    policy = (await api.client.get("/v1/policy")).json()
    assert (
        policy["policy_version"] == (await api.decide(customer_id="c-1")).json()["policy_version"]
    )
    assert (policy["model_version"], policy["degraded"]) == (None, ["model"])
    assert (policy["messages"], policy["candidates"]) == (3, 4)
    assert policy["loaded_at"].endswith("Z")


async def test_the_policy_tells_what_is_spent_of_every_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all time and of the present period, in the currency or in contacts; so do metrics."""
    monkeypatch.setattr("decision.server.upkeep.BUDGET_SECONDS", 0.02)
    rules = tmp_path / "rules"
    rules.mkdir()
    text = RULES.replace("value: 10\n", "value: 10\n    budget: {total: 7}\n")
    text += "budgets: {push: {of: {channel: push}, spend: 4}, mail: {of: {channel: email}, spend: 2.5, per: calendar month, pace: even}}\n"
    (rules / "policy.yaml").write_text(text, "utf-8")
    store = AwayStore()
    store.away = False
    async with running(rules, store) as api:
        for name in ("c-1", "c-2"):
            await api.client.put(
                f"/v1/customers/{name}/consents", json={"marketing": {"*": "granted"}}
            )
        assert (await api.decide(customer_id="c-1", channels=["push"])).json()["selections"]
        own, push, mail = (await api.client.get("/v1/policy")).json()["budgets"]
        assert own == {
            "name": "offer",
            "of": "message",
            "unit": "times",
            "per": None,
            "spent": 1,
            "limit": 7,
            "freed": 7,
            "held": 0,
            "since": None,
            "until": None,
        }
        assert (mail["name"], mail["of"], mail["unit"]) == ("mail", "budgets", "CNY")
        assert (mail["per"], mail["limit"], mail["spent"]) == ("month", 2.5, 0)
        assert 0 <= mail["freed"] <= 2.5
        assert mail["since"] < mail["until"] and mail["since"].endswith("T16:00:00Z")
        assert (push["spent"], push["freed"], push["limit"], push["per"]) == (0.01, 4, 4, None)

        async def shown() -> bool:
            name = 'nextbest_budget_spent{budget="push",unit="CNY"}'
            return f"{name} 0.01" in (await api.client.get("/metrics")).text

        await until(shown)
        store.away = True
        assert (await api.client.get("/v1/policy")).json()["budgets"] is None


async def test_a_reload_puts_new_rules_in_force(api: Api) -> None:
    before = (await api.client.get("/v1/policy")).json()
    (api.rules / "policy.yaml").write_text(
        RULES.replace("[Offer", "[Angebot").replace("value: 5", "value: 50"), "utf-8"
    )
    answer = await api.client.post("/v1/policy/reload")
    assert answer.status_code == 200
    after = answer.json()
    assert after["policy_version"] != before["policy_version"]
    await api.consent()
    decision = (await api.decide(customer_id="c-1")).json()
    assert decision["policy_version"] == after["policy_version"]
    assert decision["selections"][0]["message"] == "news"
    assert await api.metric('nextbest_policy_reloads_total{result="ok"}') == 1
    assert await api.metric(f'nextbest_policy_info{{version="{before["policy_version"]}"}}') == 0
    assert await api.metric(f'nextbest_policy_info{{version="{after["policy_version"]}"}}') == 1


async def test_rules_with_errors_never_replace_what_is_in_force(api: Api) -> None:
    before = (await api.client.get("/v1/policy")).json()
    (api.rules / "policy.yaml").write_text(
        RULES.replace("at_most: 1", "at_most: 0").replace("outbound:", "outbund:"), "utf-8"
    )
    (api.rules / "more.yaml").write_text("messages: {x: {chanels: [push]}}", "utf-8")
    problem = problem_of(await api.client.post("/v1/policy/reload"), 409)
    assert problem["type"] == "urn:nextbest:problem:policy-refused"
    places = [error["path"] for error in problem["errors"]]
    assert len(places) >= 3
    assert all(re.match(r"rules/\w+\.yaml:\d+:\d+$", place) for place in places)
    assert any('did you mean "channels"' in error["detail"] for error in problem["errors"])
    after = (await api.client.get("/v1/policy")).json()
    refusal = after.pop("refusal")
    assert after == {name: value for name, value in before.items() if name != "refusal"}
    assert before["refusal"] is None
    assert (refusal["trigger"], refusal["count"]) == ("api", len(places))
    assert refusal["errors"] == problem["errors"][:5]
    assert await api.metric("nextbest_policy_refused_timestamp_seconds") > 0
    assert (await api.decide(customer_id="c-1")).status_code == 200
    assert await api.metric('nextbest_policy_reloads_total{result="refused"}') == 1


async def test_decisions_go_on_while_rules_are_reloaded(api: Api) -> None:
    done = asyncio.Event()

    async def decide() -> int:
        count = 0
        while not done.is_set():
            answer = await api.decide(customer_id=f"c-{count}")
            assert answer.status_code == 200
            count += 1
            await asyncio.sleep(0)  # nothing else here gives way
        return count

    task = asyncio.create_task(decide())
    for _ in range(2):
        assert (await api.client.post("/v1/policy/reload")).status_code == 200
    done.set()
    assert await task > 0


async def test_the_other_workers_follow_a_reload(rules: Path) -> None:
    store = MemoryStore()
    async with running(rules, store) as one, running(rules, store) as other:
        before = (await other.client.get("/v1/policy")).json()["policy_version"]
        (rules / "policy.yaml").write_text(RULES + "\n# changed\n", "utf-8")
        after = (await one.client.post("/v1/policy/reload")).json()["policy_version"]
        assert after != before

        async def followed() -> bool:
            found = (await other.client.get("/v1/policy")).json()["policy_version"]
            return bool(found == after)

        await until(followed)


async def test_a_watched_folder_is_reloaded_when_it_changes(rules: Path) -> None:
    async with running(rules, watch=True) as api:
        before = (await api.client.get("/v1/policy")).json()["policy_version"]

        async def changed() -> bool:
            # Written again each time: the watch may only just have begun.
            (rules / "policy.yaml").write_text(RULES + "\n# changed\n", "utf-8")
            await asyncio.sleep(0.2)
            found = (await api.client.get("/v1/policy")).json()["policy_version"]
            return bool(found != before)

        await until(changed)


async def test_a_folder_with_errors_keeps_the_application_from_starting(rules: Path) -> None:
    (rules / "policy.yaml").write_text("messages: 7")
    with pytest.raises(ExceptionGroup) as found:
        async with running(rules):
            pass
    refused = found.value.subgroup(RulesRefused)
    assert refused is not None


class AwayStore(MemoryStore):
    """A store that can be taken away."""

    away = True

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("Redis at 127.0.0.1:6379 refuses connections; is it running?")

    async def start(self) -> None:
        self._check()

    async def ping(self) -> None:
        self._check()

    async def read(self, *args: Any, **kwargs: Any) -> Any:
        self._check()
        return await super().read(*args, **kwargs)

    async def budget_counts(self, *args: Any) -> Any:
        self._check()
        return await super().budget_counts(*args)

    async def commit(self, *args: Any, **kwargs: Any) -> Any:
        self._check()
        return await super().commit(*args, **kwargs)

    async def register_kinds(self, *args: Any) -> Any:
        self._check()
        return await super().register_kinds(*args)

    async def get_blob(self, name: str) -> Any:
        self._check()
        return await super().get_blob(name)

    async def put_blob(self, name: str, data: bytes) -> None:
        self._check()
        await super().put_blob(name, data)

    async def erase(self, *args: Any) -> bool:
        self._check()
        return await super().erase(*args)

    async def find_record(self, decision_id: str) -> Any:
        self._check()
        return await super().find_record(decision_id)


async def test_a_store_that_is_away_at_the_start_is_waited_for(rules: Path) -> None:
    store = AwayStore()
    async with running(rules, store) as api:
        live = await api.client.get("/health/live")
        assert (live.status_code, live.json()["status"]) == (200, "ok")
        ready = problem_of(await api.client.get("/health/ready"), 503)
        assert "refuses connections" in ready["detail"]
        answer = await api.decide(customer_id="c-1")
        problem_of(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1
        batch = await api.client.post(
            "/v1/decisions/batch", content=b"{}", headers={"content-type": "application/x-ndjson"}
        )
        problem_of(batch, 503)
        problem_of(await api.client.get("/v1/policy"), 503)
        assert await api.metric("nextbest_store_up") == 0
        store.away = False

        async def ready_now() -> bool:
            return (await api.client.get("/health/ready")).status_code == 200

        await until(ready_now)
        assert (await api.decide(customer_id="c-1")).status_code == 200
        assert await api.metric("nextbest_store_up") == 1


async def test_a_store_that_goes_away_degrades_decisions_and_stops_the_rest(rules: Path) -> None:
    store = AwayStore()
    store.away = False
    async with running(rules, store) as api:
        await api.consent()
        assert (await api.decide(customer_id="c-1", dry_run=True)).json()["outcome"] == "selected"
        store.away = True
        outbound = await api.decide(customer_id="c-1")
        assert outbound.status_code == 200
        assert outbound.json()["outcome"] == "none"
        assert "store" in outbound.json()["degraded"]
        home = (await api.decide(customer_id="c-1", placement="app_home")).json()
        assert (home["outcome"], home["selections"][0]["message"]) == ("fallback", "hello")
        for method, path, body in (
            ("POST", "/v1/events", {"events": [{"customer_id": "c-1", "type": "x"}]}),
            ("GET", "/v1/customers/c-1", None),
            ("PUT", "/v1/customers/c-1", {}),
            ("DELETE", "/v1/customers/c-1", None),
            ("GET", f"/v1/decisions/{home['decision_id']}", None),
            ("POST", "/v1/policy/reload", None),
        ):
            answer = await api.client.request(method, path, json=body)
            problem_of(answer, 503)
            assert answer.headers["retry-after"] == "1"
        bad = await api.decide(customer_id="c-1", placement="nowhere")
        assert bad.status_code == 400

        async def told() -> bool:
            found = (await api.client.get("/health/ready")).json()
            return bool(found["status"] == "degraded" and "store" in found["degraded"])

        await until(told)
        assert await api.metric('nextbest_decisions_degraded_total{missing="store"}') == 2
        store.away = False
        assert (await api.decide(customer_id="c-1")).json()["outcome"] == "selected"


async def test_metrics_count_decisions_events_and_reasons(api: Api) -> None:
    await api.consent()
    await api.decide(customer_id="c-1")
    await api.decide(customer_id="c-2", placement="app_home")
    await api.client.post(
        "/v1/events", json={"events": [{"customer_id": "c-1", "type": "weird type"}]}
    )
    text = (await api.client.get("/metrics")).text
    assert 'nextbest_decisions_total{outcome="selected",placement="outbound"} 1.0' in text
    assert 'nextbest_decisions_total{outcome="fallback",placement="app_home"} 1.0' in text
    assert 'nextbest_candidates_fallen_total{reason="not_in_placement"} 4.0' in text
    assert 'nextbest_candidates_fallen_total{reason="outranked"} 2.0' in text
    for step in ("read", "decide", "reserve", "total"):
        assert f'nextbest_decision_seconds_count{{step="{step}"}} 2.0' in text
    assert "nextbest_model_up 0.0" in text
    assert "weird" not in text
    assert "c-1" not in text


def test_gauges_of_workers_that_died_are_forgotten(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    for name in (f"gauge_livemin_{dead.pid}.db", f"gauge_livemin_{os.getpid()}.db", "counter_1.db"):
        (tmp_path / name).touch()
    forget_dead(tmp_path)
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {f"gauge_livemin_{os.getpid()}.db", "counter_1.db"}


async def test_head_is_get_without_the_body_wherever_get_is(api: Api) -> None:
    """Status and headers are the same, `content-length` too: also of errors."""
    await api.consent("%E5%AE%A2%E6%88%B7%2F1")
    decision = (await api.decide(customer_id="客户/1")).json()
    paths = [
        f"/v1/decisions/{decision['decision_id']}",
        "/v1/decisions/01KAK0V4R0GZ8M4T1S8Q2W5X7C",
        "/v1/decisions/nonsense",
        "/v1/customers/%E5%AE%A2%E6%88%B7%2F1",
        "/v1/customers/nobody",
        "/v1/erasures/nothing",
        "/v1/coupons/nothing",
        "/v1/aliases/email/nobody",
        "/v1/unsubscribe/nothing",
        "/v1/policy",
        "/v1/quarantine",
        *(f"/v1/reports/{kind}" for kind in (*KINDS, "nothing")),
        "/health/live",
        "/health/ready",
        "/metrics",
        "/schema",
        "/schema/openapi.json",
        "/v1/decisions",  # 405: it takes POST
        "/v1/events",
        "/nowhere",
    ]
    transport: Any = api.client._transport
    for route in transport.app.routes:
        if route.path_format.startswith("/console"):
            continue  # tests/console has these
        if "GET" in getattr(route, "methods", ()):
            start = route.path_format.partition("{")[0]
            assert any(path.startswith(start) for path in paths), route.path_format
    named = {"x-request-id": "one"}
    for path in paths:
        for accept in ("text/html", "*/*"):
            headers = {**named, "accept": accept}
            whole = await api.client.get(path, headers=headers)
            head = await api.client.head(path, headers=headers)
            assert head.content == b"", path
            assert (head.status_code, head.headers) == (whole.status_code, whole.headers), path
            assert int(head.headers["content-length"]) == len(whole.content) > 0, path
    assert (await api.client.head("/v1/events")).headers["allow"] == "OPTIONS, POST"


async def test_the_description_covers_every_route_with_examples_and_errors(api: Api) -> None:
    document = (await api.client.get("/schema/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    described = {
        (path, method.upper()) for path, item in document["paths"].items() for method in item
    }
    transport: Any = api.client._transport
    routes = transport.app.routes
    there = set()
    for route in routes:
        if route.path.startswith(("/schema", "/console")) or route.path == "/":
            continue
        if route.path in SEGMENT_PATHS and len(route.path) == len("/v1/t"):
            continue  # the same calls, as clients in browsers shorten them
        if route.path_format == "/v1/reports/{kind}":
            continue  # the 404 of a kind that there is not; each kind has a route of its own
        methods = {"POST"} if not hasattr(route, "route_handlers") else set(route.methods)
        there |= {(route.path_format, method) for method in methods - {"OPTIONS", "HEAD"}}
    assert described == there
    for path, item in document["paths"].items():
        for method, operation in item.items():
            answers = operation["responses"]
            assert {"400", "431", "500"} <= set(answers), path
            if "requestBody" in operation:
                assert {"413", "415"} <= set(answers), path
                (content,) = operation["requestBody"]["content"].values()
                assert "example" in content, (path, method)
            if operation.get("security"):
                assert {"401", "403"} <= set(answers), path
            for status, answer in answers.items():
                if "content" in answer and path not in ("/metrics", "/v1/decisions/batch"):
                    (content,) = answer["content"].values()
                    assert "example" in content, (path, method, status)
    text = json.dumps(document)
    for reference in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert reference in document["components"]["schemas"]


async def test_the_examples_of_the_description_fit_its_schemas(api: Api) -> None:
    import jsonschema_rs

    document = (await api.client.get("/schema/openapi.json")).json()
    for item in document["paths"].values():
        for operation in item.values():
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for body in bodies:
                for kind, content in body.get("content", {}).items():
                    if "json" in kind and "ndjson" not in kind and "example" in content:
                        schema = {**content["schema"], "components": document["components"]}
                        jsonschema_rs.Draft202012Validator(schema).validate(content["example"])


async def test_the_page_of_the_description_needs_nothing_from_elsewhere(api: Api) -> None:
    page = await api.client.get("/schema", headers={"accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page.text)
    assert (await api.client.get("/schema")).json()["openapi"]


def test_an_engine_with_a_snapshot_keeps_it(rules: Path) -> None:
    async def run() -> None:
        async with running(rules) as api:
            engine: Engine = api.engine
            snapshot = engine.snapshot
            app = create_app(engine, ServerSettings(rules="/nowhere", models=None))
            async with app.lifespan():
                assert engine.snapshot is snapshot

    asyncio.run(run())


def test_settings_come_from_variables_and_flags_go_before_them() -> None:
    found = read_settings(
        {
            "NEXTBEST_PORT": "9000",
            "NEXTBEST_WORKERS": "2",
            "NEXTBEST_WATCH": "on",
            "NEXTBEST_SEED": "",
        },
        workers=4,
    )
    assert (found.port, found.workers, found.watch, found.seed) == (9000, 4, True, None)
    assert read_settings(to_environ(found)) == found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "x"),
        ("PORT", "70000"),
        ("WORKERS", "0"),
        ("LOG_LEVEL", "loud"),
        ("WATCH", "perhaps"),
        ("TIMEOUT_MS", "1.5"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"NEXTBEST_{name} is '{value}'"):
        read_settings({f"NEXTBEST_{name}": value})


def test_every_setting_has_help_and_a_name_of_its_own() -> None:
    assert {setting.field for setting in SETTINGS} == set(ServerSettings.__struct_fields__)
    for setting in SETTINGS:
        assert setting.help.endswith("."), setting.name
        assert setting.name == "NEXTBEST_" + setting.field.upper()
