"""Variants of an experiment against its control, by each metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from decision.analytics.anytime import ALPHA, FEWEST, Sample
from decision.analytics.effects import (
    Effect,
    Sums,
    adjusted,
    benjamini_hochberg,
    effect,
    holm,
    stratified,
)
from decision.analytics.reports.exposed import HELD, OTHERS
from decision.core.definition import Metric
from decision.core.said import Said

Verdict = Literal["early", "open", "more", "less"]


class Estimates(msgspec.Struct, frozen=True, kw_only=True):
    """The variant less the control, and that as a share of the control's; null: it has none."""

    difference: Effect | None
    relative: Effect | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A variant against the control by one metric, per customer (`average`: per event).

    `plain` is as it was counted. `adjusted` is less what was foretold by what customers did before
    (CUPED), within strata where these were asked for; `variance_removed` is the share of variance
    that it took out. Conclusions are drawn from `adjusted`, where there is one.

    `holm` and `benjamini_hochberg` are its always-valid p-values among all comparisons of the
    answer. `verdict`: too `early`; `open`: zero is possible; `more` or `less` than the control.
    """

    metric: str
    measure: Literal["total", "share", "average"]
    better: Literal["more", "less"]
    variant: str
    customers: int
    mean: float
    control_customers: int
    control_mean: float
    plain: Estimates
    adjusted: Estimates | None
    variance_removed: float | None
    holm: float | None
    benjamini_hochberg: float | None
    verdict: Verdict

    @property
    def best(self) -> Effect | None:
        """The difference from which conclusions are drawn."""
        return (self.adjusted or self.plain).difference


class Counted(NamedTuple):
    """One variant by one metric: sums of each stratum, with `n` events as the lower part of a
    ratio in `ratio`; `did` customers have any, `waiting` have time left.
    """

    plain: dict[str, Sums]
    ratio: Sums
    did: int
    waiting: int

    @property
    def sums(self) -> Sums:
        """The sums of all strata."""
        return total(self.plain.values())


NOTHING = Counted({}, Sums(0, 0.0, 0.0), 0, 0)


def total(parts: Any) -> Sums:
    """The sums of several groups together."""
    found = Sums(0, 0.0, 0.0)
    for one in parts:
        found = found.plus(one)
    return found


def compare(
    metrics: Sequence[Metric],
    counted: Mapping[tuple[str, str], Counted],
    variants: Sequence[str],
    control: str,
    *,
    strata: bool,
) -> list[Comparison]:
    """All variants but the control, by each metric; `counted` is by (metric, variant)."""
    found = [
        _comparison(
            metric,
            variant,
            counted.get((metric.name, control), NOTHING),
            counted.get((metric.name, variant), NOTHING),
            strata=strata,
        )
        for metric in metrics
        for variant in variants
        if variant != control
    ]
    known = [place for place, one in enumerate(found) if one.best is not None]
    values = [effect.always_p_value for one in found if (effect := one.best) is not None]
    several = zip(known, holm(values), benjamini_hochberg(values), strict=True)
    for place, one, other in several:
        found[place] = _judged(found[place], one, other)
    return found


def _comparison(
    metric: Metric, variant: str, control: Counted, treatment: Counted, *, strata: bool
) -> Comparison:
    sides = control.sums, treatment.sums
    if metric.measure == "average":
        plain = control.ratio.ratio(), treatment.ratio.ratio()
    elif metric.measure == "share":
        one, two = (Sample.of_share(round(sums.y), sums.n) for sums in sides)
        plain = one, two
    else:
        plain = sides[0].mean(), sides[1].mean()
    better, removed = None, None
    if metric.measure != "average" and min(sums.n for sums in sides) > 1:
        better = (
            stratified(control.plain, treatment.plain, before=True) if strata else adjusted(*sides)
        )
        before, after = (_variance(pair) for pair in (plain, better))
        removed = 1 - after / before if before else None
    early = min(control.did, treatment.did) < FEWEST
    if metric.measure == "share":
        undone = (side.sums.n - side.did for side in (control, treatment))
        early = early or min(undone) < FEWEST
    return Comparison(
        metric=metric.name,
        measure=metric.measure,
        better=metric.better,
        variant=variant,
        customers=sides[1].n,
        mean=plain[1].mean,
        control_customers=sides[0].n,
        control_mean=plain[0].mean,
        plain=_estimates(*plain),
        adjusted=None if better is None else _estimates(*better),
        variance_removed=removed,
        holm=None,
        benjamini_hochberg=None,
        verdict="early" if early else "open",
    )


def _variance(pair: Sequence[Sample]) -> float:
    return sum(one.variance / one.n for one in pair if one.n)


def _estimates(control: Sample, treatment: Sample) -> Estimates:
    return Estimates(
        difference=effect(control, treatment),
        relative=effect(control, treatment, relative=True),
    )


def _judged(one: Comparison, by_holm: float, by_bh: float) -> Comparison:
    verdict, best = one.verdict, one.best
    if verdict == "open" and best is not None and by_holm <= ALPHA:
        verdict = "more" if best.estimate > 0 else "less"
    return msgspec.structs.replace(one, holm=by_holm, benjamini_hochberg=by_bh, verdict=verdict)


def sentences(found: Sequence[Comparison], control: str) -> list[Said]:
    """What may be concluded; one sentence on the first metric, where that is nothing."""
    said = [_found(one, control) for one in found if one.verdict in ("more", "less")]
    if said or not found:
        return said
    first = [one for one in found if one.metric == found[0].metric]
    return [Said("Nothing can be said yet: %(why)s", why=_undecided(one, control)) for one in first]


def group(name: str) -> str:
    """A variant, as people read it."""
    return Said(name) if name in (HELD, OTHERS) else name


def _values(one: Comparison, control: str) -> dict[str, Any]:
    return {
        "variant": group(one.variant),
        "control": group(control),
        "metric": one.metric,
        "each": Said("per event") if one.measure == "average" else Said("per customer"),
    }


def _found(one: Comparison, control: str) -> Said:
    assert one.best is not None
    low, high = sorted(map(abs, one.best.always))
    scale = 100 if one.measure == "share" else 1
    values = _values(one, control)
    values |= {"low": number(low * scale), "high": number(high * scale)}
    values["more"] = Said("more") if one.verdict == "more" else Said("less")
    values["good"] = Said("better") if one.verdict == one.better else Said("worse")
    if one.measure == "share":
        return Said(
            "%(variant)s has %(low)s to %(high)s percentage points %(more)s customers with "
            "%(metric)s than %(control)s: that is %(good)s.",
            **values,
        )
    return Said(
        "%(variant)s has %(low)s to %(high)s %(more)s %(metric)s %(each)s than %(control)s: that "
        "is %(good)s.",
        **values,
    )


def _undecided(one: Comparison, control: str) -> Said:
    values = _values(one, control)
    for name, customers in ((one.variant, one.customers), (control, one.control_customers)):
        if not customers:
            return Said("no customer of %(variant)s can be counted yet.", variant=group(name))
    if one.verdict == "early" or one.best is None:
        values["n"] = FEWEST
        if one.measure == "share":
            return Said(
                "%(metric)s needs %(n)s customers of %(variant)s and of %(control)s who did it, "
                "and as many who did not.",
                **values,
            )
        return Said(
            "%(metric)s needs at least %(n)s customers of %(variant)s and of %(control)s who did "
            "it.",
            **values,
        )
    low, high = one.best.always
    if low > 0 or high < 0:
        return Said(
            "%(metric)s of %(variant)s and %(control)s differ, but with so many comparisons that "
            "may be chance.",
            **values,
        )
    if one.measure == "share":
        points = [number(min(100, 100 * abs(end))) for end in (low, high)]
        return Said(
            "%(variant)s may have up to %(low)s percentage points less and up to %(high)s more "
            "customers with %(metric)s than %(control)s.",
            **values | {"low": points[0], "high": points[1]},
        )
    return Said(
        "%(variant)s may have up to %(low)s less and up to %(high)s more %(metric)s %(each)s than "
        "%(control)s.",
        **values | {"low": number(-low), "high": number(high)},
    )


def number(value: float) -> str:
    """A figure with the digits that matter.

    >>> number(0.12345), number(1234.5), number(0.0)
    ('0.123', '1,234', '0')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
