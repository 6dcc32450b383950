"""What is computed about one version beside the event loop, as `nextbest promote` does.

The rules are those in force: it is these that the version will serve.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from decision.archive.location import location
from decision.installation import require

if TYPE_CHECKING:
    from decision.core.definition import PolicyDefinition
    from decision.evaluation.gate_figures import GateEvidence, GateFigure
    from decision.evaluation.report import EvaluationReport


def evidence(
    models: Path, version: Path, archive: str | None, rules: PolicyDefinition | None
) -> tuple[GateEvidence, list[GateFigure]]:
    """What is known of a version, and the figures of its gate.

    Raises:
        ModelError: the version must not serve.
        NotFound: its spec is not in the folder.
        SpecError: its spec has errors.
        EvaluationError: nothing can be judged by the archive.
        PackagesMissing: what reads archives is not installed.
    """
    from decision.evaluation.gate import evidence_for, judge_gate

    found = evidence_for(models, version, archive=_folder(archive), rules=rules)
    return found, judge_gate(found)


def estimate(
    models: Path, version: Path, archive: str, rules: PolicyDefinition | None
) -> EvaluationReport:
    """What the version would have earned per decision, on decisions it has not learned from.

    Raises:
        As `evidence`.
    """
    from decision.evaluation.gate import evidence_for
    from decision.evaluation.run import EvaluationRequest, evaluate
    from decision.evaluation.targets import Candidate
    from decision.scoring.witness import witnesses_of

    folder = _folder(archive) or location(archive)
    found = evidence_for(models, version, archive=folder, rules=rules)
    witnesses = tuple(witnesses_of(version, found.model.manifest))
    candidate = Candidate(rules=rules, model=found.model, witnesses=witnesses, beside=found.beside)
    return evaluate(folder, candidate, EvaluationRequest(spec=found.spec, since="held-out"))


def _folder(archive: str | None) -> Path | None:
    if archive is None:
        return None
    require("judging by an archive")
    return location(archive)
