"""Experiments without an effect, looked at every day: how often one is called, sooner or later.

    python -m benchmarks.looks [--experiments 2000] [--days 60] [--customers 200] [--out PNG]

Both variants are the same. Each day customers come to each of them; some buy, and spend. In the
evening somebody looks, and calls the experiment if the interval excludes zero. Printed is the share
of experiments that were called on any day so far, for the interval that is made for one look and for
the one that is always valid: of conversion, of money, of money relative to the control, and of money
less what customers spent before (CUPED); and of what the report concludes from conversion and money
together.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from decision.analytics.anytime import ALPHA
from decision.analytics.effects import Sums
from decision.analytics.reports.comparing import Counted, compare
from decision.core.definition import Metric

METRICS: Final = (
    "conversion",
    "money",
    "money, relative",
    "money, CUPED",
    "concluded",
)
MEASURED: Final = (
    Metric(name="conversion", source="", event="purchase", measure="share"),
    Metric(name="money", source="", event="purchase", value="amount"),
)
SHOWN: Final = (1, 2, 5, 10, 20, 40, 60)

Array = NDArray[np.float64]


def days_of(draw: np.random.Generator, days: int, customers: int) -> Array:
    """The sums of one variant up to each day: days × (n, buyers, y, yy, x, xx, xy)."""
    shape = days, customers
    liking = draw.gamma(1.0, 1.0, shape)
    before = draw.poisson(liking) * draw.gamma(2.0, 10.0, shape)
    buys = draw.random(shape) < 0.1 * np.minimum(liking, 5.0)
    money = np.where(buys, draw.gamma(2.0, 10.0, shape), 0.0)
    sums = [np.ones(shape), buys, money, money**2, before, before**2, before * money]
    return np.stack([one.sum(axis=1) for one in sums], axis=1).cumsum(axis=0)


def called(control: Array, treatment: Array) -> NDArray[np.bool_]:
    """Whether each metric was called by each interval on each day: metrics × 2 × days.

    By the code of `nextbest report experiment`. The last one is its verdict on both together.
    """
    found = np.zeros((len(METRICS), 2, len(control)), dtype=bool)
    for day, (one, two) in enumerate(zip(control, treatment, strict=True)):
        counted = {}
        for name, sums in (("control", one), ("treatment", two)):
            n, buyers = int(sums[0]), sums[1]
            bought = {"": Sums(n, buyers, buyers)}
            spent = {"": Sums(n, *sums[2:])}
            counted["conversion", name] = Counted(bought, bought[""], int(buyers), 0)
            counted["money", name] = Counted(spent, spent[""], int(buyers), 0)
        share, money = compare(MEASURED, counted, ("control", "treatment"), "control", strata=False)
        assert money.adjusted is not None
        effects = (
            share.plain.difference,
            money.plain.difference,
            money.plain.relative,
            money.adjusted.difference,
        )
        for place, each in enumerate(effects):
            if each is not None:
                for way, (low, high) in enumerate((each.fixed, each.always)):
                    found[place, way, day] = not low <= 0 <= high
        found[-1, 1, day] = any(each.verdict in ("more", "less") for each in (share, money))
    return found


def plot(share: Array, path: Path) -> None:
    """The share of experiments called so far, by day."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    days = np.arange(1, share.shape[2] + 1)
    for way, (name, colour) in enumerate(
        (("made for one look", "#b3332b"), ("always valid", "#2463c9"))
    ):
        for place in range(len(METRICS) - 1):
            axes.plot(
                days, 100 * share[place, way], color=colour, label=name if not place else None
            )
    axes.axhline(100 * ALPHA, color="#555555", linewidth=1, linestyle="--", label="what both say")
    axes.set_xlabel("days looked at")
    axes.set_ylabel("called so far, % of experiments\nwithout an effect")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the shares; 1 where the always-valid interval is wrong more often than it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--experiments", type=int, default=2000)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--customers", type=int, default=200, help="a day, of each variant")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, metavar="PNG")
    given = parser.parse_args(arguments)
    total: Any = 0
    for number in range(given.experiments):
        draw = np.random.default_rng([given.seed, number])
        sides = [days_of(draw, given.days, given.customers) for _ in range(2)]
        total = total + np.logical_or.accumulate(called(*sides), axis=2)
    share = total / given.experiments
    shown = [day for day in SHOWN if day < given.days] + [given.days]
    print(f"{given.experiments:,} experiments without an effect, {given.customers} customers a day")
    print(f"and variant; called by day, of all   {''.join(f'{day:>7}' for day in shown)}")
    for place, metric in enumerate(METRICS):
        for way, name in enumerate(("one look", "always")):
            if metric == METRICS[-1] and not way:
                continue
            row = "".join(f"{share[place, way, day - 1]:7.1%}" for day in shown)
            print(f"{metric:<18}{name:<19}{row}")
    if given.out is not None:
        plot(share, given.out)
        print(f"wrote {given.out}")
    return int(bool((share[:, 1, -1] > ALPHA).any()))


if __name__ == "__main__":
    sys.exit(main())
