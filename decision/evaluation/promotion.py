"""Promotion: a model version must pass its spec's gate before it is put in force.

A figure that the gate requires and that is not known fails. Every promotion is recorded in the
models folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from math import sqrt
from pathlib import Path
from statistics import median
from typing import Final, Literal

import msgspec
import numpy as np

from decision.archive.replays import read_replays
from decision.core.clock import DAY
from decision.core.definition import PolicyDefinition
from decision.core.document import Document
from decision.core.fields import Situation
from decision.core.policy_builder import compile_policy
from decision.environment import login_name
from decision.evaluation.evidence_figures import lift_of, sample_of, skill_of
from decision.evaluation.log import LoggedPolicies
from decision.evaluation.report import UNSUPPORTED, EvaluationReport
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate
from decision.evaluation.whole_log import Rivals, judge_whole_log
from decision.files import append_line, sync_folder
from decision.learning.drift import PREDICTION, drift_between, read_profile
from decision.learning.metrics import PARTS
from decision.learning.spec import PromotionGate, Spec, load_spec, spec_named
from decision.progress import SILENT, Progress
from decision.scoring.features import varies
from decision.scoring.loading import load_model
from decision.scoring.manifest import ModelError, Training, read_version
from decision.scoring.model import Model
from decision.scoring.scorers import bind, fields_read
from decision.scoring.versions import CURRENT, SHADOW, current_version, point_to, shadow_version
from decision.scoring.witness import WITNESSES, witnesses_of

PROMOTIONS: Final = "promotions.ndjson"
"""In the models folder: one line per promotion, with the figures of its gate."""
LIFT: Final = "lift of value, lower bound"
SAMPLE: Final = "effective sample"
SKILL: Final = "skill, lower bound"
OF_RATE: Final = 0.25
"""Predictions may be off by this part of the share of responses, whatever the spec allows."""
WEEK: Final = 7 * DAY
_CALLS: Final = 300
_DOCUMENTS: Final = 100


class GateFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of the gate. `found` is None if it is not known; then `detail` says why."""

    name: str
    wanted: str
    found: float | None
    passed: bool
    detail: str = ""


class GateEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a version that is to be promoted.

    `champion` is the folder of the version in force. `rules` None: those of the log. `until`
    (microseconds) is the time up to which the log is complete; None: its latest entry.
    """

    folder: Path
    model: Model
    spec: Spec
    champion: Path | None = None
    archive: Path | None = None
    rules: PolicyDefinition | None = None
    until: int | None = None


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
            figures += _of_whole_log(evidence, evidence.archive, witnesses, gate, progress)
        else:
            figures += _of_value(evidence, gate, progress)
    manifest = evidence.model.manifest
    if (bound := gate.calibration_error_at_most) is not None:
        figures.append(_calibration(manifest.training, bound))
    if gate.latency_at_most is not None:
        figures.append(_latency(evidence, gate.latency_at_most))
    if gate.parity_at_most is not None:
        parity = manifest.parity
        why = f"it is not compiled: {evidence.model.note or 'lleaves is missing'}"
        difference = None if parity is None else parity.difference
        figures.append(_at_most("parity (log-odds)", gate.parity_at_most, difference, why))
    if gate.drift_at_most is not None:
        figures.append(_drift(evidence, gate.drift_at_most))
    return figures


def _of_whole_log(
    evidence: GateEvidence,
    archive: Path,
    witnesses: list[Model],
    gate: PromotionGate,
    progress: Progress,
) -> list[GateFigure]:
    """What the whole log says about the version, beside what is in force."""
    rivals = Rivals(witnesses, _witnesses_in_force(evidence.champion))
    least = gate.lift_at_least or 0.0
    judged = judge_whole_log(
        archive,
        rivals,
        evidence.spec.responses,
        1 + least,
        rules=evidence.rules,
        until=evidence.until,
        progress=progress,
    )
    found = []
    if gate.lift_at_least is not None:
        found.append(_figure(LIFT, f"≥ {least:+.1%}", *lift_of(judged, least)))
    if (bound := gate.effective_sample_at_least) is not None:
        found.append(_figure(SAMPLE, f"≥ {bound:,.0f}", *sample_of(judged, bound)))
    if (bound := gate.skill_at_least) is not None:
        found.append(_figure(SKILL, f"≥ {bound:+.1%}", *skill_of(judged, bound)))
    return found


def _witnesses_in_force(champion: Path | None) -> list[Model]:
    """Those of the version in force, or itself: it has seen the log, which flatters it."""
    if champion is None:
        return []
    model = load_model(champion)
    return witnesses_of(champion, model.manifest) or [model]


def _of_value(evidence: GateEvidence, gate: PromotionGate, progress: Progress) -> list[GateFigure]:
    """Lift and effective sample: what the log says about the version."""
    lowest, sample, why = None, None, "no log is given; give one with --log"
    if evidence.archive is not None:
        report = evaluate(
            evidence.archive,
            Candidate(rules=evidence.rules, model=evidence.model),
            EvaluationRequest(spec=evidence.spec, since="held-out", until=evidence.until),
            progress,
        )
        sample = report.policies[-1].weights.effective_sample_size
        lowest, why = _lower_bound(report)
    found = []
    if (least := gate.lift_at_least) is not None:
        passed = lowest is not None and lowest >= least
        found.append(_figure(LIFT, f"≥ {least:+.1%}", lowest, passed, why))
    if (least := gate.effective_sample_at_least) is not None:
        passed = sample is not None and sample >= least
        if sample is not None:
            why = "" if passed else f"{least - sample:,.0f} too few"
        found.append(_figure(SAMPLE, f"≥ {least:,.0f}", sample, passed, why))
    if (least := gate.skill_at_least) is not None:
        why = "no log is given; give one with --log"
        if evidence.archive is not None:
            why = "it has no witnesses: write cross_fit: 3 in the spec, and train again"
        found.append(_figure(SKILL, f"≥ {least:+.1%}", None, passed=False, detail=why))
    return found


def _figure(name: str, wanted: str, found: float | None, passed: bool, detail: str) -> GateFigure:
    return GateFigure(name=name, wanted=wanted, found=found, passed=passed, detail=detail)


def _lower_bound(report: EvaluationReport) -> tuple[float | None, str]:
    """The lower bound of the lift of value, and how it was estimated.

    If more than 1 % of what the policy does could not have been logged, that part counts as earning
    nothing (IPS): only a model says anything about it.
    """
    policy = report.policies[-1]
    judged = [policy.metrics["value"].get(report.best)]
    detail = ""
    if policy.unsupported > UNSUPPORTED:
        judged.append(policy.metrics["value"]["ips"])
        detail = f"; {policy.unsupported:.1%} of its choices could not have happened in the log"
    lifts = [each.lift for each in judged if each is not None]
    if not lifts or judged[0] is None:
        return None, "the log says nothing about this policy"
    bounds = []
    for lift in lifts:
        if lift.relative is None or lift.relative_interval is None:
            return (
                None,
                "the logged decisions earned no value above 0, so there is no relative lift",
            )
        bounds.append(lift.relative_interval[0])
        if lift.relative_bootstrap is not None:
            bounds.append(lift.relative_bootstrap[0])
    return min(bounds), f"estimated {lifts[0].relative:+.1%}{detail}"


def _at_most(name: str, bound: float, found: float | None, why: str) -> GateFigure:
    passed = found is not None and found <= bound
    detail = why if found is None else "" if passed else f"{found - bound:.3g} too much"
    return _figure(name, f"≤ {bound:g}", found, passed, detail)


def _calibration(training: Training, bound: float) -> GateFigure:
    """Where responses are rare, the bound is a share of them: 2 % is nothing at a rate of 0.1 %.

    A quarter, and what chance makes of ten groups with that many responses.
    """
    found = training.metrics.get("calibration_error")
    detail = ""
    if found is not None and training.test_positives:
        responses, rate = training.test_positives, training.test_positives / training.test_rows
        share = rate * (OF_RATE + sqrt(PARTS / responses))
        if share < bound:
            bound, detail = share, f"{found / rate:.0%} of the share of responses, {rate:.2%}"
    figure = _at_most("calibration error", bound, found, "no rows were held out")
    if not detail or figure.passed:
        return figure
    return msgspec.structs.replace(figure, detail=f"{figure.detail}; {detail}")


def _comparable(evidence: GateEvidence, champion: Path) -> Callable[[str], bool]:
    """Which features can have drifted.

    In less than a week not every day of the week has come. What was chosen, and what is predicted
    of it, changes with every policy that learns: of versions with witnesses, skill says more of it.
    """
    spans = [evidence.model.manifest.training, read_version(champion)[0].training]
    short = any(
        one.from_time is not None and one.to_time is not None and one.to_time - one.from_time < WEEK
        for one in spans
    )
    manifest = evidence.model.manifest
    learned = {PREDICTION, *(each.name for each in manifest.features if varies(each))}
    if WITNESSES not in manifest.files:
        learned = set()
    return lambda name: name not in learned and not (short and name.startswith("time."))


def _drift(evidence: GateEvidence, bound: float) -> GateFigure:
    name = "drift (PSI)"
    if evidence.champion is None:
        why = "no version is in force to compare with"
        return _figure(name, f"≤ {bound:g}", None, passed=True, detail=why)
    old, new = read_profile(evidence.champion), read_profile(evidence.folder)
    if old is None or new is None:
        which = evidence.champion if old is None else evidence.folder
        return _at_most(name, bound, None, f"{which} has no profile; train this model again")
    comparable = _comparable(evidence, evidence.champion)
    found = {name: psi for name, psi in drift_between(old, new).items() if comparable(name)}
    if not found:
        return _at_most(name, bound, None, "the two versions share no feature that can drift")
    furthest, most = next(iter(found.items()))
    figure = _at_most(name, bound, float(most) if most == most else None, f"{furthest} changed")
    return msgspec.structs.replace(figure, detail=f"{furthest} {figure.detail}".strip())


def _latency(evidence: GateEvidence, bound: int) -> GateFigure:
    name = "latency, µs"
    definition, documents = evidence.rules, [Document(customer_id="nobody")]
    if evidence.archive is not None:
        sample = list(islice(read_replays(evidence.archive), _DOCUMENTS))
        documents = [each.document for each in sample] or documents
        if definition is None and sample:
            definition = LoggedPolicies(evidence.archive).get(sample[-1].policy_version)
    if definition is None:
        return _at_most(name, bound, None, "no policy is given; give one with --rules")
    found = scoring_time(evidence.model, definition, documents)
    count = len(compile_policy(definition).candidates)
    figure = _at_most(name, bound, found, "")
    what = f"{count} candidates, {evidence.model.engine} {figure.detail}".strip()
    return msgspec.structs.replace(figure, detail=what)


def scoring_time(
    model: Model, definition: PolicyDefinition, documents: Sequence[Document]
) -> float:
    """The median time, in microseconds, to score all candidates of a policy for a document."""
    policy = compile_policy(definition, reads=fields_read(model))
    scorer = bind(model, policy.candidates, policy.fields, policy.settings)
    everything = np.arange(len(policy.candidates))
    placement = next(iter(policy.placements))
    now = time.time_ns() // 1000
    taken = []
    for number in range(_CALLS + 20):
        document = documents[number % len(documents)]
        zone = policy.zone_of(document)
        values = policy.fields.read(Situation(document, placement, now, zone))
        began = time.perf_counter_ns()
        scorer.score(everything, values, document, now)
        if number >= 20:  # the first calls warm caches up
            taken.append((time.perf_counter_ns() - began) / 1000)
    return median(taken)


class Promoted(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a version that was to be promoted, and the figures of its gate."""

    outcome: Literal["current", "forced", "refused"]
    figures: list[GateFigure]


