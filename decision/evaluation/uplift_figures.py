"""How well a model's uplifts put customers in order: Qini and AUUC of each message, on the log.

Each message is compared with silence, on decisions in which either fell by a known probability:
what was said, and what follows silence that was drawn, or of a control group. There the policy is
asked as if there was no control group. Rows weigh one over their probability, which has a mean of 1
in each arm.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.archive.replays import ArchivedReplay
from decision.core.definition import PolicyDefinition
from decision.evaluation.choices import LoggedChoice
from decision.evaluation.gather import customer_number
from decision.evaluation.log import ArchivedLog
from decision.evaluation.supports import SILENCE
from decision.evaluation.targets import BoundPolicy, Candidate, decide_bound
from decision.learning.control_rows import held_share
from decision.learning.folds import fold_of
from decision.learning.uplift_curves import uplift_scores

Array = NDArray[np.float64]

RESAMPLES: Final = 200
"""Customers are resampled so many times; the report's own number, if it is lower."""


class UpliftResult(msgspec.Struct, frozen=True, kw_only=True):
    """One message × channel against silence: normalised Qini and AUUC, 1 is the best, 0 is chance.

    `told` and `silent` are decisions; `uplift` is the difference of their shares of responses, with
    its standard error, `predicted` the mean of what the model says.
    """

    message: str
    channel: str
    told: int
    silent: int
    uplift: float
    standard_error: float
    predicted: float
    qini: float
    qini_interval: tuple[float, float] | None
    auuc: float
    auuc_interval: tuple[float, float] | None


class _Rows:
    """The decisions of one message: each column one number per decision."""

    def __init__(self) -> None:
        self.told, self.reached, self.uplift = array("d"), array("d"), array("d")
        self.probability, self.customer = array("d"), array("q")

    def add(self, told: float, reached: float, uplift: float, probability: float, who: int) -> None:
        self.told.append(told)
        self.reached.append(reached)
        self.uplift.append(uplift)
        self.probability.append(probability)
        self.customer.append(who)


def uplift_results(
    log: ArchivedLog, candidate: Candidate, *, bootstrap: int, confidence: float, seed: int
) -> list[UpliftResult]:
    """The figures of every message that was compared with silence; none without a model of uplift.

    Raises:
        EvaluationError, ArchiveError: see `ArchivedLog.read`.
    """
    model = candidate.model
    if model is None or model.manifest.uplift is None:
        return []
    asked = _Asked(log, candidate)
    for logged, replay in log.read():
        asked.add(logged, replay)
    found = []
    for name, rows in sorted(asked.rows.items()):
        message, _, channel = name.rpartition("/")
        result = _result(message, channel, rows, min(RESAMPLES, bootstrap), confidence, seed)
        if result is not None:
            found.append(result)
    return found


class _Asked:
    """Asks the model, or the witness that has not seen the customer, about logged decisions."""

    def __init__(self, log: ArchivedLog, candidate: Candidate) -> None:
        self.rows: defaultdict[str, _Rows] = defaultdict(_Rows)
        self._log = log
        self._candidate = candidate
        self._bound: dict[tuple[str | None, int], BoundPolicy] = {}
        self._held: dict[str, float] = {}

    def add(self, logged: LoggedChoice, replay: ArchivedReplay) -> None:
        """Adds the next decision, if what was said, or silence, fell by a known probability."""
        drawn = logged.shares.get(SILENCE, 0.0)
        silent = logged.message == SILENCE
        if silent and not logged.holdout and not 0 < drawn < 1:
            return
        bound = self._policy(replay.policy_version, logged.customer_id)
        if replay.question.placement not in bound.policy.placements:
            return
        scores = decide_bound(bound, replay).scores
        if scores.uplift is None:
            return
        held = self._share(replay.policy_version)
        names = [bound.names[index] for index in scores.candidates.tolist()]
        who, reached = customer_number(logged.customer_id), float(logged.reached)
        uplifts = dict(zip(names, scores.uplift.tolist(), strict=True))
        if silent:
            probability = held if logged.holdout else drawn
            for name, uplift in uplifts.items():
                if logged.holdout or name in logged.support:
                    self.rows[name].add(0.0, reached, uplift, probability or 1.0, who)
        elif held or drawn:
            name = f"{logged.message}/{logged.channel}"
            if name in uplifts:
                probability = (1 - held) * logged.probability
                self.rows[name].add(1.0, reached, uplifts[name], probability, who)

    def _policy(self, version: str, customer_id: str) -> BoundPolicy:
        candidate = self._candidate
        witnesses = candidate.witnesses
        fold = fold_of(customer_id, len(witnesses)) if witnesses else 0
        key = (version if candidate.rules is None else None, fold)
        if key not in self._bound:
            definition = _open_to_all(candidate.rules or self._log.policies.get(version))
            model = witnesses[fold] if witnesses else candidate.model
            one = Candidate(rules=definition, model=model)
            self._bound[key] = BoundPolicy(definition, one, None, ())
        return self._bound[key]

    def _share(self, version: str) -> float:
        if version not in self._held:
            self._held[version] = held_share(self._log.policies.get(version))
        return self._held[version]


def _open_to_all(definition: PolicyDefinition) -> PolicyDefinition:
    """The policy without its control groups."""
    tests = tuple(one for one in definition.experiments if one.share is None)
    return msgspec.structs.replace(definition, experiments=tests)


def _result(
    message: str, channel: str, rows: _Rows, bootstrap: int, confidence: float, seed: int
) -> UpliftResult | None:
    told, reached, uplift, probability = (
        np.array(each) for each in (rows.told, rows.reached, rows.uplift, rows.probability)
    )
    weight, said = 1 / probability, told == 1
    if not said.any() or said.all():
        return None
    for arm in (said, ~said):
        weight[arm] /= weight[arm].mean()
    scores = uplift_scores(
        reached,
        uplift,
        told,
        weight=weight,
        customer=np.array(rows.customer),
        resamples=bootstrap,
        confidence=confidence,
        seed=seed,
    )
    if scores is None:
        return None
    means = [float(np.average(reached[arm], weights=weight[arm])) for arm in (said, ~said)]
    errors = [
        float(np.sum((weight[arm] * (reached[arm] - mean)) ** 2)) / int(arm.sum()) ** 2
        for arm, mean in zip((said, ~said), means, strict=True)
    ]
    return UpliftResult(
        message=message,
        channel=channel,
        told=int(said.sum()),
        silent=int((~said).sum()),
        uplift=means[0] - means[1],
        standard_error=float(np.sqrt(sum(errors))),
        predicted=float(np.average(uplift, weights=weight)),
        qini=scores.qini,
        qini_interval=scores.qini_interval,
        auuc=scores.auuc,
        auuc_interval=scores.auuc_interval,
    )
