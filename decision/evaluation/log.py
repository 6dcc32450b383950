"""The archived log as evaluation reads it: decisions, what came of them, and what they saw.

What was earned is the goal of the chosen message, reached in (decided, decided + within], as
training labels it. Unlike there, a contact that was never delivered stays: it earned nothing,
and leaving it out would flatter whoever chose it. All decisions younger than the longest window
are left out, whatever was chosen, so that being left out says nothing of the choice. Customers
that were merged are one, also where errors and folds take a customer's decisions together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from decision.archive.features import OTHER
from decision.archive.journal import files
from decision.archive.layout import schema_of
from decision.archive.merges import follow_merges, merged_view
from decision.archive.policies import policy_path, read_policy
from decision.archive.replays import Replay, read_replays
from decision.core.clock import from_micros
from decision.core.definition import Goal, PolicyDefinition
from decision.core.errors import NextbestError
from decision.learning.spec import Spec
from decision.scoring.manifest import Training

SILENCE: Final = ""
"""Stands for no message where messages are keys."""


class EvaluationError(NextbestError, ValueError):
    """A log by which nothing can be judged; the text says what is wrong, and the mend."""


class Logged(NamedTuple):
    """What was chosen, with which probability, and whether it reached its goal.

    `message` and `channel` are empty for silence. `support` names the candidates
    (`message/channel`, empty for silence) that could have been chosen. A log that is silent at
    random says so by the candidates' probabilities, which leave the rest to silence, and by
    that of the silent row. `said` is the response probability that the model in question gave
    the choice then, deciding or as a challenger; None where it was not asked. Microseconds.
    """

    decision_id: str
    decided_at: int
    customer_id: str
    message: str
    channel: str
    probability: float
    reached: bool
    holdout: bool
    policy_version: str
    said: float | None
    support: frozenset[str]


class Counted(msgspec.Struct, kw_only=True):
    """What of the log is judged, and what is not. Times are microseconds.

    `open_windows`: younger than the longest window of a goal. `contended`: silent because of
    contention, which no policy chose. `no_replay`: what the decision saw is not archived.
    `later_selections`: second and further selections of a decision, which are not judged.
    `without_goal`: decisions for a message that has no goal, and so can earn nothing. `earlier`:
    made before the time from which it is judged.
    """

    decisions: int = 0
    judged: int = 0
    open_windows: int = 0
    contended: int = 0
    no_replay: int = 0
    later_selections: int = 0
    without_goal: int = 0
    earlier: int = 0
    from_time: int = 0
    to_time: int = 0
    longest_window: int = 0


class Policies:
    """The rule files of every policy that decided, by version."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._found: dict[str, PolicyDefinition] = {}

    def get(self, version: str) -> PolicyDefinition:
        """The definition of that version.

        Raises:
            EvaluationError: the archive does not have it, or it can no longer be read.
        """
        if version not in self._found:
            definition = read_policy(self._archive, version)
            if definition is None:
                raise EvaluationError(
                    f"{policy_path(self._archive, version)} is missing or cannot be read; "
                    "restore it: decisions are judged by the rules they were made with"
                )
            self._found[version] = definition
        return self._found[version]


