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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.archive.damage import naming_damage
from decision.archive.journal import files, reading
from decision.archive.machines import BY_PEOPLE
from decision.archive.merges import follow_merges, merged_view
from decision.archive.query import Database, open_database
from decision.core import calendar
from decision.core.clock import DAY, SECOND, from_micros
from decision.core.errors import NextbestError, meant
from decision.core.events import LONGEST_WINDOW
from decision.core.values import Value

QUINTILES: Final = (0.2, 0.4, 0.6, 0.8)
LEVELS: Final[Mapping[str, float]] = {"power": 0.05, "core": 0.15, "casual": 0.3}
"""The share of customers in each level, the most active first; the rest is `low`."""
LOWEST: Final = "low"
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
        scores = {name: Counter(found.tolist()) for name, found in self.scores.items()}
        return {
            "until": from_micros(self.until),
            "customers": len(self.behaviour.customer_id),
            "events_with_an_amount": self.behaviour.priced,
            "events_with_an_amount_as_text": self.behaviour.texts,
            "thresholds": self.thresholds,
            "scores": {name: dict(sorted(counts.items())) for name, counts in scores.items()},
            "active_customers": sum(days > 0 for days in self.active.values()),
            "levels": self.levels,
        }

    def _activity(self, customer: str) -> dict[str, Value]:
        days = self.active.get(customer, 0)
        level = next((name for name, least in self.levels.items() if days >= least), LOWEST)
        return {"active_days": days, "level": level}


class NothingFound(NextbestError, ValueError):
    """The archive has no events from which segments can be computed."""


def segments(
    archive: Path,
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
    if not files(archive, "events"):
        raise NothingFound(f"{archive} has no events; archive some first: nextbest archive")
    with reading(archive), naming_damage(archive), open_database() as database:
        _prepare(database, archive, timezone)
        last = database.value("SELECT max(us) FROM facts WHERE type = ?", [event])
        if last is None:
            rows = database.rows("SELECT type FROM facts GROUP BY 1 ORDER BY count(*) DESC, 1")
            names = [name for (name,) in rows]
            known = ", ".join(names[:8]) + meant(event, names)
            raise NothingFound(f"{archive} has no event {event!r}; it has {known}")
        end = until if until is not None else int(last)
        today = day_number(end, calendar.zone(timezone))
        behaviour = _behaviour(database, event, amount, end, today)
        if not len(behaviour.days):
            raise NothingFound(f"{archive} has no event {event!r} until {from_micros(end)}")
        active = _active(database, activity, activity_days, end, today) if activity else {}
    measured: dict[str, Ints | Floats] = {
        "recency": -behaviour.days_since,
        "frequency": behaviour.days,
        "monetary": behaviour.total,
    }
    thresholds = {name: quintiles(values) for name, values in measured.items()}
    return Segments(
        until=end,
        behaviour=behaviour,
        scores={name: score(values, thresholds[name]) for name, values in measured.items()},
        thresholds=thresholds,
        active=active,
        levels=level_thresholds(active, set(behaviour.customer_id), levels)
        if any(active.values())
        else {},
    )


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


def level_thresholds(
    active: Mapping[str, int], everybody: set[str], levels: Mapping[str, float]
) -> dict[str, int]:
    """Level → the least active days at which it and the levels above have no more than their share.

    Customers who were never active count with 0 days. No level starts at 0 days, but at 1. If more
    customers than the share have the most days of all, the level starts one above, and is empty.
    """
    days = np.array([active.get(customer, 0) for customer in everybody | set(active)])
    # How many customers reach each number of days: [0] are all, the last are none.
    reach = np.append(np.bincount(days)[::-1].cumsum()[::-1], 0)
    found: dict[str, int] = {}
    above = 0.0
    for name, share in levels.items():
        above += share
        most = above * len(days) + 1e-6  # of whole customers: sums of shares are not exact
        found[name] = 1 + int(np.argmax(reach[1:] <= most))
    return found


def _prepare(database: Database, archive: Path, timezone: str) -> None:
    """Makes the view `facts`: each event once, with the customer it belongs to now, and its day."""
    database.view_dataset("changes", files(archive, "changes"))
    follow_merges(database.execute, "changes")
    database.view_files("events", files(archive, "events"), union=True)
    database.execute(
        "CREATE TEMP TABLE logged AS SELECT DISTINCT ON (customer_id, event_id) "
        f'customer_id, type, epoch_us("at") AS us, properties FROM events WHERE {BY_PEOPLE} '
        'ORDER BY customer_id, event_id, "at", type, properties'
    )
    [(first, last)] = database.rows("SELECT min(us), max(us) FROM logged")
    database.execute("CREATE TEMP TABLE offsets (start BIGINT, shift BIGINT)")
    database.connection.executemany(
        "INSERT INTO offsets VALUES (?, ?)", offsets(calendar.zone(timezone), first or 0, last or 0)
    )
    database.execute(
        f"""
        CREATE TEMP VIEW facts AS
        SELECT customer_id, type, us, (us + shift) // {DAY} AS day, properties
        FROM {merged_view("logged")} e ASOF JOIN offsets ON e.us >= offsets.start
        """
    )


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


def _behaviour(database: Database, event: str, amount: str, until: int, today: int) -> Behaviour:
    found = database.execute(
        """
        SELECT customer_id,
            count(DISTINCT day) AS days,
            max(day) - min(day) AS recency,
            $today - min(day) AS age,
            coalesce(sum(money ORDER BY money) FILTER (isfinite(money)), 0) AS total,
            count(*) FILTER (isfinite(money)) AS priced,
            count(*) FILTER (kind = 'VARCHAR' AND isfinite(told)) AS texts
        FROM (
            SELECT *, CASE WHEN kind IN ('BIGINT', 'UBIGINT', 'DOUBLE') THEN told END AS money
            FROM (
                SELECT customer_id, day, json_type(properties, $path) AS kind,
                    try_cast(json_extract_string(properties, $path) AS DOUBLE) AS told
                FROM facts WHERE type = $event AND us <= $until
            )
        )
        GROUP BY 1 ORDER BY 1
        """,
        {"until": until, "today": today, "event": event, "path": _pointer(amount)},
    ).fetchnumpy()
    return Behaviour(
        customer_id=found["customer_id"].tolist(),
        days=np.asarray(found["days"], dtype=np.int64),
        recency_days=np.asarray(found["recency"], dtype=np.int64),
        age_days=np.asarray(found["age"], dtype=np.int64),
        total=np.asarray(found["total"], dtype=np.float64),
        priced=int(found["priced"].sum()),
        texts=int(found["texts"].sum()),
    )


def _pointer(name: str) -> str:
    """A property as a JSON pointer (RFC 6901), whatever characters it has."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _active(database: Database, activity: str, days: int, until: int, today: int) -> dict[str, int]:
    """Active days of all customers who were ever active: 0 later on, so that no old level stays.

    Days are counted as by `active_days_<n>d` in rules: local days, today included.
    """
    rows = database.rows(
        "SELECT customer_id, count(DISTINCT day) FILTER (day > $today - $days) FROM facts "
        "WHERE type = $event AND us <= $until GROUP BY 1 ORDER BY 1",
        {"event": activity, "until": until, "today": today, "days": days},
    )
    return dict(rows)


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
