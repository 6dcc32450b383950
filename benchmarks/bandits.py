"""Learning from what was chosen: ours beside Vowpal Wabbit, retrained daily, same rounds.

    make bandits      # puts vowpalwabbit and scikit-learn into a folder, and runs
    python -m benchmarks.bandits [PROBLEM …] [--seeds 5] [--days 20] [--rounds N] [--out PNG]

They decide all day by what they knew in the morning, and learn in the evening; *online* learns
after each decision, which nothing that is retrained can do. *Regret* is what the best action would
have earned, less what the drawn one was truly worth, as a share of the best: mean over all days,
and over the last five. The draws of all who learn use the same random numbers. Ours is the product's own: training, calibration, smoothing, exploration and
the gate.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks._bandit_ours import SPEC, Ours
from benchmarks._bandit_problems import PROBLEMS, Array, Problem
from benchmarks._bandit_vw import VowpalWabbit

LEARNERS: Final[dict[str, Callable[[Problem], Any]]] = {
    "ours": lambda problem: Ours(problem, SPEC),
    "ours, no gate": lambda problem: Ours(problem, SPEC, gated=False),
    "VW SquareCB": lambda problem: VowpalWabbit(problem, "--squarecb"),
    "VW SquareCB, online": lambda problem: VowpalWabbit(problem, "--squarecb"),
    "VW ε-greedy": lambda problem: VowpalWabbit(problem, "--epsilon 0.1"),
}
ONLINE: Final = {"VW SquareCB, online"}
OURS: Final = "ours"
THEIRS: Final = "VW SquareCB"
STYLES: Final = {
    "ours": ("#2463c9", "-"),
    "ours, no gate": ("#2463c9", ":"),
    "VW SquareCB": ("#c9822a", "-"),
    "VW SquareCB, online": ("#c9822a", ":"),
    "VW ε-greedy": ("#8a94a0", "--"),
}


def regrets(problem: Problem, learner: Any, days: int, seed: int, *, online: bool = False) -> Array:
    """The regret of each day, as a share of the best."""
    count = len(problem.customer) // days
    draw = np.random.default_rng([seed, 12])
    found = []
    for day in range(days):
        today = np.arange(day * count, (day + 1) * count)
        got = 0.0
        for rows in np.split(today, count if online else 1):
            shares = learner.decide(rows)
            drawn = draw.random(len(rows))[:, None]
            chosen = (shares.cumsum(axis=1) < drawn).sum(axis=1).clip(0, problem.actions - 1)
            got += float((shares * problem.truth[rows]).sum())
            learner.learn(chosen, shares)
        found.append(1 - got / float(problem.truth[today].max(axis=1).sum()))
    return np.array(found)


def compare(
    name: str, seeds: int, days: int, rounds: int, wanted: Sequence[str]
) -> dict[str, Array]:
    """The regrets of those who learn on one problem, by seed and day; a line for each."""
    print(f"{name}, {days} days of {rounds} rounds")
    print(f"  {'':<20}{'mean':>8}{'s.e.':>7}{'last 5':>9}{'s.e.':>7}")
    every = {}
    for learner in wanted:
        each = []
        for seed in range(1, seeds + 1):
            problem = PROBLEMS[name](days * rounds, seed)
            learns = LEARNERS[learner](problem)
            each.append(regrets(problem, learns, days, seed, online=learner in ONLINE))
        every[learner] = table = np.array(each)
        figures = [_mean(table.mean(axis=1)), _mean(table[:, -5:].mean(axis=1))]
        told = "".join(
            f"{mean:{width}.3f}{error:7.3f}"
            for (mean, error), width in zip(figures, (8, 9), strict=True)
        )
        print(f"  {learner:<20}{told}", flush=True)
    return every


def _mean(values: Array) -> tuple[float, float]:
    """The mean over seeds, and its standard error."""
    spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return float(values.mean()), spread / float(np.sqrt(len(values)))


def behind(every: dict[str, Array]) -> bool:
    """Whether ours has more regret than SquareCB by more than a standard error, in the mean."""
    (ours, one), (theirs, other) = (_mean(every[each].mean(axis=1)) for each in (OURS, THEIRS))
    return ours > theirs + float(np.hypot(one, other))


def plot(found: dict[str, dict[str, Array]], path: Path) -> None:
    """The regret of each day in the mean over seeds, a panel for each problem; logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    lines = -(-len(found) // 3)
    figure, panels = pyplot.subplots(
        lines, min(3, len(found)), figsize=(9.6, 3.2 * lines), squeeze=False, layout="constrained"
    )
    for panel, (name, every) in zip(panels.flat, found.items(), strict=False):
        for learner, table in every.items():
            colour, dashes = STYLES[learner]
            days = np.arange(1, table.shape[1] + 1)
            regret = 100 * table.mean(axis=0)
            panel.plot(days, regret, dashes, label=learner, color=colour, linewidth=1.5)
        panel.set_title(name.replace("_", " "), fontsize=10)
        panel.set_xlim(1)
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.grid(alpha=0.3)
    for panel in panels.flat[len(found) :]:
        panel.axis("off")
    for panel in panels.flat[: len(found)]:
        panel.set_xlabel("day")
    for line in panels:
        line[0].set_ylabel("regret, % of the best")
    handles, names = panels[0][0].get_legend_handles_labels()
    if len(found) < panels.size:
        panels.flat[-1].legend(handles, names, loc="center", frameon=False)
    else:
        panels[0][0].legend(fontsize=8)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables; 1 where ours is more than a standard error behind SquareCB."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("problems", nargs="*", metavar="PROBLEM", help=", ".join(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--rounds", type=int, help="a day; 1500 of ten actions, else 300")
    parser.add_argument("--learners", nargs="+", default=list(LEARNERS), metavar="NAME")
    parser.add_argument("--out", type=Path, metavar="PNG")
    given = parser.parse_args(arguments)
    for name in given.problems:
        if name not in PROBLEMS:
            parser.error(f"there is no problem {name}; there are {', '.join(PROBLEMS)}")
    found, late = {}, []
    for name in given.problems or PROBLEMS:
        rounds = given.rounds or (1500 if name == "ten_actions" else 300)
        try:
            found[name] = compare(name, given.seeds, given.days, rounds, given.learners)
        except ModuleNotFoundError as error:
            print(f"{error.name} is not installed; run: make bandits")
            return 1
        if {OURS, THEIRS} <= found[name].keys() and behind(found[name]):
            late.append(name)
        if given.out is not None:  # after each problem: a run that is stopped has what it found
            plot(found, given.out)
    if late:
        print(f"more than a standard error behind {THEIRS}: {', '.join(late)}")
    return int(bool(late))


if __name__ == "__main__":
    sys.exit(main())
