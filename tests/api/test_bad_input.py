"""Whatever comes in: a problem that says what to mend, and never a 500."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decision.api.errors import as_problem
from decision.core.errors import InputError
from decision.core.schema import ConsentUpdate, CustomerUpdate, DecisionRequest, Event
from decision.decoding import JsonDecoder
from tests.api.conftest import Api, running

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}
BODIES: list[tuple[bytes, str, str]] = [
    (b"", "", "empty"),
    (b"   ", "", "empty"),
    (b"{", "", "not JSON"),
    (b"null", "", "must be an object"),
    (b"[]", "", "must be an object"),
    (b'"x"', "", "must be an object"),
    (b'{"placement": "app_home"} {}', "", "not JSON"),
    (b'\xef\xbb\xbf{"placement": "app_home"}', "", "not JSON"),
    (b'{"placement": "app_home", "context": {"x": NaN}}', "context.x", "not JSON"),
    (b'{"placement": "app_home", "context": {"x": Infinity}}', "context.x", "not JSON"),
    (b'{"placement": "\xff", "customer_id": "c-1"}', "placement", "UTF-8"),
    (b'{"placement": "\\ud800", "customer_id": "c-1"}', "placement", "surrogate"),
    (b'{"placement": "\\udc00\\ud800", "customer_id": "c-1"}', "placement", "surrogate"),
    (b'{"placement": "app_home", "customer_id": "c-1", "context": {"x": [{"a\\ud83d": 1}]}}', "context.x[0]", "surrogate"),
    (b'{"\\ud83d": "app_home", "customer_id": "c-1"}', "", "surrogate"),
    (b'{"placement": "app_home", "customer_id": "c-1\xed\xa0\xbd"}', "customer_id", "surrogate"),
    (b'{"a":' * 100_000, "", "nested"),
    (b"[" * 100_000, "", "nested"),
    (b'{"placement":"app_home","context":{"a":' + b"[" * 33 + b"]" * 33 + b"}}", "", "nested"),
    (b"{}", "placement", "missing"),
    (b'{"placement": 5, "customer_id": "c-1"}', "placement", "is 5, must be text"),
    (b'{"placement": "app_hom", "customer_id": "c-1"}', "placement", 'did you mean "app_home"?'),
    (b'{"placement": "app_home"}', "customer_id", "exactly one"),
    (b'{"placement": "app_home", "customer_id": "a", "alias": {"type": "e", "value": "v"}}', "customer_id", "exactly one"),
    (b'{"placement": "app_home", "customer_id": ""}', "customer_id", ">= 1"),
    (b'{"placement": "app_home", "customer_id": 7}', "customer_id", "is 7, must be text"),
    (b'{"placement": "app_home", "customer_id": "%s"}' % (b"x" * 10_000), "customer_id", "<= 256"),
    (b'{"placement": "app_home", "customer_id": "a\\u0000b"}', "customer_id", "control"),
    (b'{"placement": "app_home", "customer_id": "a\\nb"}', "customer_id", "control"),
    (b'{"placement": "app_home", "alias": "li@example.com"}', "alias", "must be an object"),
    (b'{"placement": "app_home", "alias": {"type": "email"}}', "alias.value", "missing"),
    (b'{"placement": "app_home", "alias": {"type": "e", "value": "\\u0001"}}', "alias.value", ""),
    (b'{"placement": "app_home", "customer_id": "c-1", "limt": 1}', "limt", 'did you mean "limit"?'),
    (b'{"placement": "app_home", "customer_id": "c-1", "limit": 0}', "limit", "is 0, must be a whole number >= 1"),
    (b'{"placement": "app_home", "customer_id": "c-1", "limit": -1}', "limit", ">= 1"),
    (b'{"placement": "app_home", "customer_id": "c-1", "limit": 1.5}', "limit", "is 1.5, must be a whole number"),
    (b'{"placement": "app_home", "customer_id": "c-1", "limit": true}', "limit", "is true"),
    (b'{"placement": "app_home", "customer_id": "c-1", "limit": 1%s}' % (b"0" * 5000), "limit", "out of range"),
    (b'{"placement": "app_home", "customer_id": "c-1", "explain": "yes"}', "explain", "true or false"),
    (b'{"placement": "app_home", "customer_id": "c-1", "deadline_ms": 0}', "deadline_ms", ">= 1"),
    (b'{"placement": "app_home", "customer_id": "c-1", "channels": ["push", 1]}', "channels[1]", "is 1, must be text"),
    (b'{"placement": "app_home", "customer_id": "c-1", "channels": ["pusch"]}', "channels[0]", 'did you mean "push"?'),
    (b'{"placement": "app_home", "customer_id": "c-1", "channels": "push"}', "channels", "a list"),
    (b'{"placement": "app_home", "customer_id": "c-1", "context": [1]}', "context", "an object"),
    (b'{"placement": "app_home", "customer_id": "c-1", "context": {"": 1}}', "context", "key"),
    (b'{"placement": "app_home", "customer_id": "c-1", "context": {"%s": 1}}' % (b"k" * 129), "context", "key"),
    (b'{"placement": "app_home", "customer_id": "c-1", "context": {"x": 1e999}}', "context.x", "out of range"),
    (b'{"placement": "app_home", "customer_id": "c-1", "context": {"x": 1%s}}' % (b"0" * 30), "context.x", "64 bits"),
    (b'{"placement": "app_home", "customer_id": "c-1", "context": {"x": [1, {"y": -1%s}]}}' % (b"0" * 30), "context.x[1].y", "64 bits"),
    (b'{"placement": "app_home", "customer_id": "c-1", "event": {"typ": "x"}}', "event.typ", 'did you mean "type"?'),
    (b'{"placement": "app_home", "customer_id": "c-1", "event": {"type": "x", "at": "now"}}', "event.at", 'is "now", must be a time with an offset'),
    (b'{"placement": "app_home", "customer_id": "c-1", "event": {"type": "x", "at": 1700000000}}', "event.at", "a time"),
    (b'{"placement": "app_home", "customer_id": "c-1", "event": {"type": "x", "at": "2026-11-21T10:00:00"}}', "event.at", "offset"),
    (b'{"placement": "app_home", "customer_id": "c-1", "event": {"type": "x", "at": "3000-01-01T00:00:00Z"}}', "event.at", "future"),
    (b'{"placement": "app_home", "customer_id": "c-1", "event": {"type": "x", "at": "9999-12-31T23:59:59-23:59"}}', "event.at", "future"),
    (b'{"placement": "app_home", "customer_id": "c-1", "event": {"type": "x", "at": "0001-01-01T00:00:00+23:59"}}', "event.at", "1970"),
    (b'{"placement": "app_home", "customer_id": "c-1", "event": {"type": "x", "at": "0000-01-01T00:00:00Z"}}', "event.at", "a time"),
    (b'{"placement": "app_home", "customer_id": "c-1", "event": {"type": "x", "at": "99999-01-01T00:00:00Z"}}', "event.at", "a time"),
    (b'{"placement": "app_home", "customer_id": "c-1", "request_id": ""}', "request_id", ">= 1"),
]  # fmt: skip


def problem_of(answer: Any, status: int) -> dict[str, Any]:
    """The problem, after what holds for every problem."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["type"].startswith("urn:nextbest:problem:")
    assert found["status"] == status
    assert found["instance"] == f"urn:nextbest:request:{answer.headers['x-request-id']}"
    assert found["title"]
    assert found["detail"]
    return found


