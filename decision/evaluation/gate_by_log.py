"""The figures of the gate that need the log: lift of value, effective sample, skill."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from decision.core.said import Said
from decision.evaluation import cures
from decision.evaluation.control import ControlRate
from decision.evaluation.evidence_figures import lift_of, sample_of, skill_of
from decision.evaluation.gate_figures import GateEvidence, GateFigure, gate_figure
from decision.evaluation.report import EvaluationReport
from decision.evaluation.rewards import UNSUPPORTED
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.said import judge_what_was_said
from decision.evaluation.targets import Candidate
from decision.evaluation.whole_log import Judged, Rivals, judge_whole_log
from decision.learning.gate_spec import PromotionGate
from decision.progress import Progress
from decision.scoring.loading import load_model
from decision.scoring.model import Model
from decision.scoring.witness import witnesses_of

LIFT: Final = "lift of value, lower bound"
SAMPLE: Final = "effective sample"
ALONE: Final = "responses without a message, lower bound"
SKILL: Final = "skill, lower bound"


def of_whole_log(
    evidence: GateEvidence,
    archive: Path,
    witnesses: list[Model],
    gate: PromotionGate,
    progress: Progress,
) -> list[GateFigure]:
    """What the whole log says about the version, beside what is in force."""
    rivals = Rivals(witnesses, _witnesses_in_force(evidence.champion), evidence.beside)
    least = gate.lift_at_least or 0.0
    judge: Callable[..., Judged] = partial(judge_whole_log, factor=1 + least)
    if gate.lift_at_least is None and gate.effective_sample_at_least is None:
        judge = judge_what_was_said
    judged = judge(
        archive,
        rivals,
        evidence.spec.responses,
        rules=evidence.rules,
        until=evidence.until,
        reach=evidence.reach,
        progress=progress,
    )
    found = []
    if gate.lift_at_least is not None:
        found.append(gate_figure(LIFT, f"≥ {least:+.1%}", *lift_of(judged, least)))
        found += _without_message(judged.control_rate)
    if (bound := gate.effective_sample_at_least) is not None:
        found.append(gate_figure(SAMPLE, f"≥ {bound:,.0f}", *sample_of(judged, bound)))
    if (bound := gate.skill_at_least) is not None:
        found.append(gate_figure(SKILL, f"≥ {bound:+.1%}", *skill_of(judged, bound)))
    return found


def _witnesses_in_force(champion: Path | None) -> list[Model]:
    """Those of the version in force, or itself: it has seen the log, which flatters it."""
    if champion is None:
        return []
    model = load_model(champion)
    return witnesses_of(champion, model.manifest) or [model]


def of_value(evidence: GateEvidence, gate: PromotionGate, progress: Progress) -> list[GateFigure]:
    """Lift and effective sample: what the log says about the version."""
    why: str = Said("no log is given; give one with --log")
    lowest, sample = None, None
    control, lacking = None, ""
    least = gate.lift_at_least
    if evidence.archive is not None:
        report = evaluate(
            evidence.archive,
            Candidate(rules=evidence.rules, model=evidence.model, beside=evidence.beside),
            EvaluationRequest(spec=evidence.spec, since="held-out", until=evidence.until),
            progress,
        )
        sample = report.policies[-1].weights.effective_sample_size
        lowest, why = _lower_bound(report, least or 0.0)
        control = report.control
        seen, days = report.log.judged, (report.log.to_time - report.log.from_time) / 86_400e6
        lacking = cures.of_sample(sample, gate.effective_sample_at_least or 0.0, seen, days)
    found = []
    if least is not None:
        passed = lowest is not None and lowest >= least
        found.append(gate_figure(LIFT, f"≥ {least:+.1%}", lowest, passed, why))
        found += _without_message(control)
    if (few := gate.effective_sample_at_least) is not None:
        passed = sample is not None and sample >= few
        told = why if sample is None else lacking
        found.append(gate_figure(SAMPLE, f"≥ {few:,.0f}", sample, passed, told))
    if (least := gate.skill_at_least) is not None:
        why = Said("no log is given; give one with --log")
        if evidence.archive is not None:
            why = Said("it has no witnesses: write cross_fit: 3 in the spec, and train again")
        found.append(gate_figure(SKILL, f"≥ {least:+.1%}", None, passed=False, detail=why))
    return found


def _without_message(control: ControlRate | None) -> list[GateFigure]:
    """A lift of value says nothing where customers clearly respond without a message.

    Then whoever is told anything "earns" what would have come by itself.
    """
    if control is None or not control.clear:
        return []
    wanted = f"≤ {control.most:.1%}"
    told = control.in_words()
    return [gate_figure(ALONE, wanted, control.lowest, passed=False, detail=told)]


def _lower_bound(report: EvaluationReport, least: float) -> tuple[float | None, str]:
    """The lower bound of the lift of value, how it was estimated, and what would lift it.

    If more than 1 % of what the policy does could not have been logged, that part counts as earning
    nothing (IPS): only a model says anything about it.
    """
    policy = report.policies[-1]
    judged = [policy.metrics["value"].get(report.best)]
    unseen = ""
    if policy.unsupported > UNSUPPORTED:
        judged.append(policy.metrics["value"]["ips"])
        unseen = Said(
            "%(share)s of its choices could not have happened in the log: let more be explored",
            share=f"{policy.unsupported:.1%}",
        )
    lifts = [each.lift for each in judged if each is not None]
    if not lifts or judged[0] is None:
        return None, Said(
            "the log says nothing about this policy, because nothing that it would choose was "
            "chosen: let more be explored"
        )
    bounds = []
    for lift in lifts:
        if lift.relative is None or lift.relative_interval is None:
            return None, Said(
                "the logged decisions earned no value above 0, so there is no relative lift: ask "
                "for skill_at_least instead, or log more decisions"
            )
        bounds.append(lift.relative_interval[0])
        if lift.relative_bootstrap is not None:
            bounds.append(lift.relative_bootstrap[0])
    bound, estimated = min(bounds), min(each.relative or 0.0 for each in lifts)
    told = Said("estimated %(lift)s", lift=f"{lifts[0].relative:+.1%}")
    days = (report.log.to_time - report.log.from_time) / 86_400e6
    cure = cures.of_bound(estimated - least, bound - least, report.log.judged, days)
    return bound, cures.joined(told, unseen, cure)
