"""The application on the memory store, with a small policy in a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from decision.api.app import create_app
from decision.core.ports import Store
from decision.engine import Engine
from decision.engine.runtime import wall_clock
from decision.observability import configure_logging
from decision.server.admission import Admission
from decision.server.settings import ServerSettings
from decision.server.tracing import Tracing
from decision.store import MemoryStore

RULES = """
settings: {timezone: Asia/Shanghai, currency: CNY, exploration: "off"}
purposes:
  marketing: {consent: opt_in}
  service: {consent: not_required}
channels:
  in_app: {reservation: {expires_after: 30m, then: release}}
  push: {cost: 0.01}
  email: {cost: 0.005}
placements:
  app_home: {channels: [in_app], fallback: hello}
  outbound: {channels: [push, email]}
messages:
  hello:
    purpose: service
    channels: [in_app]
    placements: [app_home]
    content: {title: "你好 {{ customer.first_name | default('朋友') }}"}
  offer:
    purpose: marketing
    tags: [coupon]
    channels: [push, email]
    value: 10
    content: {title: "Offer {{ event.cart_value | default('') }}"}
  news:
    purpose: marketing
    channels: [email]
    value: 5
    content: {title: News}
caps:
  once: {of: {purpose: marketing}, per: message, at_most: 1, within: 1d}
states:
  buyer: {when: {events.purchase.count: {gte: 1}}}
  other: {}
"""


class Api:
    """The application's client, with shorthands."""

    def __init__(self, client: httpx.AsyncClient, engine: Engine, rules: Path) -> None:
        self.client = client
        self.engine = engine
        self.rules = rules

    async def decide(self, **fields: Any) -> httpx.Response:
        return await self.client.post("/v1/decisions", json={"placement": "outbound", **fields})

    async def consent(self, customer: str = "c-1") -> None:
        answer = await self.client.put(
            f"/v1/customers/{customer}/consents", json={"marketing": {"*": "granted"}}
        )
        assert answer.status_code == 200, answer.text

    async def metric(self, line: str) -> float:
        """The value of a sample, named as Prometheus prints it; 0 where it is not there."""
        text = (await self.client.get("/metrics")).text
        found = [row for row in text.splitlines() if row.startswith(line + " ")]
        return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


@asynccontextmanager
async def running(
    rules: Path,
    store: Store | None = None,
    *,
    peer: str = "127.0.0.1",
    admission: Admission | None = None,
    headers: dict[str, str] | None = None,
    tracing: Tracing | None = None,
    clock: Callable[[], int] = wall_clock,
    **settings: Any,
) -> AsyncIterator[Api]:
    """An application from its start to its end."""
    engine = Engine(store or MemoryStore(), clock=clock)
    few = {"models": None, "timeout_ms": 20_000, "console": False}  # its routes take long to make
    own = ServerSettings(rules=str(rules), **{**few, **settings})
    app = create_app(engine, own, tracing=tracing, admission=admission)
    transport = httpx.ASGITransport(app, client=(peer, 40000))  # type: ignore[arg-type]
    async with (
        app.lifespan(),
        httpx.AsyncClient(
            transport=transport, base_url="http://localhost", headers=headers
        ) as client,
    ):
        yield Api(client, engine, rules)


@pytest.fixture(autouse=True)
def _logging() -> None:
    configure_logging("error")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "policy.yaml").write_text(RULES, "utf-8")
    return folder


@pytest.fixture
async def api(rules: Path) -> AsyncIterator[Api]:
    async with running(rules) as found:
        yield found
