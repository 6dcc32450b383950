"""The gate: what a model version must show before it is put in force.

A figure that is required and that is not known fails.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from decision.core.definition import PolicyDefinition
from decision.core.said import Said
from decision.evaluation import cures
from decision.evaluation.gate_by_log import of_value, of_whole_log
from decision.evaluation.gate_by_version import calibration_figure, drift_figure, latency_figure
from decision.evaluation.gate_figures import GateEvidence, GateFigure, at_most
from decision.evaluation.reach import models_beside
from decision.learning.spec import load_spec, spec_of
from decision.progress import SILENT, Progress
from decision.scoring.loading import load_model
from decision.scoring.pointers import CURRENT
from decision.scoring.versions import serving_version
from decision.scoring.witness import witnesses_of


def evidence_for(
    models: Path,
    folder: Path,
    *,
    spec: Path | None = None,
    archive: Path | None = None,
    rules: PolicyDefinition | None = None,
    until: int | None = None,
) -> GateEvidence:
    """Gathers what the gate needs. Without `spec`: the spec of that name in the models folder,
    else the one that the version was trained by. The champion is what decides in its scope now.

    Raises:
        ModelError: the version must not serve.
        SpecError: the spec has errors, or is of another model.
        NotFound: it has neither.
    """
    model = load_model(folder)
    name, scope = model.manifest.name, model.manifest.scope
    return GateEvidence(
        folder=folder,
        model=model,
        spec=spec_of(models, folder, name) if spec is None else load_spec(spec, name=name),
        champion=serving_version(models, scope) if (models / CURRENT).exists() else None,
        archive=archive,
        rules=rules,
        until=until,
        beside=models_beside(models, scope),
    )


def judge_gate(evidence: GateEvidence, progress: Progress = SILENT) -> list[GateFigure]:
    """The figures that the spec's gate requires, in the order of the gate.

    A version that was cross-fitted is judged on the whole log, by its witnesses, beside what is in
    force; its bounds hold however often they are looked at (`always_valid`). Of another one the
    lift is estimated by SNDR, on decisions that the model has not learned from; its lower bound is
    the lower one of the normal and the bootstrap interval.

    Raises:
        EvaluationError: nothing can be judged by the log.
        ModelError: the witnesses of a version cannot be read.
    """
    gate = evidence.spec.promotion
    if evidence.champion is None:
        gate = gate.at_first()
    figures = []
    asked = (gate.lift_at_least, gate.effective_sample_at_least, gate.skill_at_least)
    if any(each is not None for each in asked):
        witnesses = witnesses_of(evidence.folder, evidence.model.manifest)
        if witnesses and evidence.archive is not None:
            figures += of_whole_log(evidence, evidence.archive, witnesses, gate, progress)
        else:
            figures += of_value(evidence, gate, progress)
    manifest = evidence.model.manifest
    if (bound := gate.calibration_error_at_most) is not None:
        figures.append(calibration_figure(manifest.training, bound))
    if gate.latency_at_most is not None:
        figures.append(latency_figure(evidence, gate.latency_at_most))
    if gate.parity_at_most is not None:
        parity = manifest.parity
        missing = evidence.model.note or Said("lleaves is missing")
        why = Said("it is not compiled: %(why)s; install lleaves, and train again", why=missing)
        difference = None if parity is None else parity.difference
        figure = at_most("parity (log-odds)", gate.parity_at_most, difference, why)
        if not figure.passed and parity is not None:
            detail = cures.joined(figure.detail, cures.of_parity())
            figure = msgspec.structs.replace(figure, detail=detail)
        figures.append(figure)
    if gate.drift_at_most is not None:
        figures.append(drift_figure(evidence, gate.drift_at_most))
    return figures
