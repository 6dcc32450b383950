"""What a decision sends to Redis where it only reserves: the document with the header as it was read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from decision.core.schema import DecisionRequest
from decision.store import RedisStore
from decision.store.scripts import SCRIPTS
from tests.store.build import commit_of

pytestmark = pytest.mark.anyio

RULES = """
settings: {timezone: UTC, currency: EUR}
purposes: {service: {consent: not_required}}
channels: {email: {}}
placements: {outbound: {channels: [email]}}
messages: {hello: {purpose: service, channels: [email], value: 1, content: {title: Hello}}}
"""
NAMES = {script.digest: name for name, script in SCRIPTS.items()}


async def test_a_decision_that_only_reserves_sends_the_short_commit_first(
    make_engine: Callable[..., Any], redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a new customer and a known one; in full where somebody else wrote since it was read."""
    store = RedisStore(redis_url, prefix=prefix)
    engine = await make_engine(RULES, store)
    request = DecisionRequest(placement="outbound", customer_id="c-1")
    await engine.decide(request)  # names get their numbers
    sent: list[str] = []
    call = store.connection.call
    between = False

    async def called(command: Any, *given: Any, **named: Any) -> Any:
        nonlocal between
        name = NAMES.get(command[1], "") if command[0] == "EVALSHA" else ""
        if between and name.startswith("commit"):
            between = False
            found = await store.read("c-1")
            found.document.timezone = "Asia/Shanghai"
            await store.commit(commit_of(found, "profile"))
            sent.clear()
        sent.append(name)
        return await call(command, *given, **named)

    monkeypatch.setattr(store.connection, "call", called)
    for customer in ("c-1", "c-2"):
        sent.clear()
        given = await engine.decide(DecisionRequest(placement="outbound", customer_id=customer))
        assert given.outcome == "selected"
        assert [name for name in sent if name] == ["commit_as_read"]
    between = True
    assert (await engine.decide(request)).outcome == "selected"
    assert [name for name in sent if name] == ["commit_as_read", "commit"]
    document = (await store.read("c-1")).document
    assert (len(document.contacts), document.timezone) == (3, "Asia/Shanghai")
    await store.close()
