"""The section of events: their histories, in columns, scores, and journeys."""

from __future__ import annotations

import struct
from bisect import bisect_left
from itertools import accumulate, chain
from operator import sub
from typing import Any, Final

from decision.core.clock import SECOND
from decision.core.document import Document, EventHistory, KeptScore
from decision.core.event_columns import EventColumns, Extras
from decision.store.register import Register
from decision.store.sections.journeys import journey_fields, read_journeys
from decision.store.sections.packing import pack, padded, trimmed, unpack

_NARROW: Final = 1
_WIDE: Final = 2
_HEAD: Final = struct.Struct("<Bq")


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


def _read_times(packed: bytes, types: int) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """(a time, when each type was last in microseconds after it, seconds of stored buckets)."""
    if packed[0] == _WIDE:
        wide = struct.unpack(f"<{len(packed) // 8}q", packed[1:])
        return 0, wide[:types], wide[types:]
    _, base = _HEAD.unpack_from(packed)
    end = _HEAD.size + 6 * types
    since = struct.unpack_from("6s" * types, packed, _HEAD.size)  # 48 bits each
    in_64_bits = b"\0\0".join((*since, b""))
    seconds = (
        struct.unpack(f"<{(len(packed) - end) // 4}I", packed[end:]) if len(packed) > end else ()
    )
    return base, struct.unpack(f"<{types}Q", in_64_bits), seconds


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
    """Fills it in from bytes.

    All is read that could be damaged, or could be a name that is not known yet: histories are made
    of it when somebody asks for one, where neither can be told.
    """
    name = register.names.names
    kinds, totals, sizes, packed, counts, extras, scores, journeys = padded(unpack(section), 8)
    if scores:
        document.scores = {name[key]: KeptScore(*kept) for key, kept in scores.items()}
    if journeys:
        document.journeys = read_journeys(journeys, name)
    if not kinds:
        return
    base, since, seconds = _read_times(packed, len(kinds))
    if not len(kinds) == len(totals) == len(sizes) == len(since):
        raise ValueError("columns of events have different lengths")
    of_latest = bisect_left(sorted(sizes), 0)  # complements are below 0
    if not len(seconds) + of_latest == len(counts) == sum(map(abs, sizes)):
        raise ValueError("buckets of events have too few or too many counts")
    types = [name[key] for key in kinds]
    more: dict[str, Extras] = {}
    if extras:
        more = {name[key]: _read_extras(fields, name) for key, fields in extras.items()}
        _check_amounts(more, dict(zip(types, sizes, strict=True)))
    document.events = EventColumns(types, totals, since, base, sizes, seconds, counts, more)


def _check_amounts(extras: dict[str, Extras], sizes: dict[str, int]) -> None:
    """Raises KeyError or ValueError where they are of other types or buckets."""
    for kind, own in extras.items():
        if len(own.amounts) not in (0, abs(sizes[kind])):
            raise ValueError("buckets of events have too few or too many sums")


def _read_extras(fields: list[Any], name: dict[int | str, str]) -> Extras:
    days, last, sums, amounts, rank = padded(fields, 5)
    return Extras(
        list(accumulate(days or ())),
        {name[key]: value for key, value in (last or {}).items()},
        [name[key] for key in sums or ()],
        list(map(list, amounts or ())),
        rank or 0,
    )
