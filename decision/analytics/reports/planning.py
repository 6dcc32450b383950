"""How many customers, and how many days, an experiment needs to show an effect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

import msgspec

from decision.analytics.anytime import ALPHA, FEWEST, always_half_width
from decision.analytics.effects import customers_needed, detectable
from decision.core.definition import Metric
from decision.core.errors import InputError
from decision.core.said import Said

POWER: Final = 0.8
DAYS: Final = (7, 14, 28, 56)
_MOST: Final = 1 << 50


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a variant against the control can show by one metric, with probability 80 %.

    `mean` and `deviation` (standard) are of one customer at present. `effect` is a difference from
    that mean. `customers` are those of the whole experiment, for one look at its end;
    `customers_always` for looks whenever one likes. Days are at the present rate, and with the
    metric's time after them; null: no customer comes.
    """

    metric: str
    variant: str
    mean: float
    deviation: float
    effect: float
    customers: int
    days: float | None
    customers_always: int
    days_always: float | None


def effect_of(text: str, mean: float) -> float:
    """A difference, as `0.2` or as a share of the mean: `5%`.

    >>> effect_of("5%", 2.0), effect_of("0.2", 2.0)
    (0.1, 0.2)

    Raises:
        InputError: it is no number, or 0.
    """
    try:
        share = text.endswith("%")
        found = abs(float(text.removesuffix("%"))) * (mean / 100 if share else 1)
    except ValueError:
        found = math.nan
    if not math.isfinite(found) or (not found and mean):
        wrong = Said(
            "%(given)s is no difference; write 0.2, or 5%%",
            given=repr(text[:60]),
        )
        raise InputError("effect", wrong)
    return found


def plans(
    metric: Metric,
    variant: str,
    pair: tuple[float, float],
    baseline: tuple[float, float],
    rate: float,
    effect: str,
    within_days: float,
) -> list[Plan]:
    """What shows an effect; without one, what shows after some days.

    `pair` are the shares of control and variant, `baseline` mean and variance of a customer, `rate`
    the customers a day of the whole experiment.
    """
    mean, variance = baseline
    both = sum(pair)
    share = pair[1] / both

    def days(customers: int) -> float | None:
        return customers / rate + within_days if rate else None

    def plan(effect: float, once: int) -> Plan:
        always = math.ceil(_always_needed(variance, effect, share) / both)
        return Plan(
            metric=metric.name,
            variant=variant,
            mean=mean,
            deviation=math.sqrt(variance),
            effect=effect,
            customers=once,
            days=days(once),
            customers_always=always,
            days_always=days(always),
        )

    if not variance:
        return []
    if effect:
        wanted = effect_of(effect, mean)
        if not wanted:
            return []
        needed = customers_needed(variance, wanted, share=share, power=POWER)
        return [plan(wanted, math.ceil(needed / both))]
    found = []
    for length in DAYS:
        customers = math.floor(rate * (length - within_days))
        if customers * both >= 2 * FEWEST:
            least = detectable(variance, math.floor(customers * both), share=share, power=POWER)
            found.append(plan(least, customers))
    return found


def _always_needed(variance: float, effect: float, share: float) -> int:
    """Customers at whom an always-valid interval leaves zero, with the probability."""
    beyond = NormalDist().inv_cdf(POWER)

    def enough(n: int) -> bool:
        own = variance / (n * share * (1 - share))
        return always_half_width(own, n, ALPHA) + beyond * math.sqrt(own) <= effect

    low, high = 1, 2
    while high < _MOST and not enough(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def best_plan(found: Sequence[Plan]) -> Said:
    """The first plan in a sentence."""
    if not found:
        return Said("Nothing can be planned: nobody's metric differs from anybody's.")
    one = found[0]
    values = {"effect": f"{one.effect:.3g}", "metric": one.metric, "n": f"{one.customers:,}"}
    values["always"] = f"{one.customers_always:,}"
    if one.days is None or one.days_always is None:
        return Said(
            "A difference of %(effect)s in %(metric)s shows with %(n)s customers, or with "
            "%(always)s if you look whenever you like.",
            **values,
        )
    return Said(
        "A difference of %(effect)s in %(metric)s shows with %(n)s customers (%(days)s days at "
        "the present rate), or with %(always)s (%(days_always)s days) if you look whenever you "
        "like.",
        **values,
        days=f"{one.days:,.0f}",
        days_always=f"{one.days_always:,.0f}",
    )
