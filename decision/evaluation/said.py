"""What two versions say of the messages that were given, by the features that were logged.

A gate that asks for skill alone needs nothing else: no decision is made again for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decision.archive.damage import naming_damage
from decision.archive.features import features_of
from decision.core.definition import PolicyDefinition
from decision.core.values import MISSING, Value
from decision.evaluation.choices import LoggedChoice
from decision.evaluation.log import ArchivedLog, open_log
from decision.evaluation.supports import SILENCE
from decision.evaluation.targets import BoundPolicy, Candidate
from decision.evaluation.whole_log import Judged, Rivals, nothing_judged, share_judged
from decision.learning.folds import fold_of
from decision.progress import SILENT, Progress
from decision.scoring.features import encode_columns
from decision.scoring.manifest import Responses
from decision.scoring.model import Model
from decision.scoring.reach import EVERYTHING, Reach
from decision.scoring.scorers import ModelScorer

Array = NDArray[np.float64]
_Given = tuple[LoggedChoice, dict[str, Value]]


def judge_what_was_said(
    archive: Path,
    rivals: Rivals,
    responses: Responses | None,
    *,
    rules: PolicyDefinition | None = None,
    until: int | None = None,
    reach: Reach = EVERYTHING,
    progress: Progress = SILENT,
) -> Judged:
    """The squared errors of `judge_whole_log`, without what policies would have earned.

    `rules` None: those that each decision was made under. A message that they no longer have is
    left out. `reach`: only messages that the version decides are judged.

    Raises:
        EvaluationError: nothing can be judged by the log; the text says why.
        ArchiveError: the archive lacks a file, or one is damaged; it is named.
    """
    reached, after, before = [], [], []
    with (
        naming_damage(archive),
        open_log(archive, responses, until=until, reach=reach) as log,
        progress.bar("Decisions") as move,
    ):
        sides = [_Side(side, rules, log) for side in rivals[:2]]
        for given in _given(log):
            known = [place for place, (one, _) in enumerate(given) if sides[0].has(one)]
            given = [given[place] for place in known]
            reached.append(np.array([one.reached for one, _ in given], dtype=np.float64))
            after.append(sides[0].probabilities(given))
            if rivals.champion:
                before.append(sides[1].probabilities(given))
            move(sum(map(len, reached)))
        count = sum(map(len, reached))
        if not count:
            raise nothing_judged(archive, log)
        told = np.concatenate(reached)
        nothing = np.zeros(count)
        return Judged(
            gain=nothing,
            least=1.0,
            control=nothing,
            weight=nothing,
            reached=told,
            after=(np.concatenate(after) - told) ** 2,
            before=(np.concatenate(before) - told) ** 2 if before else None,
            days=(log.counted.to_time - log.counted.from_time) / 86_400e6,
        )


def _given(log: ArchivedLog) -> Iterator[list[_Given]]:
    """The messages given on each day, in order of time, with the features that were logged."""
    customers, own = share_judged(log), _Own(log)
    for day in log.days():
        facts = log.judged_on(day, support=False, shares=False, customers=customers)
        found = []
        for batch in log.features_on(day):
            for row in batch.to_pylist():
                logged = facts.get(row["decision_id"])
                if logged is None or logged.message == SILENCE or not own.scores(logged):
                    continue
                named = {"message.name": logged.message, "message.channel": logged.channel}
                found.append((logged, {**features_of(row), **named}))
        yield sorted(found, key=lambda one: (one[0].decided_at, one[0].decision_id))


class _Own:
    """Which messages given are scored by the version that is judged."""

    def __init__(self, log: ArchivedLog) -> None:
        self._log = log
        self._messages: dict[tuple[str, str], set[str]] = {}

    def scores(self, logged: LoggedChoice) -> bool:
        """Whether it scores what was given there."""
        if self._log.reach.is_everything:
            return True
        key = (logged.policy_version, logged.placement)
        if key not in self._messages:
            definition = self._log.policies.get(logged.policy_version)
            self._messages[key] = self._log.reach.messages(definition, logged.placement or None)
        return logged.message in self._messages[key]


class _Side:
    """One of the two: its models by fold, on each policy that is met."""

    def __init__(
        self, models: Sequence[Model], rules: PolicyDefinition | None, log: ArchivedLog
    ) -> None:
        self._models = models
        self._rules = rules
        self._log = log
        self._bound: dict[tuple[str, int], BoundPolicy] = {}

    def has(self, logged: LoggedChoice) -> bool:
        """Whether the rules know what was given."""
        return (logged.message, logged.channel) in self._of(logged.policy_version, 0).place

    def probabilities(self, given: Sequence[_Given]) -> Array:
        """The smoothed probability of each, by the model that has not seen its customer."""
        groups: dict[tuple[str, int], list[int]] = defaultdict(list)
        for place, (one, _) in enumerate(given):
            fold = fold_of(one.customer_id, len(self._models))
            groups[one.policy_version, fold].append(place)
        found = np.empty(len(given))
        for (version, fold), places in groups.items():
            bound, model = self._of(version, fold), self._models[fold]
            manifest = model.manifest
            rows = [given[place][1] for place in places]
            columns = {
                feature.name: [row.get(feature.name, MISSING) for row in rows]
                for feature in manifest.features
            }
            matrix = encode_columns(manifest.features, manifest.categories, columns)
            candidates = [
                bound.place[given[place][0].message, given[place][0].channel] for place in places
            ]
            scorer = bound.scorer
            assert isinstance(scorer, ModelScorer)
            found[places] = scorer.score_rows(np.array(candidates, dtype=np.intp), matrix)
        return found

    def _of(self, version: str, fold: int) -> BoundPolicy:
        key = ("" if self._rules is not None else version, fold)
        if key not in self._bound:
            definition = self._rules or self._log.policies.get(version)
            candidate = Candidate(rules=definition, model=self._models[fold])
            self._bound[key] = BoundPolicy(definition, candidate, None, ())
        return self._bound[key]
