"""Retention by holdout arm: how many customers come back, with and without messages.

Customers are counted from their first decision; week k is ((k − 1) · 7 d, k · 7 d] after it. If
week k of a customer is not over at the end of the log, the customer does not count in it
(censored), even if they were active in it: else retention would look better than it is.

With a range of days, the curves are of those customers whose first decision was then; broken down,
of those whose first decision was for a placement, or gave a message, on a channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from math import sqrt
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np

from decision.archive.log_columns import LogColumns, LogState
from decision.archive.log_columns.state import Codes, Ints, Mask
from decision.core.clock import DAY
from decision.core.errors import InputError, meant
from decision.core.local_days import bounds
from decision.learning.metrics import wilson

WEEK: Final = 7 * DAY
ANY: Final = "any"
FEW: Final = 30
"""Of fewer customers, one more or less moves a share by more than three points."""
BY: Final = ("placement", "message", "channel")
"""What curves can be broken down by; a customer without any has the name ""."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """`active` of `customers`, with Wilson's score interval (Wilson 1927)."""

    customers: int
    active: int
    share: float
    interval: tuple[float, float]


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """One week of both arms; an arm is None if none of its customers has finished the week.

    `difference` is treated − holdout; `interval` is Newcombe's (1998, method 10).
    """

    week: int
    treated: Share | None
    holdout: Share | None
    difference: float | None = None
    interval: tuple[float, float] | None = None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The customers of one name of a break-down, and their weeks."""

    name: str
    treated: int
    holdout: int
    weeks: list[Week]


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """Retention curves; `until` (microseconds) is the end of the log.

    They are of customers whose first decision was on a local day from `first` to `last` of
    `timezone`, both included; None: no bound. `groups` are the same, broken down by `by`, the
    largest first.
    """

    event: str
    until: int
    treated: int
    holdout: int
    weeks: list[Week]
    confidence: float
    first: date | None = None
    last: date | None = None
    timezone: str = "UTC"
    by: str | None = None
    groups: list[Group] = []

    @property
    def few(self) -> list[int]:
        """The weeks in which an arm has customers, but so few that its share says little."""
        arms = [(one.week, arm) for one in self.weeks for arm in (one.treated, one.holdout)]
        return sorted({week for week, arm in arms if arm is not None and arm.customers < FEW})


def newcombe(one: Share, other: Share) -> tuple[float, float]:
    """The interval of the difference of two independent shares, from their Wilson intervals."""
    gap = one.share - other.share
    below = sqrt((one.share - one.interval[0]) ** 2 + (other.interval[1] - other.share) ** 2)
    above = sqrt((one.interval[1] - one.share) ** 2 + (other.share - other.interval[0]) ** 2)
    return (gap - below, gap + above)


def retention(
    archive: Path | LogColumns,
    *,
    event: str = ANY,
    weeks: int = 8,
    confidence: float = 0.95,
    first: date | None = None,
    last: date | None = None,
    timezone: str = "UTC",
    by: str | None = None,
) -> Retention:
    """The curves of an archive. `any` is every event except `message.…`, which messages cause.

    A customer's arm is that of their first decision (of two at one time, of the lower id), and so
    is what they are broken down by.

    Raises:
        FileNotFoundError: the archive has no decisions.
        InputError: `by` is none of `BY`.
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    if by is not None and by not in BY:
        raise InputError("by", f"{by} is none of {', '.join(BY)}{meant(by, BY)}")
    source = archive if isinstance(archive, LogColumns) else LogColumns(archive)
    state = source.state()
    if not state.until_decided:
        path = str(source.archive / "decisions")
        raise FileNotFoundError(2, "there are no decisions", path)
    cohort = _cohort(state, *bounds(first, last, timezone))
    seen = _active(state, cohort, event, weeks)
    until = max(state.until_decided, state.until_received)

    def weeks_of(own: Mask) -> list[Week]:
        return [_week(*arms, confidence) for arms in _counts(cohort, seen, own, until)]

    everybody = np.ones(len(cohort.person), np.bool_)
    groups = [] if by is None else list(_groups(state, cohort, by))
    return Retention(
        event=event,
        until=until,
        treated=int(np.count_nonzero(~cohort.held)),
        holdout=int(np.count_nonzero(cohort.held)),
        weeks=weeks_of(everybody),
        confidence=confidence,
        first=first,
        last=last,
        timezone=timezone,
        by=by,
        groups=[
            Group(
                name=name,
                treated=int(np.count_nonzero(own & ~cohort.held)),
                holdout=int(np.count_nonzero(own & cohort.held)),
                weeks=weeks_of(own),
            )
            for name, own in groups
        ],
    )


