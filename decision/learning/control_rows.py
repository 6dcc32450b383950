"""Rows of the log in which nothing was said: the control arm of uplift, with its probabilities.

A decision in which nothing was said is one of them if somebody could have been told something: in a
control group, where silence was drawn, and where no priority was above the threshold. There silence
was certain: such rows say what follows silence, and nothing about uplift. What is silent because of
consent, caps or rules is about other customers, and is none.

Where messages of one purpose alone are learned, probabilities are those of the decisions in which
nothing of another purpose was said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from decision.archive.policies import read_policy
from decision.archive.query import Database
from decision.archive.replays import read_replays
from decision.archive.tables import files
from decision.core import business_rules
from decision.core.business_rules import PlainMatcher
from decision.core.definition import PolicyDefinition
from decision.core.fields import Situation
from decision.core.policy_builder import compile_policy
from decision.core.values import Value
from decision.learning.counted_rows import ControlRows, CountedRows
from decision.learning.feature_columns import FeatureColumns
from decision.learning.table import TrainingError
from decision.scoring.features import Feature, FeatureEncoder, fields_of, varies

COLUMNS: Final = ("candidates", "reason", "policy_version")
"""Columns of `decisions` that are needed beside those of every training."""


def holdout_shares(log: Path) -> dict[str, float]:
    """Policy version → the share of customers who are in one of its control groups."""
    found = {}
    for path in (log / "policies").glob("*.json"):
        definition = read_policy(log, path.stem)
        if definition is not None:
            found[path.stem] = held_share(definition)
    return found


def held_share(definition: PolicyDefinition) -> float:
    """The share of customers who are in a control group of a policy.

    >>> from decision.core.definition import Experiment
    >>> held = Experiment(name="h", seed="h-1", share=0.02)
    >>> held_share(PolicyDefinition(version="1", experiments=(held,)))
    0.02
    """
    free = 1.0
    for one in definition.experiments:
        if one.share is not None:
            free *= 1 - one.share
    return round(1 - free, 12)


def lay_out(
    database: Database, raw: str, shares: Mapping[str, float], own: Mapping[str, Collection[str]]
) -> None:
    """View `decision_files`: `raw`, with the control arm as the message "", and `silence`, `given`.

    `shares` is policy version → the share of its control groups; `own` is policy version → the
    messages that are learned, where these are not all.
    """
    sql = database.execute
    sql("CREATE TEMP TABLE holdouts (policy VARCHAR, share DOUBLE, own VARCHAR[])")
    for version, share in shares.items():
        named = sorted(own[version]) if version in own else None
        sql("INSERT INTO holdouts VALUES (?, ?, ?)", [version, share, named])
    sql(f"""
        CREATE TEMP VIEW decision_files AS
        SELECT * REPLACE (
            CASE WHEN control THEN '' ELSE message END AS message,
            CASE WHEN control THEN '' ELSE channel END AS channel,
            CASE WHEN control THEN silence ELSE selection_probability END AS selection_probability)
        FROM (
            SELECT *, CASE
                WHEN NOT control THEN (held + (1 - held) * undrawn) / (1 - (1 - held) * others)
                WHEN selection_probability IS NOT NULL THEN selection_probability
                WHEN reason = 'holdout' THEN held
                ELSE 1.0 END AS silence,
                CASE WHEN NOT control
                    THEN (1 - held) * selection_probability / (1 - (1 - held) * others) END AS given
            FROM (
                SELECT log.*, coalesce(holdouts.share, 0) AS held,
                    message IS NULL AND (selection_probability IS NOT NULL OR coalesce(
                        reason IN ('holdout', 'below_threshold'), false)) AS control,
                    greatest(0, round(1 - coalesce(
                        list_sum([c.selection_probability for c in candidates]), 1), 9)) AS undrawn,
                    coalesce(list_sum([c.selection_probability for c in candidates
                        if NOT list_contains(own, c.message)]), 0) AS others
                FROM {raw} AS log LEFT JOIN holdouts ON policy = policy_version))""")


OFFERED: Final = """
    SELECT place, decision_id, policy_version,
        [c.message || '/' || c.channel for c in candidates
         if c.selection_probability > 0 or c.reason = 'holdout'] AS names,
        [coalesce(c.selection_probability, 0) for c in candidates
         if c.selection_probability > 0 or c.reason = 'holdout'] AS chances
    FROM judged JOIN decision_files USING (decision_id)
    WHERE why IS NULL AND decision_files.message = ''"""
"""What could have been said instead of each silence that counts."""


SAID: Final = """
    SELECT messages.message || '/' || channels.channel, count(*) FROM judged
    JOIN messages ON messages.number = judged.message
    JOIN channels ON channels.number = judged.channel
    WHERE messages.message <> '' GROUP BY ALL"""
"""How often each candidate was chosen, of whatever purpose it is."""


def control_rows(
    database: Database, counted: CountedRows, own: Mapping[str, Collection[str]]
) -> ControlRows:
    """The control arm of a join, which has these rows; `own` is as in `lay_out`."""
    silence, given = counted.silence, counted.given
    assert silence is not None and given is not None
    rows = {one: row for row, one in enumerate(counted.place.tolist())}
    offered, row_of = {}, {}
    said = dict(database.rows(SAID)) if own else {}
    for where, decision_id, version, names, chances in database.rows(OFFERED):
        row = rows[where]
        row_of[decision_id] = row
        offered[row] = dict(zip(names or (), chances or (), strict=True))
        if version in own:
            quiet = float(silence[row])
            offered[row], silence[row] = _own_alone(offered[row], quiet, own[version], said)
    return ControlRows(silence, given, offered, row_of)


def _own_alone(
    offered: Mapping[str, float], silence: float, own: Collection[str], said: Mapping[str, int]
) -> tuple[dict[str, float], float]:
    """What could have been said of some messages, and the probability of silence among it.

    Where nothing was drawn, candidates had the shares that they have elsewhere.

    >>> _own_alone({"a/sms": 0.25, "b/sms": 0.5}, 0.25, {"a"}, {})
    ({'a/sms': 0.5}, 0.5)
    >>> _own_alone({"a/sms": 0.0, "b/sms": 0.0}, 0.25, {"a"}, {"a/sms": 10, "b/sms": 20})
    ({'a/sms': 0.0}, 0.5)
    >>> _own_alone({"b/sms": 0.75}, 0.25, {"a"}, {})
    ({}, 1.0)
    """
    left = {name: chance for name, chance in offered.items() if name.rpartition("/")[0] in own}
    drawn = sum(left.values())
    if not any(offered.values()):
        every = sum(said.get(name, 0) for name in offered)
        drawn = (1 - silence) * sum(said.get(name, 0) for name in left) / max(1, every)
    among = silence + drawn
    return {name: chance / among for name, chance in left.items()}, silence / among


def fill_from_replays(
    log: Path, features: tuple[Feature, ...], control: ControlRows, columns: FeatureColumns
) -> None:
    """Puts the features of decisions in which nothing was said into their rows of the matrix.

    Nothing is logged of them: each is read again from what its decision saw, as a server reads it.

    Raises:
        TrainingError: what they saw is not archived.
    """
    import pyarrow as pa

    wanted = dict(control.row_of)
    if not files(log, "replays"):
        raise TrainingError(
            f"{log / 'replays'} is missing: what decisions saw in which nothing was said is not "
            "archived, so their features are not known; archive the log with this release"
        )
    own = [feature for feature in features if not varies(feature)]
    for batch in _batched(_seen(log, features, wanted)):
        rows = np.array([wanted[decision_id] for decision_id, _ in batch], dtype=np.int64)
        arrays = {}
        for feature in own:
            values = [seen.get(feature.name) for _, seen in batch]
            arrays[feature.name] = pa.array([one if _plain(one) else None for one in values])
        columns.fill(rows, arrays)


def _plain(value: Value) -> bool:
    return isinstance(value, str | int | float | bool)


def _seen(
    log: Path, features: tuple[Feature, ...], wanted: Mapping[str, int]
) -> Iterator[tuple[str, dict[str, Value]]]:
    """(decision, features as a server logs them) of the decisions that are wanted."""
    bound: dict[str, _Reader] = {}
    for replay in read_replays(log):
        if replay.decision_id not in wanted:
            continue
        version = replay.policy_version
        if version not in bound:
            definition = read_policy(log, version)
            if definition is None:
                raise TrainingError(f"{log / 'policies' / version}.json is missing; restore it")
            bound[version] = _Reader(definition, features)
        yield replay.decision_id, bound[version].read(replay)


class _Reader:
    """Reads the features of decisions by one policy."""

    def __init__(self, definition: PolicyDefinition, features: tuple[Feature, ...]) -> None:
        self._policy = policy = compile_policy(definition, reads=fields_of(features))
        self._matcher = PlainMatcher(policy.rules, policy.rule_strata, policy.fields.slot)
        self._encoder = FeatureEncoder(features, {}, policy.candidates, policy.fields.slot)

    def read(self, replay: Any) -> dict[str, Value]:
        """The features of the first candidate: those that all have are those of silence."""
        policy, document, question = self._policy, replay.document, replay.question
        situation = Situation(
            document,
            question.placement,
            replay.decided_at,
            policy.zone_of(document),
            question.event,
            question.context,
            policy.variant,
        )
        values = policy.read(situation)
        if policy.rules:
            business_rules.run(
                policy.rule_strata, policy.rules, self._matcher, values, policy.fields.slot
            )
        return self._encoder.features(0, values, document, replay.decided_at)


def _batched(
    rows: Iterator[tuple[str, dict[str, Value]]], size: int = 4096
) -> Iterator[list[tuple[str, dict[str, Value]]]]:
    batch: list[tuple[str, dict[str, Value]]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
