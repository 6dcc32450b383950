"""What a request's calls of Segment ask for, done, with what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from decision.core.errors import InputError, NotFound
from decision.core.schema import Alias, Event, EventsAnswer, Rejected
from decision.engine import Engine
from decision.intake.segment import Action
from decision.server.metrics import Metrics
from decision.server.segment_calls import change_customer

_AT_ONCE: Final = 8
"""Customers of a batch whose events are recorded at once."""


class SegmentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the calls of one request; `success` says no more than that it was read."""

    success: bool = True
    accepted: int
    duplicates: int
    rejected: list[Rejected] = []


async def store_actions(
    engine: Engine, metrics: Metrics, actions: dict[int, Action], rejected: dict[int, str]
) -> SegmentAnswer:
    """Does what calls ask for: customers first, so that events count for who they are then.

    Raises:
        StoreUnavailable: some may be stored; sending all of it again is safe.
    """
    events: list[Event] = []
    places: list[int] = []
    done = 0
    for index, action in actions.items():
        try:
            if isinstance(action, Event):
                events.append(action)
                places.append(index)
                continue
            await change_customer(engine, action)
            done += 1
        except (InputError, NotFound) as error:
            rejected[index] = str(error)
            metrics.recorded("", "rejected")
    duplicates = 0
    parts = _parts(events)
    for part, answer in zip(parts, await _record(engine, events, parts), strict=True):
        done += answer.accepted
        duplicates += answer.duplicates
        rejected |= {places[part[row.index]]: row.detail for row in answer.rejected}
    return SegmentAnswer(
        accepted=done,
        duplicates=duplicates,
        rejected=[Rejected(index, detail) for index, detail in sorted(rejected.items())],
    )


def _parts(events: Sequence[Event]) -> list[list[int]]:
    """The indexes of events in parts that are recorded at once, those of a customer in one."""
    parts: list[list[int]] = [[] for _ in range(_AT_ONCE)]
    numbers: dict[str | Alias | None, int] = {}
    for index, event in enumerate(events):
        who = event.customer_id or event.alias
        parts[numbers.setdefault(who, len(numbers)) % _AT_ONCE].append(index)
    return [part for part in parts if part]


async def _record(
    engine: Engine, events: Sequence[Event], parts: Sequence[Sequence[int]]
) -> list[EventsAnswer]:
    """Records events, part beside part: a customer after the other would take too long.

    Raises:
        StoreUnavailable: as `store_actions` does.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(engine.events.record([events[index] for index in part]))
                for part in parts
            ]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
