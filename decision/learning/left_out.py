"""What a join of the log leaves out, counted by reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from decision.archive.query import Database
from decision.learning.counted_rows import LeftOut
from decision.scoring.notes import Note, note

OPEN: Final = "whose window is still open"
INCOMPLETE: Final = "without an id, a customer, a time or a channel"
TWICE: Final = "that the log holds twice"
NO_GOAL: Final = "of messages without a goal"
IMPOSSIBLE: Final = "with an impossible selection probability"
UNWEIGHED: Final = "without a selection probability to weigh by"
NOT_GIVEN: Final = "released and never seen"
ELSEWHERE: Final = "of other scopes"
SILENT: Final = "in which nothing was selected"
ORPHAN: Final = "outcomes of decisions that the log does not have"
BEFORE: Final = "outcomes that came before their decision"
REPEATED: Final = "outcomes that the log holds again"
REASONS: Final = (
    INCOMPLETE,
    TWICE,
    ELSEWHERE,
    IMPOSSIBLE,
    UNWEIGHED,
    NO_GOAL,
    NOT_GIVEN,
    OPEN,
)
_BEGUN: Final = 0.2
"""From this share of rows on it is noted that the response's event is that of the decision."""
FILE: Final = 1 << 40
"""A place in the archive is one number: the file's number × this + the row's number."""


class LogFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The Parquet files of each dataset (at least one of `decisions`), and which optional columns
    they have: other writers of logs may leave them out. `holdouts` is policy version → the share
    of its control groups, where uplift is learned. `purposes` is policy version → message → its
    purpose, where that counts."""

    decisions: list[Path]
    outcomes: list[Path] = []
    events: list[Path] = []
    changes: list[Path] = []
    has_position: bool = True
    has_received_at: bool = True
    has_properties: bool = True
    has_event_type: bool = True
    holdouts: dict[str, float] = {}
    purposes: dict[str, dict[str, str]] = {}


def count_left_out(
    database: Database, sources: LogFiles, types: Sequence[str], repeated: int
) -> LeftOut:
    """Counts by reason; notes on impossible probabilities, and on events that begin it all.

    Of a join under way: its tables judged, decisions and outcomes. `types` are names of events, by
    their numbers there; `repeated` is what `count_repeated` found.
    """
    counts = dict(
        database.rows("SELECT why, count(*) FROM judged WHERE why IS NOT NULL GROUP BY 1")
    )
    silent = "SELECT count(*) FROM decisions WHERE message IS NULL"
    counts[SILENT] = database.value(silent)
    counts |= {**_strays(database), REPEATED: repeated}
    notes: list[Note] = []
    if counts.get(IMPOSSIBLE):
        where = f"FROM judged WHERE why = '{IMPOSSIBLE}' ORDER BY place LIMIT 1"
        row = database.rows(f"SELECT place, decision_id, probability {where}")[0]
        path = sources.decisions[row[0] // FILE]
        told = {"file": str(path), "row": f"{row[0] % FILE + 1}", "decision": row[1]}
        told["probability"] = f"{row[2]:g}"
        notes.append(note("impossible_probability", **told))
    begun = "SELECT event, count(*), count(*) FILTER (begun) FROM judged WHERE why IS NULL"
    for event, rows, own in database.rows(f"{begun} GROUP BY 1 ORDER BY 1"):
        if own >= _BEGUN * rows:
            notes.append(note("begins_the_decision", event=types[event], share=own / rows))
    ordered = (SILENT, *REASONS, ORPHAN, BEFORE, REPEATED)
    return LeftOut({why: counts[why] for why in ordered if counts.get(why)}, tuple(notes))


def lay_out_alike(database: Database, hashes: str) -> bool:
    """View `alike`: each `hash` that a query's column has more than once; says whether any has.

    Ids with equal hashes need not be equal, so those few rows are looked at again. Sorting finds
    them in a third of the time that grouping takes.

    >>> from decision.archive.query import open_database
    >>> with open_database() as database:
    ...     lay_out_alike(database, "SELECT hash(i % 3) FROM range(5) AS t(i)")
    True
    """
    import pyarrow as pa

    found = np.sort(database.table(hashes).column(0).to_numpy())
    again = found[1:][found[1:] == found[:-1]]
    database.connection.register("alike", pa.table({"hash": again}))
    return len(again) > 0


def count_repeated(database: Database, outcomes: Sequence[Path]) -> int:
    """The outcomes that these files hold again: by a connection of its own, for another thread."""
    if not outcomes:
        return 0
    mark = "hash(customer_id, event_id)"
    again = f"""
        SELECT coalesce(sum(n - 1), 0)::BIGINT FROM (
            SELECT count(*) AS n FROM outcomes WHERE {mark} IN (SELECT hash FROM alike)
            GROUP BY customer_id, event_id)"""
    with database.beside() as own:
        own.view_files("outcomes", outcomes)
        some = lay_out_alike(own, f"SELECT {mark} FROM outcomes")
        return int(own.value(again)) if some else 0


def _strays(database: Database) -> dict[str, int]:
    """The outcomes of decisions that the log does not have, or that came before them."""
    named = """(SELECT decision_id, epoch_us("at") AS moment FROM outcomes
                WHERE decision_id IS NOT NULL)"""
    same = "JOIN decisions AS one ON one.decision_id = about.decision_id"
    without = f"SELECT count(*) FROM {named} AS about ANTI {same}"
    # Most logs have neither, which this says at half the price.
    either = database.value(f"{without} AND one.moment <= about.moment")
    orphans = database.value(without) if either else 0
    return {ORPHAN: orphans, BEFORE: either - orphans}