def promote_if_passed(
    models: Path, evidence: GateEvidence, *, force: str | None = None, progress: Progress = SILENT
) -> Promoted:
    """Puts a version in force if it passes its gate, or, with a reason (`force`), if it does not.

    A version that is in force already is judged again, and nothing is written.

    Raises:
        EvaluationError: nothing can be judged by the log.
        ModelError: it is not a version below the models folder.
        OSError: nothing can be written there.
    """
    return put_in_force(models, evidence, judge_gate(evidence, progress), force=force)


def put_in_force(
    models: Path,
    evidence: GateEvidence,
    figures: list[GateFigure],
    *,
    force: str | None = None,
    by: str | None = None,
    why: str | None = None,
) -> Promoted:
    """Puts a version in force if its figures pass, or, with a reason (`force`), if they do not.

    `by` is who does it; the login name, where it is left out. `why` is noted where they pass.

    Raises:
        ModelError: it is not a version below the models folder.
        OSError: nothing can be written there.
    """
    passed = all(figure.passed for figure in figures)
    if not passed and force is None:
        return Promoted(outcome="refused", figures=figures)
    champion = evidence.champion
    if champion is None or champion.resolve() != evidence.folder.resolve():
        promote(
            models,
            evidence.folder,
            figures,
            reason=why if passed else force,
            forced=not passed,
            by=by,
        )
    return Promoted(outcome="current" if passed else "forced", figures=figures)