@pytest.mark.parametrize(("body", "path", "word"), BODIES, ids=range(len(BODIES)))
async def test_a_bad_decision_request_names_the_path_and_the_mend(
    api: Api, body: bytes, path: str, word: str
) -> None:
    problem = problem_of(await api.client.post("/v1/decisions", content=body, headers=JSON), 400)
    assert len(problem["errors"]) == 1
    assert problem["errors"][0]["path"] == path
    assert word in problem["errors"][0]["detail"]


async def test_the_last_of_two_equal_keys_wins(api: Api) -> None:
    body = b'{"placement": "x", "placement": "app_home", "customer_id": "c-1"}'
    answer = await api.client.post("/v1/decisions", content=body, headers=JSON)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"context": {"x" * 128: None, "ключ": "\u0000\u200b", "n": 2**64 - 1, "m": -(2**63)}},
        {"event": {"type": "\u0000"}},
        {"request_id": "\n\r\u0000"},
        {"event": {"type": "x", "id": "\n"}},
        {"context": {"deep": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}},
        {"event": {"type": "a.b.c", "properties": {"a.b": {"c": [1.5e300, True, None]}}}},
        {"channels": []},
        {"channels": ["push"] * 100},
        {"limit": 100},
        {"deadline_ms": 60_000},
    ],
)
async def test_what_is_odd_but_allowed_is_answered(api: Api, fields: dict[str, Any]) -> None:
    for extra in ({}, {"event": {"type": "x", "id": "e-1"}, **fields}):
        answer = await api.decide(customer_id="c-1", **{**fields, **extra})
        assert answer.status_code in (200, 400), answer.text


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [
        ("text/plain", None),
        ("application/x-www-form-urlencoded", None),
        ("multipart/form-data; boundary=x", None),
        ("application/jsonx", None),
        ("", None),
        (None, None),
        ("application/json", "gzip"),
    ],
)
async def test_a_content_type_that_is_not_read_is_refused(
    api: Api, kind: str | None, encoding: str | None
) -> None:
    headers = {} if kind is None else {"content-type": kind}
    if encoding:
        headers["content-encoding"] = encoding
    for method, path in (
        ("POST", "/v1/decisions"),
        ("POST", "/v1/events"),
        ("PUT", "/v1/customers/c-1"),
        ("PUT", "/v1/customers/c-1/consents"),
        ("POST", "/v1/customers/c-1/merge"),
        ("POST", "/ofrep/v1/evaluate/flags/app_home"),
        ("POST", "/ofrep/v1/evaluate/flags"),
    ):
        answer = await api.client.request(method, path, content=b"{}", headers=headers)
        problem_of(answer, 415)


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;"]
)
async def test_the_content_type_may_have_parameters(api: Api, kind: str) -> None:
    body = b'{"placement": "app_home", "customer_id": "c-1"}'
    answer = await api.client.post("/v1/decisions", content=body, headers={"content-type": kind})
    assert answer.status_code == 200


