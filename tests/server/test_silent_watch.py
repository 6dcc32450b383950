"""A worker that looks and cannot tell, or cannot look, leaves no other one saying that all is well."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from decision.server import upkeep
from decision.server.health import store_watch
from decision.server.health.loss_watch import LossState
from decision.server.health.state import trouble
from decision.server.health.store_watch import HealthReport
from decision.server.shared_folder import SHARED_FOLDER
from tests.server.own_redis import OwnRedis
from tests.server.test_store_watch import fine, served, when

pytestmark = pytest.mark.anyio


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnRedis]:
    with OwnRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture(autouse=True)
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(upkeep, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(store_watch, "STALE", 0.5)
    folder = tmp_path / "shared"
    folder.mkdir()
    monkeypatch.setenv(SHARED_FOLDER, str(folder))
    return folder


async def test_reports_that_cannot_be_written_make_every_worker_look_and_say_so(
    redis: OwnRedis, rules: Path, shared: Path
) -> None:
    async with served(redis, rules) as leader, served(redis, rules) as other:
        await when(other, fine)
        (shared / "health.json").unlink(missing_ok=True)
        (shared / "health.json" / "in the way").mkdir(parents=True)
        redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        for api in (leader, other):
            found = await when(api, lambda found: len(found["degraded"]) == 2)
            assert "TMPDIR" in found["degraded"]["watch"]
            assert "noeviction" in found["degraded"]["durability"]
            assert await api.metric('nextbest_degraded{what="watch"}') == 1
        redis.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        (shared / "health.json" / "in the way").rmdir()
        (shared / "health.json").rmdir()
        await when(leader, fine)
        await when(other, fine)


async def test_a_worker_that_stands_still_is_told_and_what_it_had_seen_stays(
    redis: OwnRedis, rules: Path, shared: Path
) -> None:
    """It holds the lock, and its last report grows old."""
    lock = os.open(shared / "leader.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    now = time.monotonic()
    lost = trouble("flushed", "Redis has lost everything")
    report = HealthReport(at=now, troubles={"data": lost}, losses=LossState(None, lost, now))
    (shared / "health.json").write_bytes(msgspec.json.encode(report))
    async with served(redis, rules) as api:
        await when(api, lambda found: set(found["degraded"]) == {"data", "watch"})
        redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        await when(api, lambda found: set(found["degraded"]) == {"data", "durability", "watch"})
        os.close(lock)
        await when(api, lambda found: set(found["degraded"]) == {"data", "durability"})


async def test_a_loss_is_told_by_a_server_that_starts_after_it(
    redis: OwnRedis, rules: Path, shared: Path
) -> None:
    """With the time at which it was noticed, and until what is kept of it is deleted."""
    async with served(redis, rules) as api:
        redis.ask("FLUSHALL")
        before = await when(api, lambda found: "data" in found["degraded"])
    (shared / "health.json").unlink()
    async with served(redis, rules) as api:
        after = await when(api, lambda found: "data" in found["degraded"])
        assert after["degraded"]["data"] == before["degraded"]["data"]
        assert "(noticed at 20" in after["degraded"]["data"]
        assert await api.metric("nextbest_store_loss_timestamp_seconds") > 0
        assert await api.metric('nextbest_store_losses_total{kind="flushed"}') == 0
    (shared / "health.json").unlink()
    assert 0 < int(redis.ask("PTTL", "nb:{health}:loss")) <= 86_400_000
    redis.ask("DEL", "nb:{health}:loss")
    async with served(redis, rules) as api:
        assert fine(await when(api, fine))


async def test_a_look_that_fails_for_an_unforeseen_reason_is_told_by_every_worker(
    redis: OwnRedis, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError

    async with served(redis, rules) as leader, served(redis, rules) as other:
        await when(other, fine)
        with monkeypatch.context() as patch:
            patch.setattr(store_watch, "marks_of", fail)
            for api in (leader, other):
                found = await when(api, lambda found: "watch" in found["degraded"])
                assert "ValueError" in found["degraded"]["watch"]
        await when(leader, fine)
        await when(other, fine)
