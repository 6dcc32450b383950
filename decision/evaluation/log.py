"""The archived log as evaluation reads it: decisions, their outcomes, and what they saw.

A response is the goal of the chosen message, reached in (decided, decided + within], as in
training. Unlike in training, contacts that were never delivered count: they earned nothing, and
leaving them out would make the policy that chose them look better. A decision counts once the
longest window of what could have been chosen in it is over, whatever was chosen, so that this does
not depend on the choice. Merged customers are one customer, also in standard errors and folds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from decision.archive.batches import column_batches, leaves
from decision.archive.features import OTHER
from decision.archive.merges import follow_merges
from decision.archive.policies import policy_path, read_policy
from decision.archive.query import Database, open_database
from decision.archive.replays import ArchivedReplay, read_replays
from decision.archive.tables import files
from decision.core.clock import DAY, from_micros
from decision.core.definition import PolicyDefinition
from decision.core.errors import NextbestError
from decision.evaluation.choices import JudgedDay, LoggedChoice
from decision.evaluation.control import ControlRate, control_rate
from decision.evaluation.log_sql import COUNTS, HAPPENED, SELECTIONS, YOUNG, facts_of
from decision.evaluation.reach import lay_out_reach
from decision.evaluation.supports import SILENCE
from decision.learning.attribution import credits_of, never_seen
from decision.learning.goals import goals_of
from decision.scoring.manifest import Attribution, Responses, Training, reached_alone
from decision.scoring.reach import EVERYTHING, Reach

DEFAULT: Final[Attribution] = "last_touch"
"""The attribution where neither a model nor a spec says it."""
ROWS_AT_ONCE: Final = 4_096
"""Rows of a file that are in memory at once."""

_LOGGED: Final = ("decision_id", "position", "features", OTHER)
_MEMORY: Final = 1 << 30
"""Bytes that queries may use; the rest spills to a temporary folder."""


class EvaluationError(NextbestError, ValueError):
    """Nothing can be judged by this log; the text says what is wrong, and how to fix it."""


class LogCounts(msgspec.Struct, kw_only=True):
    """How many decisions are judged, and how many are not and why. Times are microseconds.

    `open_windows`: younger than the longest goal window of what could have been chosen in them, at
    most `longest_window`. `improbable`: without a selection probability above 0 and up to 1, such
    as the decision `improbable_id`. `contended`: silent because of contention,
    which no policy chose. `not_given`: nobody was given them, or they were given without the store,
    so that no policy chose. `no_replay`: what the decision saw is not archived. `later_selections`:
    second and later selections of a decision, which are not judged. `without_goal`: of a message
    without a goal, which cannot earn anything. `earlier`: made before the time to judge from.
    """

    decisions: int = 0
    judged: int = 0
    open_windows: int = 0
    improbable: int = 0
    improbable_id: str | None = None
    contended: int = 0
    not_given: int = 0
    no_replay: int = 0
    later_selections: int = 0
    without_goal: int = 0
    earlier: int = 0
    from_time: int = 0
    to_time: int = 0
    longest_window: int = 0


class LoggedPolicies:
    """The rule files of every policy that decided, by version."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._found: dict[str, PolicyDefinition] = {}
        self._tiers: dict[str, dict[str, int]] = {}

    def versions(self) -> list[str]:
        """The versions that were asked for."""
        return list(self._found)

    def get(self, version: str) -> PolicyDefinition:
        """The definition of a version.

        Raises:
            EvaluationError: the archive does not have it, or it can no longer be read.
        """
        if version not in self._found:
            definition = read_policy(self._archive, version)
            if definition is None:
                raise EvaluationError(
                    f"{policy_path(self._archive, version)} is missing or cannot be read; "
                    "restore it: decisions are judged by the rules that they were made with"
                )
            self._found[version] = definition
        return self._found[version]

    def tiers(self, version: str) -> dict[str, int]:
        """The tier of each message of a version; empty where there is one tier only.

        Raises:
            EvaluationError: see `get`.
        """
        if version not in self._tiers:
            definition = self.get(version)
            of = {purpose.name: purpose.tier for purpose in definition.purposes}
            found = {message.name: of[message.purpose] for message in definition.messages}
            self._tiers[version] = found if len(set(found.values())) > 1 else {}
        return self._tiers[version]


