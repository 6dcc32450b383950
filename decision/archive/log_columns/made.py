"""The summaries of single files: the few columns that reports on customers need, small to read.

- `decisions`: one row per decision that a policy made: `tests` is its experiments as JSON. Those
  given without the store are left out.
- `events`: one row per event that a person caused; `digest` is of the customer and the event's id.
- `amounts`: one row per such event of one type: `money` is a property that is a number, `text` says
  that it is a text that could be read as one.

`until` in the metadata is the last time in the file, of all rows, in microseconds.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from decision.archive.given import WITHOUT_STORE
from decision.archive.machines import BY_PEOPLE
from decision.archive.query import Database, open_database
from decision.core.records import NOT_GIVEN

FORMAT: Final = 1
UNTIL: Final = b"until"
DIGEST: Final = (
    "md5_number_lower(coalesce(customer_id, '') || chr(1) || coalesce(event_id, ''))::UBIGINT"
)

_DECISIONS: Final = f"""
SELECT decision_id, coalesce(customer_id, '') AS customer_id, epoch_us(decided_at) AS "at",
    outcome, placement, message, channel, coalesce(holdout, false) AS held,
    CASE WHEN cardinality(experiments) > 0 THEN CAST(to_json(experiments) AS VARCHAR) END AS tests
FROM decisions WHERE coalesce(position, 1) = 1 AND NOT {WITHOUT_STORE}
"""
_EVENTS: Final = f"""
SELECT coalesce(customer_id, '') AS customer_id, type, epoch_us("at") AS "at", {DIGEST} AS digest
FROM {{events}} WHERE {BY_PEOPLE}
"""
_AMOUNTS: Final = f"""
SELECT customer_id, "at", digest, CASE WHEN kind IN ('BIGINT', 'UBIGINT', 'DOUBLE') THEN told END
    AS money, coalesce(kind = 'VARCHAR' AND isfinite(told), false) AS text
FROM (
    SELECT coalesce(customer_id, '') AS customer_id, epoch_us("at") AS "at", {DIGEST} AS digest,
        json_type(properties, $path) AS kind,
        try_cast(json_extract_string(properties, $path) AS DOUBLE) AS told
    FROM {{events}} WHERE type = $event AND {BY_PEOPLE}
)
"""
_CHANGES: Final = f"""
SELECT kind, customer_id, "at", detail,
    coalesce(change_id, detail->>'$.decision_id') AS change_id
FROM changes WHERE kind IN ('merge', '{NOT_GIVEN}')
"""
_ONCE: Final = f"""
(SELECT DISTINCT ON (customer_id, event_id) * FROM events
 WHERE {BY_PEOPLE} AND {DIGEST} IN (SELECT digest FROM doubtful)
 ORDER BY customer_id, event_id, "at", type, properties)
"""
"""Events that are logged more than once, each once."""
_CODED: Final = frozenset(
    {"customer_id", "outcome", "placement", "message", "channel", "tests", "type"}
)


class Amount(NamedTuple):
    """A property of the events of one type."""

    event: str
    name: str

    @property
    def path(self) -> str:
        """The property as a JSON pointer (RFC 6901), whatever characters it has."""
        return "/" + self.name.replace("~", "~0").replace("/", "~1")


def decisions_of(database: Database, path: Path) -> Any:
    """The summary of a file of decisions."""
    return _table(database, [path], "decisions", _DECISIONS, "max(epoch_us(decided_at))")


def events_of(database: Database, path: Path) -> Any:
    """The summary of a file of events."""
    return _table(
        database, [path], "events", _EVENTS.format(events="events"), "max(epoch_us(received_at))"
    )


def amounts_of(database: Database, path: Path, amount: Amount) -> Any:
    """The amounts of the events of one file."""
    query = _AMOUNTS.format(events="events")
    return _table(database, [path], "events", query, "NULL", **_given(amount))


def once_of(database: Database, paths: list[Path], doubtful: Any, amount: Amount | None) -> Any:
    """The rows of the events with these digests, each event once: as `events_of` or `amounts_of`.

    Of several rows of one event the first counts.
    """
    query = (_EVENTS if amount is None else _AMOUNTS).format(events=_ONCE)
    return _table(database, paths, "events", query, "NULL", doubtful=doubtful, **_given(amount))


def changes_of(database: Database, path: Path) -> Any:
    """The merges of a file of changes, and the decisions that nobody was given."""
    return _table(database, [path], "changes", _CHANGES, "NULL", coded=False)


def _given(amount: Amount | None) -> dict[str, Any]:
    return {} if amount is None else {"event": amount.event, "path": amount.path}


@cache
def nothing_of(kind: str) -> Any:
    """A summary without rows: of `decisions`, `events`, `amounts` or `changes`."""
    with open_database() as database:
        if kind == "amounts":
            query = _AMOUNTS.format(events="events")
            return _table(database, [], "events", query, "NULL", **_given(Amount("", "")))
        query = {"decisions": _DECISIONS, "events": _EVENTS, "changes": _CHANGES}[kind]
        query = query.format(events="events") if kind == "events" else query
        return _table(database, [], kind, query, "NULL", coded=kind != "changes")


def _table(
    database: Database, paths: list[Path], dataset: str, query: str, until: str, *,
    doubtful: Any = None, coded: bool = True, **given: str,
) -> Any:  # fmt: skip
    import pyarrow as pa

    database.view_dataset(dataset, paths)
    if doubtful is not None:
        database.connection.register("doubtful", pa.table({"digest": doubtful}))
    table = database.connection.sql(query, params=given).to_arrow_table()
    last = database.value(f"SELECT {until} FROM {dataset}") if until != "NULL" else None
    for place, name in enumerate(table.column_names):
        if coded and name in _CODED:
            column = table.column(place).dictionary_encode().combine_chunks()
            table = table.set_column(place, name, column)
    return table.replace_schema_metadata({UNTIL: str(last or 0)})
