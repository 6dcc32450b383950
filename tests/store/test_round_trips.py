"""What each call sends to Redis: how many round trips, of which commands and scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from hashlib import sha1
from importlib.resources import files
from typing import Any

import pytest

from decision.core.drafting import DraftWrite
from decision.core.identifiers import partition_of
from decision.core.ports import LogRecord
from decision.core.timers import ClaimedWake, Wake
from decision.store import RedisStore
from decision.store.pipelined_connection import PipelinedConnection
from tests.store.build import EMAIL, PUSH, commit_of, new_id, record, take, with_contact
from tests.store.proxy import Proxy

pytestmark = pytest.mark.anyio

SCRIPTS = {
    sha1(script.read_bytes()).hexdigest(): script.name.removesuffix(".lua")
    for script in (files("decision.store") / "lua").iterdir()
}
HOME = partition_of("c-1")
REFRESH = ["LRANGE", "LRANGE"]
"""The register's two tables are read again, one after the other."""


@pytest.fixture
def sent(redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every round trip of the store from now on; the commands of one are joined by spaces."""
    trips: list[str] = []
    connection = redis_store.connection
    call, pipeline = connection.call, connection.pipeline

    def name(command: Any) -> str:
        return SCRIPTS[command[1]] if command[0] == "EVALSHA" else str(command[0])

    async def called(command: Any, timeout: float, **more: Any) -> Any:
        trips.append(name(command))
        return await call(command, timeout, **more)

    async def piped(commands: Any, timeout: float, **more: Any) -> Any:
        trips.append(" ".join(map(name, commands)))
        return await pipeline(commands, timeout, **more)

    monkeypatch.setattr(connection, "call", called)
    monkeypatch.setattr(connection, "pipeline", piped)
    return trips


@pytest.fixture(autouse=True)
def believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said of budgets holds for the whole test, however slow the machine is."""
    monkeypatch.setattr("decision.store.leases.BELIEVED", 3600.0)
    monkeypatch.setattr("decision.store.in_redis.leases.BELIEVED", 3600.0)


OPEN = " ".join(["HSET"] * 256)
"""A process opens its lease of budgets in every partition, once."""


async def read_budgets_again(store: RedisStore) -> None:
    """What was said of budgets a moment ago is not asked again; reservations that end are known."""
    store._swept = float("inf")
    for _ in range(2):
        await store.read("c-1", budgets=["a"])


async def take_twice(store: RedisStore) -> None:
    """The second decision takes of the portion that the first one was given."""
    for token in ("t", "u"):
        await take(store, {"a": 9, "b": 8}, token)


Call = Callable[[RedisStore], Awaitable[Any]]
CALLS: dict[str, tuple[Call, list[str]]] = {
    "read": (lambda store: store.read("c-1"), ["GET"]),
    "read everything": (
        lambda store: store.read("c-1", request_id="r", budgets=["a"], event_ids=["e", "f"]),
        ["GET HGET ZMSCORE MGET"],
    ),
    "read budgets again": (read_budgets_again, ["GET MGET", "GET"]),
    "register known kinds": (lambda store: store.register_kinds([PUSH]), []),
    "register new kinds": (lambda store: store.register_kinds([PUSH, EMAIL]), ["append"]),
    "erase": (
        lambda store: store.erase("c-1", record("erasure")),
        # Then what providers call the customer's deliveries, which is elsewhere, timers, and places
        # of runs.
        ["GET", "delete_alias", "erase", "ZRANGE", "ZRANGE", "forget_timers", "HGETALL"],
    ),
    "resolve": (lambda store: store.resolve_alias("email", "a"), ["GET"]),
    "set alias": (lambda store: store.set_alias("email", "b", "c-1"), ["set_alias"]),
    "delete alias": (lambda store: store.delete_alias("email", "b", "c-1"), ["delete_alias"]),
    "take budgets": (take_twice, [OPEN, "lease_budgets", "commit", "commit"]),
    "settle budgets": (lambda store: store.settle_budgets("t", "a", 1), ["settle_budgets"]),
    "expire budgets": (lambda store: store.expire_budgets(1), [" ".join(["ZRANGE"] * 256)]),
    "return budgets": (lambda store: store.return_budgets(["a", "b"], "t"), ["return_budgets"]),
    "find nothing": (lambda store: store.find_record(new_id()), ["find_record"] * 4),
    "find no id": (lambda store: store.find_record("no id"), []),
    "newest records": (
        lambda store: store.newest_records([1, 2], 3),
        ["XREVRANGE XREVRANGE"],
    ),
    "log records": (lambda store: store.log_records(HOME), ["XRANGE", *REFRESH, "XRANGE"]),
    "read logs": (
        lambda store: store.read_logs({HOME: "", HOME + 1: ""}),
        ["XRANGE XRANGE", *REFRESH],
    ),
    "forget": (
        lambda store: store.forget(HOME, lambda entry: entry.kind == "event"),
        ["XRANGE", *REFRESH, "XDEL", "XRANGE"],
    ),
    "advance log": (lambda store: store.advance_log(HOME, "one", "1-0", 0), ["advance_log"]),
    "leave log": (lambda store: store.leave_log("one"), ["XGROUP"] * 256),
    "log lengths": (lambda store: store.log_lengths(), [" ".join(["XLEN"] * 256)]),
    "log ends": (lambda store: store.log_ends(), [" ".join(["XREVRANGE"] * 256)]),
    "put blob": (lambda store: store.put_blob("a", b"b"), ["SET"]),
    "get blob": (lambda store: store.get_blob("a"), ["GET"]),
    "claim wakes": (
        lambda store: store.claim_wakes([HOME, HOME + 1], 9, 0),
        ["TIME ZRANGE ZRANGE ZRANGE ZRANGE", "claim_wakes"],
    ),
    "rearm": (
        lambda store: store.rearm(ClaimedWake("c-1", 1, 1), Wake(at=None)),
        ["rearm_wake"],
    ),
    "arm": (lambda store: store.arm({"c-1": 1}), ["TIME", "arm_wakes"]),
    "next wake": (lambda store: store.next_wake([HOME]), ["TIME ZRANGE ZRANGE"]),
    "first wakes": (lambda store: store.first_wakes(2), [" ".join(["ZRANGE"] * 256)]),
    "count wakes": (lambda store: store.count_wakes(), ["TIME" + " ZCARD HGET ZRANGE" * 256]),
    "tallies": (lambda store: store.tallies(), [" ".join(["HGETALL"] * 256)]),
    "append history": (lambda store: store.append_history("h", b"b", 3), ["append_history"]),
    "history": (lambda store: store.history("h", 2), ["LRANGE"]),
    "draft records": (lambda store: store.draft_records(), ["HGETALL"]),
    "draft record": (lambda store: store.draft_record("d"), ["HGET"]),
    "draft texts": (lambda store: store.draft_texts("d", ["a", "b"]), ["HGET HGET"]),
    "write draft": (
        lambda store: store.write_draft("d", DraftWrite(was=None, record=b"r")),
        ["write_draft"],
    ),
    "ping": (lambda store: store.ping(), ["LLEN", "LLEN"]),
}


@pytest.mark.parametrize(("call", "expected"), CALLS.values(), ids=CALLS.keys())
async def test_a_call_makes_exactly_these_round_trips(
    redis_store: RedisStore, sent: list[str], call: Call, expected: list[str]
) -> None:
    found = await with_contact(redis_store)
    found.document.aliases = {"email": ["a"]}
    records = [record(), record("event")]
    write = commit_of(found, "profile", "contacts", records=records, wake=Wake(at=1))
    await redis_store.commit(write)
    sent.clear()
    await call(redis_store)
    assert sent == expected


async def test_a_commit_is_one_round_trip_and_one_more_for_new_names(
    redis_store: RedisStore, sent: list[str]
) -> None:
    """And one more where another write came first: then the latest state comes back."""
    found = await redis_store.read("c-1", request_id="r")
    redis_store.allow_names({"new"})
    found.document.attributes = {"new": 1}
    sent.clear()
    for name in ("one", "two"):
        commit = commit_of(found, "profile", commit_id=name, records=[record()])
        await redis_store.commit(commit)
    assert sent == ["append", "commit_as_read", "commit_as_read", "commit"]


async def test_a_decision_that_is_found_makes_the_register_be_read_again(
    redis_store: RedisStore, sent: list[str]
) -> None:
    wanted = LogRecord(kind="decision", id=new_id(), body=b"{}")
    await redis_store.commit(commit_of(await redis_store.read("c-1"), records=[wanted]))
    sent.clear()
    assert await redis_store.find_record(wanted.id) == wanted
    assert sent[-3:] == ["find_record", *REFRESH]


async def test_a_new_connection_checks_its_server_and_loads_every_script(redis_url: str) -> None:
    async with Proxy(redis_url) as proxy:
        store = RedisStore(proxy.url)
        await store.start()
        started = Counter(INFO=1, CLIENT=1, SCRIPT=len(SCRIPTS), LRANGE=2)
        assert proxy.seen - Counter(EXISTS=1) == started  # EXISTS: whether a restore is complete
        await store.close()


async def test_a_new_connection_takes_five_round_trips_however_many_scripts_there_are(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits its turn in a process that is short of time; an attempt to connect has 5 s."""
    sent: list[int | None] = []
    send = PipelinedConnection._send

    def counting(self: PipelinedConnection, packed: bytes, count: int | None, *rest: Any) -> Any:
        sent.append(count)
        return send(self, packed, count, *rest)

    monkeypatch.setattr(PipelinedConnection, "_send", counting)
    store = RedisStore(redis_url)
    await store.start()
    assert sent == [None, None, len(SCRIPTS), None, None, None]  # and EXISTS, by the store
    await store.close()
