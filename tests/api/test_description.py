"""What the description says is what the server does, for requests made from the description."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from decision.api.app import create_app
from decision.api.openapi import EXAMPLES, JSON, Body, Operation, describe
from decision.engine import Engine
from decision.store import MemoryStore
from tests.api.conftest import RULES
from tests.api.serving import Server

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> bytes:
    """Text is sent as it is; what is meant to be wrong, as JSON."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


ROUTES = create_app(Engine(MemoryStore())).routes
SCHEMA = schemathesis.openapi.from_dict(describe(ROUTES))
OPERATIONS = [
    (path, method, mode)
    for path, item in SCHEMA.items()
    for method in item
    for mode in GenerationMode
    if path != "/v1/policy/reload"  # each call is a second of work
    # Where nothing is sent, nothing can be sent wrong.
    if mode == GenerationMode.POSITIVE
    or {"parameters", "requestBody"} & set(item[method].definition.raw)
]


def described_bodies() -> Iterator[Body]:
    for route in ROUTES:
        handlers = getattr(route, "route_handlers", None) or [getattr(route, "route_handler", None)]
        for handler in handlers:
            operation = handler and handler.opt.get("operation")
            if isinstance(operation, Operation):
                answers = [body for _, body in operation.answers.values()]
                yield from (body for body in (operation.request, *answers) if body is not None)


def test_every_example_is_of_the_type_that_it_is_shown_for() -> None:
    for body in described_bodies():
        if body.content_type == JSON:
            msgspec.convert(body.example, body.type)


def test_every_example_is_shown() -> None:
    shown = [body.example for body in described_bodies()]
    assert [name for name, example in EXAMPLES.items() if example not in shown] == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("described")
    (folder / "rules").mkdir()
    (folder / "rules" / "policy.yaml").write_text(RULES, "utf-8")
    with Server(folder) as found:
        yield found.ready()


@pytest.mark.parametrize(("path", "method", "mode"), OPERATIONS)
def test_answers_are_as_described_and_never_a_server_error(
    server: Server, path: str, method: str, mode: GenerationMode
) -> None:
    cases = SCHEMA[path][method].as_strategy(generation_mode=mode)

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: Any) -> None:
        case = data.draw(cases)
        case.call_and_validate(base_url=server.url, checks=CHECKS, timeout=30)

    check()


def test_head_leaves_nothing_of_its_answer_in_the_connection(server: Server) -> None:
    """The next request on it gets its own answer."""
    import httpx

    with httpx.Client(base_url=server.url) as client:
        for path in ("/health/live", "/schema", "/v1/customers/nobody", "/v1/events"):
            whole, head = client.get(path), client.head(path)
            assert head.status_code == whole.status_code
            assert head.headers["content-length"] == whole.headers["content-length"]
        assert client.get("/health/live").json()["status"] == "ok"
