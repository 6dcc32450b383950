"""The figures of the gate that the log gives: lift, effective sample, skill; and what they lack."""

from __future__ import annotations

from math import ceil
from typing import Final, NamedTuple

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
        return Found(None, False, "what it is compared with earned no value above 0")
    mean = float(judged.gain.mean())
    bound = lower_bound(judged.gain, judged.least, ALPHA)
    told = f"estimated {least + mean / control:+.1%}"
    return Found(
        least + bound / control, bound >= 0, told + _lacks(judged, mean, bound, len(judged))
    )


def skill_of(judged: Judged, least: float) -> Found:
    """The lower bound of the Brier skill score: 1 − squared error / that of what is in force."""
    if not len(judged.after):
        return Found(None, False, "nothing was said in the log")
    before = judged.before
    if before is None:  # what says the same of everybody, and the best of that
        before = (judged.reached - judged.reached.mean()) ** 2
    error = float(before.mean())
    if not error > 0:
        return Found(None, False, "all responded, or none")
    gains = (1 - least) * before - judged.after
    mean, bound = float(gains.mean()), lower_bound(gains, 1.0, ALPHA)
    told = f"estimated {least + mean / error:+.1%}"
    return Found(least + bound / error, bound >= 0, told + _lacks(judged, mean, bound, len(gains)))


def sample_of(judged: Judged, least: float) -> Found:
    """The effective sample: how many decisions of the version's own the log is worth."""
    found = effective_sample_size(judged.weight)
    if found >= least:
        return Found(found, True, "")
    more = ceil(len(judged) * (least / found - 1)) if found else 0
    told = f"{least - found:,.0f} too few" + (_more(judged, more) if found else "")
    return Found(found, False, told)


def _lacks(judged: Judged, mean: float, bound: float, count: int) -> str:
    """What would lift a bound that is below 0: intervals shrink with the root of the decisions."""
    if bound >= 0:
        return ""
    if mean <= 0:
        return "; more decisions would not lift this, a better model would"
    return _more(judged, ceil(count * (((mean - bound) / mean) ** 2 - 1)))


def _more(judged: Judged, more: int) -> str:
    days = ""
    if judged.days > 0:
        days = f", {max(1, ceil(more * judged.days / len(judged))):,} days at the present rate"
    return f"; about {more:,} more decisions would show it{days}"
