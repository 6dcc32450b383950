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
from decision.store import MemoryStore, RedisStore
from tests.store.build import new_id
from tests.store.documents import KINDS, contacts, kind

_numbers = itertools.count()

CUSTOMERS = ["c-1", "顾客:2"]
NAMES = ["a", "a:b", "丙"]
customers = st.sampled_from(CUSTOMERS)
small = st.sampled_from(NAMES)
sections = st.sampled_from([(), ("contacts",), ("profile", "contacts"), ("events",)])
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

    @rule(numbers=st.lists(st.integers(0, KINDS + 5), max_size=4))
    def register_kinds(self, numbers: list[int]) -> None:
        self.both(lambda store: store.register_kinds(list(map(kind, numbers))))

    def read(self, customer: str, request: str) -> Pair:
        memory, redis = (
            self.runner.run(
                store.read(customer, request_id=request, budgets=NAMES, event_ids=NAMES)
            )
            for store in (self.memory, self.redis)
        )
        return self.same(memory, redis)

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
        self.commits.append((commit, msgspec.structs.replace(commit, version=found.redis.version)))
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

    @rule(customer=customers)
    def erase(self, customer: str) -> None:
        gone = LogRecord(kind="erasure", id=new_id(customer), body=b"")
        self.both(lambda store: store.erase(customer, gone))

    @rule(kind=small, value=small, customer=customers, delete=st.booleans())
    def aliases(self, kind: str, value: str, customer: str, delete: bool) -> None:
        if delete:
            self.both(lambda store: store.delete_alias(kind, value, customer))
        else:
            self.both(lambda store: store.set_alias(kind, value, customer))
        self.both(lambda store: store.resolve_alias(kind, value))

    @rule(limits=st.dictionaries(small, st.integers(0, 3), max_size=3), token=small)
    def take_budgets(self, limits: dict[str, int], token: str) -> None:
        self.both(lambda store: store.take_budgets(limits, token))

    @rule(names=st.lists(small, max_size=3, unique=True), token=small)
    def return_budgets(self, names: list[str], token: str) -> None:
        self.both(lambda store: store.return_budgets(names, token))

    @rule(name=small, data=bodies)
    def blobs(self, name: str, data: bytes) -> None:
        self.both(lambda store: store.put_blob(name, data))
        self.both(lambda store: store.get_blob(name))

    @rule(customer=customers, place=st.integers(0, 9))
    def find_record(self, customer: str, place: int) -> None:
        logged = self.both(lambda store: store.log_records(partition_of(customer)))
        if place < len(logged):
            self.both(lambda store: store.find_record(logged[place].id))

    @invariant()
    def everything_stored_agrees(self) -> None:
        for customer in CUSTOMERS:
            pairs = [self.read(customer, request) for request in NAMES]
            if not self.seen[customer] or pairs[0] != self.seen[customer][-1]:
                self.seen[customer].append(pairs[0])
            self.both(lambda store, name=customer: store.log_records(partition_of(name)))


def test_both_stores_answer_the_same_to_any_sequence_of_calls(redis_url: str) -> None:
    machine = type("Driven", (Machine,), {"url": redis_url})
    run_state_machine_as_test(
        machine, settings=settings(deadline=None, max_examples=40, stateful_step_count=25)
    )
