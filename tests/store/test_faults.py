"""Lost replies, lost connections, restarts: no commit is lost, none happens twice."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from decision.core.clock import HOUR
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import partition_of
from decision.core.ports import Committed, Conflict
from decision.store import EmbeddedRedis, RedisStore
from decision.store.scripts import SCRIPTS, Script
from tests.store.build import PUSH, commit_of, record, take, with_contact
from tests.store.proxy import Proxy, until

pytestmark = pytest.mark.anyio

COMMIT, APPEND = SCRIPTS["commit"], SCRIPTS["append"]
FORMS = {"as read": (SCRIPTS["commit_as_read"], {}), "in full": (COMMIT, {"raw": None})}
"""By which script a commit is first sent, and what of the commit makes it so."""

Form = tuple[Script, dict[str, Any]]
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
PARTITION = partition_of("c-1")


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(redis_url) as made:
        yield made


@pytest.fixture
async def store(proxy: Proxy, prefix: str) -> AsyncIterator[RedisStore]:
    """A store behind the proxy."""
    made = RedisStore(proxy.url, prefix=prefix, timeout=10.0)
    await made.start()
    yield made
    await made.close()


async def contacts_and_records(store: RedisStore) -> tuple[int, int]:
    document = (await store.read("c-1")).document
    return len(document.contacts), len(await store.log_records(PARTITION))


async def answering(store: RedisStore) -> None:
    """Waits until the store has found its Redis again."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await store.ping()
            except StoreUnavailable:
                await asyncio.sleep(0.01)


@forms
@pytest.mark.parametrize("fault", ["drop_reply", "cut_mid_reply", "cut_before"])
async def test_a_commit_whose_reply_is_lost_happens_exactly_once(
    store: RedisStore, proxy: Proxy, fault: str, form: Form
) -> None:
    script, how = form
    commit = commit_of(await with_contact(store), "contacts", records=[record()], **how)
    getattr(proxy, fault)(script.digest)
    assert await store.commit(commit) == Committed()
    assert await contacts_and_records(store) == (1, 1)
    assert proxy.connections == 2


async def test_a_commit_that_loses_its_reply_again_and_again_happens_exactly_once(
    store: RedisStore, proxy: Proxy
) -> None:
    commit = commit_of(await with_contact(store), "contacts", records=[record(), record("event")])
    for nth in range(1, 4):
        proxy.drop_reply(COMMIT.digest, nth)
    assert await store.commit(commit) == Committed()
    assert await contacts_and_records(store) == (1, 2)


@forms
async def test_a_commit_is_recognised_though_others_wrote_the_customer_after_it(
    store: RedisStore, proxy: Proxy, other_stores: Callable[[], RedisStore], form: Form
) -> None:
    script, how = form
    other = other_stores()
    await other.start()
    commit = commit_of(await with_contact(store), "contacts", records=[record()], **how)
    fault = proxy.hold(script.digest)
    under_way = asyncio.create_task(store.commit(commit))
    async with asyncio.timeout(10):
        while not (await other.read("c-1")).document.exists:
            await asyncio.sleep(0.005)
    for _ in range(150):  # more than one page of the log
        found = await other.read("c-1")
        await other.commit(commit_of(found, "profile", records=[record("consent")]))
    proxy.cut()
    fault.set()
    assert await under_way == Committed()
    assert await contacts_and_records(store) == (1, 151)


async def test_a_commit_without_sections_or_records_of_its_customer_is_logged_once(
    store: RedisStore, proxy: Proxy
) -> None:
    found = await store.read("c-1")
    proxy.drop_reply(COMMIT.digest)
    assert await store.commit(commit_of(found, records=[record()])) == Committed()
    assert await contacts_and_records(store) == (0, 1)


async def test_a_commit_without_records_is_recognised_by_the_document(
    store: RedisStore, proxy: Proxy
) -> None:
    found = await store.read("c-1")
    found.document.attributes = {"a": 1}
    proxy.drop_reply(COMMIT.digest)
    assert await store.commit(commit_of(found, "profile")) == Committed()
    version = (await store.read("c-1")).version
    assert version.profile == version.contacts  # written once: a second time would have counted on


@pytest.mark.parametrize("fault", ["drop_reply", "cut_before"])
async def test_a_connection_lost_while_names_get_their_numbers_does_not_lose_the_commit(
    store: RedisStore, proxy: Proxy, fault: str
) -> None:
    found = await store.read("c-1")
    found.document.attributes = {"a": 1}
    getattr(proxy, fault)(APPEND.digest)
    assert await store.commit(commit_of(found, "profile", records=[record()])) == Committed()
    assert (await store.read("c-1")).document.attributes == {"a": 1}
    assert await contacts_and_records(store) == (0, 1)


async def test_a_lost_commit_with_an_answer_comes_back_as_committed(
    store: RedisStore, proxy: Proxy
) -> None:
    commit = commit_of(
        await with_contact(store),
        "contacts",
        records=[record()],
        request_id="r",
        answer=b"a",
        answer_lasts=HOUR,
        event_ids=["e"],
        event_ids_last=HOUR,
    )
    proxy.drop_reply(COMMIT.digest)
    assert await store.commit(commit) == Committed()
    assert await contacts_and_records(store) == (1, 1)


