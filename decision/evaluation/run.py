"""`evaluate`: the report on a candidate policy, from an archived log."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from decision.archive.damage import naming_damage
from decision.core.clock import DAY, format_duration
from decision.evaluation.exploration_grid import learned_from, weigh
from decision.evaluation.gather import gather
from decision.evaluation.log import ArchivedLog, EvaluationError, open_log
from decision.evaluation.report import EvaluationOptions, EvaluationReport
from decision.evaluation.report_builder import ReportBuilder
from decision.evaluation.report_notes import learned_until, notes_of, notes_on_other
from decision.evaluation.reward_model import fit_reward_model
from decision.evaluation.targets import Candidate, TargetPolicies
from decision.evaluation.uplift_figures import uplift_results
from decision.learning.spec import Spec
from decision.progress import SILENT, Progress
from decision.scoring.reach import Reach
from decision.scoring.scope import EVERYWHERE


class EvaluationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to find out about a candidate.

    `spec` says what counts as a response (see `goals_of`); left out, the model's version says it,
    or, without a model, the goals of the messages. `arms`: also judge the impact arms.
    `by`: fields to break the figures down by. `count_silence`: silence earns what customers did
    without a message; None: where that is known (`Responses.after_silence`).
    `since` (microseconds): judge only later decisions; `held-out`: only those
    that the model has not learned from, because its figures are too good on what it has seen
    (witnesses judge all).
    `until` (microseconds): the time up to which the log is complete; default: its latest entry.
    `reach` is what is judged; None: what the model decides.
    `reward_model`: if false, only IPS and SNIPS are estimated. `exploration_loss`: also say what
    exploration costs and brings for a grid of γ, and propose one that loses this share at most.
    `against`: a candidate whose model is compared with, on the same decisions and among the same
    survivors: both under the rules that are judged, each with its own exploration.
    """

    spec: Spec | None = None
    arms: bool = False
    by: tuple[str, ...] = ()
    count_silence: bool | None = None
    since: int | Literal["held-out"] | None = None
    until: int | None = None
    reward_model: bool = True
    exploration_loss: float | None = None
    reach: Reach | None = None
    against: Candidate | None = None
    options: EvaluationOptions = EvaluationOptions()


_PLAIN: Final = EvaluationRequest()


def evaluate(
    archive: Path,
    candidate: Candidate,
    request: EvaluationRequest = _PLAIN,
    progress: Progress = SILENT,
) -> EvaluationReport:
    """What the candidate would have earned per decision, on the decisions of an archive.

    The first selection of each decision is judged: a candidate, or silence.

    This assumes that the logged probabilities are those of the choices, and that what a decision
    earns does not depend on later decisions. The history of contacts is the logged one: a policy
    that would have sent more often is judged with the caps as the old policy left them.

    Raises:
        EvaluationError: nothing can be judged by the log; the text says why.
        UnknownField: one of `by` cannot be read.
        ArchiveError: the archive lacks a file, or one is damaged; it is named.
    """
    model = candidate.model
    version = None if model is None else model.version
    responses = model.manifest.responses if model is not None else None
    if request.spec is not None:
        responses = request.spec.responses
    with (
        naming_damage(archive),
        open_log(
            archive,
            responses,
            count_silence=request.count_silence,
            model=version,
            until=request.until,
            reach=_reach(candidate, request.against) if request.reach is None else request.reach,
        ) as log,
        progress.bar("Decisions") as move,
    ):
        learned = [
            (one, moment)
            for one in (candidate, request.against)
            if one is not None and (moment := _unseen_from(one, log)) is not None
        ]
        since = (
            max((moment for _, moment in learned), default=None)
            if request.since == "held-out"
            else request.since
        )
        if since is not None:
            log.judge_from(since)
        rewards = fit_reward_model(log) if request.reward_model else None
        fields = tuple(
            dict.fromkeys("customer.state" if name == "state" else name for name in request.by)
        )
        targets = TargetPolicies(
            candidate,
            log.policies,
            rewards,
            arms=request.arms,
            grid=request.exploration_loss is not None,
            fields=fields,
            against=request.against,
        )
        found = gather(log, targets, fields, rewards, move)
        control = log.control()
        options = request.options
        uplifts = uplift_results(
            log,
            candidate,
            bootstrap=options.bootstrap,
            confidence=options.confidence,
            seed=options.seed,
        )
    if not len(found):
        raise EvaluationError(_nothing(log))
    notes = notes_of(log, found, candidate, responses)
    for one, unseen in learned:
        if since is None or since < unseen:
            notes.append(learned_until(None if one is candidate else _name(one), unseen))
    against = None if request.against is None else _name(request.against)
    if request.against is not None:
        notes += notes_on_other(_name(request.against), request.against.model, responses)
    builder = ReportBuilder(found, request.options, control)
    rows = rewards.rows if rewards is not None else 0
    report = builder.report(log.counted, notes, rows, against)
    exploration = None
    if request.exploration_loss is not None:
        exploration = weigh(
            found,
            builder.estimates.cluster,
            request.exploration_loss,
            options.confidence,
            days=(log.counted.to_time - log.counted.from_time) / DAY,
            learned_from=learned_from(model, cross_fitted=bool(candidate.witnesses)),
        )
    return msgspec.structs.replace(report, uplifts=uplifts, exploration=exploration)


def _name(candidate: Candidate) -> str:
    model = candidate.model
    return "the prior" if model is None else f"{model.manifest.name}/{model.version}"


def _reach(candidate: Candidate, against: Candidate | None) -> Reach:
    """What is judged: what the candidate's model decides, or the narrower one compared with."""
    if against is None or against.model is None or candidate.model is None:
        return candidate.reach if against is None or candidate.model else against.reach
    first, second = candidate.model.manifest.scope, against.model.manifest.scope
    if first != second and EVERYWHERE not in (first, second):
        names = sorted(map(str, (first, second)))
        raise EvaluationError(
            f"one version is of {names[0]}, the other one of {names[1]}: they decide in different "
            "places, so nothing can be compared"
        )
    return against.reach if first == EVERYWHERE else candidate.reach


def _unseen_from(candidate: Candidate, log: ArchivedLog) -> int | None:
    """The time from which a model has learned from nothing; None: it may be judged by all."""
    if candidate.model is None or candidate.witnesses:
        return None
    return log.held_out_since(candidate.model.manifest.training)


def _nothing(log: ArchivedLog) -> str:
    counted = log.counted
    if counted.earlier == counted.decisions:
        return f"{log.archive}: none of {counted.decisions} decisions is late enough to be judged"
    if counted.open_windows:
        days = format_duration(counted.longest_window)
        return (
            f"{log.archive}: all {counted.open_windows} decisions are younger than the longest "
            f"goal window of what could have been chosen ({days} at most), so their outcomes are "
            "not known yet (if nothing was logged since, say how far the log goes: --until)"
        )
    return (
        f"{log.archive}: none of {counted.decisions} decisions can be decided again "
        f"({counted.no_replay} without what they saw, {counted.improbable} without a selection "
        f"probability above 0 and up to 1, {counted.contended} contended, "
        f"{counted.not_given} not given or without the store)"
    )
