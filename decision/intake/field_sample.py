"""What customers, events and requests have, from a sample: for `nextbest check --against`."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from time import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from decision.core.errors import FileError
from decision.rulebook.review.observed_types import ObservedFields
from decision.rulebook.review.observed_values import Tally, unread_in

if TYPE_CHECKING:
    from decision.store.redis_store import RedisStore

MOST_ROWS: Final = 20_000
"""Rows of a file that are looked at."""

MOST_CUSTOMERS: Final = 5_000
"""Customers of a store that are looked at."""

_PER_PARTITION: Final = 40
_DEEPEST: Final = 8
_STORE: Final = re.compile(r"(redis|rediss|unix)://")
_DAYS: Final = (1, 7, 30)


def known_fields(
    against: str, *, id_column: str = "customer_id", key_prefix: str = "nb:"
) -> ObservedFields:
    """What is known from a store (`redis://…`, `rediss://…`, `unix://…`) or a customers file.

    A file is CSV, NDJSON or Parquet, as `nextbest load` takes it, with `id_column` as there, of
    customers or of events; its first 20,000 rows count, and rows that cannot be read are left out.
    Of a store, 5,000 customers and some of each partition's log count.

    Raises:
        FileError: the file cannot be read or has neither, or the store cannot be reached.
    """
    if _STORE.match(against):
        return asyncio.run(_from_store(against, key_prefix))
    return _from_file(against, id_column)


class _Collector:
    """Gathers names."""

    def __init__(self) -> None:
        self.customers = 0
        self.attributes: set[str] = set()
        self.types: set[str] = set()
        self.properties: defaultdict[str, set[str]] = defaultdict(set)
        self.context: set[str] = set()
        self.versions: dict[str, int] = {}
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)

    def paths(self, found: dict[str, Any], prefix: str) -> Iterator[str]:
        """The paths of values, which are taken in under a prefix."""
        for path, value in _paths(found):
            self.tallies[prefix + path].add(value)
            yield path

    def customer(self, attributes: dict[str, Any]) -> None:
        """Takes in one customer's attributes."""
        self.customers += 1
        self.attributes.update(self.paths(attributes, "customer."))

    def event(self, kind: str, properties: dict[str, Any]) -> None:
        """Takes in one event."""
        self.types.add(kind)
        self.properties[kind].update(self.paths(properties, f"events.{kind}."))

    def known(self, sample: str, *, context: bool) -> ObservedFields:
        """All that was gathered; events and context only where there were any."""
        return ObservedFields(
            sample=sample,
            customers=self.customers,
            attributes=frozenset(self.attributes),
            event_types=frozenset(self.types) or None,
            properties={kind: frozenset(names) for kind, names in self.properties.items()},
            context=frozenset(self.context) if context else None,
            types={path: frozenset(tally.types) for path, tally in self.tallies.items()},
            unread=unread_in(self.tallies),
            versions=tuple(sorted(self.versions, key=self.versions.__getitem__, reverse=True)),
        )


def _paths(found: dict[str, Any], depth: int = 1) -> Iterator[tuple[str, Any]]:
    """Names, and dotted paths into objects, of everything that is not null, with its value."""
    for name, value in found.items():
        if value is None:
            continue
        yield name, value
        if isinstance(value, dict) and depth < _DEEPEST:
            for path, inner in _paths(value, depth + 1):
                yield f"{name}.{path}", inner


def _from_file(path: str, id_column: str) -> ObservedFields:
    from decision.intake.rows import RowOptions, format_of, read_rows

    options = RowOptions(id_column=id_column)
    collector = _Collector()
    problem, events = "", 0
    try:
        for read in islice(read_rows(path, format_of(path), options), MOST_ROWS):
            if read.row is None:
                problem = problem or f"{read.place}: {read.problem}"
                continue
            if read.kind == "customer":
                collector.customer(read.row.attributes)
            events += len(read.row.events)
            for event in read.row.events:
                collector.event(event.type, event.properties)
    except OSError as error:
        raise FileError(f"{path}: it cannot be read: {error.strerror or error}") from None
    if not collector.customers and not events:
        raise FileError(f"{path}: there is no customer in it{f'; {problem}' if problem else ''}")
    rows = f"{collector.customers:,} customers" if collector.customers else f"{events:,} events"
    return collector.known(f"the {rows} of {path}", context=False)


async def _from_store(url: str, key_prefix: str) -> ObservedFields:
    from decision.core.errors import StoreUnavailable
    from decision.store.redis_store import RedisStore
    from decision.store.sampling import sample_customers

    collector = _Collector()
    try:
        store = RedisStore(url, prefix=key_prefix)
        try:
            await store.start()
            for document in await sample_customers(store, MOST_CUSTOMERS):
                collector.customer(document.attributes)
                collector.types.update(document.events)
            asked = await _from_log(store, collector)
            runs = await store.tallies()
        finally:
            await store.close()
    except (StoreUnavailable, ValueError) as error:
        raise FileError(f"{_without_password(url)}: {error}") from None
    if not collector.customers:
        raise FileError(f"{_without_password(url)}: there is no customer in this store")
    sample = f"the {collector.customers:,} customers looked at in the store"
    return msgspec.structs.replace(collector.known(sample, context=asked), runs=runs)


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", url)


async def _from_log(store: RedisStore, collector: _Collector) -> bool:
    """Takes in some of the log, of the last day, week, month and of all; whether requests were
    among it."""
    from msgspec import MsgspecError

    from decision.core import records
    from decision.core.identifiers import PARTITIONS

    asked = False
    for position in (*(f"{int((time() - days * 86_400) * 1000)}-0" for days in _DAYS), ""):
        pages = await store.read_logs(dict.fromkeys(range(PARTITIONS), position), _PER_PARTITION)
        for entry in (entry for page in pages.values() for entry in page):
            try:
                if entry.record.kind == "event":
                    event = records.decode_event(entry.record.body)
                    collector.event(event.type, event.properties)
                elif entry.record.kind == "decision":
                    record = records.decode_decision(entry.record.body)
                    question, asked = record.question, True
                    latest = collector.versions.get(record.policy_version, record.decided_at)
                    collector.versions[record.policy_version] = max(latest, record.decided_at)
                    collector.context.update(collector.paths(question.context, "context."))
                    if question.event is not None:
                        collector.event(question.event.type, question.event.properties)
            except MsgspecError:
                continue  # of another version, or damaged
    return asked
