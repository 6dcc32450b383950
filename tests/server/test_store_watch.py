"""Health tells the truth about the store: whether it takes writes, is safe, and has lost nothing."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.errors import StoreUnavailable
from decision.engine.runtime import wall_clock
from decision.observability import configure_logging
from decision.server import upkeep
from decision.server.health import store_watch
from decision.server.health.loss_watch import memory_beside
from decision.server.health.state import trouble_of
from decision.server.shared_folder import SHARED_FOLDER
from decision.store import RedisStore
from decision.store.in_redis.rights import RIGHTS, acl_line
from decision.store.refusals import Refused
from tests.api.conftest import Api, running
from tests.api.test_operations import until
from tests.server.own_redis import BINARIES, OwnRedis

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks often, so that tests need not wait."""
    monkeypatch.setattr(upkeep, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(upkeep, "FOLLOW_SECONDS", 0.05)
    monkeypatch.setattr(store_watch, "REFUSED_FOR", 0.2)


@pytest.fixture(params=BINARIES)
def redis(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OwnRedis]:
    """A server to be broken, of each version in turn."""
    with OwnRedis(tmp_path / "redis", request.param) as server:
        yield server


class Lines:
    """What was logged."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        configure_logging("info", stream=self.stream)

    def of(self, event: str, what: str | None = "store") -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [one for one in lines if one["event"] == event and one.get("what") == what]


@pytest.fixture
def lines() -> Lines:
    return Lines()


@asynccontextmanager
async def served(
    redis: OwnRedis, rules: Path, user: str = "", **settings: Any
) -> AsyncIterator[Api]:
    url = redis.url.replace("unix://", f"unix://{user}:x@") if user else redis.url
    store = RedisStore(url, timeout=0.5)
    async with running(rules, store, **settings) as api:
        yield api


async def ready(api: Api, **query: str) -> dict[str, Any]:
    answer = await api.client.get("/health/ready", params=query)
    found: dict[str, Any] = answer.json()
    assert "s.sock" not in answer.text
    return {"http": answer.status_code, **found}


async def when(api: Api, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """What `/health/ready` says, as soon as it is so."""

    async def look() -> dict[str, Any] | None:
        found = await ready(api)
        return found if holds(found) else None

    found: dict[str, Any] = await until(look)
    return found


def fine(found: dict[str, Any]) -> bool:
    return bool(found["status"] == "ok")


# Writes that are refused.

REFUSALS: dict[str, tuple[list[tuple[str, ...]], list[tuple[str, ...]], str]] = {
    "OOM": (
        [("CONFIG", "SET", "maxmemory", "1")],
        [("CONFIG", "SET", "maxmemory", "0")],
        "it is full",
    ),
    "READONLY": (
        [("REPLICAOF", "127.0.0.1", "1")],
        [("REPLICAOF", "NO", "ONE")],
        "point NEXTBEST_REDIS_URL at the primary",
    ),
    "NOREPLICAS": (
        [("CONFIG", "SET", "min-replicas-to-write", "1")],
        [("CONFIG", "SET", "min-replicas-to-write", "0")],
        "start its replicas",
    ),
    "MISCONF": (
        [("CONFIG", "SET", "save", "3600 1"), ("BGSAVE",)],
        [("CONFIG", "SET", "save", "")],
        "free some space",
    ),
    "NOPERM": (
        [("ACL", "SETUSER", "default", "-xadd")],
        [("ACL", "SETUSER", "default", "+xadd")],
        "give it +xadd",
    ),
}


@pytest.mark.parametrize("code", REFUSALS)
async def test_writes_that_redis_refuses_are_told_with_reason_and_fix_until_it_takes_them_again(
    redis: OwnRedis, rules: Path, lines: Lines, code: str
) -> None:
    """In ready, metrics and the log, once; never in live."""
    breaks, heals, fix = REFUSALS[code]
    (redis.folder / "dump.rdb" / "in the way of a snapshot").mkdir(parents=True)
    async with served(redis, rules) as api:
        assert fine(await ready(api))
        assert await api.metric("nextbest_store_up") == 1
        before = await api.metric("nextbest_store_last_write_timestamp_seconds")
        for command in breaks:
            redis.ask(*command)
        found = await when(api, lambda found: "store" in found["degraded"])
        assert (found["http"], found["status"]) == (200, "degraded")
        assert code in found["degraded"]["store"]
        assert fix in found["degraded"]["store"]
        assert (await api.client.get("/health/live")).status_code == 200
        strict = await api.client.get("/health/ready", params={"require": "store"})
        assert (strict.status_code, strict.json()["detail"]) == (503, found["degraded"]["store"])
        wrong = await api.client.get("/health/ready", params={"require": "all"})
        assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (400, "require")
        assert await api.metric("nextbest_store_up") == 0
        assert await api.metric('nextbest_degraded{what="store"}') == 1
        assert await api.metric(f'nextbest_store_refusals_total{{code="{code}"}}') > 0
        for command in heals:
            redis.ask(*command)
        await when(api, fine)
        assert await api.metric("nextbest_store_up") == 1
        assert await api.metric('nextbest_degraded{what="store"}') == 0
        assert await api.metric("nextbest_store_last_write_timestamp_seconds") > before
    (told,), (restored,) = lines.of("degraded"), lines.of("restored")
    assert code in told["problem"]
    assert fix in told["problem"]
    assert str(redis.socket) in told["problem"]  # the log has the address
    assert "user_script" not in told["problem"] + found["degraded"]["store"]
    assert restored["level"] == "info"


async def test_writes_that_hang_are_told(redis: OwnRedis, rules: Path) -> None:
    async with served(redis, rules) as api:
        redis.ask("CLIENT", "PAUSE", "1500", "WRITE")
        found = await when(api, lambda found: "store" in found["degraded"])
        assert "no answer in time" in found["degraded"]["store"]
        await when(api, fine)


async def test_what_only_real_calls_are_refused_is_told(redis: OwnRedis, rules: Path) -> None:
    """A user who may write everything but customers."""
    redis.ask(*acl_line("u", "nb:").replace(">PASSWORD", "nopass").split())
    async with served(redis, rules, "u") as api:
        assert fine(await ready(api))
        keys = [f"~nb:{{{home}}}*" for home in ("health", "register", "blob", "history")]
        redis.ask("ACL", "SETUSER", "u", "resetkeys", *keys)
        await api.client.put("/v1/customers/c-1", json={"attributes": {"a": 1}})
        found = await when(api, lambda found: "store" in found["degraded"])
        assert "NOPERM" in found["degraded"]["store"]
        answer = await api.client.put("/v1/customers/c-1", json={"attributes": {"a": 1}})
        assert (answer.status_code, "(NOPERM)" in answer.json()["detail"]) == (503, True)
        assert "key" in found["degraded"]["store"]


# Rights.


async def test_the_user_of_the_documentation_may_do_everything_that_nextbest_does(
    redis: OwnRedis, rules: Path
) -> None:
    redis.ask(*acl_line("u", "nb:").replace(">PASSWORD", "nopass").split())
    async with served(redis, rules, "u") as api:
        await when(api, fine)
        answer = await api.client.put(
            "/v1/customers/c-1", json={"attributes": {"a": 1}, "aliases": {"email": "a@x"}}
        )
        assert answer.status_code == 200
        await api.consent()
        decision = (await api.decide(customer_id="c-1", request_id="r-1")).json()
        assert (decision["outcome"], decision["degraded"]) == ("selected", ["model"])
        again = (await api.decide(customer_id="c-1", request_id="r-1")).json()
        assert again["decision_id"] == decision["decision_id"]
        events = [
            {"id": "e", "customer_id": "c-1", "type": "purchase"},
            {
                "customer_id": "c-1",
                "type": "message.failed",
                "decision_id": decision["decision_id"],
            },
        ]
        answer = await api.client.post("/v1/events", json={"events": events})
        assert answer.json()["accepted"] == 2
        await api.client.put("/v1/customers/c-2", json={"aliases": {"email": "b@x"}})
        answer = await api.client.post("/v1/customers/c-1/merge", json={"from": "c-2"})
        assert answer.status_code == 200
        assert (await api.client.post("/v1/policy/reload")).status_code == 200
        found = await api.client.get(f"/v1/decisions/{decision['decision_id']}")
        assert found.status_code == 200
        assert (await api.client.delete("/v1/customers/c-1")).status_code == 204
        await asyncio.sleep(0.1)
        assert fine(await ready(api))
        assert await api.metric('nextbest_store_refusals_total{code="NOPERM"}') == 0


async def test_each_right_that_is_left_out_is_named(redis: OwnRedis) -> None:
    def allow(line: str) -> None:
        assert redis.ask(*line.replace(">PASSWORD", "nopass").split()) == "OK"

    allow(acl_line("u", "nb:"))
    store = RedisStore(redis.url.replace("unix://", "unix://u:x@"))
    await store.start()
    assert await store.missing_rights() == []
    for right in RIGHTS:
        allow(acl_line("u", "nb:").replace(f" +{right} ", " ") + " " if right else "")
        if right != RIGHTS[-1]:
            assert await store.missing_rights() == [right]
    allow(acl_line("u", "other:"))
    assert {"get", "set", "xadd"} <= set(await store.missing_rights())
    await store.close()


# Losses.


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
async def test_data_that_was_flushed_is_told(
    redis: OwnRedis, rules: Path, lines: Lines, command: str
) -> None:
    async with served(redis, rules) as api:
        redis.ask(command)
        found = await when(api, lambda found: "data" in found["degraded"])
        assert "lost everything" in found["degraded"]["data"]
        assert await api.metric('nextbest_store_losses_total{kind="flushed"}') == 1
        assert await api.metric("nextbest_store_loss_timestamp_seconds") > 0
        assert len(lines.of("degraded", "data")) == 1


async def test_a_restart_with_less_than_before_is_told_and_one_with_everything_is_not(
    redis: OwnRedis, rules: Path
) -> None:
    async with served(redis, rules) as api:
        kept = redis.folder.with_name("kept")
        redis.stop()
        shutil.copytree(redis.folder, kept)
        redis.start()
        beats = int(redis.ask("GET", "nb:{health}:beats"))
        await until_beats(redis, beats + 2)
        assert fine(await when(api, fine))
        redis.stop(kill=True)
        shutil.rmtree(redis.folder)
        kept.rename(redis.folder)
        redis.start()
        found = await when(api, lambda found: "data" in found["degraded"])
        assert "less data than it had acknowledged" in found["degraded"]["data"]
        assert await api.metric('nextbest_store_losses_total{kind="went_back"}') == 1
        assert "store" not in (await when(api, lambda found: "store" not in found["degraded"]))


async def until_beats(redis: OwnRedis, least: int) -> None:
    async def there() -> bool:
        return int(redis.ask("GET", "nb:{health}:beats")) >= least

    await until(there)


async def test_a_server_that_starts_again_knows_what_its_embedded_redis_had(
    redis: OwnRedis, rules: Path
) -> None:
    (redis.folder / "users.lock").touch()  # as an embedded one has
    assert memory_beside(redis.url) == redis.folder / "marks.json"
    async with served(redis, rules, redis_url=redis.url):
        pass
    async with served(redis, rules, redis_url=redis.url) as api:
        assert fine(await ready(api))
    redis.ask("FLUSHALL")
    async with served(redis, rules, redis_url=redis.url) as api:
        assert "data" in (await ready(api))["degraded"]


async def test_a_change_of_redis_that_risks_data_is_told_until_it_is_changed_back(
    redis: OwnRedis, rules: Path
) -> None:
    async with served(redis, rules) as api:
        for name, value, good in (
            ("maxmemory-policy", "allkeys-lru", "noeviction"),
            ("appendonly", "no", "yes"),
        ):
            redis.ask("CONFIG", "SET", name, value)
            found = await when(api, lambda found: "durability" in found["degraded"])
            assert f"set {name} {good}" in found["degraded"]["durability"]
            assert await api.metric(f'nextbest_redis_setting_safe{{setting="{name}"}}') == 0
            redis.ask("CONFIG", "SET", name, good)
            await when(api, fine)
            assert await api.metric(f'nextbest_redis_setting_safe{{setting="{name}"}}') == 1


async def test_a_redis_that_kept_no_file_from_the_start_is_a_notice(
    tmp_path: Path, rules: Path
) -> None:
    """Whoever chose that need not see it as a fault; it is one when the file is switched off later."""
    with OwnRedis(tmp_path / "other", appendonly="no") as redis:
        async with served(redis, rules) as api:
            found = await ready(api)
            assert fine(found)
            assert "no append-only file" in found["notices"]["durability"]
            redis.ask("CONFIG", "SET", "appendonly", "yes")
            await when(api, lambda found: "durability" not in found["notices"])
            redis.ask("CONFIG", "SET", "appendonly", "no")
            await when(api, lambda found: "durability" in found["degraded"])


async def test_keys_that_redis_evicts_are_counted_and_told(redis: OwnRedis, rules: Path) -> None:
    async with served(redis, rules) as api:
        for number in range(300):
            redis.ask("SET", f"other:{number}", "x" * 10_000)
        used = await when_used(api)
        redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        redis.ask("CONFIG", "SET", "maxmemory", str(int(used) - 500_000))
        found = await when(api, lambda found: "evicted" in found["degraded"].get("data", ""))
        assert "set maxmemory-policy noeviction" in found["degraded"]["data"]
        assert await api.metric("nextbest_redis_evicted_keys_total") > 0
        assert await api.metric("nextbest_redis_memory_max_bytes") == int(used) - 500_000


async def when_used(api: Api) -> float:
    async def used() -> float:
        found = await api.metric("nextbest_redis_memory_used_bytes")
        return found if found > 3_000_000 else 0

    return float(await until(used))


# Workers.


async def test_one_worker_looks_for_all_and_another_goes_on_where_it_ended(
    redis: OwnRedis, rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv(SHARED_FOLDER, str(shared))
    begun, ends = asyncio.Event(), asyncio.Event()

    async def lead() -> None:
        async with served(redis, rules) as leader:
            begun.set()
            await when(leader, lambda found: "durability" in found["degraded"])
            await ends.wait()

    task = asyncio.create_task(lead())
    await begun.wait()
    async with served(redis, rules) as other:
        assert "log" in (await when(other, lambda found: found["notices"]))["notices"]
        redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        await when(other, lambda found: "durability" in found["degraded"])
        assert len(lines.of("degraded", "durability")) == 1
        ends.set()
        await task
        before = int(redis.ask("GET", "nb:{health}:beats"))
        redis.ask("FLUSHALL")
        found = await when(other, lambda found: "data" in found["degraded"])
        assert "lost everything" in found["degraded"]["data"]
        assert int(redis.ask("GET", "nb:{health}:beats")) < before


# Clocks.


async def test_clocks_that_differ_are_told(redis: OwnRedis, rules: Path) -> None:
    ahead = [30_000_000]
    store = RedisStore(redis.url)
    async with (
        served(redis, rules) as right,
        running(rules, store, clock=lambda: wall_clock() + ahead[0]) as wrong,
    ):
        found = await when(wrong, lambda found: "clock" in found["degraded"])
        assert "30.0 s ahead of that of Redis" in found["degraded"]["clock"]
        found = await when(right, lambda found: "clock" in found["degraded"])
        assert "clocks of servers" in found["degraded"]["clock"]
        assert 29 < await wrong.metric("nextbest_clock_offset_seconds") < 31
        assert 29 < await right.metric("nextbest_clock_skew_seconds") < 31
        assert abs(await right.metric("nextbest_clock_offset_seconds")) < 1
        ahead[0] = 0
        await when(right, fine)
        await when(wrong, fine)


# Addresses.


@given(
    st.sampled_from(
        [
            "[Errno 111] Connect call failed ('{host}', 6379)",
            "Multiple exceptions: [Errno 111] Connect call failed ('::1', 6379, 0, 0), [Errno 111] "
            "Connect call failed ('{host}', 6379)",
            "certificate is not valid for '{host}'",
            "[Errno -2] Name or service not known",
            "no answer from {host}:6379",
        ]
    ),
    st.sampled_from(["10.0.0.7", "redis.internal", "fd00::12", "redis-0.prod.example.com"]),
)
def test_no_address_is_in_what_everybody_sees(why: str, host: str) -> None:
    why = why.replace("{host}", host)
    error = StoreUnavailable(f"Redis at {host}:6379 cannot be reached: {why}; start it")
    found = trouble_of(error, f"{host}:6379")
    assert host not in found.public
    assert "::1" not in found.public
    assert found.public.startswith("Redis cannot be reached")
    assert found.public.endswith("; start it")
    assert host in found.text


def test_an_address_that_redis_itself_names_is_not_shown() -> None:
    error = Refused("h:1", "MOVED 3999 10.0.0.8:6381")
    assert "10.0.0.8" not in trouble_of(error, "h:1").public


# The log.


async def fill(redis: OwnRedis, partitions: range, entries: int, size: int = 500) -> None:
    script = (
        "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], i .. '-1', 'k', 'event', 'id', i, 'b', "
        "string.rep('x', ARGV[2]), 'c', '12345678') end"
    )
    for number in partitions:
        redis.ask("EVAL", script, "1", f"nb:{{p{number}}}:log", str(entries), str(size))


async def test_a_log_without_an_archive_is_trimmed_to_the_limit_and_that_is_said(
    redis: OwnRedis, rules: Path, lines: Lines
) -> None:
    """Also of two servers at once, and of large records."""
    await fill(redis, range(8), 2_000)
    await fill(redis, range(8, 16), 200, 5_000)
    one = served(redis, rules, log_limit_mb=10)
    async with one as api, served(redis, rules, log_limit_mb=10) as other:
        found = await ready(api)
        assert fine(found)
        assert "no archive takes the log" in found["notices"]["log"]
        assert "10 MB" in found["notices"]["log"]
        assert await api.metric("nextbest_log_limit_bytes") == 10 * 2**20
        each = 10 * 2**20 / 256

        async def small() -> bool:
            sizes = [int(redis.ask("MEMORY", "USAGE", f"nb:{{p{n}}}:log")) for n in range(16)]
            return max(sizes) < 1.2 * each + 8_000

        await until(small)
        assert int(redis.ask("XLEN", "nb:{p0}:log")) > 50

        async def counted() -> bool:
            trimmed = [
                await one.metric("nextbest_log_trimmed_entries_total") for one in (api, other)
            ]
            left = sum(int(redis.ask("XLEN", f"nb:{{p{n}}}:log")) for n in range(16))
            return sum(trimmed) + left == 16_000 + 1_600

        await until(counted)
        assert await api.metric("nextbest_log_bytes") > 0
    assert len(lines.of("log_without_archive", None)) == 2


async def test_a_log_that_an_archive_takes_is_not_trimmed_by_the_server_however_late_it_is(
    redis: OwnRedis, rules: Path
) -> None:
    """Also in partitions that had no entries when the archive began; until it is given up."""
    store = RedisStore(redis.url)
    await store.start()
    for number in range(256):
        await store.advance_log(number, "archive", "0-0", 0)
    redis.ask("XADD", "nb:{p0}:log", "1000-0", "k", "v")  # as if two hours ago, and much longer
    await fill(redis, range(1, 4), 2_000)
    async with served(redis, rules, log_limit_mb=1, log_lag_minutes=10**9) as api:
        assert await api.metric("nextbest_log_lag_seconds") > 3600
        await when(api, fine)  # so long was said to be all right
    async with served(redis, rules, log_limit_mb=1) as api:
        found = await when(api, lambda found: "log" in found["degraded"])
        assert "nextbest archive" in found["degraded"]["log"]
        assert found["notices"] == {}
        assert await api.metric("nextbest_log_readers") == 1
        assert await api.metric("nextbest_log_lag_seconds") > 3600
        assert await api.metric("nextbest_log_limit_bytes") == 0
        beats = int(redis.ask("GET", "nb:{health}:beats"))
        await until_beats(redis, beats + 10)
        assert await api.metric("nextbest_log_entries") == 6_001
        assert await api.metric("nextbest_log_trimmed_entries_total") == 0
        await store.leave_log("archive")

        async def trimmed() -> bool:
            return await api.metric("nextbest_log_entries") < 2_000

        await until(trimmed)
        await when(api, fine)
    await store.close()


async def test_young_entries_stay_however_small_the_limit_is(redis: OwnRedis, rules: Path) -> None:
    """They tell a commit that is sent again from a new one."""
    await fill(redis, range(2), 500)
    for number in range(2):
        for _ in range(300):
            redis.ask("XADD", f"nb:{{p{number}}}:log", "*", "k", "event")
    async with served(redis, rules, log_limit_mb=1) as api:

        async def trimmed() -> bool:
            return await api.metric("nextbest_log_entries") < 900

        await until(trimmed)
        beats = int(redis.ask("GET", "nb:{health}:beats"))
        await until_beats(redis, beats + 40)
        assert await api.metric("nextbest_log_entries") >= 600


async def test_a_limit_of_0_keeps_the_log_and_says_that_it_grows(
    redis: OwnRedis, rules: Path
) -> None:
    await fill(redis, range(2), 2_000)
    async with served(redis, rules, log_limit_mb=0) as api:
        assert "grows until Redis is full" in (await ready(api))["notices"]["log"]
        beats = int(redis.ask("GET", "nb:{health}:beats"))
        await until_beats(redis, beats + 10)
        assert await api.metric("nextbest_log_entries") == 4_000


async def test_a_full_redis_is_freed_of_its_oldest_log(redis: OwnRedis, rules: Path) -> None:
    """With a maxmemory, the log has at most half of it, so Redis takes writes again by itself."""
    await fill(redis, range(256), 100)
    used = int(redis.ask("INFO", "memory").split("'used_memory': ")[1].split(",")[0])
    redis.ask("CONFIG", "SET", "maxmemory", str(used - 1_000_000))
    async with served(redis, rules) as api:
        await when(api, fine)
        assert await api.metric("nextbest_log_trimmed_entries_total") > 0
