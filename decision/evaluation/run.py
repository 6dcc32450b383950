"""`evaluate`: an archived log and a candidate policy → the report."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from decision.archive.damage import naming_damage
from decision.archive.journal import reading
from decision.core.clock import format_duration, from_micros
from decision.evaluation.gather import GatheredLog, gather
from decision.evaluation.log import ArchivedLog, EvaluationError, open_log
from decision.evaluation.report import EvaluationOptions, EvaluationReport, ReportBuilder
from decision.evaluation.reward_model import fit_reward_model
from decision.evaluation.targets import Candidate, TargetPolicies
from decision.learning.spec import Spec
from decision.progress import SILENT, Progress

_SAME = 1e-9


class EvaluationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to find out about a candidate.

    `spec` says what counts as a response (see `goals_of`). `arms` adds the impact arms, `by` names
    fields by whose values to break the figures down. `count_silence`: silence earns what customers
    did by themselves. `since` (microseconds) judges later decisions alone; `held-out` those that
    the model has not learned from: where it has seen the answers, its figures are too good.
    `reward_model`: without one there are IPS and SNIPS alone.
    """

    spec: Spec | None = None
    arms: bool = False
    by: tuple[str, ...] = ()
    count_silence: bool = False
    since: int | Literal["held-out"] | None = None
    reward_model: bool = True
    options: EvaluationOptions = EvaluationOptions()


_PLAIN: Final = EvaluationRequest()


def evaluate(
    archive: Path,
    candidate: Candidate,
    request: EvaluationRequest = _PLAIN,
    progress: Progress = SILENT,
) -> EvaluationReport:
    """What the candidate would have earned per decision, on the decisions of an archive.

    The first selection of each decision is judged: which candidate, or silence.

    This assumes that the log's probabilities are those of its choices, that what a decision earns
    does not depend on later decisions, and that the history of contacts is the logged one: a
    policy that would have sent more often meets the caps and the customers as the old one left
    them.

    Raises:
        EvaluationError: the log cannot judge anything; the text says why.
        UnknownField: one of `by` cannot be read.
        ArchiveError: the archive lacks a file, or one is damaged; it is named.
    """
    model = candidate.model
    version = None if model is None else model.version
    with (
        reading(archive),
        naming_damage(archive),
        open_log(archive, request.spec, count_silence=request.count_silence, model=version) as log,
        progress.bar("Decisions") as move,
    ):
        unseen = None if model is None else log.held_out_since(model.manifest.training)
        since = unseen if request.since == "held-out" else request.since
        if since is not None:
            log.judge_from(since)
        rewards = fit_reward_model(log) if request.reward_model else None
        fields = tuple(
            dict.fromkeys("customer.state" if name == "state" else name for name in request.by)
        )
        targets = TargetPolicies(candidate, log.policies, rewards, arms=request.arms, fields=fields)
        found = gather(log, targets, fields, rewards, move)
    if not len(found):
        raise EvaluationError(_nothing(log))
    notes = _notes(log, found, candidate)
    if unseen is not None and (since is None or since < unseen):
        moment = f"{from_micros(unseen):%Y-%m-%d %H:%M}"
        notes.append(
            f"the model has learned from decisions before {moment} UTC, "
            "so these figures flatter it; --since held-out judges it by the later ones alone"
        )
    builder = ReportBuilder(found, request.options)
    return builder.report(log.counted, notes, rewards.rows if rewards is not None else 0)


def _nothing(log: ArchivedLog) -> str:
    counted = log.counted
    if counted.earlier == counted.decisions:
        return f"{log.archive}: none of {counted.decisions} decisions is late enough to be judged"
    if counted.open_windows:
        days = format_duration(counted.longest_window)
        return (
            f"{log.archive}: all {counted.open_windows} decisions are younger than the longest "
            f"goal window ({days}); what they earned is not known yet"
        )
    return (
        f"{log.archive}: none of {counted.decisions} decisions can be decided again "
        f"({counted.no_replay} without what they saw, {counted.contended} contended)"
    )


def _notes(log: ArchivedLog, found: GatheredLog, candidate: Candidate) -> list[str]:
    counted = log.counted
    notes = [
        "the history of contacts is the logged one: how a policy changes its own later decisions "
        "(caps filled, customers tired) is not in these figures",
        "the first selection of a decision is judged; silence earns nothing",
    ]
    if log.counts_silence:
        notes[1] = "the first selection is judged; silence earns what customers did by themselves"
    if counted.later_selections:
        notes.append(f"{counted.later_selections} second and further selections are not judged")
    if counted.without_goal:
        notes.append(
            f"{counted.without_goal} decisions chose a message without a goal, which earns "
            "nothing here: give goals in the rules, or without_goal in a spec"
        )
    if counted.no_replay:
        notes.append(f"{counted.no_replay} decisions are left out: what they saw is not archived")
    if found.unknown_placements:
        notes.append(
            f"{found.unknown_placements} decisions are silent now: their placement is gone"
        )
    again = found.again
    if again.decisions:
        verdict = "agrees with itself" if again.most <= _SAME else "does NOT agree with itself"
        notes.append(
            f"the model {verdict}: asked again in {again.decisions} decisions in which it was "
            f"asked then, its probabilities differ by {again.most:.2g} at most"
        )
    if candidate.rules is None:
        notes.append("every decision is judged under the rules it was made with")
    return notes
