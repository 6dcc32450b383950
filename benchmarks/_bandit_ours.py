"""Ours, for `benchmarks.bandits`: the product's own functions, a day at a time, without a store."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from benchmarks._bandit_problems import Array, Problem
from decision.core.arbitration import gap_weights
from decision.core.candidates import CandidateInfo
from decision.core.definition import Settings
from decision.core.fields import FieldTable
from decision.evaluation.evidence_figures import lift_of, skill_of
from decision.evaluation.paired import PairedRows, increments, least_increment
from decision.evaluation.whole_log import Judged
from decision.learning.cross_fitting import cross_fit
from decision.learning.examples import examples_of
from decision.learning.folds import folds_of
from decision.learning.spec import Spec, parse_spec
from decision.learning.table import TrainingError, table_of_columns
from decision.scoring.features import encode_columns
from decision.scoring.model import Model
from decision.scoring.scorers import bind, fields_read

SPEC: Final = """\
name: bandits
target: {event: message.clicked, within: 1h}
lightgbm: {learning_rate: 0.1, num_leaves: 15, min_data_in_leaf: 20, cat_smooth: 1, cat_l2: 1, num_threads: 1}
rounds: 300
early_stopping: 20
cross_fit: 3
start: linear
calibration: platt
smoothing: {starting_evidence: 20}
exploration: {from: 0, to: 5000, over: 30000}
promotion:
  first: {lift_at_least: 0%}
  skill_at_least: -0.5%
"""
FOLDS: Final = 3


class Ours:
    """What a server with these rules and this spec does, and what is trained in the evening."""

    def __init__(self, problem: Problem, spec: str, *, gated: bool = True) -> None:
        self.problem = problem
        names = [f"customer.f{place}" for place in range(problem.features.shape[1])]
        features = "".join(f"  {name}: numeric\n" for name in names)
        self.spec: Spec = parse_spec(
            "bandits.yaml", f"{spec}features:\n{features}  message.name: categorical\n"
        )
        self.names = names
        self.gated = gated
        self.settings = Settings()
        self.candidates = [
            CandidateInfo(f"m{place}", "app", "c", "p", (), 1.0) for place in range(problem.actions)
        ]
        self.model: Model | None = None
        self.witness: list[Model] = []
        self.chosen = np.empty(0, dtype=np.int64)
        self.logged = np.empty((0, problem.actions))
        self.fold = folds_of((f"c{one}" for one in problem.customer), FOLDS)
        self.notes: list[str] = []

    def _columns(self, rows: Any, actions: Any) -> dict[str, Any]:
        facts = self.problem.features[self.problem.customer[rows]]
        columns: dict[str, Any] = {name: facts[:, place] for place, name in enumerate(self.names)}
        columns["message.name"] = [self.candidates[action].message for action in actions]
        columns["message.channel"] = ["app"] * len(actions)
        return columns

    def scores(self, model: Model | None, rows: Array) -> Array:
        """The smoothed probability of each action, for each of these rounds."""
        count = self.problem.actions
        scorer = bind(model, self.candidates, FieldTable(fields_read(model)), self.settings)
        everything = np.tile(np.arange(count), len(rows))
        if model is None:
            found = scorer.score(everything, (), None, 0)  # type: ignore[arg-type]
        else:
            columns = self._columns(np.repeat(rows, count), everything)
            manifest = model.manifest
            matrix = encode_columns(manifest.features, manifest.categories, columns)
            found = scorer.score_rows(everything, matrix)
        return found.reshape(len(rows), count)

    def probabilities(self, model: Model | None, rows: Array) -> tuple[Array, Array]:
        """For each of these rounds, how probably each action is selected, and responded to."""
        own = None if model is None else model.manifest.exploration
        gamma = self.settings.exploration if own is None else own
        scores = self.scores(model, rows)
        return np.array([gap_weights(row, gamma) for row in scores]), scores

    def decide(self, rows: Array) -> Array:
        """The probabilities by which actions are drawn on a day."""
        return self.probabilities(self.model, rows)[0]

    def learn(self, chosen: Any, shares: Array) -> None:
        """The evening: what was chosen that day, and the probabilities of all."""
        self.chosen = np.concatenate([self.chosen, chosen])
        self.logged = np.vstack([self.logged, shares])
        rows = np.arange(len(self.chosen))
        try:
            fitted = cross_fit(self.spec, self._examples(rows))
        except TrainingError as error:
            self.notes.append(str(error))
            return
        version, folds = fitted.whole.model(), [one.model() for one in fitted.witnesses]
        if self.gated and not self._passes(folds, rows):
            return
        self.model, self.witness = version, folds

    def _passes(self, folds: list[Model], rows: Any) -> bool:
        """Whether what was fitted passes the gate of the spec."""
        shape = len(rows), self.problem.actions
        new, said = np.empty(shape), np.empty(shape)
        old, before = np.zeros(shape), np.empty(shape)
        for one, model in enumerate(folds):
            here = self.fold[rows] == one
            new[here], said[here] = self.probabilities(model, rows[here])
            if self.witness:
                old[here], before[here] = self.probabilities(self.witness[one], rows[here])
        reached = self.problem.response[rows, self.chosen]
        ones, zeros = np.ones((1, shape[1])), np.zeros((1, shape[1]))
        paired = PairedRows(new, old, self.logged, said, ones, zeros, self.chosen, reached)
        gate = self.spec.promotion if self.witness else self.spec.promotion.at_first()
        factor = 1 + (gate.lift_at_least or 0.0)
        control = reached
        if self.witness:
            control = increments(paired._replace(challenger=old), 0.0)
        judged = Judged(
            gain=increments(paired, factor) - (0.0 if self.witness else factor * reached),
            least=least_increment(ones, zeros, factor),
            control=control,
            weight=new[rows, self.chosen] / self.logged[rows, self.chosen],
            reached=reached,
            after=(said[rows, self.chosen] - reached) ** 2,
            before=(before[rows, self.chosen] - reached) ** 2 if self.witness else None,
            days=float(len(rows)),
        )
        found = []
        if gate.lift_at_least is not None:
            found.append(lift_of(judged, gate.lift_at_least))
        if gate.skill_at_least is not None:
            found.append(skill_of(judged, gate.skill_at_least))
        self.notes.append("; ".join(f"{one.value} {one.detail}" for one in found))
        return all(one.passed for one in found)

    def _examples(self, rows: Any) -> Any:
        label = self.problem.response[rows, self.chosen[rows]]
        table = table_of_columns(
            self._columns(rows, self.chosen[rows]),
            label,
            time=rows.astype(np.int64),
            customer=[f"c{one}" for one in self.problem.customer[rows]],
        )
        return examples_of(table, self.spec)
