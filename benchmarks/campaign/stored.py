"""What is in Redis in the end: log, documents, budgets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec
from redis.asyncio import Redis

from benchmarks.campaign.archiver import Archiver
from decision.core.clock import SECOND
from decision.core.document import ContactState
from decision.core.identifiers import PARTITIONS
from decision.store import RedisStore

_AT_ONCE: Final = 200


class Pick(msgspec.Struct):
    message: str
    channel: str


class Record(msgspec.Struct):
    """The parts of a decision's record that are compared."""

    decision_id: str
    decided_at: int
    customer_id: str
    outcome: str
    request_id: str | None = None
    selections: list[Pick] = []
    degraded: list[str] = []

    @property
    def picks(self) -> tuple[tuple[str, str], ...]:
        return tuple((pick.message, pick.channel) for pick in self.selections)


class _Happened(msgspec.Struct):
    event_id: str
    customer_id: str


class Contact(NamedTuple):
    """A contact of a customer's document. `until` is microseconds, 0 where it has no end."""

    customer: str
    message: str
    channel: str
    at: int
    state: ContactState
    until: int
    tag: int

    def held(self, now: int) -> bool:
        """Whether it counts at a time."""
        if self.state == ContactState.RESERVED_THEN_RELEASE:
            return self.until > now
        return self.state != ContactState.RELEASED


class Customer(NamedTuple):
    """A customer's document."""

    attributes: dict[str, Any]
    moved_to: str | None
    exists: bool
    denied: bool


class Stored:
    """`read` fills it."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.twice: list[str] = []
        self.events: Counter[str] = Counter()
        self.customers: dict[str, Customer] = {}
        self.contacts: list[Contact] = []
        self.units: dict[tuple[str, str], int] = {}
        """(decision id, counter) → rank: odd while the unit is held."""
        self.counters: dict[str, int] = {}
        self.ends: set[str] = set()
        """`<decision id>:<counter>` of reservations that end by themselves."""

    async def read(self, redis_url: str, customers: Iterable[str], archive: Archiver) -> Stored:
        """Reads everything, of these customers. What is archived counts as the log does."""
        await asyncio.to_thread(self._archive, archive)  # the proxy runs in this loop
        store = RedisStore(redis_url, timeout=60)
        await store.start()
        try:
            await self._log(store)
            names = list(customers)
            for first in range(0, len(names), _AT_ONCE):
                await asyncio.gather(
                    *(self._customer(store, name) for name in names[first : first + _AT_ONCE])
                )
            async with Redis.from_url(redis_url) as redis:
                await self._budgets(redis, store)
        finally:
            await store.close()
        return self

    def _archive(self, archive: Archiver) -> None:
        columns = ["decision_id", "decided_at", "customer_id", "outcome", "request_id", "message"]
        columns += ["channel", "position", "degraded"]
        known: set[tuple[str, int]] = set()
        for row in archive.rows("decisions", columns):
            place = row["decision_id"], row.pop("position") or 0
            if place in known:
                self.twice.append(place[0])
            known.add(place)
            message, channel = row.pop("message"), row.pop("channel")
            row["decided_at"] = int(row["decided_at"].timestamp() * 1_000_000)
            record = self.records.setdefault(place[0], Record(**row, selections=[]))
            if message is not None:
                record.selections.append(Pick(message, channel))
        for row in archive.rows("events", ["event_id"]):
            self.events[row["event_id"]] += 1

    async def _log(self, store: RedisStore) -> None:
        decision = msgspec.msgpack.Decoder(Record).decode
        happened = msgspec.msgpack.Decoder(_Happened).decode
        events: Counter[str] = Counter()
        logged: set[str] = set()
        for partition in range(PARTITIONS):
            position = ""
            while page := (await store.read_logs({partition: position}, 5_000)).get(partition):
                position = page[-1].entry_id
                for entry in page:
                    kind, body = entry.record.kind, entry.record.body
                    if kind == "decision":
                        record = decision(body)
                        if record.decision_id in logged:
                            self.twice.append(record.decision_id)
                        logged.add(record.decision_id)
                        self.records[record.decision_id] = record
                    elif kind == "event":
                        events[happened(body).event_id] += 1
        for event_id, count in events.items():
            self.events[event_id] = max(count, self.events[event_id])

    async def _customer(self, store: RedisStore, name: str) -> None:
        document = (await store.read(name)).document
        denied = any(not consent.granted for consent in document.consents.get("tips", {}).values())
        self.customers[name] = Customer(
            document.attributes, document.moved_to, document.exists, denied
        )
        for contact in document.contacts:
            kind = document.kinds[contact.kind]
            until = contact.at + contact.mark * SECOND if contact.state <= 1 else 0
            self.contacts.append(
                Contact(
                    *(name, kind.message, kind.channel, contact.at),
                    *(ContactState(contact.state), until, contact.tag),
                )
            )

    async def _budgets(self, redis: Redis, store: RedisStore) -> None:
        async for key in redis.scan_iter(match="nb:{p*}:t:*", count=5_000):
            token = key.decode().partition("}:t:")[2]
            for name, rank in (await redis.hgetall(key)).items():
                if name:
                    self.units[token, name.decode()] = int(rank)
        names = [key.decode() async for key in redis.scan_iter(match="nb:{budget}:n:*")]
        counters = [name.partition("}:n:")[2] for name in names]
        counts = await store.budget_counts(counters) if counters else {}
        self.counters = {name: count.taken for name, count in counts.items()}
        async for key in redis.scan_iter(match="nb:{p*}:ends", count=5_000):
            self.ends |= {each.decode() for each in await redis.zrange(key, 0, -1)}
