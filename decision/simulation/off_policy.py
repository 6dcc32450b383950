"""What the policies of a simulation would have earned, estimated from the logged probabilities.

The simulation lets contacts evolve and believes the model; this believes nothing but the log,
and takes the history of contacts as it was. Where both say the same, so much the better.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from decision.core.definition import PolicyDefinition
from decision.evaluation.log import EvaluationError
from decision.evaluation.report import EvaluationOptions, EvaluationReport
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate
from decision.scoring.model import Model

METRICS = ("responses", "value")


class OffPolicy(msgspec.Struct, frozen=True):
    """The estimates of both policies, or in words why there are none. All are a decision."""

    new: EvaluationReport | None = None
    old: EvaluationReport | None = None
    why_not: str = ""

    @property
    def sides(self) -> list[tuple[str, EvaluationReport]]:
        """(`old` or `new`, its report), of those that there are."""
        named = (("old", self.old), ("new", self.new))
        return [(name, report) for name, report in named if report is not None]

    def as_dict(self) -> dict[str, Any]:
        """The best estimator of each side, as plain data."""
        if self.new is None:
            return {"why_not": self.why_not}
        found: dict[str, Any] = {"estimator": self.new.best}
        for metric in METRICS:
            found[metric] = {"logged": msgspec.to_builtins(self.new.logged[metric])}
            for name, report in self.sides:
                judged = report.policies[0].metrics[metric].get(report.best)
                found[metric][name] = msgspec.to_builtins(judged)
        return found

    def lines(self) -> Iterator[str]:
        """The estimates in words."""
        if self.new is None:
            yield f"off-policy: not to be told from this log: {self.why_not}"
            return
        yield f"off-policy, a decision ({self.new.best}, 95 % intervals; contacts as logged)"
        for metric in METRICS:
            logged = self.new.logged[metric]
            yield f"  {metric:<11}logged {_figure(logged.value, logged.confidence_interval)}"
            for name, report in self.sides:
                judged = report.policies[0].metrics[metric].get(report.best)
                if judged is None:
                    yield f"  {'':<11}{name:<6} it does nothing that the log has seen"
                    continue
                estimate = judged.estimate
                low, high = judged.lift.difference_interval
                yield (
                    f"  {'':<11}{name:<6} {_figure(estimate.value, estimate.confidence_interval)}"
                    f"  against the log {judged.lift.difference:+.5f} [{low:+.5f}, {high:+.5f}]"
                )
        for name, report in self.sides:
            for caution in report.policies[0].cautions:
                yield f"  caution ({name}): {caution}"


def _figure(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.5f} [{interval[0]:.5f}, {interval[1]:.5f}]"


def off_policy(
    archive: Path, new: PolicyDefinition, old: PolicyDefinition | None, model: Model | None
) -> OffPolicy:
    """The estimates, as far as the log allows any."""

    request = EvaluationRequest(options=EvaluationOptions(bootstrap=0))

    def judged(rules: PolicyDefinition) -> EvaluationReport:
        return evaluate(archive, Candidate(rules=rules, model=model), request)

    try:
        return OffPolicy(judged(new), judged(old) if old is not None else None)
    except EvaluationError as error:
        return OffPolicy(why_not=str(error))
