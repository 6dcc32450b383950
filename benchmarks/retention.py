"""What Redis keeps, in bytes, and a decision's record by its parts.

    python -m benchmarks.retention [--customers 2000] [--url redis://…]

Two policies, as in `benchmarks.decision_cost`: the sample's, and a made-up one with 100 candidates,
half of which are scored. Each customer has 20 contacts, a history of events, and asks once, with a
request id and an event of a new id. Bytes are those of `MEMORY USAGE`, of all keys, samples 0: what
Redis takes for key and value, without its hash tables and without fragmentation. A record's parts are those
of its MessagePack.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections import defaultdict
from typing import Any

import msgspec

from benchmarks.decision_cost import fill, made_up, make_engine, request_for, sample
from decision.core import records
from decision.core.definition import PolicyDefinition
from decision.core.identifiers import PARTITIONS
from decision.core.records import DecisionLine
from decision.core.schema import DecisionRequest
from decision.engine import Engine
from decision.store import EmbeddedRedis, RedisStore
from decision.store.kinds_of_keys import kind_of

_AT_A_TIME = 500


def asked(customer_id: str) -> DecisionRequest:
    """A request as most callers send it: it may be repeated, and so may its event."""
    request = request_for(customer_id)
    assert request.event is not None
    event = msgspec.structs.replace(request.event, id=f"event-{customer_id}")
    return msgspec.structs.replace(request, request_id=f"request-{customer_id}", event=event)


async def memory(store: RedisStore) -> dict[str, tuple[int, int]]:
    """Kind of key → how many there are, and their bytes."""
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    cursor: Any = 0
    cut = len(store.keys.prefix.encode())
    while True:
        command = ("SCAN", cursor, "MATCH", f"{store.keys.prefix}*", "COUNT", _AT_A_TIME)
        cursor, names = await store.connection.call(command, 30.0)
        usage = [("MEMORY", "USAGE", name, "SAMPLES", 0) for name in names]
        sizes = await store.connection.pipeline(usage, 30.0) if usage else []
        for name, size in zip(names, sizes, strict=True):
            one = found[kind_of(name[cut:]).name]
            one[0] += 1
            one[1] += size or 0
        if int(cursor) == 0:
            return {name: (count, size) for name, (count, size) in sorted(found.items())}


async def record_parts(store: RedisStore) -> dict[str, float]:
    """Part of a decision's record → its bytes, on average; `record` is all of it."""
    found: defaultdict[str, float] = defaultdict(float)
    number = 0
    for partition in range(PARTITIONS):
        for entry in await store.log_records(partition):
            if entry.kind != "decision":
                continue
            number += 1
            found["record"] += len(entry.body)
            values = msgspec.msgpack.decode(entry.body)
            for name, value in zip(DecisionLine.__struct_fields__, values, strict=True):
                found[name] += len(msgspec.msgpack.encode(value))
            record = records.decode_decision(entry.body)
            found["survivors, number"] += len(record.candidates.probability) / 8
    return {name: size / number for name, size in sorted(found.items(), key=lambda one: -one[1])}


async def measure(
    url: str, prefix: str, definition: PolicyDefinition, customers: int, event_types: int
) -> dict[str, Any]:
    store = RedisStore(url, prefix=prefix, timeout=30.0)
    engine: Engine = await make_engine(definition, None, store)
    names = await fill(engine, store, customers, event_types=event_types)
    before = await memory(store)
    for at in range(0, len(names), 16):
        await asyncio.gather(*(engine.decide(asked(name)) for name in names[at : at + 16]))
    after = await memory(store)
    parts = await record_parts(store)
    await store.close()
    return {"customers": customers, "before": before, "after": after, "record": parts}


async def run(url: str, customers: int) -> dict[str, Any]:
    return {
        "sample": await measure(url, "sample:", sample(), customers, 0),
        "100 candidates": await measure(url, "made-up:", made_up(event_types=10), customers, 10),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=2000)
    parser.add_argument("--url", help="a Redis to use instead of one that is started")
    options = parser.parse_args()
    if options.url:
        found = asyncio.run(run(options.url, options.customers))
    else:
        with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(folder) as url:
            found = asyncio.run(run(url, options.customers))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