@contextmanager
def open_log(
    archive: Path,
    responses: Responses | None,
    *,
    count_silence: bool | None = None,
    model: str | None = None,
    until: int | None = None,
    reach: Reach = EVERYTHING,
) -> Iterator[ArchivedLog]:
    """Opens an archive for evaluation; until the end of the context no files of it are merged.

    `responses` says what counts as one (None: the goals of the messages). `count_silence`: also
    count what customers did after silence (default: where that is known, see `after_silence`);
    needs one target for all messages, and counts an event for each decision, as silence must have
    the same time as a message. `model` is the
    version for which logged probabilities are looked up. `reach`: only what a model decides is
    judged. `until` (microseconds) is the time up to
    which the log is complete; default: its latest entry.

    Raises:
        EvaluationError: it is not an archive, or it says too little.
    """
    if count_silence is None:
        count_silence = responses is not None and responses.after_silence() is not None
    if count_silence and (responses is None or not reached_alone(responses.target)):
        raise EvaluationError(
            "the responses after silence are known only with one target for all messages, which "
            "can be reached without one; give a spec with target: {event: purchase, within: 7d}"
        )
    with (
        TemporaryDirectory(prefix="nextbest-evaluate-") as scratch,
        open_database(_MEMORY, Path(scratch)) as database,
    ):
        decisions = files(archive, "decisions")
        if not decisions:
            raise EvaluationError(
                f"{archive / 'decisions'} has no Parquet files; "
                "make the archive with: nextbest archive --out DIR"
            )
        database.scan_dataset("decisions", decisions)
        for name in ("outcomes", "events", "changes"):
            database.scan_dataset(name, files(archive, name))
        follow_merges(database.execute, "changes")
        policies = LoggedPolicies(archive)
        lay_out_reach(database, reach, policies.get)
        _lay_out_goals(database, policies, responses, count_silence=count_silence)
        database.execute(HAPPENED)
        attribution = DEFAULT if responses is None else responses.attribution
        if count_silence:
            attribution = "each"
        _credit(database, attribution)
        until = _until(database) if until is None else until
        _note_young(database, until)
        log = ArchivedLog(archive, database, decisions, policies, model or "", count_silence, until)
        log.attribution, log.reach = attribution, reach
        yield log


class ArchivedLog:
    """An open archive (see `open_log`): choices, their outcomes, and what decisions saw."""

    attribution: Attribution = DEFAULT
    reach: Reach = EVERYTHING

    def __init__(
        self,
        archive: Path,
        database: Database,
        decisions: list[Path],
        policies: LoggedPolicies,
        model: str,
        counts_silence: bool,
        until: int,
    ) -> None:
        self.archive = archive
        self.policies = policies
        self.counts_silence = counts_silence
        self._database = database
        self._model = model
        self._days: defaultdict[date, list[Path]] = defaultdict(list)
        for path in decisions:
            self._days[date.fromisoformat(path.parent.name.removeprefix("date="))].append(path)
        self._until = until
        self.judge_from(0)

    def judge_from(self, since: int) -> None:
        """Leaves out decisions made before a time, in microseconds."""
        self._since = since
        self.counted = _count(self._database, since, self._until)

    def control(self) -> ControlRate | None:
        """How often customers respond without a message, where that is not counted."""
        if self.counts_silence:
            return None
        return control_rate(self._database, self._since, self._until)

    def days(self) -> list[date]:
        """The days that have decisions, ascending."""
        return list(self._days)

    def held_out_since(self, training: Training) -> int | None:
        """The time from which a model has not learned from this log; None: it never did.

        Training records the time of the latest row that it used to fit, stop or calibrate. If a
        version does not have it, the model counts as having learned from all rows.
        """
        first, last = training.from_time, training.to_time
        if first is None or last is None or last < self.counted.from_time:
            return None
        return (last if training.learned_until is None else training.learned_until) + 1

    def features_on(self, day: date) -> Iterator[Any]:
        """`decision_id`, `features` and `features_other` of the first selections of a day, in
        Arrow batches."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for path in self._days[day]:
            known = leaves(path)
            columns = [leaf for leaf in known if leaf.partition(".")[0] in _LOGGED]
            texts = [leaf for leaf in columns if leaf.startswith("features.") and known[leaf]]
            for batch in column_batches(path, columns, texts, ROWS_AT_ONCE):
                if "position" in batch.schema.names:
                    first = pc.equal(batch.column("position").fill_null(1), pa.scalar(1))
                    batch = batch.filter(first)
                yield batch

    def read(
        self, *, shares: bool = True, customers: Callable[[str], bool] | None = None
    ) -> Iterator[tuple[LoggedChoice, ArchivedReplay]]:
        """Every decision that can be judged, with what it saw, in bounded memory.

        `shares`: with the probability of each candidate. `customers`: whose decisions are wanted.

        Raises:
            EvaluationError: there are no replays.
            ArchiveError: a file is missing or damaged; it is named.
        """
        counted = self.counted
        counted.judged = counted.no_replay = 0
        today: int | None = None
        waiting: JudgedDay | dict[str, LoggedChoice] = {}

        def wanted(decision_id: str, decided_at: int) -> bool:
            nonlocal today, waiting
            if decided_at // DAY != today:
                counted.no_replay += len(waiting)
                today, day = decided_at // DAY, from_micros(decided_at).date()
                waiting = {}  # one day at a time, also while the next is read
                if day in self._days:
                    waiting = self.judged_on(day, shares=shares, customers=customers)
            return decision_id in waiting

        try:
            replays = read_replays(self.archive, rows_at_once=ROWS_AT_ONCE, wanted=wanted)
            for replay in replays:
                counted.judged += 1
                yield self._of_first_draw(waiting.pop(replay.decision_id)), replay
        except FileNotFoundError as error:
            raise EvaluationError(
                f"{error.filename} is missing: what the decisions saw is not archived, so they "
                "cannot be decided again; archive the log with this release"
            ) from None
        counted.no_replay += len(waiting)

    def judged_on(
        self,
        day: date,
        *,
        support: bool = True,
        shares: bool = True,
        customers: Callable[[str], bool] | None = None,
    ) -> JudgedDay:
        """A day's decisions with closed goal windows, by id; `support`: what could be chosen."""
        paths = self._days[day]
        self._database.scan_dataset("today", paths, "decisions")
        facts = self._database.table(
            facts_of(self.reach), {"since": self._since, "model": self._model}
        )
        return JudgedDay(facts, paths if support else (), shares=shares, customers=customers)

    def _of_first_draw(self, logged: LoggedChoice) -> LoggedChoice:
        """Without candidates of other tiers, which only a later selection of it was drawn from."""
        tiers = self.policies.tiers(logged.policy_version)
        own = tiers.get(logged.message)
        if own is None:
            return logged
        support = (one for one in logged.support if tiers.get(one.rpartition("/")[0], own) == own)
        return logged._replace(support=frozenset(support))


