"""Joins decisions with outcomes in DuckDB: which rows count, their labels, then what is left out.

Only narrow columns are read. What does not fit into the given memory spills to a scratch folder.
Outcomes are joined by a thread of their own, so that features can be read meanwhile.
Unlike in `evaluation.log`, a contact that was released and never seen is left out (the model should
learn from what customers saw), and each row waits for the goal window of its own message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decision.archive.damage import damaged
from decision.archive.given import IDS_NOT_GIVEN
from decision.archive.merges import follow_merges
from decision.archive.query import Database, open_database
from decision.core.definition import Goal
from decision.core.event_effects import RELEASING
from decision.learning.attribution import MANY, credits_of, never_seen
from decision.learning.control_rows import control_rows, lay_out
from decision.learning.counted_rows import (
    CountedRows,
    LeftOut,
    Responses,
    in_order_of,
    present,
)
from decision.learning.happened import NUMBERED, lay_out_happened, quoted
from decision.learning.left_out import (
    ELSEWHERE,
    FILE,
    IMPOSSIBLE,
    INCOMPLETE,
    NO_GOAL,
    NOT_GIVEN,
    OPEN,
    REASONS,
    TWICE,
    UNWEIGHED,
    LogFiles,
    count_left_out,
    count_repeated,
    lay_out_alike,
)
from decision.learning.spec import Spec
from decision.learning.table import TrainingError


@contextmanager
def joining(
    sources: LogFiles, spec: Spec, goals: Mapping[str, Goal], *, memory: int, scratch: Path
) -> Iterator[Join]:
    """A join of these files, until the context ends; `memory` (bytes) limits what DuckDB uses.

    Raises:
        TrainingError: a file cannot be read; also from within the context.
    """
    with (
        _damage_named(sources),
        open_database(memory, scratch / "join") as database,
        ThreadPoolExecutor(1) as beside,
    ):
        yield Join(database, beside, sources, spec, goals)


@contextmanager
def _damage_named(sources: LogFiles) -> Iterator[None]:
    """DuckDB's errors become a TrainingError with the file that cannot be read."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise TrainingError(_culprit(sources, str(error))) from None


def _culprit(sources: LogFiles, reason: str) -> str:
    """The file that cannot be read, found by reading each; else DuckDB's message."""
    paths = (*sources.decisions, *sources.outcomes, *sources.events, *sources.changes)
    return damaged(paths) or f"the log cannot be joined: {reason.splitlines()[0]}"


