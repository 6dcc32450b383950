"""What is kept of a customer's events, and the measures read from it.

Windows are exact to the second up to 48 hours (to five minutes for somebody with very many events)
and to the hour beyond; 90 days at most.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from datetime import tzinfo
from typing import Any, Final

import msgspec

from decision.core.clock import DAY, HOUR, SECOND, from_micros
from decision.core.document import EventHistory
from decision.core.values import MISSING, Value

EXACT_WINDOW = 48 * HOUR
LONGEST_WINDOW = 90 * DAY
MOST_EXACT: Final = 1_000
"""Beyond so many seconds of the last 48 hours with an event, the older ones are merged by five
minutes: a document must not grow with every event."""
_STAYING_EXACT = 500
_FIVE_MINUTES = 300

LARGEST_KEPT: Final = 1_024
"""Bytes, as JSON, of the largest property that is remembered of the last event."""
_EXACT_SECONDS = EXACT_WINDOW // SECOND
_HOUR_SECONDS = 3600
_RANK_BITS: Final = 32
"""Of `EventHistory.last_rank`, those of the event's rank; how far ahead it was is above them."""


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """What must be kept of one event type so that every field and window in force can be read.

    `window` is the longest window in microseconds (0: none), `days` the longest count of days,
    `sums` and `last` the properties that are summed or remembered.
    """

    window: int = 0
    days: int = 0
    sums: tuple[str, ...] = ()
    last: tuple[str, ...] = ()

    def __or__(self, other: Measure) -> Measure:
        return Measure(
            window=max(self.window, other.window),
            days=max(self.days, other.days),
            sums=tuple(sorted({*self.sums, *other.sums})),
            last=tuple(sorted({*self.last, *other.last})),
        )


CHANNEL: Final = "channel"
_ON_CHANNEL: Final = "channel."
CONTACT_CHANNEL: Final = "contact_channel"
"""The property with which the log keeps the channel of the contact that an event is about."""


def channel_sum(channel: str) -> str:
    """The property of a `message.*` event that is 1 where it is about a channel."""
    return _ON_CHANNEL + channel


def on_channel(properties: Mapping[str, Any], channel: Any) -> dict[str, Any]:
    """The properties of a `message.*` event as measures see them: with its channel, if known.

    >>> on_channel({"channel": "sms", "channel.sms": 7}, "push")
    {'channel': 'push', 'channel.push': 1}
    """
    found = {key: one for key, one in properties.items() if not key.startswith(_ON_CHANNEL)}
    if isinstance(channel, str):
        found |= {CHANNEL: channel, channel_sum(channel): 1}
    return found