async def test_a_lost_commit_that_had_been_refused_comes_back_as_a_conflict(
    store: RedisStore, proxy: Proxy
) -> None:
    mine = await with_contact(store)
    await store.commit(commit_of(await with_contact(store), "contacts", records=[record()]))
    proxy.drop_reply(COMMIT.digest)
    result = await store.commit(commit_of(mine, "contacts", records=[record()]))
    assert isinstance(result, Conflict)
    assert await contacts_and_records(store) == (1, 1)


@forms
async def test_a_commit_that_redis_gets_late_does_not_happen_a_second_time(
    store: RedisStore, proxy: Proxy, form: Form
) -> None:
    script, how = form
    late = proxy.strand(script.digest)
    commit = commit_of(await with_contact(store), "contacts", records=[record()], **how)
    assert await store.commit(commit) == Committed()
    late.set()  # the command of the lost connection goes on to Redis only now
    await until(lambda: len(proxy.open) == 1)
    assert await contacts_and_records(store) == (1, 1)


async def test_a_commit_of_a_document_that_is_no_longer_as_it_was_read_is_lost_in_no_step(
    store: RedisStore, proxy: Proxy
) -> None:
    """Another one wrote a section which it does not compare; then its reply is lost as well."""
    mine = commit_of(await with_contact(store), "contacts", expect=(), records=[record()])
    other = await store.read("c-1")
    other.document.attributes = {"a": 1}
    await store.commit(commit_of(other, "profile", records=[record()]))
    proxy.drop_reply(COMMIT.digest)
    assert await store.commit(mine) == Committed()
    assert (await store.read("c-1")).document.attributes == {"a": 1}
    assert await contacts_and_records(store) == (1, 2)


@forms
async def test_a_commit_that_stays_lost_says_that_it_is_uncertain(
    proxy: Proxy, prefix: str, form: Form
) -> None:
    store = RedisStore(proxy.url, prefix=prefix, timeout=10.0)
    await store.start()
    script, how = form
    commit = commit_of(await with_contact(store), "contacts", records=[record()], **how)
    proxy.drop_reply(script.digest)
    proxy.on_fault = proxy.refuse
    with pytest.raises(StoreUnavailable) as raised:
        await store.commit(commit, timeout=0.4)
    assert raised.value.uncertain
    await proxy.listen()
    proxy.on_fault = None
    await answering(store)
    assert await store.commit(commit) == Committed()
    assert await contacts_and_records(store) == (1, 1)
    await store.close()


async def test_a_read_that_is_lost_fails_and_is_not_uncertain(
    store: RedisStore, proxy: Proxy
) -> None:
    proxy.drop_reply("GET")
    with pytest.raises(StoreUnavailable) as raised:
        await store.read("c-1")
    assert not raised.value.uncertain
    await store.read("c-1")


async def test_no_other_write_is_repeated(store: RedisStore, proxy: Proxy) -> None:
    await take(store, {"a": 5}, "t0")
    await take(store, {"a": 5}, "t1")
    proxy.drop_reply(SCRIPTS["return_budgets"].digest)
    with pytest.raises(StoreUnavailable) as raised:
        await store.return_budgets(["a"], "t1")
    assert raised.value.uncertain
    assert (await store.budget_counts(["a"]))["a"].taken == 1


async def test_the_scripts_are_sent_again_when_redis_has_forgotten_them(store: RedisStore) -> None:
    await store.connection.call(("SCRIPT", "FLUSH"), 5.0)
    commit = commit_of(await with_contact(store), "contacts", records=[record()])
    assert await store.commit(commit) == Committed()
    assert await contacts_and_records(store) == (1, 1)
    assert await take(store, {"a": 1}, "t") is None
    assert await store.erase("c-1", record("erasure"))


async def test_another_process_learns_numbers_that_were_given_after_it_started(
    other_stores: Callable[[], RedisStore],
) -> None:
    one, other = other_stores(), other_stores()
    await one.start()
    await other.start()
    found = await with_contact(one)
    found.document.attributes = {"新的": 1}
    await one.commit(commit_of(found, "profile", "contacts", records=[record()]))
    seen = (await other.read("c-1")).document
    assert seen.attributes == {"新的": 1}
    assert seen.kinds[seen.contacts[0].kind] == PUSH


async def test_processes_that_name_things_at_once_agree_on_their_numbers(
    other_stores: Callable[[], RedisStore],
) -> None:
    stores = [other_stores() for _ in range(4)]
    for store in stores:
        await store.start()

    async def write(store: RedisStore, number: int) -> None:
        found = await store.read(f"c-{number}")
        found.document.attributes = {f"a{(number + step) % 7}": step for step in range(5)}
        assert await store.commit(commit_of(found, "profile")) == Committed()

    await asyncio.gather(*(write(stores[number % 4], number) for number in range(40)))
    for number in range(40):
        seen = [(await store.read(f"c-{number}")).document.attributes for store in stores]
        assert seen == [{f"a{(number + step) % 7}": step for step in range(5)}] * 4


