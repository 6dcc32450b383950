"""What was said lately: decisions, selections and events by hour and minute, for people who look.

Each process counts in memory and adds its counts to the store every few seconds. So they cost a
decision next to nothing, and a process that is killed loses those few seconds: the log has every
decision, these counts are for a glance. Where the store does not answer, they wait.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, Literal

import msgspec

from decision.core.clock import DAY, HOUR, MILLISECOND, MINUTE, from_micros
from decision.core.counts import CountStore
from decision.core.decide import Verdict
from decision.core.schema import Decision

HOURS_KEPT: Final = 35 * DAY
MINUTES_KEPT: Final = DAY + HOUR
"""How long counts are kept, in microseconds: by hour, and by minute."""

_KEPT: Final = {"h": (500, HOURS_KEPT), "e": (100, HOURS_KEPT), "m": (50, MINUTES_KEPT)}
"""The counts of an hour, of event types in an hour, of a minute: most names, how long kept."""

_MOST_WAITING: Final = 1_000
"""How many names of counts wait while the store does not answer; the oldest are dropped."""

_PLAIN: Final = re.compile(r"[a-z][a-z_.-]{0,47}", re.IGNORECASE)
_NUL: Final = "\0"
_Key = tuple[str, ...]


class Glance(msgspec.Struct, kw_only=True):
    """What happened in one hour or minute that began at `at`.

    `decisions` are by (placement, outcome, reason of silence or ''), `selections` by (message,
    channel), `fallen` candidates by reason code, `degraded` by what was missing, `events` by type.
    Of a minute, `decisions` are by ('', outcome, ''), and nothing else is known but `events` by ''.
    Names beyond the most that are kept are counted under empty ones.
    """

    at: datetime
    decisions: dict[tuple[str, str, str], int] = {}
    selections: dict[tuple[str, str], int] = {}
    fallen: dict[str, int] = {}
    degraded: dict[str, int] = {}
    events: dict[str, int] = {}


class Activity:
    """Counts what one process does, and brings it to the store.

    `tell` gets what was counted since it was told, by kind (decision, selection, what it was
    without (g), fallen candidates, event) and names: metrics are made of the same counts.
    """

    def __init__(
        self, clock: Callable[[], int], tell: Callable[[Mapping[_Key, int]], None] | None = None
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._minute = 0
        self._new: defaultdict[_Key, int] = defaultdict(int)
        self._minutes: dict[int, defaultdict[_Key, int]] = {}
        self._waiting: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def decided(self, decision: Decision, verdict: Verdict | None) -> None:
        """Counts a decision that was made (a dry run is none)."""
        own = self._now()  # no `Counter`, whose `+=` takes twice as long
        own["d", decision.placement, decision.outcome, decision.reason or ""] += 1
        for one in decision.selections:
            own["s", one.message, one.channel] += 1
        for missing in decision.degraded:
            own["g", missing] += 1
        if verdict is not None:
            for reason, mask in verdict.fallen.items():
                if mask:
                    own["f", reason] += mask.bit_count()

    def recorded(self, event_type: str) -> None:
        """Counts an accepted event; one whose type is no plain name, without it.

        Callers choose the types: one with digits or an address in it may name somebody, and an
        erasure does not look here.
        """
        self._now()["e", event_type if _PLAIN.fullmatch(event_type) else ""] += 1

    async def flush(self, store: CountStore) -> None:
        """Adds what was counted to the store.

        Raises:
            StoreUnavailable: it does not answer; the counts wait. (Where it took them and the
                answer was lost, these few seconds count twice.)
        """
        self.pass_on()
        while self._minutes:
            minute, counts = self._minutes.popitem()
            hour = minute * MINUTE // HOUR
            for (kind, *names), count in counts.items():
                field = _NUL.join((kind, *names))
                self._waiting[f"{'e' if kind == 'e' else 'h'}{hour}"][field] += count
                if kind == "d":
                    self._waiting[f"m{minute}"][f"d{_NUL}{names[1]}"] += count
                elif kind == "e":
                    self._waiting[f"m{minute}"]["e"] += count
        while len(self._waiting) > _MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
        for name in list(self._waiting):
            most, lasts = _KEPT[name[0]]
            await store.add_counts(name, self._waiting[name], most, lasts // MILLISECOND)
            del self._waiting[name]

    def pass_on(self) -> None:
        """Tells what is new."""
        if new := self._new:
            self._new = defaultdict(int)
            own = self._minutes.setdefault(self._minute, defaultdict(int))
            for key, count in new.items():
                own[key] += count
            if self._tell is not None:
                self._tell(new)

    def _now(self) -> defaultdict[_Key, int]:
        minute = self._clock() // MINUTE
        if minute != self._minute:
            self.pass_on()
            self._minute = minute
        return self._new


async def glances(
    store: CountStore, since: int, until: int, *, by: Literal["hour", "minute"]
) -> list[Glance]:
    """What happened from `since` up to `until` (µs), in steps: none is left out, oldest first.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    step = HOUR if by == "hour" else MINUTE
    begins = range(since // step, -(-until // step))
    if by == "minute":
        found = await store.counts([f"m{one}" for one in begins])
        return [_of_minute(one * step, counts) for one, counts in zip(begins, found, strict=True)]
    found = await store.counts([f"{kind}{one}" for one in begins for kind in "he"])
    return [
        _of_hour(one * step, {**counts, **types})
        for one, counts, types in zip(begins, found[::2], found[1::2], strict=True)
    ]


def _of_minute(at: int, counts: Mapping[str, int]) -> Glance:
    glance = Glance(at=from_micros(at))
    for field, count in counts.items():
        kind, _, outcome = field.partition(_NUL)
        if kind == "d":
            glance.decisions["", outcome, ""] = count
        elif kind == "e":
            glance.events[""] = count
    return glance


def _of_hour(at: int, counts: Mapping[str, int]) -> Glance:
    glance = Glance(at=from_micros(at))
    for field, count in counts.items():
        kind, *names = field.split(_NUL)
        first, second, third = (*names, "", "", "")[:3]
        match kind:
            case "d":
                glance.decisions[first, second, third] = count
            case "s":
                glance.selections[first, second] = count
            case "f":
                glance.fallen[first] = count
            case "g":
                glance.degraded[first] = count
            case "e":
                glance.events[first] = count
    return glance