async def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(rules: Path) -> None:
    async with running(rules, max_body_bytes=1024) as api:
        body = json.dumps(
            {"customer_id": "c-1", "placement": "app_home", "context": {"x": "y" * 2000}}
        )
        problem_of(await api.client.post("/v1/decisions", content=body, headers=JSON), 413)

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(body), 100):
                yield body[start : start + 100].encode()

        problem_of(await api.client.post("/v1/decisions", content=pieces(), headers=JSON), 413)
        exact = b'{"customer_id": "c-1", "placement": "app_home"}'.ljust(1024)
        answer = await api.client.post("/v1/decisions", content=exact, headers=JSON)
        assert answer.status_code == 200


async def test_a_body_that_does_not_arrive_is_given_up(rules: Path) -> None:
    import asyncio

    async with running(rules, body_timeout_ms=100) as api:

        async def stalled() -> AsyncIterator[bytes]:
            yield b'{"placement":'
            await asyncio.Event().wait()

        answer = await api.client.post("/v1/decisions", content=stalled(), headers=JSON)
        assert answer.headers["connection"] == "close"
        problem_of(answer, 408)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/decisions", "OPTIONS, POST"),
        ("/v1/decisions/batch", "OPTIONS, POST"),
        ("/ofrep/v1/evaluate/flags/app_home", "OPTIONS, POST"),
        ("/v1/decisions/01KAK0V4R0GZ8M4T1S8Q2W5X7C", "GET, HEAD, OPTIONS"),
        ("/v1/events", "OPTIONS, POST"),
        ("/v1/customers/c-1", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ("/v1/customers/c-1/consents", "OPTIONS, PUT"),
        ("/v1/customers/c-1/merge", "OPTIONS, POST"),
        ("/v1/policy", "GET, HEAD, OPTIONS"),
        ("/v1/policy/reload", "OPTIONS, POST"),
        ("/health/live", "GET, HEAD, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
    ],
)
async def test_options_names_every_method_of_a_path(api: Api, path: str, allowed: str) -> None:
    answer = await api.client.options(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == allowed
    assert (await api.client.options("/nothing")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/decisions", {"POST"}),
        ("PUT", "/v1/decisions", {"POST"}),
        ("GET", "/v1/decisions/batch", {"POST"}),
        ("POST", "/v1/decisions/01KAK0V4R0GZ8M4T1S8Q2W5X7C", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "/v1/events", {"POST", "OPTIONS"}),
        ("TRACE", "/metrics", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/v1/customers/c-1", {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}),
        ("GET", "/v1/customers/c-1/consents", {"PUT", "OPTIONS"}),
        ("GET", "/v1/policy/reload", {"POST", "OPTIONS"}),
        ("POST", "/health/live", {"GET", "HEAD", "OPTIONS"}),
        ("PROPFIND", "/v1/events", {"POST", "OPTIONS"}),
    ],
)
async def test_a_wrong_method_names_the_right_ones(
    api: Api, method: str, path: str, allowed: set[str]
) -> None:
    answer = await api.client.request(method, path)
    problem_of(answer, 405)
    assert set(answer.headers["allow"].replace(" ", "").split(",")) == allowed


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/customers",
        "/v1/customers/",
        "/v1/nothing",
        "/v1/customers/a/b",
        "/%2e%2e/x",
        "/v1/customers/c-1/consents/x",
    ],
)
async def test_a_path_that_is_not_there(api: Api, path: str) -> None:
    problem_of(await api.client.get(path), 404)


