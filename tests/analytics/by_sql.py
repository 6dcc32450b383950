"""Reports on customers by plain SQL over all files of an archive: what the columns must agree with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from decision.archive.given import IDS_NOT_GIVEN, WITHOUT_STORE
from decision.archive.machines import BY_PEOPLE
from decision.archive.merges import follow_merges, merged_view
from decision.archive.query import Database, open_database
from decision.archive.tables import files
from decision.core.clock import DAY

WEEK = 7 * DAY


@contextmanager
def opened(archive: Path) -> Iterator[Database]:
    with open_database() as database:
        for name in ("changes", "decisions", "events"):
            database.view_dataset(name, files(archive, name))
        follow_merges(database.execute, "changes")
        database.execute(
            f"CREATE TEMP TABLE own AS SELECT *, epoch_us(decided_at) AS us, "
            f"decision_id IN (SELECT decision_id FROM {IDS_NOT_GIVEN}) AS ungiven "
            f"FROM {merged_view('decisions')} "
            f"WHERE NOT {WITHOUT_STORE} AND coalesce(position, 1) = 1"
        )
        yield database


def exposures(database: Database, begin: int, end: int, placement: str | None) -> dict[str, Any]:
    """Totals, and (test, variant, message) → (customers, decisions, selected)."""
    database.execute(
        "CREATE OR REPLACE TEMP TABLE chosen AS SELECT *, coalesce(holdout, false) AS held FROM own "
        "WHERE us >= $begin AND us < $end AND ($placement IS NULL OR placement = $placement)",
        {"begin": begin, "end": end, "placement": placement},
    )
    [totals] = database.rows(
        "SELECT count(DISTINCT customer_id) FILTER (NOT ungiven), count(*) FILTER (NOT ungiven),"
        "count(DISTINCT customer_id) FILTER (held AND NOT ungiven), "
        "count(*) FILTER (held AND NOT ungiven), count(*) FILTER (ungiven) FROM chosen"
    )
    rows = database.rows(
        "SELECT one.key, one.value, coalesce(message, ''), count(DISTINCT customer_id), "
        "count(*), count(*) FILTER (outcome = 'selected') FROM chosen, "
        "unnest(map_entries(experiments)) AS entry(one) WHERE NOT ungiven "
        "GROUP BY GROUPING SETS ((1, 2, 3), (1, 2))"
    )
    grouped = {(test, variant, name): tuple(counts) for test, variant, name, *counts in rows}
    return {"totals": totals, "rows": grouped}


def retention(database: Database, event: str, weeks: int, begin: int, end: int) -> dict[Any, Any]:
    """(placement of the first decision, held out, week) → (customers, active ones)."""
    database.execute(
        "CREATE OR REPLACE TEMP TABLE starts AS SELECT customer_id, min(us) AS began, "
        "arg_min(coalesce(holdout, false), (us, decision_id)) AS held, "
        "arg_min(placement, (us, decision_id)) AS placement FROM own GROUP BY 1 "
        f"HAVING began >= {begin} AND began < {end}"
    )
    until = database.value(
        "SELECT greatest((SELECT max(epoch_us(decided_at)) FROM decisions), "
        "(SELECT max(epoch_us(received_at)) FROM events))"
    )
    rows = database.rows(
        f"""
        WITH active AS (
          SELECT DISTINCT s.customer_id, (epoch_us(e."at") - s.began - 1) // {WEEK} + 1 AS week
          FROM {merged_view("events")} e JOIN starts s USING (customer_id)
          WHERE epoch_us(e."at") > s.began AND {BY_PEOPLE} AND (e.type = $event
            OR ($event = 'any' AND NOT starts_with(e.type, 'message.'))))
        SELECT placement, held, week, count(*), count(a.customer_id)
        FROM (SELECT s.*, week FROM starts s, range(1, $weeks + 1) w(week)) s
        LEFT JOIN active a USING (customer_id, week)
        WHERE began + week * {WEEK} <= $until GROUP BY 1, 2, 3
        """,
        {"event": event, "weeks": weeks, "until": until},
    )
    return {(name, held, week): (due, active) for name, held, week, due, active in rows}


def behaviour(database: Database, event: str, amount: str, until: int) -> dict[str, Any]:
    """Customer → (days with the event, days since the first, money), days in UTC."""
    database.execute(
        "CREATE OR REPLACE TEMP TABLE logged AS SELECT DISTINCT ON (customer_id, event_id) * "
        f'FROM events WHERE {BY_PEOPLE} ORDER BY customer_id, event_id, "at", type, properties'
    )
    rows = database.rows(
        f"""SELECT customer_id, epoch_us("at") // {DAY}, properties
        FROM {merged_view("logged")} WHERE type = $event AND epoch_us("at") <= $until""",
        {"event": event, "until": until},
    )
    found: dict[str, Any] = {}
    for customer, day, properties in rows:
        value = json.loads(properties or "{}").get(amount)
        days, money = found.setdefault(customer, (set(), []))
        days.add(day)
        if isinstance(value, int | float) and not isinstance(value, bool):
            money.append(value)
    return {
        customer: (len(days), until // DAY - min(days), sum(sorted(money)))
        for customer, (days, money) in found.items()
    }
