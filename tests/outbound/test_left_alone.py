"""A gateway that fails is left alone until somebody resumes it, and everybody can see that."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from decision.core.sending import GatewayPause
from decision.engine import Engine
from decision.engine.cautions import present_cautions
from decision.engine.left_alone import left_alone, mark_resumed
from decision.gateways.protocol import Rejected, Retry
from decision.outbound.worker import Outbound
from decision.rulebook.reader import load_files
from tests.outbound.test_sending import RULES, Scripted, ask, make_due, settings_for
from tests.outbound.world import engine_on

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine(store: Any) -> Engine:
    definition = load_files({"rules.yaml": RULES}).definition
    return await engine_on(store, policy=definition)


async def fail(engine: Engine, times: int, then: int = 0) -> tuple[Outbound, Scripted]:
    gateway = Scripted(*[Retry(reason="down")] * times)
    outbound = Outbound(engine, settings_for(gateway, concurrency=times))
    for number in range(times + then):
        await ask(engine, f"c{number}")
    await outbound.send_due()
    await outbound._look()
    return outbound, gateway


async def test_resumed_it_is_tried_again_at_once(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store, now = engine.runtime.store, engine.runtime.clock()
    outbound, gateway = await fail(engine, 10)
    assert outbound._lanes["email"].room == 0
    (one,) = (await left_alone(store, ["email"], now)).values()
    assert (one.gateway, one.until > now) == ("mail", True)
    await mark_resumed(store, "mail", "first")
    await make_due(engine)
    assert await outbound.send_due() == 10
    assert len(gateway.sent) == 20
    await outbound._look()
    assert await left_alone(store, ["email"], now) == {}
    assert "was resumed, and is tried again" in caplog.text
    assert "works again" not in caplog.text


async def test_a_mark_from_before_a_sender_started_says_nothing_to_it(engine: Engine) -> None:
    await mark_resumed(engine.runtime.store, "mail", "old")
    outbound, _ = await fail(engine, 10)
    await outbound._look()
    assert outbound._lanes["email"].room == 0


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (10, "(its gateway mail is failing, and is left alone until "),
        (3, "(its gateway mail fails)"),
    ],
)
async def test_the_caution_names_the_gateway_of_the_channel_and_that_it_fails(
    engine: Engine, times: int, said: str
) -> None:
    """Not the pause of another gateway."""
    store = engine.runtime.store
    await fail(engine, times)
    await make_due(engine, -3_600_000)
    await store.pause_gateway("hook", GatewayPause("too many bounces", 0))
    (caution,) = await present_cautions(engine.runtime)
    assert said in caution
    assert "hook" not in caution
    await store.pause_gateway("mail", GatewayPause("too many bounces", 0))
    assert "(its gateway mail is paused)" in (await present_cautions(engine.runtime))[0]


async def test_what_a_gateway_does_not_want_waits_for_it_to_be_resumed(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await ask(engine)
    gateway: Any = Scripted(Rejected("410 Gone", disable=True))
    await Outbound(engine, settings_for(gateway)).send_due()
    assert "is tried again once its gateway is resumed" in caplog.text
    assert "tried again in" not in caplog.text


async def test_a_refused_login_is_an_error_at_the_first_attempt_and_said_once(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """What it failed of before, or fails of next, is told as ever; what was to be sent waits."""
    caplog.set_level(logging.INFO)
    for number in range(3):
        await ask(engine, f"c{number}")
    refused = Retry(reason="the mail server answered 535 wrong password", refused=True)
    await Outbound(engine, settings_for(Scripted(*[refused] * 3))).send_due()
    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert (
        len(errors) == 1 and "is refused by its provider: the mail server answered 535" in errors[0]
    )
    waiting = (await engine.runtime.store.count_deliveries()).waiting
    assert waiting == {"email": 3}
