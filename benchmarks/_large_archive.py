"""A large archive, made quickly: real decisions of the sample policy, archived by the archiver, and
then many copies of their rows with other customers, times and ids, written as the archiver writes.

The copies are made by day: some days that end with the present, each with its files of every
dataset. A few customers are merged; a few decisions nobody was given.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks._standard import NOW, fill
from benchmarks.decision_cost import make_engine, request_for, sample
from decision.archive.archiver import Archiver
from decision.archive.change import TableChange
from decision.archive.features import types_of
from decision.archive.folder import ArchiveFolder
from decision.archive.layout import DATASETS, POLICIES, REGISTERS, schema_of
from decision.archive.progress import Progress
from decision.archive.query import Database, open_database
from decision.archive.table import Table
from decision.archive.tables import files
from decision.core.clock import DAY, MINUTE, to_micros
from decision.core.definition import PolicyDefinition
from decision.core.identifiers import decision_id
from decision.core.schema import DecisionRequest, Event
from decision.rulebook.reader import load_files
from decision.store import MemoryStore

DAYS: Final = 90
SEED: Final = 3
BASE: Final = 2_000
"""Decisions that are really made; the rest are their copies."""
PEOPLE_PER_DECISION: Final = 0.2
_VARIANT: Final = (
    "CASE WHEN cardinality(experiments) > 0 THEN map_from_entries([row(map_keys(experiments)[1], "
    "CASE hash(new_customer) % 2 WHEN 0 THEN 'control' ELSE 'short' END)]) ELSE experiments END"
)
"""A customer is always in the same variant, and in the control group or not."""
_HELD: Final = "hash(new_customer) % 50 = 1"


async def real(folder: Path, definition: PolicyDefinition) -> None:
    """Decisions of a policy, and events about them and beside them, archived."""
    store = MemoryStore(lambda: NOW / 1e6)
    engine = await make_engine(definition, None, store)
    names = await fill(engine, store, customers=400)
    draw = Random(SEED)
    for number in range(BASE):
        name, at = names[number % len(names)], NOW + number * 1000
        request = request_for(name)
        if number % 3 == 0 and "app_home" in engine.snapshot.policy.placements:
            request = DecisionRequest(placement="app_home", customer_id=name)
        got = await engine.decide(request, now=at)
        about = {"customer_id": name, "decision_id": got.decision_id}
        if got.outcome == "selected":
            kinds = ("shown", "opened", "clicked")[: draw.randint(0, 3)]
            await engine.events.record([Event(type=f"message.{k}", **about) for k in kinds], now=at)
        done = [Event(type="app_open", customer_id=name)] * draw.randint(0, 1)
        if draw.random() < 0.25:
            amount = round(draw.lognormvariate(3, 1), 2)
            done += [Event(type="purchase", customer_id=name, properties={"amount": amount})]
        if done:
            await engine.events.record(done, now=at)
    own = ArchiveFolder(folder)
    with own.claimed():
        archiver = Archiver(own, store, clock=lambda: NOW, keep=10**15)
        await archiver.open()
        await archiver.run()


def wide() -> PolicyDefinition:
    """39 messages on two channels each: 78 candidates, all of which can be chosen by most."""
    lines = ["settings: {timezone: Asia/Shanghai, exploration: 40}"]
    lines += ["purposes: {marketing: {consent: opt_in}}"]
    lines += ["channels: {push: {cost: 0.01}, email: {cost: 0.002}}"]
    lines += ["placements: {outbound: {channels: [push, email]}}", "messages:"]
    for number in range(39):
        lines += [
            f"  m{number}: {{purpose: marketing, category: k{number % 8}, tags: [t{number % 5}],",
            f"    channels: [push, email], value: {1 + number % 12},",
            f"    when: {{customer.a{number % 20}: {{gte: {number % 3}}}}},",
            "    goal: {event: purchase, within: 1d}, content: {title: t}}",
        ]
    read = load_files({"wide.yaml": "\n".join(lines)})
    assert read.definition is not None, read
    return read.definition


def make(
    folder: Path,
    decisions: int,
    now: datetime,
    *,
    definition: PolicyDefinition | None = None,
    days: int = DAYS,
) -> None:
    """Makes the archive; `folder` must not be there yet. The policy is the sample's by default."""
    work = folder.with_name(folder.name + ".base")
    shutil.rmtree(work, ignore_errors=True)
    asyncio.run(real(work, definition or sample()))
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for name in (POLICIES, REGISTERS):
        shutil.copytree(work / name, part / name)
    with open_database() as database:
        tables = {}
        for dataset in DATASETS:
            parts = [pq.read_table(path, partitioning=None) for path in files(work, dataset)]
            tables[dataset] = (
                pa.concat_tables(parts, promote_options="default")
                if parts
                else schema_of(dataset).empty_table()
            )
            database.connection.register(dataset, tables[dataset])
        _copy(database, tables, ArchiveFolder(part), decisions, now, days)
    shutil.rmtree(work)
    part.rename(folder)