class ArchivedLog:
    """An archive opened for evaluation; a DuckDB of its own does the joins, and spills to disk.

    `count_silence` counts for silence, too, what the customer did: only where the spec has one
    target for all messages. `model` is the version whose own words of then are looked for;
    `since` (microseconds) leaves out what was decided before.

    Raises:
        EvaluationError: it is no archive, or its probabilities are missing.
    """

    def __init__(
        self,
        archive: Path,
        spec: Spec | None,
        *,
        count_silence: bool = False,
        model: str | None = None,
        since: int | None = None,
    ) -> None:
        import duckdb

        if count_silence and (spec is None or spec.target is None):
            raise EvaluationError(
                "what silence earns is only known with one target for all messages; "
                "give a spec with target: {event: …, within: …}"
            )
        self.archive = archive
        self.policies = Policies(archive)
        self._spec = spec
        self._since = since or 0
        self._model = model or ""
        self._silence = spec.target if spec is not None and count_silence else None
        self._sql = duckdb.connect()
        self._sql.execute("SET TimeZone = 'UTC'")
        self._days = _days_of(archive, "decisions")
        if not self._days:
            raise EvaluationError(
                f"{archive / 'decisions'} has no Parquet files; "
                "make the archive with: nextbest archive --out DIR"
            )
        self._register("decisions", files(archive, "decisions"))
        for name in ("outcomes", "events", "changes"):
            self._register(name, files(archive, name))
        follow_merges(self._sql.execute, "changes")
        self._refuse_unknown_probabilities()
        self.goals = self._goals()
        self.counted = self._count()
        self._gather_events()

    @property
    def counts_silence(self) -> bool:
        """Whether silence earns what customers did by themselves."""
        return self._silence is not None

    def days(self) -> list[date]:
        """The days that have decisions, ascending."""
        return list(self._days)

    def held_out_since(self, training: Training) -> int | None:
        """The time from which a model has not learned from this log; None: it never did.

        Training notes up to when the rows are that it fits, stops and calibrates on. Of a version
        that does not have it, all rows count as learned from.
        """
        first, last = training.from_time, training.to_time
        if first is None or last is None or last < self.counted.from_time:
            return None
        return (last if training.learned_until is None else training.learned_until) + 1

    def features_on(self, day: date) -> Iterator[dict[str, Any]]:
        """`decision_id`, `features` and `features_other` of a day's first selections."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        for path in self._days[day]:
            try:
                file = pq.ParquetFile(path)
                wanted = {"decision_id", "position", "features", OTHER}
                columns = [name for name in file.schema_arrow.names if name in wanted]
                for batch in file.iter_batches(4096, columns=columns):
                    for row in batch.to_pylist():
                        if row.get("position") in (None, 1):
                            yield row
            except pa.ArrowException as error:
                raise ValueError(f"{path} cannot be read: {error}") from error

    def read(self) -> Iterator[tuple[Logged, Replay]]:
        """Every decision that can be judged, with what it saw; in bounded memory.

        Raises:
            EvaluationError: there are no replays.
            ValueError: a file is damaged; it is named.
        """
        today: date | None = None
        facts: dict[str, Logged] = {}
        counted = self.counted
        counted.judged = counted.no_replay = 0
        try:
            for replay in read_replays(self.archive):
                day = from_micros(replay.decided_at).date()
                if day != today:
                    counted.no_replay += len(facts)
                    today, facts = day, self.judged_on(day) if day in self._days else {}
                logged = facts.pop(replay.decision_id, None)
                if logged is not None:
                    counted.judged += 1
                    yield logged, replay
        except FileNotFoundError as error:
            raise EvaluationError(
                f"{error.filename}: what the decisions saw is not archived, so they cannot be "
                "decided again; archive the log with this release"
            ) from None
        counted.no_replay += len(facts)

    def judged_on(self, day: date) -> dict[str, Logged]:
        """A day's decisions whose windows are closed, by id."""
        self._register("today", self._days[day])
        last = self.counted.to_time - self.counted.longest_window
        given = {"since": self._since, "last": last, "model": self._model}
        rows = self._sql.execute(_FACTS, given).fetchall()
        return {row[0]: Logged._make((*row[:-1], frozenset(row[-1] or ()))) for row in rows}

    def _register(self, name: str, paths: list[Path]) -> None:
        import pyarrow.dataset as ds

        schema = schema_of("decisions" if name == "today" else name)
        data = ds.dataset([str(path) for path in paths], schema=schema, format="parquet")
        self._sql.register(name, data if paths else schema.empty_table())

    def _refuse_unknown_probabilities(self) -> None:
        wrong = (
            "FROM decisions WHERE coalesce(position, 1) = 1 AND (message IS NOT NULL "
            "AND selection_probability IS NULL "
            "OR NOT (selection_probability > 0 AND selection_probability <= 1))"
        )
        count = self._one(f"SELECT count(*) {wrong}")
        if count:
            rows = self._sql.execute(
                f"SELECT decision_id, selection_probability {wrong} ORDER BY 1 LIMIT 5"
            ).fetchall()
            names = ", ".join(
                f"{name} ({'none' if value is None else value})" for name, value in rows
            )
            raise EvaluationError(
                f"{count} of the logged decisions have no selection probability above 0 and up "
                f"to 1: {names}{', …' if count > len(rows) else ''}. How often the policy would "
                "have chosen otherwise is not known, so nothing can be judged by them: leave "
                "those files out, or log with a policy that names its probabilities"
            )

    def _goals(self) -> dict[str, Mapping[str, Goal]]:
        """Policy version → message → goal, and a table of them for the joins."""
        versions = self._sql.execute(
            "SELECT DISTINCT policy_version FROM decisions ORDER BY 1"
        ).fetchall()
        found = {
            version: goals_of(self.policies.get(version), self._spec) for (version,) in versions
        }
        rows = [
            (version, message, goal.event, goal.within)
            for version, goals in found.items()
            for message, goal in goals.items()
        ]
        if self._silence is not None:
            goal = self._silence
            rows += [(version, SILENCE, goal.event, goal.within) for version in found]
        self._sql.execute(
            "CREATE TEMP TABLE goals (policy TEXT, message TEXT, event TEXT, within BIGINT)"
        )
        if rows:
            self._sql.executemany("INSERT INTO goals VALUES (?, ?, ?, ?)", rows)
        return found

    def _count(self) -> Counted:
        longest = self._one(
            "SELECT max(g.within) FROM goals g JOIN (SELECT DISTINCT policy_version, "
            "coalesce(message, '') AS message FROM decisions) d "
            "ON g.policy = d.policy_version AND g.message = d.message"
        )
        latest = [self._one("SELECT max(epoch_us(decided_at)) FROM decisions")]
        received = self._one("SELECT max(epoch_us(received_at)) FROM events")
        latest.append(received or self._one('SELECT max(epoch_us("at")) FROM outcomes'))
        counted = Counted(to_time=max(time or 0 for time in latest), longest_window=longest or 0)
        rows = self._sql.execute(
            """
            SELECT count(*) FILTER (WHERE leads), min(t) FILTER (WHERE t >= $since),
              count(*) FILTER (WHERE NOT leads AND t >= $since),
              count(*) FILTER (WHERE leads AND t < $since),
              count(*) FILTER (WHERE leads AND t >= $since AND t + $window > $until),
              count(*) FILTER (WHERE leads AND contended AND t >= $since
                AND t + $window <= $until),
              count(*) FILTER (WHERE leads AND t >= $since AND t + $window <= $until
                AND message IS NOT NULL AND
                NOT EXISTS (FROM goals g WHERE g.policy = policy_version AND g.message = d.message))
            FROM (SELECT coalesce(position, 1) = 1 AS leads, epoch_us(decided_at) AS t, message,
              policy_version, coalesce(list_contains(degraded, 'contention'), false) AS contended
              FROM decisions) d
            """,
            {
                "window": counted.longest_window,
                "until": counted.to_time,
                "since": self._since,
            },
        ).fetchall()
        (
            counted.decisions,
            counted.from_time,
            counted.later_selections,
            counted.earlier,
            counted.open_windows,
            counted.contended,
            counted.without_goal,
        ) = rows[0]
        counted.from_time = counted.from_time or counted.to_time
        return counted

    def _gather_events(self) -> None:
        """Everything that could be a goal reached. One in both folders counts as the outcome,
        which knows its contact."""
        both = """
            (SELECT customer_id, type, epoch_us("at") AS t, decision_id, message FROM outcomes
            WHERE type IN (SELECT event FROM goals)
            UNION ALL
            SELECT e.customer_id, e.type, epoch_us(e."at"), e.decision_id, e.message FROM events e
            ANTI JOIN outcomes o ON o.customer_id = e.customer_id AND o.event_id = e.event_id
            WHERE e.type IN (SELECT event FROM goals))
            """
        self._sql.execute(f"CREATE TEMP TABLE happened AS FROM {merged_view(both)}")

    def _one(self, query: str) -> Any:
        return self._sql.execute(query).fetchall()[0][0]


