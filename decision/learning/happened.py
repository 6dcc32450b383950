"""What may be a response to a selection: outcomes, and events that are none of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from decision.archive.machines import BY_PEOPLE
from decision.archive.query import Database
from decision.core.machines import SEEN
from decision.learning.left_out import LogFiles

_NONE: Final = -1
"""The number of a message that no selection has."""
NUMBERED: Final = f"CASE WHEN log.message IS NOT NULL THEN coalesce(messages.number, {_NONE}) END"
"""SQL of the number of the message that an outcome names."""


def lay_out_happened(
    database: Database, sources: LogFiles, types: Sequence[str], customer: str, merges: str
) -> None:
    """View `happened` (id, customer, type, moment, decision_id, message): what may be a response.

    Of a join under way: its tables outcomes, events, messages and types. `customer` is the id that
    a customer has now, and `merges` the join that tells it, in SQL.
    """
    sql = database.execute
    sql(
        "CREATE TEMP TABLE entries (customer VARCHAR, type TINYINT, moment BIGINT, "
        "decision_id VARCHAR, message INTEGER)"
    )
    sql("CREATE TEMP VIEW happened AS SELECT *, rowid AS id FROM entries")
    # In place of a join, so that other rows are left out while the file is read.
    wanted = f"type IN ({', '.join(map(quoted, types)) or 'NULL'})"
    sql(
        f'INSERT INTO entries SELECT {customer}, types.number, epoch_us("at"), decision_id, '
        f"{NUMBERED} FROM outcomes AS log JOIN types USING (type) "
        f"LEFT JOIN messages USING (message) {merges} WHERE {wanted}"
    )
    if not sources.events:
        return
    # An event about a contact is in both datasets; outcomes say which contact.
    events, told = wanted, ""
    if _name_contacts(database, sources):
        events += " AND decision_id IS NULL"
    elif sources.outcomes:
        told = (
            f"ANTI JOIN (SELECT * FROM outcomes WHERE {wanted}) AS one "
            "ON one.customer_id = log.customer_id AND one.event_id = log.event_id"
        )
    if sources.has_properties and not set(SEEN).isdisjoint(types):
        events += f" AND {BY_PEOPLE}"
    sql(
        f'INSERT INTO entries SELECT {customer}, number, epoch_us("at"), NULL, NULL '
        f"FROM (SELECT * FROM events WHERE {events}) AS log JOIN types USING (type) {told} {merges}"
    )


def _name_contacts(database: Database, sources: LogFiles) -> bool:
    """Whether events about contacts name their decisions, as those of an archive do, so that
    nobody has to look for them among outcomes. Each file has to: programs may differ."""
    naming = database.value(
        "SELECT count(*) FROM (SELECT sum(num_values - stats_null_count) AS named "
        "FROM parquet_metadata($files) WHERE path_in_schema = 'decision_id' "
        "GROUP BY file_name) WHERE named > 0",
        {"files": [str(path) for path in sources.events]},
    )
    return bool(sources.outcomes) and naming == len(sources.events)


def quoted(text: str) -> str:
    """A text in SQL.

    >>> quoted("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"
