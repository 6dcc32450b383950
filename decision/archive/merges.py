"""Merged customers are one customer in every analysis: SQL that all readers of the log share.

A customer's decisions are in the log under the id of that time, and what they did later under the
id they were merged into. Joining the two without this loses responses, counts one person as two in
an interval, and leaks what a model is judged by from one fold into another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

_MERGES_IN_A_ROW: Final = 32


def follow_merges(sql: Callable[[str], Any], changes: str) -> None:
    """Makes the table `merged` (from_id, into_id): earlier id → the id at the end of its merges.

    Of two merges of one id the later counts. An id that another one is merged into exists again,
    even if it was merged away before. `sql` executes in DuckDB; `changes` is that dataset in SQL.
    """
    sql(f"""
        CREATE TEMP TABLE merged AS
        WITH RECURSIVE said AS (
            SELECT detail->>'$.from' AS from_id, customer_id AS into_id,
                   coalesce(epoch_us("at"), 0) AS moment
            FROM {changes} WHERE kind = 'merge'
        ), latest AS (
            SELECT from_id, arg_max(into_id, (moment, into_id)) AS into_id, max(moment) AS moment
            FROM said GROUP BY from_id
        ), back AS (
            SELECT into_id AS from_id, max(moment) AS moment FROM said GROUP BY into_id
        ), step AS (
            SELECT from_id, latest.into_id FROM latest LEFT JOIN back USING (from_id)
            WHERE back.moment IS NULL OR back.moment <= latest.moment
        ), chain AS (
            SELECT from_id, into_id, 1 AS depth FROM step
            UNION ALL
            SELECT chain.from_id, step.into_id, depth + 1
            FROM chain JOIN step ON chain.into_id = step.from_id
            WHERE depth < {_MERGES_IN_A_ROW} AND step.into_id <> chain.from_id
        )
        SELECT from_id, arg_max(into_id, (depth, into_id)) AS into_id
        FROM chain WHERE from_id IS NOT NULL GROUP BY from_id""")


def merged_view(table: str) -> str:
    """A table in SQL, with the id that each customer has now as `customer_id`."""
    return (
        f"(SELECT log.* REPLACE (coalesce(merged.into_id, log.customer_id) AS customer_id) "
        f"FROM {table} AS log LEFT JOIN merged ON log.customer_id = merged.from_id)"
    )
