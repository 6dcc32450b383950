"""Whether a store has lost data: what it knew before, held against what it knows now."""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

from decision.store.health import Beat, ServerState

Kind = Literal["flushed", "went_back", "evicted"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class Marks(msgspec.Struct, frozen=True):
    """What a store knew when it last acknowledged a beat.

    `evicted` is of the run `run_id`; a new run counts from 0.
    """

    mark: str
    beats: int
    run_id: str
    evicted: int


def marks_of(beat: Beat, state: ServerState) -> Marks:
    """The marks after an acknowledged beat."""
    return Marks(beat.mark, beat.beats, state.run_id, state.evicted)


def evicted_since(before: Marks | None, now: Marks) -> int:
    """How many keys were evicted in between; without a `before`, in this run of the server."""
    if before is None or before.run_id != now.run_id:
        return now.evicted
    return max(0, now.evicted - before.evicted)


def losses(before: Marks | None, now: Marks) -> dict[Kind, str]:
    """What was lost in between, by kind, in words.

    >>> before = Marks("a", 7, "run 1", 0)
    >>> losses(before, Marks("a", 8, "run 1", 0))
    {}
    >>> list(losses(before, Marks("b", 1, "run 1", 0)))
    ['flushed']
    >>> list(losses(before, Marks("a", 5, "run 2", 3)))
    ['went_back', 'evicted']
    """
    found: dict[Kind, str] = {}
    evicted = evicted_since(before, now)
    if before is not None and before.mark != now.mark and not evicted:
        found["flushed"] = (
            "Redis has lost everything that it held (FLUSHALL, FLUSHDB, or a start without its "
            "data): customers, consents, contacts and with them caps; restore a backup"
        )
    elif before is not None and before.mark == now.mark and now.beats <= before.beats:
        found["went_back"] = (
            "Redis has started with less data than it had acknowledged: its latest writes are "
            "gone, also contacts that count for caps, consents and opt-outs; restore a newer "
            "backup, or send the changes of that time again"
        )
    if evicted:
        found["evicted"] = (
            f"Redis has evicted {evicted:,} keys to free memory: customers, consents or contacts "
            "may be gone; set maxmemory-policy noeviction, give it more memory, restore a backup"
        )
    return found
