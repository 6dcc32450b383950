"""How often, how lately and with how much money customers did something, on local days."""

from __future__ import annotations

from datetime import date, timedelta, tzinfo
from typing import Final, NamedTuple

import numpy as np

from decision.archive.log_columns import Amounts, LogState
from decision.archive.log_columns.state import Floats, Ints, Mask
from decision.core import calendar
from decision.core.clock import DAY, SECOND, from_micros


class Measured(NamedTuple):
    """One entry per customer (a number of the state) with at least one event of the type.

    Days are whole. `priced` and `texts` are events with an amount, and with a text for one.
    """

    person: Ints
    days: Ints
    recency_days: Ints
    age_days: Ints
    total: Floats
    priced: int
    texts: int


class Active(NamedTuple):
    """By number of a customer: whether they were ever active, and on how many days lately."""

    ever: Mask
    days: Ints


NOBODY: Final = Active(np.zeros(0, np.bool_), np.zeros(0, np.int64))


def measured(state: LogState, amounts: Amounts, until: int, timezone: str) -> Measured:
    """What customers did until a moment, in microseconds."""
    own = amounts.at <= until
    person, at = amounts.person[own], amounts.at[own]
    money, text = amounts.money[own], amounts.text[own]
    day = local_days(at, timezone)
    today = day_number(until, calendar.zone(timezone))
    low = int(day.min()) if len(day) else 0
    width = int(day.max()) - low + 1 if len(day) else 1
    pairs = _once(person.astype(np.int64) * width + (day - low))  # customers' days, in order
    own_person, own_day = pairs // width, pairs % width + low
    begins = np.flatnonzero(np.diff(own_person, prepend=-1))
    ends = np.append(begins[1:], len(pairs)) - 1 if len(begins) else begins
    customers = own_person[begins]
    priced = np.isfinite(money)
    cents = np.flatnonzero(priced)
    cents = cents[np.argsort(money[cents], kind="stable")]  # a sum is the same in any order of rows
    return Measured(
        person=customers,
        days=ends - begins + 1,
        recency_days=own_day[ends] - own_day[begins],
        age_days=today - own_day[begins],
        total=np.bincount(person[cents], money[cents], state.people).astype(float)[customers],
        priced=len(cents),
        texts=int(np.count_nonzero(text)),
    )


def active_days(state: LogState, event: str, days: int, until: int, timezone: str) -> Active:
    """On how many of the last local days customers had such an event, that of `until` included."""
    happened = state.happened
    rows = np.flatnonzero(
        (happened.type.codes == happened.type.code(event)) & (happened.at <= until)
    )
    person = happened.person[rows]
    ever = np.zeros(state.people, np.bool_)
    ever[person] = True
    today = day_number(until, calendar.zone(timezone))
    near = happened.at[rows] > until - (days + 2) * DAY
    person, day = person[near], local_days(happened.at[rows[near]], timezone)
    lately = day > today - days
    both = _once(person[lately].astype(np.int64) * (days + 1) + (today - day[lately]))
    return Active(ever, np.bincount(both // (days + 1), minlength=state.people))


def _once(numbers: Ints) -> Ints:
    """Each number once, in order; by sorting, which is faster here than NumPy's `unique`."""
    found = np.sort(numbers)
    once: Ints = found[np.append(True, found[1:] != found[:-1])[: len(found)]]
    return once


def local_days(at: Ints, timezone: str) -> Ints:
    """The local days of some moments, in days since 1970-01-01."""
    if not len(at):
        return np.empty(0, np.int64)
    changes = offsets(calendar.zone(timezone), int(at.min()), int(at.max()))
    starts, shifts = np.array(changes, np.int64).T
    if len(starts) == 1:
        only: Ints = (at + shifts[0]) // DAY
        return only
    local: Ints = at + shifts[np.searchsorted(starts, at, "right") - 1]
    return local // DAY


def day_number(at: int, zone: tzinfo) -> int:
    """The local day of a moment, in days since 1970-01-01."""
    return from_micros(at).astimezone(zone).toordinal() - date(1970, 1, 1).toordinal()


def offsets(zone: tzinfo, first: int, last: int) -> list[tuple[int, int]]:
    """(start, offset from UTC) of a time zone over a period, all in microseconds."""

    def offset(at: int) -> int:
        shift = from_micros(at).astimezone(zone).utcoffset()
        return 0 if shift is None else int(shift / timedelta(microseconds=1))

    found = [(first - DAY, offset(first - DAY))]
    for day in range(first, last + 2 * DAY, DAY):
        if offset(day) == found[-1][1]:
            continue
        low, high = day - DAY, day
        while high - low > SECOND:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == found[-1][1] else (low, middle)
        found.append((high // SECOND * SECOND, offset(day)))
    return found