async def test_headers_that_are_too_large_are_refused(api: Api) -> None:
    answer = await api.client.get("/health/live", headers={"x-big": "y" * 40_000})
    problem_of(answer, 431)


async def test_the_request_id_is_the_callers_where_it_is_sane(api: Api) -> None:
    async def given(value: str | bytes) -> str:
        answer = await api.client.get("/health/live", headers={"x-request-id": value})
        found: str = answer.headers["x-request-id"]
        return found

    assert await given("abc-123") == "abc-123"
    for bad in ("", "a b", "x" * 129, "a\tb", "é".encode(), "<script>"):
        assert await given(bad) not in ("", bad)
    assert await given("") != await given("")


async def test_what_nobody_foresaw_is_a_500_that_tells_nothing(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    from decision.observability import configure_logging

    configure_logging("info")

    async def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("secret of li@example.com")

    api.engine.decide_with_verdict = broken  # type: ignore[method-assign]
    answer = await api.decide(customer_id="li@example.com")
    problem = problem_of(answer, 500)
    assert "li@example" not in answer.text
    logged = capsys.readouterr().err
    assert "li@example" not in logged
    record = json.loads(logged.splitlines()[-1])
    assert record["exception"] == "RuntimeError"
    assert record["request_id"] in problem["instance"]
    assert "test_bad_input.py" in record["places"][-1]


async def test_requests_are_logged_at_debug_without_paths_and_ids(
    rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from decision.observability import configure_logging

    configure_logging("debug")
    async with running(rules, log_level="debug") as api:
        await api.client.put("/v1/customers/secret-1", json={"attributes": {"a": "secret-2"}})
        await api.client.get("/v1/customers/secret-1?x=secret-3")
        await api.client.get("/secret-4")
    logged = [json.loads(row) for row in capsys.readouterr().err.splitlines()]
    requests = [row for row in logged if row["event"] == "request"]
    assert [(row["method"], row["route"], row["status"]) for row in requests] == [
        ("PUT", "/v1/customers/{customer_id}", 200),
        ("GET", "/v1/customers/{customer_id}", 200),
        ("GET", None, 404),
    ]
    assert "secret" not in json.dumps(logged)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
KEYS = st.sampled_from(
    [
        *DecisionRequest.__struct_fields__,
        *Event.__struct_fields__,
        *CustomerUpdate.__struct_fields__,
    ]
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(KEYS | st.text(max_size=8), JSON_VALUES | st.sampled_from(["app_home", "push"]), max_size=5),
    st.sampled_from([DecisionRequest, Event, CustomerUpdate, ConsentUpdate]),
)  # fmt: skip
def test_any_json_is_decoded_or_explained(body: dict[str, Any], type: Any) -> None:
    try:
        JsonDecoder(type).decode(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))
    except InputError as error:
        problem = as_problem(error, "r-1")
        assert problem.status == 400
        assert problem.errors[0].detail
        msgspec.json.encode(problem.details())


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60), st.integers(0, 50))
def test_any_bytes_are_decoded_or_explained(noise: bytes, place: int) -> None:
    whole = b'{"placement": "app_home", "context": {"a": ["\\u00e9", 1e5]}, "customer_id": "c"}'
    for body in (noise, whole[:place] + noise + whole[place:], whole[:place] + whole[place + 1 :]):
        try:
            JsonDecoder(DecisionRequest).decode(body)
        except InputError as error:
            assert as_problem(error, "r-1").status == 400
