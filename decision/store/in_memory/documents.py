"""Customers' documents in memory, in the same bytes as in Redis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from decision.core.coupons import pool_of
from decision.core.identifiers import partition_of
from decision.core.ports import Commit, Committed, Conflict, LogRecord, ReadResult, Removed
from decision.store import codec
from decision.store.commits import EncodedCommit, encode_commit
from decision.store.in_memory.aliases import MemoryAliases
from decision.store.in_memory.base import Clock, Expiring
from decision.store.in_memory.budgets import MemoryBudgets
from decision.store.in_memory.counts import MemoryCounts
from decision.store.in_memory.coupons import MemoryCoupons
from decision.store.in_memory.holds import MemoryHolds
from decision.store.in_memory.log import MemoryLog
from decision.store.in_memory.provider_ids import MemoryProviderIds
from decision.store.in_memory.timers import MemoryTimers
from decision.store.keys import ERASURE_LASTS, event_digest
from decision.store.uptime import uptime

_PRUNE_EVERY: Final = 64
_MOST_CLAIMS: Final = 16
_NUL: Final = "\0"
_FOR_GOOD: Final = "for good"


_A_PART: Final = 250


class MemoryDocuments(
    MemoryAliases,
    MemoryBudgets,
    MemoryCoupons,
    MemoryLog,
    MemoryProviderIds,
    MemoryTimers,
    MemoryHolds,
    MemoryCounts,
):
    """Implements `DocumentStore`, step by step as the Lua scripts do."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._documents: dict[str, bytes] = {}
        self._answers: defaultdict[str, Expiring[str, bytes]] = defaultdict(Expiring)
        self._events: defaultdict[str, Expiring[bytes, bool]] = defaultdict(Expiring)
        self._erased: Expiring[str, float] = Expiring()

    async def read(
        self,
        customer_id: str,
        *,
        request_id: str | None = None,
        budgets: Sequence[str] = (),
        event_ids: Sequence[str] = (),
        timeout: float | None = None,
    ) -> ReadResult:
        raw = self._documents.get(customer_id, b"")
        document, version = codec.decode(customer_id, raw, self._register)
        found = ReadResult(
            document=document,
            version=version,
            raw=raw,
            answer=self._answer(customer_id, request_id),
            budgets={name: self._spent.get(name, 0) for name in budgets},
            budgets_end=self._ends[0][0] if budgets and self._ends else None,
            known_events=self._known(customer_id, event_ids),
        )
        if self._pools or self._made_up is not None:
            for name in budgets:
                if (pool := pool_of(name)) is not None:
                    self._read_pool(found, pool)
        return found

    async def customer_ids(self) -> AsyncIterator[list[str]]:
        yield list(self._documents)

    async def walk(self, place: str) -> tuple[list[str], str | None]:
        ids, first = sorted(self._documents), int(place or 0)
        end = first + _A_PART
        return ids[first:end], str(end) if end < len(ids) else None

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Committed | Conflict:
        encoded = encode_commit(commit, self._register)
        while wanted := self._register.names.take_wanted():
            names = self._register.names
            names.learn(len(names.entries), names.missing(wanted))
            encoded = encode_commit(commit, self._register)
        customer_id = commit.customer_id
        raw = self._documents.get(customer_id)
        digest, versions, _ = codec.split(customer_id, raw) if raw else codec.NOTHING
        if digest == encoded.digest:
            return Committed()
        erased = self._erased_since(commit)
        unsettled = self._unsettled(commit) if commit.settled else ()
        if erased or unsettled or self._conflicts(commit, encoded, versions):
            latest = await self.read(
                customer_id, request_id=commit.request_id, event_ids=commit.event_ids
            )
            return Conflict(latest=latest, erased=erased, unsettled=unsettled)
        if commit.units is not None:
            self._take(commit.units, commit.units.token or commit.id)
        self._append(partition_of(customer_id), commit.records)
        if encoded.write:
            self._documents[customer_id] = encoded.spliced(raw or b"")
        now = self._clock()
        if commit.request_id is not None:
            answers = self._answers[customer_id]
            answers[commit.request_id] = (now + encoded.answer_lasts / 1000, encoded.answer)
            if len(answers) % _PRUNE_EVERY == 0:
                answers.forget_expired(now)
        if commit.event_ids:
            known = self._events[customer_id]
            expiry = now + encoded.event_ids_last / 1000
            known.update(dict.fromkeys(encoded.event_digests, (expiry, True)))
            if len(known) % _PRUNE_EVERY == 0:
                known.forget_expired(now)
        if commit.deliveries or commit.settled:
            await self._write_deliveries(commit)
        if commit.wake is not None or commit.tally:
            self._write_timer(commit)
        return Committed()

    def _erased_since(self, commit: Commit) -> bool:
        unless = commit.unless_erased
        if unless is None:
            return False
        at = self._erased.live(unless.pseudonym, self._clock())
        return at is not None and at >= unless.since

    def _conflicts(
        self, commit: Commit, encoded: EncodedCommit, versions: tuple[int, int, int]
    ) -> bool:
        if self._answer(commit.customer_id, commit.request_id) is not None:
            return True
        if self._known(commit.customer_id, commit.event_ids):
            return True
        units = commit.units
        if units is not None and self._may_not_take(units, units.token or commit.id):
            return True
        pairs = zip(codec.LETTERS, encoded.versions, versions, strict=True)
        return any(letter in encoded.expect and a != b for letter, a, b in pairs)

    def _answer(self, customer_id: str, request_id: str | None) -> bytes | None:
        if request_id is None or customer_id not in self._answers:
            return None
        return self._answers[customer_id].live(request_id, self._clock())

    async def claim_answer(
        self,
        customer_id: str,
        request_id: str,
        decision_id: str,
        claim: str,
        *,
        timeout: float | None = None,
    ) -> bool:
        answer = self._answer(customer_id, request_id)
        if answer is None or decision_id.encode() not in answer:
            return False
        claims = self._claims(customer_id, request_id, decision_id)
        if len(claims) <= _MOST_CLAIMS:
            claims.append(claim if len(claims) < _MOST_CLAIMS else _FOR_GOOD)
            self._note_claims(customer_id, request_id, claims)
        return True

    async def disclaim_answer(
        self, customer_id: str, request_id: str, decision_id: str, claim: str
    ) -> bool:
        answer = self._answer(customer_id, request_id)
        if answer is None or decision_id.encode() not in answer:
            return True
        claims = self._claims(customer_id, request_id, decision_id)
        left = [one for one in claims if one != claim]
        if left:
            self._note_claims(customer_id, request_id, left)
            return False
        answers = self._answers[customer_id]
        del answers[request_id]
        answers.pop(_NUL + request_id, None)
        return True

    def _claims(self, customer_id: str, request_id: str, decision_id: str) -> list[str]:
        answers = self._answers[customer_id]
        expiry, claims = answers.get(_NUL + request_id, (0, b""))
        current = expiry == answers[request_id][0]
        return claims.decode().split(_NUL) if current else [decision_id]

    def _note_claims(self, customer_id: str, request_id: str, claims: list[str]) -> None:
        answers = self._answers[customer_id]
        answers[_NUL + request_id] = (answers[request_id][0], _NUL.join(claims).encode())

    def _known(self, customer_id: str, event_ids: Sequence[str]) -> frozenset[str]:
        if not event_ids or customer_id not in self._events:
            return frozenset()
        known, now = self._events[customer_id], self._clock()
        return frozenset(name for name in event_ids if known.live(event_digest(name), now))

    async def stray_aliases(self) -> dict[str, str]:
        return {
            repr(alias): owner
            for alias, owner in self._aliases.items()
            if owner not in self._documents
        }

    async def delete_stray_aliases(self, stray: Mapping[str, str]) -> int:
        names = stray.keys() & (await self.stray_aliases()).keys()
        for alias in [alias for alias in self._aliases if repr(alias) in names]:
            del self._aliases[alias]
        return len(names)

    async def erase(
        self, customer_id: str, record: LogRecord, pseudonym: str | None = None
    ) -> Removed:
        raw = self._documents.pop(customer_id, b"")
        document, _ = codec.decode(customer_id, raw, self._register)
        for kind, values in document.aliases.items():
            for value in values:
                await self.delete_alias(kind, value, customer_id)
        self._append(partition_of(customer_id), [record])
        deliveries = await self._forget_deliveries(customer_id)
        provider_ids = self._forget_provider_ids(customer_id)
        self._forget_timers(customer_id, document.journeys)
        self._forget_parked(customer_id, document.journeys)
        if pseudonym is not None:
            now = self._clock()
            self._erased.forget_expired(now)
            self._erased[pseudonym] = (now + ERASURE_LASTS / 1000, uptime())
        return Removed(
            documents=int(bool(raw)),
            aliases=sum(map(len, document.aliases.values())),
            answers=len(self._answers.pop(customer_id, ())),
            event_ids=len(self._events.pop(customer_id, ())),
            deliveries=deliveries,
            provider_ids=provider_ids,
        )
