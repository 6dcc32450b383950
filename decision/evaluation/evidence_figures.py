"""The figures of the gate that the log gives: lift, effective sample, skill; and what they lack."""

from __future__ import annotations

from typing import Final, NamedTuple

from decision.core.said import Said
from decision.evaluation import cures
from decision.evaluation.always_valid import lower_bound
from decision.evaluation.whole_log import Judged
from decision.learning.ope.terms import effective_sample_size

ALPHA: Final = 0.05
"""How probable it may be that a bound is ever above the truth, however often it is looked at."""


class Found(NamedTuple):
    """A figure (None: not known), whether it passes, and why or what would lift it."""

    value: float | None
    passed: bool
    detail: str


def lift_of(judged: Judged, least: float) -> Found:
    """The lower bound of the lift of value; `judged` was made with the factor 1 + `least`."""
    control = float(judged.control.mean())
    if not control > 0:
        return Found(
            None,
            False,
            Said(
                "what it is compared with earned no value above 0, so there is no relative lift: "
                "ask for skill_at_least instead, or log more decisions"
            ),
        )
    mean = float(judged.gain.mean())
    bound = lower_bound(judged.gain, judged.least, ALPHA)
    told = Said("estimated %(lift)s", lift=f"{least + mean / control:+.1%}")
    cure = cures.of_bound(mean, bound, len(judged), judged.days)
    return Found(least + bound / control, bound >= 0, cures.joined(told, cure))


def skill_of(judged: Judged, least: float) -> Found:
    """The lower bound of the Brier skill score: 1 − squared error / that of what is in force."""
    if not len(judged.after):
        return Found(
            None, False, Said("no message was given in the log: skill needs some, and responses")
        )
    before = judged.before
    if before is None:  # what says the same of everybody, and the best of that
        before = (judged.reached - judged.reached.mean()) ** 2
    error = float(before.mean())
    if not error > 0:
        return Found(
            None,
            False,
            Said(
                "all responded, or none: skill needs both; log more, or see the target of the spec"
            ),
        )
    gains = (1 - least) * before - judged.after
    mean, bound = float(gains.mean()), lower_bound(gains, 1.0, ALPHA)
    told = Said("estimated %(lift)s", lift=f"{least + mean / error:+.1%}")
    cure = cures.of_bound(mean, bound, len(gains), judged.days)
    return Found(least + bound / error, bound >= 0, cures.joined(told, cure))


def sample_of(judged: Judged, least: float) -> Found:
    """The effective sample: how many decisions of the version's own the log is worth."""
    found = effective_sample_size(judged.weight)
    return Found(found, found >= least, cures.of_sample(found, least, len(judged), judged.days))
