"""Portions at real receivers: signed, repeated under their ids, and given up where nobody takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks

from decision.audiences import job
from decision.audiences.sending import PortionRefused, check_gateway
from decision.audiences.state import RunState
from decision.core.document import Consent
from decision.gateways import AudienceGateway, GatewaySettings, parse_gateways
from decision.gateways.settings import load_gateways
from tests.audiences.world import Restless, carry_out, gold, put, settings_of
from tests.gateways.chaos import Server, hang, reply, serving

pytestmark = pytest.mark.anyio
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def settings(server: Server | None = None, **more: Any) -> GatewaySettings:
    url = "http://127.0.0.1:9/in" if server is None else server.url
    target = {"url": url, "allow_private": ["127.0.0.1"], "timeout": "5s", **more}
    text = {
        "gateways": {
            "hook": {"type": "webhook", "secret": SECRET, **target},
            "api": {"type": "http", "headers": {"Authorization": "Bearer x"}, **target},
            "one": {"type": "http", "body": {"to": "{{ customer.email }}"}, **target},
            "get": {"type": "http", **target, "method": "GET"},
            "path": {"type": "http", **target, "url": f"{url}/{{{{ customer.id }}}}"},
            "mail": {"type": "smtp", "host": "smtp.shop.example", "from": "hi@shop.example"},
        }
    }
    return parse_gateways("gateways.yaml", json.dumps(text), {})


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the run would have waited; it does not."""
    found: list[float] = []

    async def note(seconds: float) -> None:
        found.append(seconds)

    made = job.AudienceRun
    monkeypatch.setattr(job, "AudienceRun", lambda *args, **more: made(*args, sleep=note, **more))
    return found


async def shop(count: int = 3) -> Restless:
    store = Restless()
    for number in range(count):
        await gold(store, f"g-{number}")
    return store


async def give(
    folder: Path, *answers: Any, gateway: str = "hook", store: Restless | None = None, **more: Any
) -> Server:
    async with serving(*answers) as server:
        asked = settings_of(folder, gateway=gateway, portion=2, fields=("spend",))
        await carry_out(store or await shop(), folder, asked, gateways=settings(server, **more))
        return server


async def test_portions_are_signed_and_have_the_ids_of_the_run_and_their_place(
    tmp_path: Path,
) -> None:
    server = await give(tmp_path, reply(200))
    first, second = server.requests
    assert [one.headers["webhook-id"] for one in server.requests] == ["r.1", "r.2"]
    for request in server.requests:
        standardwebhooks.Webhook(SECRET).verify(request.body, request.headers)
    payload = json.loads(first.body)
    assert payload["type"] == "audience.portion"
    assert payload["data"] == {
        "id": "r.1",
        "run": "r",
        "place": 1,
        "last": False,
        "audience": "gold.yaml",
        "purpose": "ads",
        "channel": None,
        "differences": False,
        "customers": [
            {"customer_id": "g-0", "spend": 100},
            {"customer_id": "g-1", "spend": 100},
        ],
    }
    data = json.loads(second.body)["data"]
    assert data["last"] and [one["customer_id"] for one in data["customers"]] == ["g-2"]


async def test_an_http_gateway_without_body_takes_the_same_json(tmp_path: Path) -> None:
    server = await give(tmp_path, reply(202), gateway="api")
    assert [one.headers["idempotency-key"] for one in server.requests] == ["r.1", "r.2"]
    assert server.requests[0].headers["authorization"] == "Bearer x"
    assert json.loads(server.requests[0].body)["data"]["place"] == 1


async def test_what_the_receiver_does_not_take_comes_again_when_it_says(
    tmp_path: Path, waits: list[float]
) -> None:
    server = await give(tmp_path, reply(429, Retry_After="7"), reply(500), reply(200))
    assert [one.headers["webhook-id"] for one in server.requests] == ["r.1", "r.1", "r.1", "r.2"]
    assert waits == [7.0, 2.0]


async def test_consent_is_looked_at_again_before_each_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await shop()

    async def withdraw(seconds: float) -> None:
        await put(store, "g-0", lambda one: one.consents.update(ads={"*": Consent(False)}))

    made = job.AudienceRun
    monkeypatch.setattr(
        job, "AudienceRun", lambda *args, **more: made(*args, sleep=withdraw, **more)
    )
    server = await give(tmp_path, reply(503), reply(200), store=store)
    given = [
        [one["customer_id"] for one in json.loads(request.body)["data"]["customers"]]
        for request in server.requests
    ]
    assert given == [["g-0", "g-1"], ["g-1"], ["g-2"]]
    assert server.requests[1].headers["webhook-id"] == "r.1"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(410), "410 Gone"),
        (reply(429, Retry_After="7200"), "asked again in 7,200 s"),
        (reply(500), "tried 9 times"),
        (reply(302, Location="http://127.0.0.1/"), "redirects are not followed"),
    ],
)
async def test_what_nobody_takes_stops_the_run_which_goes_on_from_there(
    tmp_path: Path, waits: list[float], answer: bytes, said: str
) -> None:
    with pytest.raises(PortionRefused, match=said):
        await give(tmp_path, reply(200), answer)
    with RunState.open(tmp_path / "r.sqlite") as state:
        assert state.progress.portions == 1 and not state.progress.finished
    server = await give(tmp_path, reply(200))
    assert [one.headers["webhook-id"] for one in server.requests] == ["r.2"]


async def test_a_receiver_that_hangs_or_closes_gets_the_portion_again(
    tmp_path: Path, waits: list[float]
) -> None:
    server = await give(tmp_path, hang, b"", reply(200), timeout="1s")
    assert {one.headers["webhook-id"] for one in server.requests[:3]} == {"r.1"}
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mail", "type smtp, which takes no audiences; webhook, http and file do"),
        ("hok", 'no gateway "hok"; did you mean "hook"'),
        ("one", "gateway one: it is set up for messages, one at a time; for audiences name"),
        ("get", "gateway get: it is set up for messages"),
        ("path", "gateway path: it is set up for messages"),
        ("zzz", "there are hook, api, one, get, path, mail"),
    ],
)
async def test_a_gateway_that_cannot_take_audiences_is_refused_before_anything(
    name: str, said: str
) -> None:
    with pytest.raises(PortionRefused, match=said):
        await check_gateway(settings(), name)


async def test_a_gateway_for_single_messages_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PortionRefused, match="name a gateway without body"):
        await give(tmp_path, reply(200), gateway="one")


async def test_without_a_gateways_file_the_file_gateway_takes_audiences() -> None:
    await check_gateway(load_gateways(None), "file")


def test_what_takes_audiences_is_told_by_its_method() -> None:
    opened = {name: settings().open(name) for name in ("hook", "api", "mail")}
    assert [isinstance(one, AudienceGateway) for one in opened.values()] == [True, True, False]
