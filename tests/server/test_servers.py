"""Servers on one store know what each other runs, and say it where they differ for long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from decision.core.clock import HOUR, MINUTE, to_micros
from decision.engine import Engine
from decision.server.metrics import Metrics
from decision.server.notices import mixed
from decision.server.servers import (
    LASTS,
    Announcing,
    ServerNote,
    ServerSeen,
    differences,
    servers_seen,
)
from decision.server.settings import ServerSettings
from decision.server.supply import PolicySupply
from decision.store import MemoryStore

NOW = datetime(2026, 11, 16, 12, tzinfo=UTC)
LONG = LASTS + timedelta(minutes=1)


def seen(port: int, ago: float = 1, **changes: Any) -> ServerSeen:
    base: dict[str, Any] = {
        "host": "shop",
        "port": port,
        "software": "1",
        "policy": "p1",
        "model": "m1",
        "since": NOW - LONG,
    }
    note = ServerNote(**{**base, **changes})
    return ServerSeen(name=f"shop:{port}", note=note, ago=timedelta(seconds=ago))


@pytest.mark.parametrize("part", ["policy", "model", "software"])
def test_servers_that_differ_for_longer_than_a_rollout_are_a_notice(part: str) -> None:
    (found,) = differences([seen(1), seen(2, **{part: "other"}), seen(3)], NOW)
    notice = mixed(found)
    assert (notice.severity, notice.subject) == ("warning", "servers")
    assert f"servers differ in their {part} since 2026-11-16 11:49 UTC" in notice.text
    assert "other on shop:2" in notice.text and "on shop:1, shop:3" in notice.text


@pytest.mark.parametrize(
    "servers",
    [
        [],
        [seen(1)],
        [seen(1), seen(2)],
        [seen(1), seen(2, policy="p2", since=NOW - LASTS)],  # a rollout goes on
        [seen(1), seen(2, ago=31, policy="p0")],  # it has ended, and says nothing of now
    ],
)
def test_a_rollout_and_servers_that_are_gone_are_no_news(servers: list[ServerSeen]) -> None:
    assert differences(servers, NOW) == []


def test_a_server_without_a_model_differs_from_one_with() -> None:
    (found,) = differences([seen(1), seen(2, model=None)], NOW)
    assert "none on shop:2" in mixed(found).text


@pytest.mark.anyio
async def test_a_server_tells_since_when_it_runs_what_it_runs(rules: Path) -> None:
    moment = to_micros(NOW)
    store = MemoryStore(clock=lambda: moment / 1e6)
    engine = Engine(store, clock=lambda: moment)
    settings = ServerSettings(rules=str(rules), models=None, port=8000)
    supply = PolicySupply(engine, settings, Metrics())
    assert not supply.ready
    from decision.engine import build_snapshot
    from decision.rulebook.reader import load_folder

    definition = load_folder(str(rules)).definition
    assert definition is not None
    engine.use(await build_snapshot(definition, None, store, NOW))
    telling = Announcing(store, lambda: moment, 8000)
    await telling.tell("a", engine.snapshot)
    moment += 5 * MINUTE
    await telling.tell("a", engine.snapshot)
    (one,) = await servers_seen(store)
    assert (one.note.since, one.silent) == (NOW, False)
    assert one.note.policy == engine.snapshot.policy_version
    other = msgspec.structs.replace(engine.snapshot, policy_version="another")
    await telling.tell("a", other)
    (one,) = await servers_seen(store)
    assert one.note.since == NOW + timedelta(minutes=5)


@pytest.mark.anyio
async def test_a_server_that_was_started_again_takes_the_place_of_the_silent_one() -> None:
    moment = to_micros(NOW)
    store = MemoryStore(clock=lambda: moment / 1e6)
    note = msgspec.json.encode(seen(1).note)
    await store.announce("before", note, HOUR)
    await store.announce("gone", msgspec.json.encode(seen(2).note), HOUR)
    await store.announce("odd", b"{", HOUR)
    moment += MINUTE
    assert [one.silent for one in await servers_seen(store)] == [True, True]
    await store.announce("after", note, HOUR)
    assert [(one.name, one.silent) for one in await servers_seen(store)] == [
        ("after", False),
        ("gone", True),
    ]
