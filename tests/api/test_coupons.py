"""Coupon codes over HTTP: added as they come, counted, given, redeemed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.conftest import RULES, Api, running
from tests.api.test_bad_input import problem_of
from tests.api.test_operations import until

pytestmark = pytest.mark.anyio
NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Api]:
    rules = tmp_path / "rules"
    rules.mkdir()
    text = RULES.replace(
        "value: 10\n    content: {title: \"Offer {{ event.cart_value | default('') }}\"}",
        'value: 10\n    coupon: spring-10\n    content: {title: "{{ coupon.code }}"}',
    )
    text += "coupons: {spring-10: {give_back_after: 14d}}\n"
    (rules / "policy.yaml").write_text(text, "utf-8")
    async with running(rules, max_batch_bytes=100_000) as api:
        yield api


async def test_metrics_count_the_codes_of_each_pool(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("decision.server.upkeep.BUDGET_SECONDS", 0.02)
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "policy.yaml").write_text(RULES + "coupons: {spring-10: {}}\n", "utf-8")
    async with running(rules) as api:
        await api.client.post("/v1/coupons/spring-10", content='"A"\n"B"\n', headers=NDJSON)

        async def shown() -> bool:
            name = 'nextbest_coupon_codes{pool="spring-10",state="free"}'
            return f"{name} 2.0" in (await api.client.get("/metrics")).text

        await until(shown)


async def test_codes_are_added_given_counted_and_redeemed(shop: Api) -> None:
    empty = (await shop.client.get("/v1/coupons/spring-10")).json()
    assert empty["loaded"] == empty["free"] == 0
    lines = '{"code": "A-1"}\n\n"B-2"\r\n{"code": " A-1 "}\n{"code": ""}\nC-3\n' + "x" * 5000
    for added in (2, 0):
        answer = await shop.client.post("/v1/coupons/spring-10", content=lines, headers=NDJSON)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["added"], found["known"], found["rejected"]) == (added, 3 - added, 3)
        assert [row["line"] for row in found["problems"]] == [5, 6, 7]
        assert found["codes"]["free"] == 2
    await shop.consent()
    given = (await shop.decide(customer_id="c-1", channels=["push"])).json()
    assert given["selections"][0]["content"] == {"title": "A-1"}
    event = {"type": "coupon.redeemed", "customer_id": "c-1", "properties": {"code": "A-1"}}
    assert (await shop.client.post("/v1/events", json={"events": [event]})).status_code == 202
    counts = (await shop.client.get("/v1/coupons/spring-10")).json()
    assert counts == {
        "loaded": 2,
        "free": 1,
        "held": 0,
        "given": 0,
        "redeemed": 1,
        "given_back": 0,
    }


async def test_a_body_is_read_as_it_comes_and_what_came_before_an_error_is_kept(shop: Api) -> None:
    async def body() -> AsyncIterator[bytes]:
        for number in range(20_000):
            yield f'{{"code": "SPRING-{number:06}"}}\n'.encode()

    answer = await shop.client.post("/v1/coupons/other", content=body(), headers=NDJSON)
    assert problem_of(answer, 413)["detail"].startswith("the body is larger than 100000 bytes")
    counts = (await shop.client.get("/v1/coupons/other")).json()
    assert 0 < counts["loaded"] < 20_000


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/coupons/a%2Fb", NDJSON, 400),
        ("/v1/coupons/%20", NDJSON, 400),
        ("/v1/coupons/" + "x" * 129, NDJSON, 400),
        ("/v1/coupons/spring-10", {"content-type": "text/csv"}, 415),
    ],
)
async def test_a_bad_pool_or_content_type_is_refused(
    shop: Api, path: str, headers: dict[str, str], status: int
) -> None:
    answer = await shop.client.post(path, content='"A"\n', headers=headers)
    problem_of(answer, status)


async def test_a_pool_of_which_nothing_is_known_is_not_found(shop: Api) -> None:
    problem_of(await shop.client.get("/v1/coupons/unknown"), 404)
    await shop.client.post("/v1/coupons/loaded-only", content='"A"\n', headers=NDJSON)
    for wrong, near in (("Spring-1", "spring-10"), ("loaded_only", "loaded-only")):
        found = problem_of(await shop.client.get(f"/v1/coupons/{wrong}"), 404)
        assert found["detail"].endswith(f'; did you mean "{near}"?')


async def test_two_clients_that_add_the_same_codes_add_each_once(shop: Api) -> None:
    lines = "".join(json.dumps(f"C-{number}") + "\n" for number in range(3000))
    answers = await asyncio.gather(
        *(
            shop.client.post("/v1/coupons/spring-10", content=lines, headers=NDJSON)
            for _ in range(4)
        )
    )
    assert sum(one.json()["added"] for one in answers) == 3000
