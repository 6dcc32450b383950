"""The request that is called most is answered before the framework, and as the framework would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from decision.api.decisions import DecisionsFirst
from decision.api.middleware import RequestMiddleware
from decision.core.errors import StoreUnavailable
from tests.api.conftest import Api, running

pytestmark = pytest.mark.anyio

ASKED = {"customer_id": "ann", "placement": "app_home"}
JSON = {"content-type": "application/json"}
CASES: dict[str, tuple[str, dict[str, str], bytes]] = {
    "answered": ("POST", JSON, json.dumps(ASKED).encode()),
    "no JSON": ("POST", JSON, b"{"),
    "another key": ("POST", JSON, json.dumps({**ASKED, "placment": 1}).encode()),
    "another placement": ("POST", JSON, json.dumps({**ASKED, "placement": "no"}).encode()),
    "another type": ("POST", {"content-type": "text/plain"}, b"{}"),
    "packed": ("POST", {**JSON, "content-encoding": "br"}, b"{}"),
    "another method": ("PUT", JSON, b"{}"),
    "a look": ("GET", {}, b""),
    "a preflight": ("OPTIONS", {}, b""),
    "a wrong key": ("POST", {**JSON, "authorization": "Bearer nb_wrong"}, b"{}"),
    "from no host": ("POST", {**JSON, "host": "exa mple/x"}, json.dumps(ASKED).encode()),
    "from elsewhere": ("POST", {**JSON, "host": "elsewhere.example"}, b"{}"),
    "too much": ("POST", JSON, b" " * 2_000_000),
}
VARYING = ("decision_id", "decided_at", "request_id")


async def answer_of(api: Api, method: str, headers: dict[str, str], body: bytes) -> Any:
    """Status, headers and body of an answer, but for what differs each time."""
    own = {"x-request-id": "4711", **headers}
    found = await api.client.request(method, "/v1/decisions", headers=own, content=body)
    told = found.json() if found.content else {}
    kept = {key: value for key, value in told.items() if key not in VARYING}
    return found.status_code, {**found.headers, "content-length": ""}, kept


async def both_answers(api: Api, case: str) -> tuple[Any, Any]:
    """The answer to a case, and the one without the layer."""
    app: Any = api.client._transport.app  # type: ignore[attr-defined]
    whole = app.asgi_handler
    assert isinstance(whole, RequestMiddleware) and isinstance(whole.app, DecisionsFirst)
    first = await answer_of(api, *CASES[case])
    app.asgi_handler = RequestMiddleware(whole.app.app)
    second = await answer_of(api, *CASES[case])
    app.asgi_handler = whole
    return first, second


async def test_each_answer_is_that_of_the_framework(rules: Path) -> None:
    async with running(rules) as api:
        for case in CASES:
            first, second = await both_answers(api, case)
            assert first == second, case
            assert (first[0] == 200) == (case == "answered"), case


async def test_a_defect_is_answered_by_the_framework_as_well(
    rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(rules) as api:
        for wrong, status in ((ZeroDivisionError("secret"), 500), (StoreUnavailable("gone"), 503)):

            async def fails(request: Any, wrong: Exception = wrong) -> None:
                raise wrong

            monkeypatch.setattr(api.engine, "decide_with_verdict", fails)
            first, second = await both_answers(api, "answered")
            assert first == second
            assert first[0] == status and "secret" not in str(first)
