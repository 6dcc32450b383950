"""The histories of a customer's events in columns, as they are stored.

Most decisions only count events within windows. That needs no history of any type, so none is made
until somebody asks for one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import NamedTuple

from decision.core.clock import SECOND
from decision.core.document import EventHistory
from decision.core.events import count_within, window_start
from decision.core.values import Value

Counted = Mapping[str, Sequence[tuple[int, int]]]
"""Event type → the slots of its counts, each with the place of its window among some."""


class Extras(NamedTuple):
    """What few types have, see `EventHistory`; `amounts` are the sums of each bucket."""

    days: list[int]
    last: dict[str, Value]
    sums: list[str]
    amounts: Sequence[Sequence[float]]
    last_rank: int


class EventColumns(MutableMapping[str, EventHistory]):
    """Event type → history, as a dictionary has them; they are made when one is asked for.

    `types`, `totals`, `since` and `sizes` have an item per type, `seconds` one per bucket that is
    stored. `counts` has one for each of these, and then the latest bucket's of each type whose size
    is a complement (`~size`): that bucket is in the second of the latest event. Latest events were
    `since` microseconds after `base`.

    >>> columns = EventColumns(["buy"], [5], [2 * SECOND], 90 * SECOND, [~1], (80,), [4, 1], {})
    >>> values = [0, 0]
    >>> count(columns, {"buy": [(0, 0), (1, 1)]}, [SECOND, 60 * SECOND], 92 * SECOND, values)
    >>> values, columns["buy"].buckets
    ([1, 5], [[80, 4], [92, 1]])
    """

    __slots__ = (
        *("_base", "_counts", "_extras", "_made", "_seconds"),
        *("_since", "_sizes", "_totals", "_types"),
    )

    def __init__(
        self,
        types: Sequence[str],
        totals: Sequence[int],
        since: Sequence[int],
        base: int,
        sizes: Sequence[int],
        seconds: Sequence[int],
        counts: Sequence[int],
        extras: Mapping[str, Extras],
    ) -> None:
        self._types, self._totals, self._since, self._base = types, totals, since, base
        self._sizes, self._seconds, self._counts, self._extras = sizes, seconds, counts, extras
        self._made: dict[str, EventHistory] | None = None

    @property
    def made(self) -> bool:
        """Whether there are histories, which may have changed since: then these are what counts."""
        return self._made is not None

    def count(
        self, counted: Counted, windows: Sequence[int], now: int, values: list[Value]
    ) -> None:
        """See `count`; slots of types that are not there stay as they are."""
        seconds, counts = self._seconds, self._counts
        latest = now // SECOND
        after = (latest + 1) * SECOND - self._base
        starts = [window_start(window, now) for window in windows]
        begin, of_latest = 0, len(seconds)
        for kind, since, size in zip(self._types, self._since, self._sizes, strict=True):
            if not size:
                continue
            last = 0
            if size < 0:
                size = ~size
                if since < after:
                    last = counts[of_latest]
                of_latest += 1
            if kind in counted:
                second = (self._base + since) // SECOND
                for slot, window in counted[kind]:
                    found = last if second > starts[window] else 0
                    if size:
                        stored = seconds[begin : begin + size]
                        low = bisect_right(stored, starts[window])
                        high = bisect_right(stored, latest)
                        found += sum(counts[begin + low : begin + high])
                    values[slot] = found
            begin += size

    def _histories(self) -> dict[str, EventHistory]:
        if self._made is None:
            self._made = {}
            stored = list(map(list, zip(self._seconds, self._counts, strict=False)))
            of_latest = iter(self._counts[len(stored) :])
            begin = 0
            for kind, total, since, size in zip(
                self._types, self._totals, self._since, self._sizes, strict=True
            ):
                last_at = self._base + since
                end = begin + (size if size >= 0 else ~size)
                buckets: list[list[float]] = stored[begin:end]  # type: ignore[assignment]
                if size < 0:
                    buckets.append([last_at // SECOND, next(of_latest)])
                self._made[kind] = EventHistory(total, last_at, {}, buckets)
                begin = end
            for kind, (days, last, sums, amounts, rank) in self._extras.items():
                history = self._made[kind]
                history.days, history.last, history.sums = days, last, sums
                history.last_rank = rank
                for bucket, more in zip(history.buckets, amounts, strict=bool(amounts)):
                    bucket += more
        return self._made

    def __getitem__(self, kind: str) -> EventHistory:
        return self._histories()[kind]

    def __setitem__(self, kind: str, history: EventHistory) -> None:
        self._histories()[kind] = history

    def __delitem__(self, kind: str) -> None:
        del self._histories()[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._histories())

    def __len__(self) -> int:
        return len(self._histories())

    def __repr__(self) -> str:
        return repr(self._histories())


def count(
    histories: Mapping[str, EventHistory],
    counted: Counted,
    windows: Sequence[int],
    now: int,
    values: list[Value],
) -> None:
    """Writes what `count_within` gives, for each type and window, into its slot, where a 0 is."""
    if type(histories) is EventColumns and not histories.made:
        histories.count(counted, windows, now, values)
        return
    for kind, slots in counted.items():
        history = histories.get(kind)
        for slot, window in slots:
            values[slot] = count_within(history, windows[window], now)
