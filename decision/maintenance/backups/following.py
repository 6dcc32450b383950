"""What a backup has no copy of, because it follows from what is copied: lists and timers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Final

import msgspec

from decision.core.delivery import HELD, DeliveryStatus
from decision.core.document import Document
from decision.core.identifiers import partition_of
from decision.core.journeys.runs import runs_of, standing
from decision.core.ports import DocumentStore
from decision.core.timers import HELD_BACK, TimerStore, bucket_begins
from decision.store.codec import UnreadableDocument
from decision.store.copying import CopiedKey
from decision.store.deliveries import decode_status, member_of, pack
from decision.store.keys import Keys
from decision.store.kinds_of_keys import customer_of

MAY_BE_SENT: Final = "restored from a backup: it may have been sent after that was taken"
"""Why a delivery that waited is held."""

_KEYS: Final = Keys("")
_OUTBOX: Final = re.compile(rb"\{p\d+\}:o:(.+)", re.DOTALL)
_RUNS: Final = re.compile(rb"\{p\d+\}:runs")


class DeliveryLists:
    """Which deliveries are due, and which are held. With `send` those that wait are due, else held.

    `waiting` counts them.
    """

    def __init__(self, *, send: bool) -> None:
        self.waiting = 0
        self._send = send

    def follow(self, key: CopiedKey) -> list[CopiedKey]:
        """The deliveries of a customer as they are to be written, and what lists them."""
        own = _OUTBOX.fullmatch(key.key)
        if own is None:
            return [key]
        customer, data = own[1].decode(errors="surrogateescape"), list(key.data)
        lists: list[CopiedKey] = []
        for place, name in enumerate(data[::2]):
            if not name.startswith(b"s"):
                continue
            status = decode_status(data[2 * place + 1])
            if status.state not in HELD:
                self.waiting += 1
                if not self._send and status.state in ("queued", "sending"):
                    status = _held(status)
                    data[2 * place + 1] = pack(status)
            lists.append(_listing(customer, name[1:].decode(), status))
        return [msgspec.structs.replace(key, data=data), *lists]


def _held(status: DeliveryStatus) -> DeliveryStatus:
    return DeliveryStatus(
        state="unknown",
        channel=status.channel,
        attempts=status.attempts,
        reason=MAY_BE_SENT,
        since=status.since,
        doubtful=True,
    )


def _listing(customer: str, name: str, status: DeliveryStatus) -> CopiedKey:
    """What says that a delivery is due since its state began, or held."""
    partition = partition_of(customer)
    held = status.state in HELD
    key = _KEYS.held(partition) if held else _KEYS.due(partition, status.channel)
    data = [member_of(customer, name).encode(), str(status.since).encode()]
    return CopiedKey(key.encode(), "zset", data, part=1)


class RunLists:
    """Timers and counts of runs, by the customers' documents."""

    def __init__(self, store: DocumentStore, timers: TimerStore) -> None:
        self._store, self._timers = store, timers
        self._standing: dict[int, Counter[str]] = {}

    def follow(self, key: CopiedKey) -> CopiedKey:
        """A key as it is to be written: counts of runs without those under way."""
        if not _RUNS.fullmatch(key.key):
            return key
        pairs = zip(key.data[::2], key.data[1::2], strict=True)
        kept = [part for pair in pairs if _is_ended(pair[0]) for part in pair]
        return msgspec.structs.replace(key, data=kept, part=1)

    async def written(self, keys: Sequence[CopiedKey], before: Mapping[bytes, bytes]) -> None:
        """Sets the timers of customers that were written, in place of what was there before."""
        times: dict[str, list[int]] = {}
        for key in keys:
            customer = customer_of(key.key)
            if customer is None:
                continue
            for raw, by in ((key.data[0], 1), (before.get(key.key, b""), -1)):
                document = self._document(customer, raw)
                if document is not None and document.journeys is not None:
                    self._count(document, by)
                    if by == 1:
                        times[customer] = _times(document)
        for turn in zip_longest(*times.values()):
            wakes = dict(zip(times, turn, strict=True))
            await self._timers.arm({who: at for who, at in wakes.items() if at is not None})

    def counts(self) -> list[CopiedKey]:
        """The counts of the runs under way."""
        found = []
        for partition, counts in self._standing.items():
            items = [(name.encode(), str(number).encode()) for name, number in (+counts).items()]
            key = _KEYS.timers(partition)[2].encode()
            found.append(CopiedKey(key, "hash", [part for one in items for part in one], part=1))
        return found

    def _document(self, customer: str, raw: bytes) -> Document | None:
        try:
            return self._store.unpack(customer, raw) if raw else None
        except UnreadableDocument:
            return None  # it stays as it was: whoever reads it is told

    def _count(self, document: Document, by: int) -> None:
        own = self._standing.setdefault(partition_of(document.customer_id), Counter())
        for name, number in standing(document).items():
            own[name] += number * by


def _is_ended(name: bytes) -> bool:
    """Whether a count is of runs that have ended for a reason."""
    what = name.rpartition(b"\0")[2]
    return what.startswith(b"!") and what != HELD_BACK.encode()


def _times(document: Document) -> list[int]:
    """When a customer is to be looked at: at the begin of far buckets, since the document relies on
    entries there, and for the next run, unless one of these comes before."""
    assert document.journeys is not None
    armed = [*map(bucket_begins, document.journeys.armed)]
    wake = min((run.wake for _, run in runs_of(document)), default=None)
    return armed if wake is None or min(armed, default=wake + 1) <= wake else [*armed, wake]