def _copy(
    database: Database,
    tables: dict[str, Any],
    folder: ArchiveFolder,
    decisions: int,
    now: datetime,
    days: int,
) -> None:
    ids = database.execute("SELECT DISTINCT decision_id FROM decisions ORDER BY ALL").fetchnumpy()[
        "decision_id"
    ]
    generator = np.random.default_rng(SEED)
    people = max(1, int(decisions * PEOPLE_PER_DECISION))
    today = now.astimezone(UTC).date()
    with folder.writing():
        Progress.make(folder, "archive")
        for day in range(days):
            date = today - timedelta(days=days - day)
            own = decisions * (day + 1) // days - decisions * day // days
            begin = to_micros(datetime(date.year, date.month, date.day, tzinfo=UTC))
            copies: dict[str, list[Any]] = {dataset: [] for dataset in DATASETS}
            for number in range(0, own, len(ids)):
                size = min(len(ids), own - number)
                given = pa.table(_others(ids[:size], people, begin, generator))
                database.connection.register("other", given)
                for dataset, table in _copied(database, tables, f"{day}-{number}", people):
                    copies[dataset].append(table.cast(tables[dataset].schema))
            for dataset, parts in copies.items():
                if parts and any(map(len, parts)):
                    table = Table.make(folder, dataset)
                    rows = pa.concat_tables(parts)
                    table.widen(types_of(rows.schema) if dataset == "decisions" else None)
                    change = TableChange(table)
                    change.add(date.isoformat(), rows)
                    change.commit()


def _others(ids: Any, people: int, begin: int, generator: np.random.Generator) -> dict[str, Any]:
    """For each decision another id, customer and time within the day."""
    at = np.sort(generator.integers(begin, begin + DAY - 30 * MINUTE, len(ids)))
    customers = generator.integers(0, people, len(ids)).tolist()
    lots = generator.integers(0, 1 << 60, len(ids)).tolist()
    new = [
        decision_id(int(one) // 1000, customer % 256, lot)
        for one, customer, lot in zip(at.tolist(), customers, lots, strict=True)
    ]
    return {
        "decision_id": pa.array(ids.astype(object), pa.string()),
        "new_id": pa.array(new, pa.string()),
        "new_customer": pa.array([f"c-{one}" for one in customers], pa.string()),
        "new_at": pa.array(at, pa.timestamp("us", tz="UTC")),
    }


def _copied(
    database: Database, tables: dict[str, Any], mark: str, people: int
) -> Iterator[tuple[str, Any]]:
    """The rows of each dataset for the decisions of `other`, and as many of what has no decision."""
    about = "JOIN other USING (decision_id)"
    own = {"decision_id": "new_id", "customer_id": "new_customer"}
    later = "new_at + INTERVAL 1 SECOND * (1 + hash(event_id) % 1500)"
    free = "SELECT *, row_number() OVER () AS place FROM"
    decided = own | {"decided_at": "new_at", "experiments": _VARIANT, "holdout": _HELD}
    queries = {
        "decisions": f"SELECT {_but(tables, 'decisions', decided)} "
        f"FROM decisions {about} ORDER BY decided_at, position",
        "replays": f"SELECT {_but(tables, 'replays', own | {'decided_at': 'new_at'})} "
        f"FROM replays {about} ORDER BY decided_at",
        "outcomes": f"SELECT {_but(tables, 'outcomes', own | {'at': later, 'event_id': _id(mark)})}"
        f" FROM outcomes {about}",
        "events": f"SELECT {_but(tables, 'events', _event(own, later, mark))} "
        f"FROM events {about} UNION ALL "
        f"SELECT {_but(tables, 'events', _event({'customer_id': 'new_customer'}, later, mark))} "
        f"FROM ({free} events WHERE decision_id IS NULL) "
        f"JOIN (SELECT * EXCLUDE (decision_id), row_number() OVER () AS place FROM other) "
        "USING (place)",
        "changes": f"SELECT new_id AS change_id, 'c-' || hash(new_id) % {people} AS customer_id, "
        "'merge' AS kind, new_at AS at, json_object('from', 'c-' || hash(new_at) % "
        f"{people})::VARCHAR AS detail FROM other WHERE hash(new_id) % 500 = 0 UNION ALL "
        "SELECT new_id, new_customer, 'not_given', new_at, json_object('decision_id', new_id)"
        "::VARCHAR FROM other WHERE hash(new_id) % 1000 = 1",
        "journeys": _journeys(mark),
    }
    for dataset, query in queries.items():
        yield dataset, database.connection.sql(query).to_arrow_table()


def _but(tables: dict[str, Any], dataset: str, changed: dict[str, str]) -> str:
    names = tables[dataset].column_names
    return ", ".join(
        f'{changed[name]} AS "{name}"' if name in changed else f'"{name}"' for name in names
    )


def _id(mark: str) -> str:
    return f"event_id || '{mark}'"


def _event(own: dict[str, str], later: str, mark: str) -> dict[str, str]:
    return {**own, "at": later, "received_at": later, "event_id": _id(mark)}


def _journeys(mark: str) -> str:
    """A run of `welcome` for one decision in ten: it enters two steps, and most reach the goal."""
    names = {
        "record_id": "new_id || number", "customer_id": "new_customer",
        "at": "new_at + INTERVAL 1 HOUR * number", "journey": "'welcome'", "run": "new_id",
        "started": "new_at", "steps": "['step' || number || ':wait']", "event_id": f"new_id || '{mark}'",
        "ended": "CASE WHEN number = 2 AND hash(new_id) % 3 > 0 THEN 'goal' END",
    }  # fmt: skip
    schema = schema_of("journeys")
    columns = ", ".join(f'{names.get(one.name, "NULL")} AS "{one.name}"' for one in schema)
    return f"SELECT {columns} FROM other, range(1, 3) AS r(number) WHERE hash(new_id) % 10 = 2"
