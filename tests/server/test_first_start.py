"""Before the first connection, `/health/ready` says why there is none, and how to get one."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

from decision.core.errors import StoreUnavailable
from decision.server import upkeep
from decision.server.health.state import trouble_of
from decision.store import RedisStore, pipelined_connection
from tests.api.conftest import Api, running
from tests.api.test_operations import until
from tests.server.own_redis import OwnRedis
from tests.server.test_store_watch import Lines, _impatient, lines, redis

__all__ = ["_impatient", "lines", "redis"]

pytestmark = pytest.mark.anyio

WRONG = {
    "password": ("u:wrong@", "", [], "WRONGPASS", "put the right user and password into"),
    "no password": ("", "", ["requirepass"], "NOAUTH", "put the user and password into"),
    "right": ("v:x@", "", [], "NOPERM", "give its user +info"),
    "keys": ("w:x@", "", [], "NOPERM", "give its user all keys under NEXTBEST_KEY_PREFIX"),
    "database": ("u:x@", "?db=99", [], "NODATABASE", "name a database that it has"),
}
USERS = {"u": ("~*", "+@all"), "v": ("~*", "+@all", "-info"), "w": ("~keys", "+@all")}


async def attempts(api: Api, store: RedisStore, number: int) -> None:
    """Waits for so many more attempts to connect."""
    done, real = [0], store.start

    async def start() -> None:
        done[0] += 1
        await real()

    store.start = start  # type: ignore[method-assign]

    async def enough() -> bool:
        return done[0] > number

    await until(enough)


@pytest.mark.parametrize("wrong", WRONG)
async def test_why_a_first_start_gets_no_store_is_told_from_the_first_attempt_on_and_logged_once(
    redis: OwnRedis, rules: Path, lines: Lines, wrong: str
) -> None:
    user, query, settings, code, fix = WRONG[wrong]
    for name, rights in USERS.items():
        assert redis.ask("ACL", "SETUSER", name, "on", ">x", *rights) == "OK"
    for setting in settings:
        redis.ask("CONFIG", "SET", setting, "secret-1")
    url = redis.url.replace("unix://", f"unix://{user}") + query
    store = RedisStore(url, timeout=0.5)
    async with running(rules, store) as api:
        for more in (0, 5):
            await attempts(api, store, more) if more else None
            for path in ("/health/ready", "/health/ready?require=store"):
                answer = await api.client.get(path)
                assert answer.status_code == 503
                assert f"({code})" in answer.json()["detail"]
                assert fix in answer.json()["detail"]
                assert "secret-1" not in answer.text and "s.sock" not in answer.text
        assert (await api.client.get("/health/live")).status_code == 200
    [told] = lines.of("degraded")
    assert told["code"] == code
    assert fix in told["problem"]
    assert lines.of("restored") == []


async def test_a_first_start_that_is_put_right_needs_no_restart(
    redis: OwnRedis, rules: Path
) -> None:
    redis.ask("ACL", "SETUSER", "v", "on", ">x", *USERS["v"])
    store = RedisStore(redis.url.replace("unix://", "unix://v:x@"), timeout=0.5)
    async with running(rules, store) as api:
        assert (await api.client.get("/health/ready")).status_code == 503
        redis.ask("ACL", "SETUSER", "v", "+info")

        async def fine() -> bool:
            return (await api.client.get("/health/ready")).status_code == 200

        await until(fine)


async def test_every_worker_says_that_nothing_is_published(
    redis: OwnRedis, rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that does not look itself."""
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv(upkeep.SHARED_FOLDER, str(shared))
    one, two = (RedisStore(redis.url, timeout=0.5) for _ in range(2))
    async with (
        running(rules, one, follow="published") as leader,
        running(rules, two, follow="published") as other,
    ):
        for api in (leader, other):
            answer = await api.client.get("/health/ready")
            assert answer.status_code == 503
            assert "nothing is published yet: run nextbest publish" in answer.json()["detail"]
            await asyncio.sleep(0)


async def test_a_redis_that_stands_still_is_told_with_a_fix_at_any_time(
    redis: OwnRedis, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after the connection was given up, while an attempt to make another one waits."""
    monkeypatch.setattr(pipelined_connection, "STALLED_AFTER", 0.6)
    store = RedisStore(redis.url, timeout=0.3)
    async with running(rules, store) as api:
        process = redis._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        told: dict[str, None] = {}
        try:

            async def given_up() -> bool:
                found = (await api.client.get("/health/ready")).json()["degraded"]
                told[found.get("store", "")] = None
                return any("given up" in text for text in told)

            await until(given_up)
        finally:
            process.send_signal(signal.SIGCONT)

        async def fine() -> bool:
            return (await api.client.get("/health/ready")).json()["status"] == "ok"

        await until(fine)
    told.pop("", None)
    assert len(told) >= 2
    assert all("; see whether it" in text for text in told), told


@pytest.mark.parametrize("code", ["unreachable", "lost"])
def test_of_an_embedded_redis_it_is_told_that_it_is_started_again(code: str) -> None:
    error = StoreUnavailable(f"gone; {'start it'}", code=code, reason="it is gone", fix="start it")
    found = trouble_of(error, embedded=True)
    assert found.public.startswith("Redis: it is gone; it is the embedded one and is started again")
    assert found.text.startswith("gone; it is the embedded one and is started again")
    assert "start it" in trouble_of(error).public


async def test_lines_about_the_connection_have_an_event_an_address_and_the_sentence(
    redis: OwnRedis, rules: Path, lines: Lines
) -> None:
    redis.ask("CONFIG", "SET", "appendonly", "no")
    async with running(rules, RedisStore(redis.url, timeout=0.5)) as api:
        redis.ask("CLIENT", "KILL", "TYPE", "normal")

        async def connected_again() -> bool:
            await api.client.get("/health/ready")
            return bool(lines.of("redis_connected_again", None))

        await until(connected_again)
    where = str(redis.socket)
    [risk] = lines.of("redis_may_lose_data", None)
    lost = lines.of("redis_connection_lost", None)
    assert (risk["setting"], risk["address"]) == ("appendonly", where)
    assert "set appendonly yes" in risk["problem"]
    assert [one["address"] for one in lost] == [where] * len(lost) != []
    assert "was lost" in lost[0]["problem"]
    events = [json.loads(line)["event"] for line in lines.stream.getvalue().splitlines()]
    assert [event for event in events if " " in event] == []
