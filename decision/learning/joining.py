"""The join of decisions with what came of them, in DuckDB: which rows count, and their labels.

Only narrow columns are read. What does not fit into the memory given goes to a scratch folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.archive.damage import damaged
from decision.archive.merges import follow_merges
from decision.core.definition import Goal
from decision.core.recording import RELEASING, SEEN
from decision.installation import install_hint
from decision.learning.spec import Spec
from decision.learning.table import TrainingError

OPEN: Final = "whose window is still open"
INCOMPLETE: Final = "without an id, a customer, a time or a channel"
TWICE: Final = "that the log holds twice"
NO_GOAL: Final = "of messages without a goal"
IMPOSSIBLE: Final = "with an impossible selection probability"
UNWEIGHED: Final = "without a selection probability to weigh by"
NOT_GIVEN: Final = "released and never seen"
SILENT: Final = "in which nothing was selected"
ORPHAN: Final = "outcomes of decisions that the log does not have"
BEFORE: Final = "outcomes that came before their decision"
REPEATED: Final = "outcomes that the log holds again"
_REASONS: Final = (SILENT, INCOMPLETE, TWICE, IMPOSSIBLE, UNWEIGHED, NO_GOAL, NOT_GIVEN, OPEN)
_MANY: Final = 10_000
"""Above so many events of one type by one customer, pairs are found by sorting, not by trying."""
_FILE: Final = 1 << 40
"""A place in the archive is one number: the file's × this + the row's."""


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """The Parquet files of each dataset, those of `decisions` one at least; and which columns that
    other writers of logs leave out are there."""

    decisions: list[Path]
    outcomes: list[Path] = []
    events: list[Path] = []
    changes: list[Path] = []
    has_position: bool = True
    has_received_at: bool = True


class Joined(msgspec.Struct, kw_only=True):
    """The rows that count, in order of time: where each stands (`row` of `file`), and its label.

    `closes_at` is when the first window that is still open closes (microseconds). `left_out`
    counts decisions' rows that do not count, and outcomes that could not, by reason.
    """

    file: NDArray[np.int64]
    row: NDArray[np.int64]
    at: NDArray[np.int64]
    label: NDArray[np.float64]
    probability: NDArray[np.float64]
    position: NDArray[np.int32]
    messages: list[str]
    message: NDArray[np.int32]
    channels: list[str]
    channel: NDArray[np.int32]
    closes_at: int | None
    left_out: dict[str, int]
    notes: tuple[str, ...] = ()


def join(
    sources: Sources,
    spec: Spec,
    goals: Mapping[str, Goal],
    *,
    memory: int,
    scratch: Path,
    until: int | None = None,
) -> Joined:
    """The rows that count; `memory` (bytes) bounds what DuckDB uses.

    `until` (microseconds) is up to when the log is complete; left out, its latest entry.

    Raises:
        TrainingError: a file cannot be read, or duckdb is not installed.
    """
    try:
        import duckdb
    except ImportError:
        raise TrainingError(install_hint("this needs duckdb")) from None
    connection = duckdb.connect()
    try:
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET enable_progress_bar = false")  # stdout is not its to write to
        connection.execute(f"SET memory_limit = '{max(memory, 256 << 20) >> 20}MiB'")
        connection.execute(f"SET temp_directory = {_text(str(scratch / 'join'))}")
        return _Join(connection, sources, spec, goals).run(until)
    except duckdb.Error as error:
        raise TrainingError(_culprit(sources, str(error))) from None
    finally:
        connection.close()


def _culprit(sources: Sources, reason: str) -> str:
    """The file that cannot be read, by reading each of them; else what DuckDB said."""
    paths = (*sources.decisions, *sources.outcomes, *sources.events, *sources.changes)
    return damaged(paths) or f"the log cannot be joined: {reason.splitlines()[0]}"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _texts(texts: Iterable[str]) -> str:
    """What stands after IN; of no texts, a list that nothing is in."""
    return f"({', '.join(map(_text, sorted(texts))) or 'NULL'})"


class _Join:
    """One join: each step leaves temporary tables that the next reads."""

    def __init__(
        self, connection: Any, sources: Sources, spec: Spec, goals: Mapping[str, Goal]
    ) -> None:
        self._sql = connection.execute
        self._table = connection.sql
        self._sources = sources
        self._default = spec.target or spec.without_goal
        self._goals = {} if spec.target else dict(goals)
        self._weighed = spec.weights is not None
        self._merges = ""

    def run(self, until: int | None) -> Joined:
        if self._sources.changes:
            self._follow_merges()
        self._lay_out_decisions()
        self._lay_out_outcomes()
        known_until = self._latest() if until is None else until
        self._judge(known_until)
        self._label()
        return self._collect()

    def _parquet(self, dataset: str) -> str:
        paths = ", ".join(_text(str(path)) for path in getattr(self._sources, dataset))
        return f"read_parquet([{paths}], hive_partitioning = false)"

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._sql(query).fetchall()
        return found

    def _own(self) -> str:
        """The id of the customer that somebody has become."""
        return "coalesce(merged.into_id, customer_id)" if self._merges else "customer_id"

    def _follow_merges(self) -> None:
        """Table `merged`: earlier id → the id at the end of its merges."""
        follow_merges(self._sql, self._parquet("changes"))
        if self._rows("SELECT count(*) FROM merged")[0][0]:
            self._merges = "LEFT JOIN merged ON customer_id = merged.from_id"

    def _lay_out_decisions(self) -> None:
        """Table `decisions`: every row, with its goal; `place` says where in the archive it is."""
        sql, default = self._sql, self._default
        sql("CREATE TEMP TABLE goals (message VARCHAR, event VARCHAR, within BIGINT)")
        for message, goal in self._goals.items():
            sql("INSERT INTO goals VALUES (?, ?, ?)", [message, goal.event, goal.within])
        event, within = (_text(default.event), default.within) if default else ("NULL", "NULL")
        position = "position" if self._sources.has_position else "NULL"
        sql(f"""
            CREATE TEMP TABLE decisions AS
            SELECT file_index::BIGINT * {_FILE} + file_row_number::BIGINT AS place, decision_id,
                   epoch_us(decided_at) AS moment, {self._own()} AS customer, message, channel,
                   CAST(selection_probability AS DOUBLE) AS probability,
                   CAST({position} AS INTEGER) AS position,
                   coalesce(goals.event, {event}) AS event,
                   coalesce(goals.within, {within}) AS within,
                   hash(decision_id, message, channel) AS tie
            FROM {self._parquet("decisions")} AS log LEFT JOIN goals USING (message)
            {self._merges}""")

    def _lay_out_outcomes(self) -> None:
        """Tables `about`: what happened to contacts, `happened`: what may be a response."""
        sql, sources = self._sql, self._sources
        types = {goal.event for goal in self._goals.values()}
        wanted = _texts(types | ({self._default.event} if self._default else set()))
        sql(
            "CREATE TEMP TABLE about "
            "(decision_id VARCHAR, message VARCHAR, type VARCHAR, moment BIGINT, one UBIGINT)"
        )
        sql(
            "CREATE TEMP TABLE happened (customer VARCHAR, type VARCHAR, moment BIGINT, "
            "decision_id VARCHAR, message VARCHAR)"
        )
        known = ""
        if sources.outcomes:
            outcomes = self._parquet("outcomes")
            sql(
                'INSERT INTO about SELECT decision_id, message, type, epoch_us("at"), '
                f"hash(customer_id, event_id) FROM {outcomes}"
            )
            sql(
                f'INSERT INTO happened SELECT {self._own()}, type, epoch_us("at"), decision_id, '
                f"message FROM {outcomes} {self._merges} WHERE type IN {wanted}"
            )
            # An event about a contact is in both datasets; outcomes know which contact.
            known = (
                f"ANTI JOIN (SELECT customer_id, event_id FROM {outcomes} WHERE type IN {wanted}) "
                "AS known USING (customer_id, event_id)"
            )
        if sources.events:
            events = f"(SELECT * FROM {self._parquet('events')} WHERE type IN {wanted})"
            sql(
                f'INSERT INTO happened SELECT {self._own()}, type, epoch_us("at"), NULL, NULL '
                f'FROM (SELECT customer_id, type, "at" FROM {events} AS all_events {known}) AS log '
                f"{self._merges}"
            )

    def _latest(self) -> int:
        """The latest entry. When an event was received says more than when it is said to be."""
        queries = ["SELECT max(moment) FROM decisions"]
        if self._sources.events:
            column = "received_at" if self._sources.has_received_at else "at"
            queries.append(f'SELECT epoch_us(max("{column}")) FROM {self._parquet("events")}')
        else:
            queries.append("SELECT max(moment) FROM about")
        return max((self._rows(query)[0][0] or 0 for query in queries), default=0)

    def _judge(self, until: int) -> None:
        """Table `judged`: selections, with the reason why one does not count, or NULL."""
        sql = self._sql
        sql("""
            CREATE TEMP TABLE twice AS
            SELECT decision_id, message, channel, min(place) AS first FROM decisions
            WHERE message IS NOT NULL AND tie IN
                  (SELECT tie FROM decisions WHERE message IS NOT NULL
                   GROUP BY tie HAVING count(*) > 1)
            GROUP BY ALL HAVING count(*) > 1""")
        released, seen = _texts(RELEASING), _texts(SEEN)
        sql(f"""
            CREATE TEMP TABLE released AS
            SELECT DISTINCT decision_id, message FROM about
            WHERE decision_id IS NOT NULL AND type IN {released}""")
        sql(f"""
            CREATE TEMP TABLE seen AS
            SELECT DISTINCT decision_id, message FROM about
            WHERE type IN {seen} AND decision_id IN (SELECT decision_id FROM released)""")
        same = (
            "{0}.decision_id = one.decision_id AND coalesce({0}.message, one.message) = one.message"
        )
        sql(f"""
            CREATE TEMP TABLE withheld AS
            SELECT DISTINCT place FROM decisions AS one
            JOIN released ON {same.format("released")}
            WHERE NOT EXISTS (SELECT 1 FROM seen WHERE {same.format("seen")})""")
        unweighed = "probability IS NULL" if self._weighed else "false"
        sql(f"""
            CREATE TEMP TABLE judged AS
            SELECT one.*, CASE
                WHEN one.decision_id IS NULL OR customer IS NULL OR moment IS NULL
                     OR one.channel IS NULL THEN {_text(INCOMPLETE)}
                WHEN one.place <> twice.first THEN {_text(TWICE)}
                WHEN NOT (probability > 0 AND probability <= 1) THEN {_text(IMPOSSIBLE)}
                WHEN {unweighed} THEN {_text(UNWEIGHED)}
                WHEN event IS NULL THEN {_text(NO_GOAL)}
                WHEN withheld.place IS NOT NULL THEN {_text(NOT_GIVEN)}
                WHEN moment + within > {until} THEN {_text(OPEN)}
            END AS why
            FROM decisions AS one LEFT JOIN twice USING (decision_id, message, channel)
            LEFT JOIN withheld ON one.place = withheld.place
            WHERE message IS NOT NULL""")

    def _label(self) -> None:
        """Table `reached`: the places of those whose goal came in time."""
        most = "SELECT max(n) FROM (SELECT count(*) AS n FROM happened GROUP BY customer, type)"
        in_time = "h.moment > one.moment AND h.moment <= one.moment + one.within"
        if (self._rows(most)[0][0] or 0) <= _MANY:
            self._sql(f"""
                CREATE TEMP TABLE reached AS
                SELECT place FROM judged AS one SEMI JOIN happened AS h
                ON one.customer = h.customer AND one.event = h.type AND {in_time}
                   AND (h.decision_id IS NULL OR h.decision_id = one.decision_id)
                   AND (h.message IS NULL OR h.message = one.message)
                WHERE why IS NULL""")
            return
        next_after = "one.customer = h.customer AND one.event = h.type AND one.moment < h.moment"
        self._sql(f"""
            CREATE TEMP TABLE reached AS
            WITH one AS (SELECT * FROM judged WHERE why IS NULL),
                 free AS (SELECT * FROM happened WHERE decision_id IS NULL)
            SELECT place FROM one ASOF JOIN (SELECT * FROM free WHERE message IS NULL) AS h
            ON {next_after} WHERE {in_time}
            UNION ALL
            SELECT place FROM one ASOF JOIN (SELECT * FROM free WHERE message IS NOT NULL) AS h
            ON {next_after} AND one.message = h.message WHERE {in_time}
            UNION ALL
            SELECT place FROM one JOIN (SELECT * FROM happened WHERE decision_id IS NOT NULL) AS h
            ON one.decision_id = h.decision_id AND one.customer = h.customer AND one.event = h.type
            WHERE (h.message IS NULL OR h.message = one.message) AND {in_time}""")

    def _collect(self) -> Joined:
        found = self._table("""
            SELECT place, moment, tie, message, channel, probability, position,
                   place IN (SELECT place FROM reached) AS label
            FROM judged WHERE why IS NULL""").to_arrow_table()
        order = np.lexsort([found.column(name).to_numpy() for name in ("place", "tie", "moment")])

        def column(name: str) -> Any:
            return found.column(name).to_numpy()[order]

        place = column("place")
        messages, message = _coded(found.column("message"))
        channels, channel = _coded(found.column("channel"))
        left_out, notes = self._left_out()
        position = found.column("position").fill_null(1).to_numpy()[order]
        closes = f"SELECT min(moment + within) FROM judged WHERE why = {_text(OPEN)}"
        return Joined(
            file=place // _FILE,
            row=place % _FILE,
            at=column("moment"),
            label=column("label").astype(np.float64),
            probability=column("probability"),
            position=position.astype(np.int32),
            messages=messages,
            message=message[order],
            channels=channels,
            channel=channel[order],
            closes_at=self._rows(closes)[0][0],
            left_out=left_out,
            notes=notes,
        )

    def _left_out(self) -> tuple[dict[str, int], tuple[str, ...]]:
        """Counts by reason; and where the first impossible probability stands."""
        counts = dict(
            self._rows("SELECT why, count(*) FROM judged WHERE why IS NOT NULL GROUP BY 1")
        )
        silent = "SELECT count(*) FROM decisions WHERE message IS NULL"
        counts[SILENT] = self._rows(silent)[0][0]
        outcomes = """
            SELECT count(*) FILTER (known.moment IS NULL),
                   count(*) FILTER (about.moment < known.moment)
            FROM about LEFT JOIN
                 (SELECT decision_id, min(moment) AS moment FROM decisions GROUP BY 1) AS known
            USING (decision_id) WHERE about.decision_id IS NOT NULL"""
        (counts[ORPHAN], counts[BEFORE]), *_ = self._rows(outcomes)
        again = "SELECT count(*) - count(DISTINCT one) FROM about"
        counts[REPEATED] = self._rows(again)[0][0]
        notes = []
        if counts.get(IMPOSSIBLE):
            where = f"FROM judged WHERE why = {_text(IMPOSSIBLE)} ORDER BY place LIMIT 1"
            row = self._rows(f"SELECT place, decision_id, probability {where}")[0]
            path = self._sources.decisions[row[0] // _FILE]
            notes.append(
                f"{path}, row {row[0] % _FILE + 1}: the selection probability of decision "
                f"{row[1]} is {row[2]:g}; it must be above 0 and at most 1"
            )
        ordered = (*_REASONS, ORPHAN, BEFORE, REPEATED)
        return {why: counts[why] for why in ordered if counts.get(why)}, tuple(notes)


def _coded(column: Any) -> tuple[list[str], NDArray[np.int32]]:
    """The distinct texts in order, and the place of each row's among them."""
    coded = column.combine_chunks().dictionary_encode()
    texts = coded.dictionary.to_pylist()
    order = sorted(range(len(texts)), key=texts.__getitem__)
    place = np.empty(len(texts), dtype=np.int32)
    place[order] = np.arange(len(texts), dtype=np.int32)
    return [texts[each] for each in order], place[coded.indices.to_numpy(zero_copy_only=False)]
