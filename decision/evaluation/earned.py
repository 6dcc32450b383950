"""What a policy would have earned, in a few figures and one verdict, for people who decide."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from decision.archive.damage import naming_damage
from decision.archive.query import open_database
from decision.archive.tables import files
from decision.evaluation.report import EvaluationOptions, EvaluationReport
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate
from decision.scoring.reach import EVERYTHING

UNSEEN: Final = 0.1
"""A larger share of choices that the log cannot know of leaves the question open."""

LEAST: Final = 100.0
"""An effective sample below this one leaves the question open: its intervals are too narrow."""

Verdict = Literal["more", "less", "open", "unseen", "unlike"]
"""More or less than was earned; `open`: the interval includes both; `unseen`: too much of what it
would choose was never chosen at random; `unlike`: too few decisions are like its own."""


class Earned(msgspec.Struct, frozen=True, kw_only=True):
    """Value per decision: as logged, of the policy, and the difference, with intervals of 95 %.

    `difference` and its interval are paired by decision. `effective_sample` is how many decisions
    of the policy's own the log is worth. `unseen` is the share of its choices that could not have
    happened in the log. `estimator` names how it was estimated; `cautions` are the report's.
    """

    verdict: Verdict
    estimator: str
    decisions: int
    customers: int
    logged: float
    value: float
    interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]
    effective_sample: float
    unseen: float
    cautions: list[str] = []


def earned(archive: Path, candidate: Candidate, newest: int) -> Earned | None:
    """The estimate over the newest decisions of an archive; None: it chooses nothing of the log.

    Raises:
        EvaluationError: nothing can be judged by the log; the text says why.
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    request = EvaluationRequest(
        since=_since(archive, newest), reach=EVERYTHING, options=EvaluationOptions(bootstrap=0)
    )
    return earned_of(evaluate(archive, candidate, request))


def earned_of(report: EvaluationReport) -> Earned | None:
    """The figures of a report on one policy."""
    policy = report.policies[-1]
    judged = policy.metrics["value"].get(report.best)
    if judged is None:
        return None
    low, high = judged.lift.difference_interval
    sample = policy.weights.effective_sample_size
    verdict: Verdict = "open"
    if policy.unsupported > UNSEEN:
        verdict = "unseen"
    elif sample < LEAST:
        verdict = "unlike"
    elif low > 0:
        verdict = "more"
    elif high < 0:
        verdict = "less"
    return Earned(
        verdict=verdict,
        estimator=report.best,
        decisions=report.log.judged,
        customers=report.customers,
        logged=report.logged["value"].value,
        value=judged.estimate.value,
        interval=judged.estimate.confidence_interval,
        difference=judged.lift.difference,
        difference_interval=(low, high),
        effective_sample=sample,
        unseen=policy.unsupported,
        cautions=policy.cautions,
    )


def _since(archive: Path, newest: int) -> int | None:
    """The time of the first of the newest decisions; None where there are no more than these."""
    with naming_damage(archive), open_database() as database:
        database.view_dataset("decisions", files(archive, "decisions"))
        rows = database.rows(
            "SELECT epoch_us(decided_at) FROM decisions WHERE coalesce(position, 1) = 1 "
            "ORDER BY decided_at DESC LIMIT 1 OFFSET $before",
            {"before": newest - 1},
        )
    return rows[0][0] if rows else None
