"""The append-only file is rewritten after erasures: in time, by one server, and not too often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from decision.core.clock import HOUR
from decision.core.ports import FileState
from decision.engine import Engine
from decision.server import file_rewriting
from decision.server.file_rewriting import FileRewriting
from decision.store import EmbeddedRedis, MemoryStore, RedisStore
from decision.store.erasures import rewrites

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RedisStore]:
    with EmbeddedRedis(tmp_path) as url:
        made = RedisStore(url)
        await made.start()
        yield made
        await made.close()


async def state_of(store: Any, erasure_id: str) -> str:
    found = await Engine(store).customers.certificate(erasure_id)
    return found.append_only_file.state


async def look(looks: FileRewriting, until: Callable[[], Any]) -> None:
    """Looks, each time with the turn free, until something holds; half a minute at most."""
    async with asyncio.timeout(30):
        while not await until():
            store: Any = looks._store
            await store._caller(write=True)(("DEL", store.keys.turn("file-rewriting")))
            await looks.check()
            await asyncio.sleep(0.01)


async def stages(store: Any) -> list[str]:
    return [one.stage for one in await rewrites(store)]


async def test_one_rewriting_covers_all_erasures_before_it_and_the_next_comes_in_its_time(
    store: RedisStore,
) -> None:
    now = 1_800_000_000_000_000
    looks = FileRewriting(store, HOUR, lambda: now)
    customers = Engine(store).customers
    await looks.check()
    assert await stages(store) == []
    first, second = [(await customers.erase_with_id(name)).erasure_id for name in ("a", "b")]

    async def done() -> bool:
        return (await stages(store))[-1:] == ["done"]

    await look(looks, done)
    assert [await state_of(store, one) for one in (first, second)] == ["rewritten"] * 2
    third = (await customers.erase_with_id("c")).erasure_id
    for _ in range(3):
        await look(looks, done)
        await looks.check()
    assert await stages(store) == ["begun", "sent", "done"]
    assert await state_of(store, third) == "pending"
    now += HOUR

    async def covered() -> bool:
        return await state_of(store, third) == "rewritten"

    await look(looks, covered)
    assert await stages(store) == ["begun", "sent", "done"] * 2


async def test_of_many_servers_one_has_the_file_rewritten(store: RedisStore) -> None:
    await Engine(store).customers.erase("a")
    await asyncio.gather(*(FileRewriting(store, HOUR).check() for _ in range(8)))
    assert await stages(store) == ["begun", "sent"]


async def test_where_redis_refuses_it_the_log_says_so_once_and_the_certificate_as_well(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, dict[str, Any]]] = []

    class Log:
        def warning(self, event: str, **more: Any) -> None:
            said.append((event, more))

    monkeypatch.setattr(file_rewriting, "_log", Log())
    await store._caller(write=True)(("ACL", "SETUSER", "default", "-bgrewriteaof"))
    now = 1_800_000_000_000_000
    looks = FileRewriting(store, HOUR, lambda: now)
    customers = Engine(store).customers
    erasure = (await customers.erase_with_id("a")).erasure_id
    for tries in (1, 2):

        async def tried(tries: int = tries) -> bool:
            return (await stages(store)).count("refused") == tries

        await look(looks, tried)
        now += HOUR
    [(event, more)] = said
    assert event == "file_rewriting_refused"
    assert "NOPERM" in more["problem"] and "+bgrewriteaof" in more["fix"]
    file = (await customers.certificate(erasure)).append_only_file
    assert file.state == "refused" and "NOPERM" in (file.problem or "")


async def test_a_log_that_may_not_be_rewritten_is_said_and_harms_nothing(store: RedisStore) -> None:
    await store._caller(write=True)(("ACL", "SETUSER", "default", "-rename"))
    customers = Engine(store).customers
    erasure = (await customers.erase_with_id("a")).erasure_id
    await FileRewriting(store, HOUR).check()
    assert await stages(store) == ["begun", "refused"]
    file = (await customers.certificate(erasure)).append_only_file
    assert file.state == "refused" and "the log of partition" in (file.problem or "")


async def test_an_alias_that_a_dead_process_has_left_goes_with_the_rewriting(
    store: RedisStore,
) -> None:
    await store.set_alias("email", "anna@example.com", "c-1")
    await Engine(store).customers.erase("c-1")
    await FileRewriting(store, HOUR, patience=0).check()
    assert await store.resolve_alias("email", "anna@example.com") is None
    assert await stages(store) == ["begun", "sent"]


async def test_a_redis_without_such_a_file_has_its_logs_rewritten(store: RedisStore) -> None:
    await store._caller(write=True)(("CONFIG", "SET", "appendonly", "no"))
    erasure = (await Engine(store).customers.erase_with_id("a")).erasure_id
    await FileRewriting(store, HOUR).check()
    assert (await stages(store), await state_of(store, erasure)) == (["begun", "done"], "off")


class Restarting(MemoryStore):
    """A store whose server is another one at each look, as if it had been killed meanwhile."""

    looks = 0

    async def file_state(self) -> FileState:
        self.looks += 1
        return FileState(enabled=True, server=str(self.looks))

    async def take_turn(self, name: str, lasts: int) -> bool:
        return True


async def test_a_rewriting_that_a_restart_has_ended_is_begun_again() -> None:
    now = 1_800_000_000_000_000
    store = Restarting()
    looks = FileRewriting(store, HOUR, lambda: now)
    await Engine(store).customers.erase("a")
    await looks.check()
    await looks.check()
    assert await stages(store) == ["begun", "sent", "failed"]
    now += HOUR
    await looks.check()
    assert await stages(store) == ["begun", "sent", "failed", "begun", "sent"]


async def test_zero_hours_leave_the_file_to_others(store: RedisStore) -> None:
    await Engine(store).customers.erase("a")
    await FileRewriting(store, 0).check()
    assert await stages(store) == []