async def test_what_the_register_lost_is_put_back_after_a_reconnect(
    store: RedisStore, proxy: Proxy, other_stores: Callable[[], RedisStore]
) -> None:
    found = await with_contact(store)
    found.document.attributes = {"a": 1, "b": 2}
    await store.commit(commit_of(found, "profile", "contacts"))
    for key in (store.keys.names, store.keys.kinds):
        await store.connection.call(("LTRIM", key, 1, -2), 5.0)  # as a failover may
        await store.connection.call(("DEL", key), 5.0)
    proxy.cut()
    await until(lambda: proxy.connections == 2)
    await store.ping()
    other = other_stores()
    await other.start()
    assert (await other.read("c-1")).document == (await store.read("c-1")).document


async def test_a_ping_or_a_new_name_puts_back_a_register_that_was_emptied(
    store: RedisStore, other_stores: Callable[[], RedisStore]
) -> None:
    found = await with_contact(store)
    found.document.attributes = {"a": 1}
    await store.commit(commit_of(found, "profile", "contacts"))
    await store.connection.call(("DEL", store.keys.names, store.keys.kinds), 5.0)
    found = await store.read("c-2")
    found.document.attributes = {"b": 1}
    await store.commit(commit_of(found, "profile"))
    await store.ping()
    other = other_stores()
    await other.start()
    for name in ("c-1", "c-2"):
        assert (await other.read(name)).document == (await store.read(name)).document


async def test_a_register_that_contradicts_this_process_ends_its_work(
    store: RedisStore, proxy: Proxy
) -> None:
    store.allow_names({"a"})
    found = await store.read("c-1")
    found.document.attributes = {"a": 1}
    await store.commit(commit_of(found, "profile"))
    await store.connection.call(("LSET", store.keys.names, 0, "other"), 5.0)
    proxy.cut()
    await until(lambda: proxy.connections == 2)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=r"number 0 .*b'other'.*b'a'.*stop all"):
            await store.read("c-1")


async def test_acknowledged_commits_survive_a_killed_redis(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path, fsync="always")
    store = RedisStore(server.start(), timeout=30.0)
    await store.start()
    acknowledged: list[str] = []
    killed = False

    async def write(worker: int) -> None:
        number = 0
        while not killed:
            name = f"c-{worker}-{number}"
            number += 1
            try:
                found = await with_contact(store, name)
                commit = commit_of(found, "contacts", records=[record(body=name.encode())])
                assert await store.commit(commit) == Committed()
            except StoreUnavailable:
                await asyncio.sleep(0.01)  # a call that fails at once lets nobody else go on
                continue
            acknowledged.append(name)

    writers = [asyncio.create_task(write(worker)) for worker in range(8)]
    await until(lambda: len(acknowledged) > 200)
    assert server.process is not None
    server.process.kill()
    await asyncio.to_thread(server.process.wait)
    server.stop()
    before = len(acknowledged)
    server.start()
    await until(lambda: len(acknowledged) > before + 50)
    killed = True
    await asyncio.gather(*writers)
    await store.close()
    store = RedisStore(server.start())
    await store.start()
    logged = [
        entry.body.decode()
        for partition in range(256)
        for entry in await store.log_records(partition)
    ]
    assert set(acknowledged) <= set(logged)
    assert len(logged) == len(set(logged))
    for name in acknowledged:
        assert len((await store.read(name)).document.contacts) == 1
    await store.close()
    server.stop()


@pytest.mark.parametrize("standing", [True, False])
async def test_a_commit_that_redis_gets_after_its_deadline_does_not_happen(
    tmp_path: Path, standing: bool
) -> None:
    """Unless Redis' clock was set back; then what happened is followed."""
    with EmbeddedRedis(tmp_path) as url:
        store = RedisStore(url)
        await store.start()
        commit = commit_of(await with_contact(store), "contacts", records=[record()])
        if not standing:
            store.connection.clock_ahead = 1e13
        info = (await store.connection.call(("INFO", "server"), 5.0)).decode()
        number = int(re.findall(r"process_id:(\d+)", info)[0])
        os.kill(number, signal.SIGSTOP)
        until_then = time.time() + 0.15
        with pytest.raises(StoreUnavailable) as raised:
            await store.commit(commit, timeout=0.1)
        assert raised.value.uncertain
        await until(lambda: time.time() > until_then)
        os.kill(number, signal.SIGCONT)
        await store.ping()
        assert await contacts_and_records(store) == ((0, 0) if standing else (1, 1))
        await store.close()


async def test_a_clock_of_redis_that_is_ahead_refuses_no_commit(store: RedisStore) -> None:
    """Neither at the start nor when it is set forward; it costs one more attempt each time."""
    for ahead in (-1e12, -60_000.0):
        store.connection.clock_ahead = ahead
        for _ in range(3):
            commit = commit_of(await with_contact(store), "contacts", records=[record()])
            assert await store.commit(commit, timeout=2.0) == Committed()
    assert await contacts_and_records(store) == (6, 6)
