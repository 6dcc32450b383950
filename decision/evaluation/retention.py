"""Retention by holdout arm: how many customers come back, with and without messages.

Customers are counted from their first decision; week k is ((k − 1) · 7 d, k · 7 d] after it. If
week k of a customer is not over at the end of the log, the customer does not count in it
(censored), even if they were active in it: else retention would look better than it is.
"""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from typing import Final

import msgspec

from decision.archive.damage import naming_damage
from decision.archive.given import WITHOUT_STORE
from decision.archive.journal import files, reading
from decision.archive.machines import BY_PEOPLE
from decision.archive.merges import follow_merges, merged_view
from decision.archive.query import open_database
from decision.core.clock import DAY
from decision.learning.metrics import wilson

WEEK: Final = 7 * DAY
ANY: Final = "any"


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


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """Retention curves; `until` (microseconds) is the end of the log."""

    event: str
    until: int
    treated: int
    holdout: int
    weeks: list[Week]
    confidence: float


def newcombe(one: Share, other: Share) -> tuple[float, float]:
    """The interval of the difference of two independent shares, from their Wilson intervals."""
    gap = one.share - other.share
    below = sqrt((one.share - one.interval[0]) ** 2 + (other.interval[1] - other.share) ** 2)
    above = sqrt((one.interval[1] - one.share) ** 2 + (other.share - other.interval[0]) ** 2)
    return (gap - below, gap + above)


def retention(
    archive: Path, *, event: str = ANY, weeks: int = 8, confidence: float = 0.95
) -> Retention:
    """The curves of an archive. `any` is every event except `message.…`, which messages cause.

    A customer's arm is that of their first decision (of two at one time, of the lower id).

    Raises:
        FileNotFoundError: the archive has no decisions.
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    with reading(archive), naming_damage(archive), open_database() as database:
        for name in ("changes", "decisions", "events"):
            paths = files(archive, name)
            if not paths and name == "decisions":
                raise FileNotFoundError(2, "there are no decisions", str(archive / name))
            database.view_dataset(name, paths)
        follow_merges(database.execute, "changes")
        database.execute(
            "CREATE TEMP TABLE starts AS SELECT customer_id, min(epoch_us(decided_at)) AS began, "
            "coalesce(arg_min(holdout, (decided_at, decision_id)), false) AS holdout "
            f"FROM {merged_view('decisions')} WHERE NOT {WITHOUT_STORE} GROUP BY customer_id"
        )
        [times] = database.rows(
            "SELECT (SELECT max(epoch_us(decided_at)) FROM decisions), "
            "(SELECT max(epoch_us(received_at)) FROM events)"
        )
        until = max(time or 0 for time in times)
        counts = database.rows(
            _COUNTS, {"week": WEEK, "weeks": weeks, "until": until, "event": event}
        )
        sizes = dict(database.rows("SELECT holdout, count(*) FROM starts GROUP BY 1"))
    arms = {(holdout, week): (customers, active) for holdout, week, customers, active in counts}
    return Retention(
        event=event,
        until=until,
        treated=sizes.get(False, 0),
        holdout=sizes.get(True, 0),
        weeks=[_week(arms, week, confidence) for week in range(1, weeks + 1)],
        confidence=confidence,
    )


_COUNTS: Final = f"""
WITH active AS (
  SELECT DISTINCT s.customer_id, (epoch_us(e."at") - s.began - 1) // $week + 1 AS week
  FROM {merged_view("events")} e JOIN starts s ON s.customer_id = e.customer_id
  WHERE epoch_us(e."at") > s.began AND {BY_PEOPLE}
    AND (e.type = $event OR ($event = 'any' AND NOT starts_with(e.type, 'message.')))),
due AS (
  SELECT s.customer_id, s.holdout, w.week FROM starts s, range(1, $weeks + 1) w(week)
  WHERE s.began + w.week * $week <= $until)
SELECT d.holdout, d.week, count(*), count(a.customer_id)
FROM due d LEFT JOIN active a ON a.customer_id = d.customer_id AND a.week = d.week
GROUP BY 1, 2
"""


def _week(arms: dict[tuple[bool, int], tuple[int, int]], week: int, confidence: float) -> Week:
    treated = _share(*arms.get((False, week), (0, 0)), confidence)
    held = _share(*arms.get((True, week), (0, 0)), confidence)
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
