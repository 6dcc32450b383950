"""The section of events: their histories, in columns, scores, and journeys."""

from __future__ import annotations

import struct
from itertools import accumulate, chain
from operator import sub
from typing import Any, Final

from decision.core.clock import SECOND
from decision.core.document import Document, EventHistory, KeptScore
from decision.store.register import Register
from decision.store.sections.journeys import journey_fields, read_journeys
from decision.store.sections.packing import pack, padded, trimmed, unpack

_NARROW: Final = 1
_WIDE: Final = 2
_HEAD: Final = struct.Struct("<Bq")
_HALVES: Final = struct.Struct("<HI")


def write_events(document: Document, register: Register) -> bytes:
    """The section of a document."""
    number = register.names.numbers
    scores = {number[name]: kept for name, kept in document.scores.items()} or None
    journeys = journey_fields(document.journeys, number)
    if not document.events:
        return pack(*[None] * 6, scores, journeys)
    sizes: list[int] = []
    stored: list[list[float]] = []
    latest: list[list[float]] = []
    for history in document.events.values():
        buckets = _fitting_buckets(history)
        if buckets and buckets[-1][0] == history.last_at // SECOND:
            stored += buckets[:-1]
            latest.append(buckets[-1])
            sizes.append(~(len(buckets) - 1))
        else:
            stored += buckets
            sizes.append(len(buckets))
    extras = {
        number[kind]: _extras(history, number)
        for kind, history in document.events.items()
        if history.days or history.last or history.sums or history.last_rank
    }
    return pack(
        [number[kind] for kind in document.events],
        [history.total for history in document.events.values()],
        sizes,
        _times(
            [history.last_at for history in document.events.values()],
            [int(bucket[0]) for bucket in stored],
        ),
        [bucket[1] for bucket in (*stored, *latest)],
        extras or None,
        scores,
        journeys,
    )


def _fitting_buckets(history: EventHistory) -> list[list[float]]:
    """The buckets, all of them with one number a sum.

    Raises:
        ValueError: one has more or fewer.
    """
    width = 2 + len(history.sums)
    for bucket in history.buckets:
        if len(bucket) != width:
            raise ValueError(f"a bucket has {len(bucket)} numbers, not {width}: {bucket!r}")
    return history.buckets


def _times(last_at: list[int], seconds: list[int]) -> bytes:
    """Packed times: narrow (48 bits since the earliest `last_at`, seconds of 32 bits) or wide."""
    base = min(last_at)
    fits = max(last_at) - base < 1 << 48
    if fits and (not seconds or 0 <= min(seconds) <= max(seconds) < 1 << 32):
        parts = chain.from_iterable(((at - base) & 0xFFFF, (at - base) >> 16) for at in last_at)
        form = f"<Bq{'HI' * len(last_at)}{len(seconds)}I"
        return struct.pack(form, _NARROW, base, *parts, *seconds)
    return struct.pack(f"<B{len(last_at) + len(seconds)}q", _WIDE, *last_at, *seconds)


def _read_times(packed: bytes, types: int) -> tuple[list[int], tuple[int, ...]]:
    """(`last_at` of each type, seconds of the buckets that are stored)."""
    if packed[0] == _WIDE:
        wide = struct.unpack(f"<{len(packed) // 8}q", packed[1:])
        return list(wide[:types]), wide[types:]
    stored = (len(packed) - _HEAD.size - 6 * types) // 4
    _, base = _HEAD.unpack_from(packed)
    end = _HEAD.size + 6 * types
    halves = _HALVES.iter_unpack(packed[_HEAD.size : end])
    latest = [base + low + high * 0x1_0000 for low, high in halves]
    return latest, struct.unpack(f"<{stored}I", packed[end:]) if len(packed) > end else ()


def _extras(history: EventHistory, number: dict[str, Any]) -> list[Any]:
    return trimmed(
        [
            list(map(sub, history.days, [0, *history.days])) or None,
            {number[name]: value for name, value in history.last.items()} or None,
            [number[name] for name in history.sums] or None,
            [bucket[2:] for bucket in history.buckets] if history.sums else None,
            history.last_rank or None,
        ]
    )


def read_events(document: Document, section: bytes, register: Register) -> None:
    """Fills it in from bytes."""
    name = register.names.names
    kinds, totals, sizes, packed, counts, extras, scores, journeys = padded(unpack(section), 8)
    if scores:
        document.scores = {name[key]: KeptScore(*kept) for key, kept in scores.items()}
    if journeys:
        document.journeys = read_journeys(journeys, name)
    if not kinds:
        return
    latest, seconds = _read_times(packed, len(kinds))
    stored = list(map(list, zip(seconds, counts, strict=False)))
    counts_of_latest = iter(counts[len(seconds) :])
    events: dict[str, EventHistory] = {}
    start = 0
    for key, total, last_at, size in zip(kinds, totals, latest, sizes, strict=True):
        end = start + (size if size >= 0 else ~size)
        buckets = stored[start:end]
        if size < 0:
            buckets.append([last_at // SECOND, next(counts_of_latest)])
        events[name[key]] = EventHistory(total, last_at, {}, buckets)
        start = end
    for key, fields in (extras or {}).items():
        _read_extras(events[name[key]], fields, name)
    document.events = events


def _read_extras(history: EventHistory, fields: list[Any], name: dict[int | str, str]) -> None:
    days, last, sums, amounts, rank = padded(fields, 5)
    history.days = list(accumulate(days or ()))
    history.last = {name[key]: value for key, value in (last or {}).items()}
    history.sums = [name[key] for key in sums or ()]
    history.last_rank = rank or 0
    for bucket, more in zip(history.buckets, amounts or (), strict=bool(amounts)):
        bucket += more
