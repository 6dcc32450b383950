"""From a decision to the customer and back: real gateways, sent by the worker, one click opts out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import svix

from decision.api.app import create_app
from decision.core.schema import CustomerUpdate, Decision, DecisionRequest
from decision.engine import Engine, build_snapshot
from decision.gateways import load_gateways
from decision.outbound.worker import Outbound
from decision.rulebook.reader import load_files
from decision.server.settings import ServerSettings
from decision.store import MemoryStore
from tests.gateways.chaos import reply, serving
from tests.gateways.mail_server import mail_server

pytestmark = pytest.mark.anyio
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {ads: {consent: opt_out}, service: {consent: not_required}}
channels: {email: {}, push: {}, paper: {}}
placements: {outbound: {channels: [email, push, paper], delivery: gateway}}
messages:
  tea: {purpose: ads, category: x, channels: [email], value: 5, content: {subject: "Hi {{ customer.name }}", html: "<p>Tea</p>"}}
  receipt: {purpose: service, category: x, channels: [push], value: 1, content: {title: Paid}}
  letter: {purpose: service, category: x, channels: [paper], value: 1, content: {title: Dear}}
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def ask(engine: Engine, channel: str) -> Decision:
    return await engine.decide(
        DecisionRequest(placement="outbound", customer_id="ann", channels=[channel])
    )


async def test_what_is_decided_arrives_and_one_click_stops_the_next_one(tmp_path: Path) -> None:
    store = MemoryStore()
    engine = Engine(store)
    definition = load_files({"rules.yaml": RULES}).definition
    assert definition is not None
    engine.use(await build_snapshot(definition, None, store, datetime.now(UTC), durable=False))
    await engine.customers.update(
        "ann", CustomerUpdate(attributes={"name": "Ann", "email": "ann@example.com"})
    )
    async with mail_server() as mails, serving(reply(503), reply(200)) as hooks:
        path = tmp_path / "gateways.yaml"
        path.write_text(f"""
gateways:
  mail: {{type: smtp, host: 127.0.0.1, port: {mails.port}, encryption: none, from: hi@example.com, allow_private: [127.0.0.1]}}
  hook: {{type: webhook, url: '{hooks.url}', secret: {KEY}, allow_private: [127.0.0.1]}}
  print: {{type: file, path: {tmp_path}/out}}
channels: {{email: mail, push: hook, paper: print}}
unsubscribe: {{url: 'http://localhost', secret: {KEY}}}
""")
        decided = [await ask(engine, channel) for channel in ("email", "push", "paper")]
        outbound = Outbound(engine, load_gateways(str(path), {}))
        assert await outbound.send_due() == 3

        mail = mails.mail()
        assert (mail["to"], mail["subject"]) == ("ann@example.com", "Hi Ann")
        (request,) = hooks.requests  # 503: it is sent again later
        assert request.headers["webhook-id"] == f"{decided[1].decision_id}.receipt"
        svix.Webhook(KEY).verify(request.body, request.headers)
        (file,) = (tmp_path / "out").iterdir()
        assert json.loads(file.read_text())["decision_id"] == decided[2].decision_id
        (left,) = (await store.deliveries()).rows
        assert (left.delivery.channel, left.status.state) == ("push", "queued")

        app = create_app(engine, ServerSettings(models=None, gateways=str(path)))
        transport = httpx.ASGITransport(app, client=("203.0.113.5", 40000))
        async with app.lifespan(), httpx.AsyncClient(transport=transport) as client:
            link = mail["list-unsubscribe"].strip("<>")
            assert (await client.get(link)).status_code == 200
            assert (await ask(engine, "email")).outcome == "selected"
            clicked = await client.post(link, data={"List-Unsubscribe": "One-Click"})
            assert clicked.status_code == 200
            assert (await ask(engine, "email")).reason == "no_consent"
            # The one that was decided between opening and clicking is not sent any more.
            assert await outbound.send_due() == 1 and len(mails.envelopes) == 1
            assert [row.delivery.channel for row in (await store.deliveries()).rows] == ["push"]