class Join:
    """One join: each step makes temporary tables for the next.

    `beside` is a thread that uses the database once it is known which rows count.
    """

    def __init__(
        self,
        database: Database,
        beside: Executor,
        sources: LogFiles,
        spec: Spec,
        goals: Mapping[str, Goal],
    ) -> None:
        self._beside = beside
        self._sql = database.execute
        self._relation = database.connection.sql
        self._rows = database.rows
        self._value = database.value
        self._sources = sources
        self._default = spec.target or spec.without_goal
        self._goals = {} if spec.target else dict(goals)
        self._weighed = spec.weights is not None
        self._folds = spec.cross_fit
        self._attribution = spec.attribution
        self._scope = spec.scope
        self._merges = ""
        self._messages: list[str] = []
        self._channels: list[str] = []
        self._types: list[str] = []
        # Only rows of decisions need their place.
        self._database, self._uplift = database, spec.objective == "uplift"
        files = "all_decision_files" if self._uplift else "decision_files"
        database.view_files(files, sources.decisions, "*, file_index, file_row_number")
        if self._uplift:
            lay_out(database, files, sources.holdouts, self._own_messages())
        for name in ("outcomes", "events", "changes"):
            if paths := getattr(sources, name):
                database.view_files(name, paths)

    def rows(self, until: int | None = None) -> CountedRows:
        """The rows that count: the first step.

        `until` (microseconds) is the time up to which the log is complete; default: its latest
        entry.
        """
        if self._sources.changes:
            self._follow_merges()
        self._lay_out_names()
        self._lay_out_decisions()
        self._lay_out_outcomes()
        # Judging and collecting use one processor only.
        self._repeated = self._beside.submit(count_repeated, self._database, self._sources.outcomes)
        self._judge(self._latest() if until is None else until)
        return self._collect()

    def responses(self, rows: CountedRows) -> Future[Responses]:
        """What customers did about these rows: the second step."""
        return self._beside.submit(self._respond, rows)

    def left_out(self) -> Future[LeftOut]:
        """What does not count: the last step, after which DuckDB takes no more memory."""
        return self._beside.submit(self._count_left_out)

    def _respond(self, rows: CountedRows) -> Responses:
        self._happened.result()
        label = self._label(rows)
        control = None
        if self._uplift:
            control = control_rows(self._database, rows, self._own_messages())
        return Responses(label=label, control=control)

    def _count_left_out(self) -> LeftOut:
        with _damage_named(self._sources):
            repeated = self._repeated.result()
            found = count_left_out(self._database, self._sources, self._types, repeated)
        self._database.connection.close()
        return found

    def _own(self) -> str:
        """The id that the customer has now."""
        return "coalesce(merged.into_id, customer_id)" if self._merges else "customer_id"

    def _follow_merges(self) -> None:
        """Table `merged`: earlier id → the id at the end of its merges."""
        follow_merges(self._sql, "changes")
        if self._value("SELECT count(*) FROM merged"):
            self._merges = "LEFT JOIN merged ON customer_id = merged.from_id"

    def _lay_out_names(self) -> None:
        """Tables `messages` (name, number and goal), `channels` and `types` (name and number)."""
        rows = self._rows("SELECT DISTINCT message, channel FROM decision_files")
        self._messages = sorted({message for message, _ in rows} - {None})
        self._channels = sorted({channel for _, channel in rows} - {None})
        goals = {name: self._goals.get(name, self._default) for name in self._messages}
        self._types = sorted({goal.event for goal in goals.values() if goal is not None})
        numbers = {name: number for number, name in enumerate(self._types)}
        self._fill("types (type VARCHAR, number TINYINT)", [*numbers.items()])
        self._fill(
            "channels (channel VARCHAR, number INTEGER)",
            [(name, number) for number, name in enumerate(self._channels)],
        )
        self._fill(
            "messages (message VARCHAR, number INTEGER, "
            "goal VARCHAR, event TINYINT, within BIGINT)",
            [
                (name, number, goal.event, numbers[goal.event], goal.within)
                if goal is not None
                else (name, number, None, None, None)
                for number, (name, goal) in enumerate(goals.items())
            ],
        )

    def _fill(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        import pyarrow as pa

        self._sql(f"CREATE TEMP TABLE {table}")
        if rows:
            columns = [pa.array(column) for column in zip(*rows, strict=True)]
            given = pa.table(columns, [str(number) for number in range(len(columns))])
            self._database.connection.register("given_rows", given)
            self._sql(f"INSERT INTO {table.partition(' ')[0]} SELECT * FROM given_rows")

    def _lay_out_decisions(self) -> None:
        """Table `decisions`: every row, with its goal, its `place` in the archive, and, as far as
        the row alone tells, `why` it does not count."""
        position = "position" if self._sources.has_position else "NULL"
        elsewhere = self._lay_out_scope()
        begun = "event_type" if self._sources.has_event_type else "NULL"
        arms = ", silence, given" if self._uplift else ""
        self._sql(f"CREATE TYPE reason AS ENUM ({', '.join(map(quoted, REASONS))})")
        self._sql(f"""
            CREATE TEMP TABLE decisions AS
            SELECT * EXCLUDE (elsewhere), CASE
                WHEN message IS NULL THEN NULL
                WHEN decision_id IS NULL OR customer IS NULL OR moment IS NULL OR channel IS NULL
                     THEN '{INCOMPLETE}'
                WHEN NOT (probability > 0 AND probability <= 1) THEN '{IMPOSSIBLE}'
                WHEN {self._weighed} AND probability IS NULL THEN '{UNWEIGHED}'
                WHEN event IS NULL THEN '{NO_GOAL}'
                WHEN elsewhere THEN '{ELSEWHERE}'
            END::reason AS why
            FROM (
                SELECT file_index::BIGINT * {FILE} + file_row_number::BIGINT AS place, decision_id,
                       epoch_us(decided_at) AS moment, {self._own()} AS customer,
                       messages.number AS message, channels.number AS channel,
                       CAST(selection_probability AS DOUBLE) AS probability,
                       CAST({position} AS INTEGER) AS position, event, within,
                       {elsewhere} AS elsewhere,
                       {begun} IS NOT DISTINCT FROM goal AS begun,
                       hash(decision_id, log.message, log.channel) AS tie {arms}
                FROM decision_files AS log LEFT JOIN messages USING (message)
                LEFT JOIN channels USING (channel) {self._merges})""")

    def _lay_out_scope(self) -> str:
        """In SQL, whether a row is of another scope. What was not said belongs to all purposes."""
        reasons = []
        if (placement := self._scope.placement) is not None:
            reasons.append(f"log.placement IS DISTINCT FROM {quoted(placement)}")
        if self._scope.purpose is not None:
            own = [
                (version, message)
                for version, messages in self._own_messages().items()
                for message in messages
            ]
            self._fill("own_messages (policy VARCHAR, message VARCHAR)", own)
            said = "(log.policy_version, log.message) IN (SELECT policy, message FROM own_messages)"
            reasons.append(f"coalesce(log.message, '') <> '' AND NOT coalesce({said}, false)")
        return " OR ".join(f"({reason})" for reason in reasons) or "FALSE"

    def _own_messages(self) -> dict[str, set[str]]:
        """Policy version → the messages that are learned, where their purpose says which."""
        purpose = self._scope.purpose
        return {
            version: {message for message, of in purposes.items() if of == purpose}
            for version, purposes in self._sources.purposes.items()
        }

    def _lay_out_outcomes(self) -> None:
        """View `about`: what happened to contacts."""
        if not self._sources.outcomes:
            self._sql(
                "CREATE TEMP TABLE outcomes (decision_id VARCHAR, message VARCHAR, type VARCHAR, "
                '"at" TIMESTAMPTZ, customer_id VARCHAR, event_id VARCHAR)'
            )
        self._sql(
            f"CREATE TEMP VIEW about AS SELECT decision_id, {NUMBERED} AS message, type "
            "FROM outcomes AS log LEFT JOIN messages USING (message)"
        )

    def _lay_out_happened(self) -> None:
        lay_out_happened(self._database, self._sources, self._types, self._own(), self._merges)

    def _latest(self) -> int:
        """The time of the latest entry. Of events the time of receipt counts: clients' clocks may
        be wrong."""
        times = [self._value("SELECT max(moment) FROM decisions")]
        if self._sources.events:
            times.append(
                self._latest_event("received_at" if self._sources.has_received_at else "at")
            )
        else:
            times.append(self._value('SELECT epoch_us(max("at")) FROM outcomes'))
        return max(time or 0 for time in times)

    def _latest_event(self, column: str) -> int | None:
        """The latest time in a column, as the files' own statistics say it, if all of them do."""
        latest, told = self._rows(
            "SELECT epoch_us(max(time)), bool_and(time IS NOT NULL) FROM ("
            "SELECT TRY_CAST(stats_max_value AS TIMESTAMPTZ) AS time FROM parquet_metadata($files) "
            "WHERE path_in_schema = $column)",
            {"files": [str(path) for path in self._sources.events], "column": column},
        )[0]
        found: int | None = latest
        return found if told else self._value(f'SELECT epoch_us(max("{column}")) FROM events')

    def _judge(self, until: int) -> None:
        """View `judged`: selections, with the reason why they do not count, or NULL."""
        sql = self._sql
        ties = "SELECT tie FROM decisions WHERE message IS NOT NULL"
        if lay_out_alike(self._database, ties):
            self._judge_twice()
        gone = f" UNION ALL SELECT decision_id, NULL, '{RELEASING[0]}' FROM {IDS_NOT_GIVEN}"
        about = "(SELECT decision_id, message, type FROM about"
        about += (gone if self._sources.changes else "") + ")"
        given = "(SELECT * FROM decisions WHERE message IS NOT NULL)"
        if self._value(f"SELECT count(*) FROM {about} WHERE type IN {RELEASING}"):
            sql(f"""
                UPDATE decisions SET why = '{NOT_GIVEN}'
                WHERE (why IS NULL OR why = '{ELSEWHERE}')
                AND place IN ({never_seen(given, about)})""")
        still_open = f"why IS NULL AND moment + within > {until}"
        sql(f"""
            CREATE TEMP VIEW judged AS
            SELECT * REPLACE (CASE WHEN {still_open} THEN '{OPEN}' ELSE why END AS why)
            FROM decisions WHERE message IS NOT NULL""")

    def _judge_twice(self) -> None:
        """Of rows alike the first one counts."""
        self._sql("""
            CREATE TEMP TABLE twice AS
            SELECT decision_id, message, channel, min(place) AS first FROM decisions
            WHERE message IS NOT NULL AND tie IN (SELECT hash FROM alike)
            GROUP BY ALL HAVING count(*) > 1""")
        self._sql(f"""
            UPDATE decisions SET why = '{TWICE}' WHERE why IS DISTINCT FROM '{INCOMPLETE}'
            AND place IN (SELECT place FROM decisions
                          JOIN twice USING (decision_id, message, channel) WHERE place <> first)""")

    def _collect(self) -> CountedRows:
        # As in `folds`.
        fold = f", (('0x' || md5(customer)[:8])::UBIGINT % {self._folds})::TINYINT AS fold"
        known = "coalesce({0}, 'nan') AS {0}"
        arms = f", {known.format('silence')}, {known.format('given')}" if self._uplift else ""
        found = self._relation(f"""
            SELECT place, moment, tie, message, channel, {known.format("probability")},
                   coalesce(position, 1) AS position {fold if self._folds else ""} {arms}
            FROM judged WHERE why IS NULL""").fetchnumpy()
        closes_at = self._value(f"SELECT min(moment + within) FROM judged WHERE why = '{OPEN}'")
        self._happened = self._beside.submit(self._lay_out_happened)
        order = in_order_of(*(found[name] for name in ("moment", "tie", "position", "place")))

        def column(name: str) -> Any:
            return found.pop(name)[order]

        place = column("place")
        messages, message = present(self._messages, column("message"))
        channels, channel = present(self._channels, column("channel"))
        return CountedRows(
            place=place,
            by_place=np.argsort(place, kind="stable"),
            at=column("moment"),
            probability=column("probability"),
            position=column("position"),
            messages=messages,
            message=message,
            channels=channels,
            channel=channel,
            fold=column("fold") if self._folds else None,
            silence=column("silence") if self._uplift else None,
            given=column("given") if self._uplift else None,
            closes_at=closes_at,
        )

    def _label(self, rows: CountedRows) -> NDArray[np.float64]:
        """How much of a response each row has.

        What was given but does not count, as it is too young or has no usable probability, has its
        own responses all the same.
        """
        given = f"why IS NULL OR why IN ('{OPEN}', '{IMPOSSIBLE}', '{UNWEIGHED}', '{ELSEWHERE}')"
        touches = (
            f"(SELECT * REPLACE (coalesce(position, 1) AS position) FROM judged WHERE {given})"
        )
        most = "SELECT max(n) FROM (SELECT count(*) AS n FROM happened GROUP BY customer, type)"
        many = (self._value(most) or 0) > MANY
        credits = credits_of(self._attribution, touches, "happened", many=many)
        reached = self._relation(credits).fetchnumpy()
        label = np.zeros(len(rows))
        if len(rows):
            place, credit = reached["place"], reached["credit"]
            every = rows.place[rows.by_place]
            found = np.minimum(np.searchsorted(every, place), len(every) - 1)
            counts = every[found] == place
            label[rows.by_place[found[counts]]] = credit[counts]
        return label
