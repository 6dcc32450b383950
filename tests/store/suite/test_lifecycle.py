"""What every store must do: answer a ping, and number kinds of contacts."""

from __future__ import annotations

import pytest

from decision.core.ports import KindRegister, Lifecycle
from tests.store.build import EMAIL, PUSH

pytestmark = pytest.mark.anyio


async def test_a_store_answers_a_ping(store: Lifecycle) -> None:
    await store.ping()


async def test_kinds_keep_their_numbers(store: KindRegister) -> None:
    numbers = await store.register_kinds([PUSH, EMAIL, PUSH])
    assert numbers[0] == numbers[2] != numbers[1]
    assert await store.register_kinds([EMAIL, PUSH]) == [numbers[1], numbers[0]]
