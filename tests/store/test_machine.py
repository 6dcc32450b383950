"""Both stores, driven side by side through any sequence of calls, give the same answers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from decision.core.clock import HOUR
from decision.core.document import Document, EventHistory
from decision.core.identifiers import partition_of
from decision.core.ports import Commit, Committed, Conflict, LogRecord, ReadResult, Store
from decision.store import MemoryStore, RedisStore, codec
from tests.store.build import new_id, take
from tests.store.documents import KINDS, contacts, kind

_numbers = itertools.count()

CUSTOMERS = ["c-1", "顾客:2"]
NAMES = ["a", "a:b", "丙"]
MONEY = "sum/EUR/month:2026-11-01"
BUDGETS = [*NAMES, *(f"{name}:{span}" for name in NAMES for span in ("total", "2026-11-21")), MONEY]
customers = st.sampled_from(CUSTOMERS)
small = st.sampled_from(NAMES)
sections = st.sampled_from(
    [(), ("contacts",), ("contacts",), ("profile", "contacts"), ("events",), codec.SECTIONS]
)
plain_documents = st.builds(
    Document,
    customer_id=st.just("c-1"),
    attributes=st.dictionaries(small, st.integers(0, 9), max_size=2),
    contacts=st.lists(contacts, max_size=2),
    events=st.dictionaries(small, st.builds(EventHistory, total=st.integers(0, 9)), max_size=1),
)
bodies = st.binary(max_size=20)


class Pair(NamedTuple):
    """What both stores answered to one read."""

    memory: ReadResult
    redis: ReadResult


class Machine(RuleBasedStateMachine):
    """Every rule does the same to both stores and compares what they say."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.memory = MemoryStore()
        self.redis = RedisStore(self.url, prefix=f"m{next(_numbers)}:", timeout=10.0)
        self.runner.run(self.redis.start())
        self.seen: dict[str, list[Pair]] = {customer: [] for customer in CUSTOMERS}
        self.commits: list[tuple[Commit, Commit]] = []

    def teardown(self) -> None:
        self.runner.run(self.redis.close())
        self.runner.close()

    def both(self, call: Callable[[Store], Awaitable[Any]]) -> Any:
        """The answer, which must be the same of both stores."""
        answers = [self.runner.run(call(store)) for store in (self.memory, self.redis)]
        assert answers[0] == answers[1]
        return answers[0]

    def same(self, memory: ReadResult, redis: ReadResult) -> Pair:
        """Two reads that must be equal, but for versions: those are random, yet of one pattern."""
        assert memory.document == redis.document
        assert memory.answer == redis.answer
        assert memory.budgets == redis.budgets
        assert memory.known_events == redis.known_events
        ours, theirs = memory.version, redis.version
        for one, other in zip(
            (ours.profile, ours.contacts, ours.events),
            (theirs.profile, theirs.contacts, theirs.events),
            strict=True,
        ):
            assert (one == 0) == (other == 0) == (not memory.document.exists)
        return Pair(memory, redis)

    @initialize()
    def register(self) -> None:
        self.both(lambda store: store.register_kinds([kind(number) for number in range(KINDS)]))

    @rule(
        customer=customers,
        age=st.sampled_from([0, 0, 0, 1, 2, 5]),
        document=plain_documents,
        write=sections,
        expect=sections,
        request=st.none() | small,
        answer=bodies,
        events=st.lists(small, max_size=1),
        records=st.lists(bodies, max_size=2),
        as_read=st.booleans(),
    )
    def commit(
        self,
        customer: str,
        age: int,
        document: Document,
        write: Any,
        expect: Any,
        request: str | None,
        answer: bytes,
        events: list[str],
        records: list[bytes],
        as_read: bool,
    ) -> None:
        """Commits on the state as last seen, or as seen some time ago."""
        found = self.seen[customer][-1 - min(age, len(self.seen[customer]) - 1)]
        document.customer_id = customer
        commit = Commit(
            id=new_id(customer),
            customer_id=customer,
            document=document,
            version=found.memory.version,
            expect=expect,
            write=write,
            records=[LogRecord(kind="decision", id=new_id(customer), body=b) for b in records],
            request_id=request,
            answer=answer if request else None,
            answer_lasts=HOUR,
            event_ids=events,
            event_ids_last=HOUR,
        )
        raw = found.redis.raw if as_read else None
        same = msgspec.structs.replace(commit, version=found.redis.version, raw=raw)
        self.commits.append((commit, same))
        self.send(self.commits[-1])

    @precondition(lambda self: self.commits)
    @rule(age=st.integers(0, 3))
    def commit_again(self, age: int) -> None:
        self.send(self.commits[-1 - min(age, len(self.commits) - 1)])

    def send(self, commit: tuple[Commit, Commit]) -> None:
        memory = self.runner.run(self.memory.commit(commit[0]))
        redis = self.runner.run(self.redis.commit(commit[1]))
        if isinstance(memory, Conflict) and isinstance(redis, Conflict):
            self.same(memory.latest, redis.latest)
        else:
            assert memory == redis == Committed()

    @rule(customer=customers, really=st.sampled_from([False, False, True]))
    def erase(self, customer: str, really: bool) -> None:
        customer = customer if really else "nobody"
        gone = LogRecord(kind="erasure", id=new_id(customer), body=b"")
        self.both(lambda store: store.erase(customer, gone))

    @rule(
        what=st.sampled_from(["kinds", "set", "delete", "take", "take", "return", "blob"]),
        one=small,
        other=small,
        limits=st.dictionaries(small, st.integers(0, 3), max_size=3),
    )
    def the_rest(self, what: str, one: str, other: str, limits: dict[str, int]) -> None:
        """Everything that has nothing to do with documents."""

        async def call(store: Store) -> Any:
            match what:
                case "kinds":
                    return await store.register_kinds(
                        [kind(KINDS + number) for number in limits.values()]
                    )
                case "set":
                    return await store.set_alias("email", one, other)
                case "delete":
                    return await store.delete_alias("email", one, other)
                case "take":
                    return await take(store, limits, one)
                case "return":
                    return await store.return_budgets(list(limits), one)
                case _:
                    return await store.put_blob(one, other.encode())

        self.both(call)

    @rule(
        what=st.sampled_from(["take", "take", "settle", "settle", "return", "expire"]),
        token=st.sampled_from(["t1", "t2", "t3"]),
        message=small,
        limit=st.integers(1, 4),
        end=st.none() | st.integers(1, 5),
        rank=st.integers(0, 9),
    )
    def budgets(
        self, what: str, token: str, message: str, limit: int, end: int | None, rank: int
    ) -> None:
        """Units that end, are settled, or given back."""
        limits = {f"{message}:total": limit, f"{message}:2026-11-21": 3}
        for one in (message, "a"):  # of one counter, for two messages or for one twice
            limits[f"{MONEY}/{one}/{25 * limit}"] = 300
        ends = {} if end is None else dict.fromkeys(limits, end)

        async def call(store: Store) -> Any:
            match what:
                case "take":
                    return await take(store, limits, token, ends=ends)
                case "settle":
                    return await store.settle_budgets(token, message, rank)
                case "return":
                    return await store.return_budgets(list(limits), token)
                case _:
                    return await store.expire_budgets(rank)

        self.both(call)

    @invariant()
    def everything_stored_agrees(self) -> None:
        async def look(store: Store) -> tuple[list[ReadResult], list[Any]]:
            reads = [
                await store.read(customer, request_id=name, budgets=BUDGETS, event_ids=NAMES)
                for customer in CUSTOMERS
                for name in NAMES
            ]
            rest = [await store.log_records(partition_of(name)) for name in CUSTOMERS]
            for name in NAMES:
                rest += [await store.resolve_alias("email", name), await store.get_blob(name)]
            return reads, rest

        (memory, one), (redis, other) = (
            self.runner.run(look(store)) for store in (self.memory, self.redis)
        )
        assert one == other
        for pair in map(self.same, memory, redis):
            seen = self.seen[pair.memory.document.customer_id]
            if not seen or seen[-1].memory.version != pair.memory.version:
                seen.append(pair)


def test_both_stores_answer_the_same_to_any_sequence_of_calls(redis_url: str) -> None:
    machine = type("Driven", (Machine,), {"url": redis_url})
    run_state_machine_as_test(
        machine, settings=settings(deadline=None, max_examples=40, stateful_step_count=30)
    )
