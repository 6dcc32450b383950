"""Feast's online read of the features of one customer, from Redis: µs of CPU of the process that asks.

    python -m benchmarks._http.peers.feast_read 127.0.0.1:6379 <FEATURES.json

FEATURES.json is customer → feature → number. Prints a number: of the plain call,
or of the asynchronous one with several under way, whichever is less.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64
from feast.value_type import ValueType

from benchmarks._http.timing import AT_ONCE, cost


def main(redis: str) -> None:
    """Writes the features as Feast does, and times reading them."""
    customers: dict[str, dict[str, float]] = json.load(sys.stdin)
    names = list(next(iter(customers.values())))
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            {"customer_id": key, "at": datetime.now(UTC), **values}
            for key, values in customers.items()
        ]
        frame = pandas.DataFrame(rows)
        path = Path(folder) / "features.parquet"
        frame.to_parquet(path)
        customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
        view = FeatureView(
            name="profile",
            entities=[customer],
            ttl=timedelta(days=365),
            schema=[Field(name=name, dtype=Float64) for name in names],
            source=FileSource(path=str(path), timestamp_field="at"),
        )
        store = FeatureStore(
            config=RepoConfig(
                project="bench",
                provider="local",
                registry=str(Path(folder) / "registry.db"),
                online_store={"type": "redis", "connection_string": redis},
                entity_key_serialization_version=3,
            )
        )
        store.apply([customer, view])
        store.write_to_online_store("profile", frame)
        wanted, turn = [f"profile:{name}" for name in names], itertools.cycle(customers)

        def read() -> dict[str, list[object]]:
            found: dict[str, list[object]] = store.get_online_features(
                wanted, [{"customer_id": next(turn)}]
            ).to_dict()
            return found

        got = read()
        first = next(iter(customers.values()))
        assert {name: got[name][0] for name in names} == first, "Feast reads something else"
        print(min(cost(read), _at_once(store, wanted, customers)))


def _at_once(store: FeatureStore, wanted: list[str], customers: Iterable[str]) -> float:
    """µs of a read where several are under way, by Feast's asynchronous call."""
    turn = itertools.cycle(customers)

    async def read() -> None:
        (await store.get_online_features_async(wanted, [{"customer_id": next(turn)}])).to_dict()

    async def some() -> None:
        await asyncio.gather(*(read() for _ in range(AT_ONCE)))

    with asyncio.Runner() as runner:
        return cost(lambda: runner.run(some())) / AT_ONCE


if __name__ == "__main__":
    main(*sys.argv[1:])
