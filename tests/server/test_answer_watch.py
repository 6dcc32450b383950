"""What is answered without the store is told, whatever the error is; one damaged customer is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from decision.server import upkeep
from decision.server.health import answer_watch
from decision.server.health.answer_watch import AnswerWatch
from decision.store.health import AnswerCount
from decision.store.refusals import Refused
from tests.api.conftest import RULES, Api
from tests.server.own_redis import OwnRedis
from tests.server.test_store_watch import Lines, fine, ready, served, until_beats, when

pytestmark = pytest.mark.anyio

BUDGET = RULES.replace("    value: 10\n", "    value: 10\n    budget: {total: 100}\n")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(answer_watch, "WITHIN", 2.0)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnRedis]:
    with OwnRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def lines() -> Lines:
    return Lines()


async def decide_for(api: Api, customers: int) -> list[int]:
    return [
        (await api.decide(customer_id=f"c-{number}")).status_code for number in range(customers)
    ]


@pytest.mark.parametrize("damage", ["list", "text"])
async def test_decisions_that_all_fail_are_told_with_the_command_and_end_by_themselves(
    redis: OwnRedis, rules: Path, lines: Lines, damage: str
) -> None:
    (rules / "policy.yaml").write_text(BUDGET, "utf-8")
    async with served(redis, rules) as api:
        for number in range(8):
            await api.consent(f"c-{number}")
        assert fine(await ready(api))
        logs = [f"nb:{{p{number}}}:log" for number in range(256)]
        for key in logs:
            redis.ask("DEL", key)
            redis.ask(*(("RPUSH", key, "x") if damage == "list" else ("SET", key, "x")))
        await decide_for(api, 8)
        found = await when(api, lambda found: "store" in found["degraded"])
        assert found["http"] == 200
        said = found["degraded"]["store"]
        assert "were given without the store" in said
        assert "{p}:log" in said
        assert await api.metric("nextbest_store_up") == 0
        redis.ask("DEL", *logs)
        await when(api, fine)
        assert await api.metric("nextbest_store_up") == 1
        assert await decide_for(api, 8) == [200] * 8
        assert fine(await ready(api))
    (told,), (_,) = lines.of("degraded"), lines.of("restored")
    assert "given without the store" in told["problem"]


async def test_writes_of_customers_and_events_that_all_fail_are_told(
    redis: OwnRedis, rules: Path
) -> None:
    async with served(redis, rules) as api:
        for partition in range(256):
            redis.ask("SET", f"nb:{{p{partition}}}:log", "x")
        for number in range(6):
            answer = await api.client.put(
                f"/v1/customers/a-{number}/consents", json={"marketing": {"*": "granted"}}
            )
            assert answer.status_code == 503, answer.text
        found = await when(api, lambda found: "store" in found["degraded"])
        assert "{p}:log" in found["degraded"]["store"]
        await when(api, lambda found: "store" not in found["degraded"])
        for number in range(6):
            event = {"id": "e", "customer_id": f"b-{number}", "type": "purchase"}
            await api.client.post("/v1/events", json={"events": [event]})
        await when(api, lambda found: "store" in found["degraded"])


async def test_one_damaged_customer_is_a_line_of_the_log_and_no_trouble(
    redis: OwnRedis, rules: Path, lines: Lines
) -> None:
    async with served(redis, rules) as api:
        await api.consent("c-1")
        (key,) = eval(redis.ask("KEYS", "nb:{p*}:c:c-1"))
        redis.ask("SET", key, "nonsense")
        for _ in range(10):
            assert (await api.decide(customer_id="c-1")).json()["degraded"]
        beats = int(redis.ask("GET", "nb:{health}:beats"))
        await until_beats(redis, beats + 3)
        assert "store" not in (await ready(api))["degraded"]
    (told,) = lines.of("answered_without_store", None)
    assert "for 1 customers" in told["problem"]
    assert "c-1" not in told["problem"]
    assert lines.of("degraded") == []


def test_only_failures_of_several_customers_and_of_a_share_of_answers_count() -> None:
    """Requests that are at fault themselves, and a state that is told otherwise, do not count."""
    answers = AnswerCount()
    watch = AnswerWatch(answers, "h:1")
    for number in range(9):
        answers.failed(Refused("h:1", "OOM full"), f"c-{number}")
        answers.failed(Refused("h:1", "WRONGTYPE bad"), "c-1")
    assert watch.look() is None
    answers.failed(Refused("h:1", "WRONGTYPE bad"), "c-2")
    answers.failed(Refused("h:1", "WRONGTYPE bad"), "c-3")
    found = watch.look()
    assert found is not None
    assert found.code == "WRONGTYPE"
    assert "h:1" not in found.public
    answers.served += 1000
    assert watch.look() is None