def record(
    history: EventHistory,
    measure: Measure,
    at: int,
    properties: Mapping[str, Any],
    now: int,
    zone: tzinfo,
    rank: int = 0,
) -> None:
    """Adds one event to the history, in any order of time, and drops what no window can reach.

    An event dated later than its arrival, `now`, was when it arrived; `last_rank` keeps how far
    ahead it was, so that events of a clock that is ahead keep their order, see `ahead_of`.

    What is remembered is of one event: the latest. Of events at the same time it is the one with
    the highest `rank`, so that it is the same in whatever order they arrive; among those of one
    rank, which are made of one event, the last.

    >>> from datetime import UTC
    >>> history, kept = EventHistory(), Measure(window=DAY, days=7, sums=("value",))
    >>> for hour in (1, 3):
    ...     record(history, kept, hour * HOUR, {"value": 10 * hour}, 4 * HOUR, UTC)
    >>> history.total, count_within(history, 2 * HOUR, 4 * HOUR)
    (2, 1)
    >>> sum_within(history, "value", DAY, 4 * HOUR), days_since(history, 50 * HOUR)
    (40, 1)
    """
    history.total += 1
    ahead, at = at - now, min(at, now)
    order = at, rank if measure.last else 0
    if 0 < ahead < 1 << _RANK_BITS - 1:  # no event that is accepted is further ahead
        order = at, ahead << _RANK_BITS | order[1]
    if order >= (history.last_at, history.last_rank):
        history.last_at, history.last_rank = order
        found = ((name, properties.get(name)) for name in measure.last)
        history.last = {name: value for name, value in found if _is_kept(value)}
    if measure.window:
        if tuple(history.sums) != measure.sums:
            _reorder_sums(history, measure.sums)
        amounts = [number_of(properties.get(name)) for name in measure.sums]
        merge_bucket(history, [at // SECOND, 1, *amounts])
        coarsen(history, measure, now)
    if measure.days:
        day = from_micros(at).astimezone(zone).date().toordinal()
        index = bisect.bisect_left(history.days, day)
        if index == len(history.days) or history.days[index] != day:
            history.days.insert(index, day)
        oldest = from_micros(now).astimezone(zone).date().toordinal() - measure.days
        del history.days[: bisect.bisect_right(history.days, oldest)]


def ahead_of(history: EventHistory) -> int:
    """By how many microseconds the latest event was dated after its arrival, `last_at`."""
    return history.last_rank >> _RANK_BITS


def merge_bucket(history: EventHistory, bucket: list[float]) -> None:
    """Adds a bucket at its second, to the bucket already there if there is one."""
    buckets = history.buckets
    index = bisect.bisect_left(buckets, bucket[:1])
    if index < len(buckets) and buckets[index][0] == bucket[0]:
        buckets[index] = _united(buckets[index], bucket)
    else:
        buckets.insert(index, bucket)


def _united(bucket: list[float], other: list[float]) -> list[float]:
    return [bucket[0], *(a + b for a, b in zip(bucket[1:], other[1:], strict=True))]


def coarsen(history: EventHistory, measure: Measure, now: int) -> None:
    """Merges buckets older than 48 hours by hour; drops those no window in force can reach."""
    second = now // SECOND
    oldest = second - measure.window // SECOND - _HOUR_SECONDS
    coarse_before = second - _EXACT_SECONDS - _HOUR_SECONDS
    buckets = history.buckets
    while buckets and buckets[0][0] <= oldest:
        del buckets[0]
    merged: list[list[float]] = []
    for index, bucket in enumerate(buckets):
        if bucket[0] >= coarse_before:
            merged.extend(_bounded(buckets[index:]))
            break
        hour = bucket[0] // _HOUR_SECONDS * _HOUR_SECONDS
        if merged and merged[-1][0] == hour:
            merged[-1] = _united(merged[-1], bucket)
        else:
            merged.append([hour, *bucket[1:]])
    history.buckets = merged


def _bounded(exact: list[list[float]]) -> list[list[float]]:
    if len(exact) <= MOST_EXACT:
        return exact
    merged: list[list[float]] = []
    for bucket in exact[:-_STAYING_EXACT]:
        start = bucket[0] // _FIVE_MINUTES * _FIVE_MINUTES
        if merged and merged[-1][0] == start:
            merged[-1] = _united(merged[-1], bucket)
        else:
            merged.append([start, *bucket[1:]])
    return merged + exact[-_STAYING_EXACT:]


def _is_kept(value: Any) -> bool:
    """Whether a property is there and small enough to be remembered."""
    if value is None or isinstance(value, bool | int | float):
        return value is not None
    return len(msgspec.json.encode(value)) <= LARGEST_KEPT


def _reorder_sums(history: EventHistory, sums: tuple[str, ...]) -> None:
    """Fits buckets kept for other properties to the properties in force; a new sum starts at 0."""
    places = {name: index for index, name in enumerate(history.sums)}
    history.buckets = [
        [*bucket[:2], *(bucket[2 + places[name]] if name in places else 0 for name in sums)]
        for bucket in history.buckets
    ]
    history.sums = list(sums)


def number_of(value: Any) -> float:
    """What a property adds to a sum: 0 where it is no number."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def window_start(window: int, now: int) -> int:
    """The second that is before a window which ends `now`: buckets after it are in the window."""
    oldest = now // SECOND - window // SECOND
    if window > EXACT_WINDOW:
        oldest = oldest // _HOUR_SECONDS * _HOUR_SECONDS - 1
    return oldest


def count_within(history: EventHistory | None, window: int, now: int) -> int:
    """How many events in (now − window, now]; 0 where there is no history."""
    if history is None:
        return 0
    return int(_sum_column(history, 1, window, now))


def sum_within(history: EventHistory | None, name: str, window: int, now: int) -> float:
    """The sum of a property over the events in (now − window, now]; what is no number adds 0."""
    if history is None or name not in history.sums:
        return 0
    return _sum_column(history, 2 + history.sums.index(name), window, now)


def _sum_column(history: EventHistory, column: int, window: int, now: int) -> float:
    oldest, latest = window_start(window, now), now // SECOND
    found: float = 0
    for bucket in reversed(history.buckets):
        if bucket[0] <= oldest:
            break
        if bucket[0] <= latest:
            found += bucket[column]
    return found


def active_days(history: EventHistory | None, days: int, today: int) -> int:
    """On how many of the last `days` local days, today included, there was an event."""
    if history is None:
        return 0
    low = bisect.bisect_right(history.days, today - days)
    return bisect.bisect_right(history.days, today) - low


def days_since(history: EventHistory | None, now: int) -> Value:
    """Whole days since the latest event, or MISSING where there was none."""
    if history is None or not history.total:
        return MISSING
    return max(0, now - history.last_at) // DAY


def _order(history: EventHistory) -> tuple[int, int, bytes]:
    """The latest event's place among others; two of one rank differ in what is remembered."""
    remembered = msgspec.json.encode(history.last, order="deterministic")
    return history.last_at, history.last_rank, remembered


def merge_histories(into: EventHistory, other: EventHistory) -> None:
    """Unites the histories of one event type of two customers, `into` being kept."""
    into.total += other.total
    latest = max(into, other, key=_order)
    into.last_at, into.last_rank, into.last = latest.last_at, latest.last_rank, dict(latest.last)
    sums = tuple(sorted({*into.sums, *other.sums}))
    _reorder_sums(into, sums)
    fitted = EventHistory(buckets=list(other.buckets), sums=list(other.sums))
    _reorder_sums(fitted, sums)
    for bucket in fitted.buckets:
        merge_bucket(into, bucket)
    into.days = sorted({*into.days, *other.days})
