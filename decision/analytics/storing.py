"""Stores segments as attributes of known customers, or writes them to a file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from decision.analytics.segments import Segments
from decision.core.errors import InputError, NotFound
from decision.core.schema import CustomerUpdate
from decision.core.values import Value
from decision.engine import Engine
from decision.files import replacing
from decision.progress import SILENT, Progress

_IN_FLIGHT: Final = 128


class Stored(NamedTuple):
    """How many customers got their attributes, and how many are not in the store."""

    stored: int = 0
    unknown: int = 0


async def store_segments(engine: Engine, found: Segments, progress: Progress = SILENT) -> Stored:
    """Writes the attributes of all customers who are in the store; creates no others.

    Raises:
        StoreUnavailable: some are written; this can be run again.
    """
    stored = unknown = 0
    with progress.bar("Customers") as move:

        async def work(rest: Iterator[tuple[str, dict[str, Value]]]) -> None:
            nonlocal stored, unknown
            for customer_id, attributes in rest:
                try:
                    await engine.customers.get(customer_id)
                    update = CustomerUpdate(attributes=attributes)
                    await engine.customers.update(customer_id, update)
                    stored += 1
                except (NotFound, InputError):  # or of an id that is refused by now
                    unknown += 1
                if (stored + unknown) % 256 == 0:
                    move(stored + unknown)

        rows = found.attributes()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_IN_FLIGHT):
                    group.create_task(work(rows))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
    return Stored(stored, unknown)


def write_segments(found: Segments, path: Path) -> None:
    """Writes the attributes as NDJSON that `nextbest load` reads."""
    with replacing(path) as file:
        for customer_id, attributes in found.attributes():
            row = {"customer_id": customer_id, "attributes": attributes}
            file.write(msgspec.json.encode(row) + b"\n")