def evidence_for(
    models: Path,
    folder: Path,
    *,
    spec: Path | None = None,
    archive: Path | None = None,
    rules: PolicyDefinition | None = None,
    until: int | None = None,
) -> GateEvidence:
    """Gathers what the gate needs. Without `spec`: the spec of that name in the models folder.

    Raises:
        ModelError: the version must not serve.
        SpecError: the spec has errors, or is of another model.
        NotFound: there is no spec of that name.
    """
    model = load_model(folder)
    name = model.manifest.name
    return GateEvidence(
        folder=folder,
        model=model,
        spec=spec_named(models, name) if spec is None else load_spec(spec, name=name),
        champion=current_version(models) if (models / CURRENT).exists() else None,
        archive=archive,
        rules=rules,
        until=until,
    )


def promote(
    models: Path,
    version: Path,
    figures: Sequence[GateFigure],
    *,
    reason: str | None = None,
    forced: bool | None = None,
    by: str | None = None,
) -> None:
    """Puts a version in force and records it; if it was the challenger, there is none afterwards.

    `forced`: although figures did not pass; where it is left out, so it is with a reason.

    Raises:
        ModelError: it is not a version below the models folder.
        OSError: nothing can be written there.
    """
    with suppress(ModelError):
        challenger = shadow_version(models)
        if challenger is not None and challenger.resolve() == version.resolve():
            clear_shadow(models)
    point_to(models, version)
    forced = reason is not None if forced is None else forced
    _note(models, version, CURRENT, figures, reason, by, forced=forced)


def challenge(
    models: Path, version: Path, *, reason: str | None = None, by: str | None = None
) -> None:
    """Makes a version the challenger: it is scored and logged, and never chooses.

    `by` is who does it; the login name, where it is left out.

    Raises:
        ModelError: it must not serve, or is not a version below the models folder.
        OSError: nothing can be written there.
    """
    load_model(version)
    point_to(models, version, SHADOW)
    _note(models, version, SHADOW, (), reason, by)


def clear_shadow(models: Path) -> bool:
    """Ends the challenger; false if there was none."""
    try:
        (models / SHADOW).unlink()
    except FileNotFoundError:
        return False
    sync_folder(models)
    return True


def _note(
    models: Path,
    version: Path,
    pointer: str,
    figures: Sequence[GateFigure],
    reason: str | None,
    by: str | None = None,
    *,
    forced: bool = False,
) -> None:
    line = msgspec.json.encode(
        {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "by": by or login_name(),
            "pointer": pointer,
            "version": version.resolve().relative_to(models.resolve()).as_posix(),
            "forced": forced,
            "reason": reason,
            "figures": figures,
        }
    )
    append_line(models / PROMOTIONS, line)
