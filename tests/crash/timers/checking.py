"""By id: what the log has of every customer, a partition at a time, so that it fits into memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from decision.core import records as log
from decision.core.identifiers import PARTITIONS
from decision.core.ports import Store
from tests.crash.timers.story import Told, wrong


async def check(store: Store, customers: int) -> dict[str, Any]:
    """Each run has started once, went its way once, and ended once; what is found, in numbers.

    Raises:
        AssertionError: with the first faults, and how many there are.
    """
    seen, faults = bytearray(customers), list[str]()
    ends, asks, events = Counter[str](), 0, 0
    for partition in range(PARTITIONS):
        for customer, told in (await _told(store, partition)).items():
            number = int(customer.removeprefix("c-"))
            seen[number] = 1
            faults += (f"{customer}: {what}" for what in wrong(number, told))
            ends.update(one[1:] for one in told.said if one[0] == "!")
            asks += len(told.requests)
            events += sum(one[0] not in "+?!" for one in told.said)
    lost = [f"c-{number}" for number, there in enumerate(seen) if not there]
    faults += (f"{customer}: nothing" for customer in lost)
    assert not faults, f"{len(faults):,} faults, such as {faults[:20]}"
    counted = Counter[str]()
    for name, number in (await store.tallies()).items():
        counted[name.partition("\0")[2].removeprefix("!")] += number
    assert counted == ends, (counted, ends)
    return {"events": events, "asks": asks, "ends": dict(ends)}


async def _told(store: Store, partition: int) -> dict[str, Told]:
    """Customer → what the log of a partition has of them."""
    found: defaultdict[str, Told] = defaultdict(Told)
    for row in await store.log_records(partition):
        if row.kind == "decision":
            decision = log.decode_decision(row.body)
            found[decision.customer_id].decision(decision)
        elif row.kind == "journey":
            journey = log.decode_journey(row.body)
            found[journey.customer_id].journey(journey)
        elif row.kind == "event":
            event = log.decode_event(row.body)
            found[event.customer_id].event(event)
    return found