def _lay_out_goals(
    database: Database,
    policies: LoggedPolicies,
    responses: Responses | None,
    *,
    count_silence: bool,
) -> None:
    """Table `goals`: what counts as a response, by policy version and message."""
    database.execute(
        "CREATE TEMP TABLE goals (policy TEXT, message TEXT, event TEXT, within BIGINT)"
    )
    rows = []
    for (version,) in database.rows("SELECT DISTINCT policy_version FROM decisions ORDER BY 1"):
        goals = dict(goals_of(policies.get(version), responses))
        if count_silence and responses is not None and responses.target is not None:
            goals[SILENCE] = responses.target
        rows += [(version, name, goal.event, goal.within) for name, goal in goals.items()]
    if rows:
        database.connection.executemany("INSERT INTO goals VALUES (?, ?, ?, ?)", rows)


def _credit(database: Database, attribution: Attribution) -> None:
    """Table `reached`: the responses of first selections, by decision.

    Every selection that was given may have an event, judged or not. Where an event counts for one
    of them, or is shared, none is lost to what was released and never seen, as in training.
    """
    sql = database.execute
    sql(SELECTIONS)
    if attribution != "each":
        withheld = never_seen("selections", "outcomes")
        sql(f"DELETE FROM selections WHERE place IN ({withheld})")
    sql(
        "CREATE TEMP TABLE reached AS SELECT decision_id, max(credit) AS credit "
        f"FROM ({credits_of(attribution, 'selections', 'happened')}) JOIN selections USING (place) "
        "WHERE position = 1 GROUP BY decision_id"
    )
    sql("DROP TABLE selections")


def _until(database: Database) -> int:
    """The time up to which the log is known: that of its latest entry."""
    latest = [database.value("SELECT max(epoch_us(decided_at)) FROM decisions")]
    received = database.value("SELECT max(epoch_us(received_at)) FROM events")
    latest.append(received or database.value('SELECT max(epoch_us("at")) FROM outcomes'))
    return max(time or 0 for time in latest)


def _note_young(database: Database, until: int) -> None:
    """Table `young`: decisions whose outcome may not be known yet, with the window they wait for.

    Where nothing could have been chosen, that is the shortest: such decisions are not judged before
    the others. What could have been is read only of those younger than the longest window of all.
    """
    longest = database.value("SELECT max(within) FROM goals") or 0
    database.execute(YOUNG, {"until": until, "recent": until - longest})


def _count(database: Database, since: int, until: int) -> LogCounts:
    counted = LogCounts(to_time=until)
    [
        (
            counted.decisions,
            counted.from_time,
            counted.later_selections,
            counted.earlier,
            counted.open_windows,
            counted.longest_window,
            counted.improbable,
            counted.improbable_id,
            counted.contended,
            counted.not_given,
            counted.without_goal,
        )
    ] = database.rows(COUNTS, {"since": since})
    counted.from_time = counted.from_time or counted.to_time
    return counted
