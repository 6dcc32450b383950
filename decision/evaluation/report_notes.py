"""What to know of a report's figures: how they came about, and what they leave out."""

from __future__ import annotations

from typing import Final

from decision.archive.imported import notes_on
from decision.core.clock import from_micros
from decision.core.said import Said
from decision.evaluation.gather import GatheredLog
from decision.evaluation.log import ArchivedLog
from decision.evaluation.targets import Candidate
from decision.learning.attribution import IN_WORDS
from decision.scoring.manifest import Responses
from decision.scoring.model import Model

_SAME: Final = 1e-9


def notes_of(
    log: ArchivedLog, found: GatheredLog, candidate: Candidate, responses: Responses | None
) -> list[str]:
    """The notes on a candidate that was judged; `responses` is what counts as one."""
    notes = _on_responses(log, candidate, responses)
    notes += _left_out(log, found)
    notes += _on_model(found, candidate)
    notes += notes_on(log.policies.versions())
    if candidate.witnesses:
        notes.append(
            Said(
                "the model was cross-fitted: each decision is judged by its witness that has not "
                "seen the customer"
            )
        )
    if candidate.rules is None:
        notes.append(Said("every decision is judged under the rules that it was made with"))
    if not log.reach.is_everything:
        notes.append(
            Said("the model decides %(what)s: only decisions there are judged", what=f"{log.reach}")
        )
    words = Said(IN_WORDS[log.attribution])
    notes.append(Said("attribution is %(name)s: %(words)s", name=str(log.attribution), words=words))
    return notes


def _on_responses(log: ArchivedLog, candidate: Candidate, responses: Responses | None) -> list[str]:
    notes: list[str] = []
    if responses is not None:
        notes.append(Said("a response is %(what)s", what=responses.in_words()))
    elif candidate.model is not None:
        notes.append(Said("the version does not say what a response is; here: the messages' goals"))
    notes.append(
        Said(
            "the history of contacts is the logged one: effects of a policy on its own later "
            "decisions (caps reached, customers tired) are not in these figures"
        )
    )
    if log.counts_silence:
        notes.append(
            Said(
                "the first selection is judged; silence earns what customers did without a "
                "message; a response counts there what it counts after messages on average"
            )
        )
    else:
        notes.append(Said("the first selection of a decision is judged; silence earns nothing"))
    return notes


def _left_out(log: ArchivedLog, found: GatheredLog) -> list[str]:
    counted = log.counted
    notes: list[str] = []
    if counted.later_selections:
        notes.append(
            Said(
                "%(n)s second and later selections are not judged", n=f"{counted.later_selections}"
            )
        )
    if counted.without_goal:
        notes.append(
            Said(
                "%(n)s decisions chose a message without a goal, which counts as earning nothing: "
                "give goals in the rules, or without_goal in a spec",
                n=f"{counted.without_goal}",
            )
        )
    if counted.improbable:
        notes.append(
            Said(
                "%(n)s decisions, such as %(id)s, have no selection probability above 0 and up to "
                "1, and are left out: nothing can be judged by them",
                n=f"{counted.improbable}",
                id=f"{counted.improbable_id}",
            )
        )
    if counted.no_replay:
        notes.append(
            Said(
                "%(n)s decisions are left out: what they saw is not archived",
                n=f"{counted.no_replay}",
            )
        )
    if found.unknown_placements:
        notes.append(
            Said(
                "%(n)s decisions would be silent: the new rules lack their placement",
                n=f"{found.unknown_placements}",
            )
        )
    return notes


def _on_model(found: GatheredLog, candidate: Candidate) -> list[str]:
    again = found.again
    if not again.decisions:
        return []
    values = {"n": f"{again.decisions}", "most": f"{again.most:.2g}"}
    if again.most <= _SAME:
        text = Said(
            "the model agrees with itself: for %(n)s decisions that it scored before, its "
            "probabilities now differ by %(most)s at most",
            **values,
        )
    else:
        text = Said(
            "the model does NOT agree with itself: for %(n)s decisions that it scored before, its "
            "probabilities now differ by %(most)s at most",
            **values,
        )
    return [text]


def learned_until(name: str | None, unseen: int) -> str:
    """That a model has learned from decisions that judge it; `name` None: the candidate's."""
    when = f"{from_micros(unseen):%Y-%m-%d %H:%M}"
    if name is None:
        return Said(
            "the model has learned from decisions before %(time)s UTC, so its figures are too "
            "good; --since held-out judges it by the later ones only",
            time=when,
        )
    return Said(
        "%(model)s has learned from decisions before %(time)s UTC, so its figures are too good; "
        "--since held-out judges it by the later ones only",
        model=name,
        time=when,
    )


def notes_on_other(name: str, model: Model | None, responses: Responses | None) -> list[str]:
    """What to know of the version that is compared with."""
    notes: list[str] = [
        Said(
            "%(model)s is compared with among the same survivors, under the rules that are judged",
            model=name,
        )
    ]
    own = None if model is None else model.manifest.responses
    if own is not None and own != responses:
        notes.append(
            Said(
                "for %(model)s a response is %(what)s; here it is judged alike",
                model=name,
                what=own.in_words(),
            )
        )
    return notes
