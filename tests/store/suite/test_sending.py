"""What every store must do: what senders share."""

from __future__ import annotations

import asyncio
import time

import pytest

from decision.core.sending import GatewayPause, Outcomes, SendingStore

pytestmark = pytest.mark.anyio


async def test_no_more_are_sent_in_a_period_than_the_limit_says(store: SendingStore) -> None:
    found = await asyncio.gather(*(store.take_slot("sms", 50, 60_000) for _ in range(80)))
    assert found.count(0) == 50
    assert all(0 < wait <= 63_000 for wait in found if wait)
    assert await store.take_slot("email", 50, 60_000) == 0


async def test_a_limit_lets_more_through_when_it_says_so(store: SendingStore) -> None:
    """No window of the length of the period has more than the limit."""
    sent: list[float] = []
    ends = time.monotonic() + 30
    while len(sent) < 12 and time.monotonic() < ends:
        before = time.monotonic()
        if wait := await store.take_slot("sms", 3, 200):
            await asyncio.sleep(wait / 1000)
        else:
            sent.append(before)
    assert len(sent) == 12
    # Each was counted after `before`: four of them never lie in less than a period.
    assert all(later - first > 0.15 for first, later in zip(sent, sent[3:], strict=False))


async def test_a_changed_limit_holds_at_once(store: SendingStore) -> None:
    for _ in range(10):
        assert await store.take_slot("sms", 10, 60_000) == 0
    assert await store.take_slot("sms", 5, 60_000) > 0
    assert await store.take_slot("sms", 11, 60_000) == 0


async def test_outcomes_are_counted_by_channel(store: SendingStore) -> None:
    assert await store.outcomes("email") == Outcomes()
    for _ in range(3):
        await store.count_outcome("email", "sent")
    await store.count_outcome("email", "complained")
    await store.count_outcome("sms", "bounced")
    assert await store.outcomes("email") == Outcomes(sent=3, complained=1)
    assert await store.outcomes("sms") == Outcomes(bounced=1)


async def test_a_gateway_is_paused_once_and_resumed(store: SendingStore) -> None:
    first, second = GatewayPause("投诉", 1), GatewayPause("again", 2)
    assert await store.pause_gateway("mail", first)
    assert not await store.pause_gateway("mail", second)
    assert await store.paused_gateways() == {"mail": first}
    await store.count_outcome("email", "complained")
    assert await store.resume_gateway("mail", ["email"])
    assert not await store.resume_gateway("mail", [])
    assert await store.paused_gateways() == {}
    assert await store.outcomes("email") == Outcomes()
