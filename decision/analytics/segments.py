"""Segments from the archive: recency, frequency and monetary value, and how active customers are.

Per customer, from the events of one type such as `purchase`, up to a moment:

- *recency*, *frequency*, *monetary*: days since the last event, days with an event, and the sum of
  a property. Each is scored 1 to 5 by quintiles, 5 is best; equal values have equal scores.
- *repeat*, *recency_days*, *age_days*: days with an event after the first day; days from the first
  to the last; days from the first to the moment. These are x, t_x and T of Fader, Hardie & Lee
  2005, "Counting Your Customers the Easy Way".

Activity is the number of days with an event such as `app_open` within a number of days. Levels are
set so that each has a given share of the customers: they fit the business.

Days are those of one time zone. A customer who was merged into another counts as that one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.analytics.behaviour import NOBODY, Active, Measured, active_days, measured
from decision.archive.log_columns import Amount, LogColumns, LogState
from decision.archive.log_columns.state import Codes
from decision.core.clock import DAY, from_micros
from decision.core.errors import NextbestError, meant
from decision.core.events import LONGEST_WINDOW
from decision.core.said import marked
from decision.core.values import Value

QUINTILES: Final = (0.2, 0.4, 0.6, 0.8)
LEVELS: Final[Mapping[str, float]] = {"power": 0.05, "core": 0.15, "casual": 0.3}
"""The share of customers in each level, the most active first; the rest is `low`."""
LOWEST: Final = "low"
_NAMED: Final = {
    marked("champions"): ("54", "55"),
    marked("loyal"): ("34", "35", "44", "45"),
    marked("potential loyalists"): ("42", "43", "52", "53"),
    marked("new"): ("51",),
    marked("promising"): ("41",),
    marked("need attention"): ("33",),
    marked("about to sleep"): ("31", "32"),
    marked("can't lose"): ("15", "25"),
    marked("at risk"): ("13", "14", "23", "24"),
    marked("hibernating"): ("11", "12", "21", "22"),
}
_NAMES: Final = {scores: name for name, own in _NAMED.items() for scores in own}
_PLAIN: Final = re.compile("[A-Za-z_][A-Za-z0-9_.-]*")

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """One entry per customer with at least one event of the type; days are whole numbers.

    `priced` is the number of all events with an amount that is a finite number, `texts` of those
    with a text such as "80": as in rules, it is not a number, and counts as no amount.
    """

    customer_id: Sequence[str]
    days: Ints
    recency_days: Ints
    age_days: Ints
    total: Floats
    priced: int
    texts: int = 0

    @property
    def days_since(self) -> Ints:
        """Days from the last event's day to the moment's."""
        return self.age_days - self.recency_days


class Segments(msgspec.Struct, frozen=True, kw_only=True):
    """The segments of all customers. `until` is microseconds; scores 2 to 5 are above `thresholds`.

    `active` is customer → active days; `levels` is level → the least number of active days, the
    most active first.
    """

    until: int
    behaviour: Behaviour
    scores: dict[str, Ints]
    thresholds: dict[str, list[float]]
    active: dict[str, int]
    levels: dict[str, int]

    def attributes(self) -> Iterator[tuple[str, dict[str, Value]]]:
        """The id and the attributes `rfm` and `activity` of each customer."""
        one = self.behaviour
        columns = {
            name: self.scores[name].tolist() for name in ("recency", "frequency", "monetary")
        }
        columns |= {
            "score": ["".join(map(str, each)) for each in zip(*columns.values(), strict=True)],
            "segment": list(map(segment_name, columns["recency"], columns["frequency"])),
            "days_since": one.days_since.tolist(),
            "days": one.days.tolist(),
            "total": one.total.tolist(),
            "repeat": (one.days - 1).tolist(),
            "recency_days": one.recency_days.tolist(),
            "age_days": one.age_days.tolist(),
        }
        for customer, *row in zip(one.customer_id, *columns.values(), strict=True):
            attributes: dict[str, Value] = {"rfm": dict(zip(columns, row, strict=True))}
            if self.levels:
                attributes["activity"] = self._activity(customer)
            yield customer, attributes
        seen = set(one.customer_id)
        for customer in self.active:
            if customer not in seen:
                yield customer, {"activity": self._activity(customer)}

    def summary(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        one = self.behaviour
        active = sum(days > 0 for days in self.active.values())
        return _figures(self, len(one.days), one.priced, one.texts, active)

    def _activity(self, customer: str) -> dict[str, Value]:
        days = self.active.get(customer, 0)
        level = next((name for name, least in self.levels.items() if days >= least), LOWEST)
        return {"active_days": days, "level": level}


class NothingFound(NextbestError, ValueError):
    """The archive has no events from which segments can be computed."""


def segments(
    archive: Path | LogColumns,
    *,
    event: str = "purchase",
    amount: str = "amount",
    activity: str | None = "app_open",
    activity_days: int = 28,
    levels: Mapping[str, float] = LEVELS,
    until: int | None = None,
    timezone: str = "UTC",
) -> Segments:
    """Computes the segments of all customers of an archive, until its last event if not said.

    `until` is microseconds.

    Raises:
        NothingFound: there is no such event.
        ArchiveError: the archive lacks a file, or one is damaged or lacks columns.
    """
    source = archive if isinstance(archive, LogColumns) else LogColumns(archive)
    found = _computed(source, event, amount, activity, activity_days, levels, until, timezone)
    state, one = found.state, found.measured
    order, ids = _by_id(state, one.person)
    ever = np.flatnonzero(found.active.ever)
    placed, names = _by_id(state, ever)
    return Segments(
        until=found.until,
        behaviour=Behaviour(
            customer_id=ids,
            days=one.days[order],
            recency_days=one.recency_days[order],
            age_days=one.age_days[order],
            total=one.total[order],
            priced=one.priced,
            texts=one.texts,
        ),
        scores={name: values[order] for name, values in found.scores.items()},
        thresholds=found.thresholds,
        active=dict(zip(names, found.active.days[ever[placed]].tolist(), strict=True)),
        levels=found.levels,
    )


def segment_figures(
    archive: Path | LogColumns,
    *,
    event: str = "purchase",
    amount: str = "amount",
    activity: str | None = "app_open",
    activity_days: int = 28,
    levels: Mapping[str, float] = LEVELS,
    until: int | None = None,
    timezone: str = "UTC",
) -> dict[str, Any]:
    """What `Segments.summary` says of the same, without the customers.

    Raises:
        NothingFound, ArchiveError: as `segments`.
    """
    source = archive if isinstance(archive, LogColumns) else LogColumns(archive)
    found = _computed(source, event, amount, activity, activity_days, levels, until, timezone)
    lately = int(np.count_nonzero(found.active.days))
    one = found.measured
    return _figures(found, len(one.days), one.priced, one.texts, lately)


class _Computed(NamedTuple):
    """The segments, with customers as numbers of a state."""

    state: LogState
    until: int
    measured: Measured
    active: Active
    scores: dict[str, Ints]
    thresholds: dict[str, list[float]]
    levels: dict[str, int]


def _computed(
    source: LogColumns,
    event: str,
    amount: str,
    activity: str | None,
    activity_days: int,
    levels: Mapping[str, float],
    until: int | None,
    timezone: str,
) -> _Computed:
    state, amounts = source.with_amounts(Amount(event, amount))
    if not state.until_received and not len(state.happened.at):
        raise NothingFound(f"{source.archive} has no events; archive some first: nextbest archive")
    if not len(amounts.at):
        counts = np.bincount(state.happened.type.codes, minlength=len(state.happened.type.names))
        by_count = sorted(zip((-counts).tolist(), state.happened.type.names, strict=True))
        names = [name for count, name in by_count if count]
        known = ", ".join(names[:8]) + meant(event, names)
        raise NothingFound(f"{source.archive} has no event {event!r}; it has {known}")
    end = until if until is not None else int(amounts.at.max())
    one = measured(state, amounts, end, timezone)
    if not len(one.days):
        raise NothingFound(f"{source.archive} has no event {event!r} until {from_micros(end)}")
    active = active_days(state, activity, activity_days, end, timezone) if activity else NOBODY
    values: dict[str, Ints | Floats] = {
        "recency": one.recency_days - one.age_days,
        "frequency": one.days,
        "monetary": one.total,
    }
    thresholds = {name: quintiles(each) for name, each in values.items()}
    found: dict[str, int] = {}
    if active.days.any():
        everybody = active.ever.copy()
        everybody[one.person] = True
        found = _least_days(active.days[everybody], levels)
    scores = {name: score(each, thresholds[name]) for name, each in values.items()}
    return _Computed(state, end, one, active, scores, thresholds, found)


def _by_id(state: LogState, person: Codes | Ints) -> tuple[Ints, list[str]]:
    """The places of some customers by their id, and these ids."""
    import pyarrow.compute as pc

    ids = state.ids.take(person)
    order = np.asarray(pc.sort_indices(ids))
    return order, ids.take(order).to_pylist()


def quintiles(values: Ints | Floats) -> list[float]:
    """The values that one fifth, two fifths … of the customers do not exceed.

    >>> quintiles(np.array([10, 20, 30, 40, 50]))
    [10, 20, 30, 40]
    """
    found: list[float] = np.quantile(values, QUINTILES, method="inverted_cdf").tolist()
    return found


def score(values: Ints | Floats, thresholds: Sequence[float]) -> Ints:
    """1 to 5: one more for each threshold that is exceeded, so equal values have equal scores.

    >>> score(np.array([10, 11, 50]), [10, 20, 30, 40]).tolist()
    [1, 2, 5]
    """
    found: Ints = np.searchsorted(np.asarray(thresholds), values, side="left") + 1
    return found


def segment_name(recency: int, frequency: int) -> str:
    """The name of the customers with these scores of recency and frequency, of ten usual ones.

    >>> segment_name(5, 5), segment_name(1, 5), segment_name(1, 1)
    ('champions', "can't lose", 'hibernating')
    """
    return _NAMES[f"{recency}{frequency}"]


def level_thresholds(
    active: Mapping[str, int], everybody: set[str], levels: Mapping[str, float]
) -> dict[str, int]:
    """Level → the least active days at which it and the levels above have no more than their share.

    Customers who were never active count with 0 days. No level starts at 0 days, but at 1. If more
    customers than the share have the most days of all, the level starts one above, and is empty.
    """
    return _least_days(
        np.array([active.get(customer, 0) for customer in everybody | set(active)]), levels
    )


def _least_days(days: Ints, levels: Mapping[str, float]) -> dict[str, int]:
    """`level_thresholds` of customers with so many active days each."""
    # How many customers reach each number of days: [0] are all, the last are none.
    reach = np.append(np.bincount(days)[::-1].cumsum()[::-1], 0)
    found: dict[str, int] = {}
    above = 0.0
    for name, share in levels.items():
        above += share
        most = above * len(days) + 1e-6  # of whole customers: sums of shares are not exact
        found[name] = 1 + int(np.argmax(reach[1:] <= most))
    return found


def _figures(
    found: Segments | _Computed, customers: int, priced: int, texts: int, active: int
) -> dict[str, Any]:
    scores = {name: np.bincount(each).tolist() for name, each in found.scores.items()}
    return {
        "until": from_micros(found.until),
        "customers": customers,
        "events_with_an_amount": priced,
        "events_with_an_amount_as_text": texts,
        "thresholds": found.thresholds,
        "scores": {
            name: {score: count for score, count in enumerate(counts) if count}
            for name, counts in scores.items()
        },
        "active_customers": active,
        "levels": found.levels,
    }


def states_in_yaml(found: Segments, activity: str, days: int) -> str:
    """The levels as `states:` of rule files, to be pasted there; empty levels have a comment.

    Raises:
        ValueError: rules cannot count that many days.
    """
    if days * DAY > LONGEST_WINDOW:
        longest = LONGEST_WINDOW // DAY
        raise ValueError(f"rules count active days within {longest} days at most, not {days}")
    most = max(found.active.values(), default=0)
    field = _quoted(f"events.{activity}.active_days_{days}d")
    lines = ["states:"]
    for name, least in found.levels.items():
        nobody = "  # nobody: too many customers have the most days" if least > most else ""
        lines.append(f"  {_quoted(name)}: {{when: {{{field}: {{gte: {least}}}}}}}{nobody}")
    return "\n".join([*lines, f"  {LOWEST}: {{}}"])


def _quoted(name: str) -> str:
    """A name as a key of YAML."""
    return name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)