class _Cohort(NamedTuple):
    """Customers, when each had their first decision, and its arm."""

    person: Codes
    place: Ints
    began: Ints
    held: Mask


def _cohort(state: LogState, begin: int, end: int) -> _Cohort:
    person, place = state.starts
    began = state.decided.at[place]
    own = (began >= begin) & (began < end)
    return _Cohort(person[own], place[own], began[own], state.decided.held[place[own]])


def _active(state: LogState, cohort: _Cohort, event: str, weeks: int) -> Mask:
    """Whether each customer was active, by week and place in the cohort."""
    happened = state.happened
    counts = np.array(
        [
            name == event or (event == ANY and not name.startswith("message."))
            for name in (*happened.type.names, "")
        ],
        np.bool_,
    )
    counts[-1] = False
    began = np.full(state.people, np.iinfo(np.int64).max)
    began[cohort.person] = cohort.began
    place = np.zeros(state.people, np.int64)
    place[cohort.person] = np.arange(len(cohort.person))
    start = began[happened.person]
    rows = np.flatnonzero(counts[happened.type.codes] & (happened.at > start))
    week = (happened.at[rows] - start[rows] - 1) // WEEK
    rows, week = rows[week < weeks], week[week < weeks]
    seen = np.zeros((weeks, len(cohort.person)), np.bool_)
    seen[week, place[happened.person[rows]]] = True
    return seen


def _counts(
    cohort: _Cohort, seen: Mask, own: Mask, until: int
) -> Iterator[tuple[int, tuple[int, int], tuple[int, int]]]:
    """For each week: its number, and (customers, active ones) of both arms."""
    arms = own & ~cohort.held, own & cohort.held
    for number, active in enumerate(seen, 1):
        due = cohort.began + number * WEEK <= until
        treated, held = (
            (int(np.count_nonzero(arm & due)), int(np.count_nonzero(arm & due & active)))
            for arm in arms
        )
        yield number, treated, held


def _groups(state: LogState, cohort: _Cohort, by: str) -> Iterator[tuple[str, Mask]]:
    """The customers of each name, the largest group first."""
    named = getattr(state.decided, by)
    codes = named.codes[cohort.place]
    names = [*named.names, ""]
    codes = np.where(codes < 0, len(named.names), codes)
    sizes = np.bincount(codes, minlength=len(names))
    for code in sorted(range(len(names)), key=lambda one: (-sizes[one], names[one])):
        if sizes[code]:
            yield names[code], codes == code


def _week(week: int, ours: tuple[int, int], theirs: tuple[int, int], confidence: float) -> Week:
    treated, held = _share(*ours, confidence), _share(*theirs, confidence)
    if treated is None or held is None:
        return Week(week=week, treated=treated, holdout=held)
    return Week(
        week=week,
        treated=treated,
        holdout=held,
        difference=treated.share - held.share,
        interval=newcombe(treated, held),
    )


def _share(customers: int, active: int, confidence: float) -> Share | None:
    if not customers:
        return None
    interval = wilson(active, customers, confidence)
    share = active / customers
    return Share(customers=customers, active=active, share=share, interval=interval)
