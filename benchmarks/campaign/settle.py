"""At rest, clients send again what they have no answer of: as they would, for as long as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from benchmarks.campaign.journal import Journal
from benchmarks.campaign.load import Load, post
from benchmarks.campaign.seen import Seen

_AT_ONCE = 50


async def settle(ports: list[int], folder: Path, seen: Seen) -> dict[str, int]:
    """Events, merges, and decisions with a request id; how many of each were sent again."""
    load = Load(ports, Journal(folder / "journal-settle.ndjson"), "settle", "settle")
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(work: Coroutine[Any, Any, Any]) -> None:
        async with places:
            await work

    events = [event.body for event in seen.events.values() if not event.accepted]
    unanswered = {
        (lost.customer, lost.request_id) for lost in seen.lost if lost.request_id is not None
    }
    unanswered |= {
        key
        for key, answers in seen.by_request.items()
        if all(answer.without_store for answer in answers)
    }
    unanswered = {
        key
        for key in unanswered
        if all(answer.without_store for answer in seen.by_request.get(key, ()))
    }
    merges = [change.what for change in seen.changes["merge"] if change.status in (0, 500, 503)]
    work: list[Coroutine[Any, Any, Any]] = [
        load.send_events(events[first : first + 50]) for first in range(0, len(events), 50)
    ]
    for number, (customer, request_id) in enumerate(sorted(unanswered)):
        body = {"placement": "outbound", "customer_id": customer, "request_id": request_id}
        raw = post("/v1/decisions", body)
        work.append(load.decide_once([customer, request_id, None], raw, number % 2))
    for customer, other in merges:
        raw = post(f"/v1/customers/{customer}/merge", {"from": other})
        work.append(load.plain("merge", [customer, other], raw))
    await asyncio.gather(*map(one, work))
    return {"events": len(events), "decisions": len(unanswered), "merges": len(merges)}