_FACTS: Final = f"""
WITH d AS (
  SELECT decision_id, epoch_us(decided_at) AS t, customer_id, coalesce(message, '') AS message,
    coalesce(channel, '') AS channel, coalesce(selection_probability, 1) AS probability,
    coalesce(holdout, false) AS holdout, policy_version, candidates,
    CASE WHEN model_version = $model THEN response_probability
      WHEN shadow_version = $model THEN [c.shadow_probability for c in candidates
        if c.message = message AND c.channel = channel][1] END AS said
  FROM {merged_view("today")}
  WHERE coalesce(position, 1) = 1 AND epoch_us(decided_at) BETWEEN $since AND $last
    AND NOT coalesce(list_contains(degraded, 'contention'), false)),
reached AS (
  SELECT DISTINCT d.decision_id FROM d
  JOIN goals g ON g.policy = d.policy_version AND g.message = d.message
  JOIN happened h ON h.customer_id = d.customer_id AND h.type = g.event
  WHERE h.t > d.t AND h.t <= d.t + g.within
    AND coalesce(h.decision_id, d.decision_id) = d.decision_id
    AND coalesce(h.message, d.message) = d.message)
SELECT decision_id, t, customer_id, message, channel, probability,
  decision_id IN (FROM reached) AS reached, holdout, policy_version, said,
  list_concat([c.message || '/' || c.channel for c in candidates if c.selection_probability > 0],
    CASE WHEN coalesce(list_sum([c.selection_probability for c in candidates]), 0) < 1 - 1e-9
      THEN [''] ELSE [] END) AS support
FROM d
"""


def goals_of(definition: PolicyDefinition, spec: Spec | None) -> Mapping[str, Goal]:
    """Message → what counts as its response; a message that has no goal is left out."""
    found = {}
    for message in definition.messages:
        goal = message.goal
        if spec is not None:
            goal = spec.target or goal or spec.without_goal
        if goal is not None:
            found[message.name] = goal
    return found


def _days_of(archive: Path, dataset: str) -> dict[date, list[Path]]:
    """Day → its files of a dataset."""
    found: dict[date, list[Path]] = {}
    for path in files(archive, dataset):
        day = date.fromisoformat(path.parent.name.removeprefix("date="))
        found.setdefault(day, []).append(path)
    return found
