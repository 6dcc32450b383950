"""Gates looked at every day: how often one passes a policy that is no better than what is in force.

    python -m benchmarks.gates [--gates 2000] [--days 40] [--rounds 200]

Each gate has a log of its own, in which responses depend on nothing: no policy is better than
another, and each pass of "lift ≥ 0 %" is an error. The gate is looked at at the end of each day, and
is wrong if it passes on any. Beside it: an ordinary 95 % interval, looked at as often.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from decision.evaluation.always_valid import lower_bound
from decision.evaluation.evidence_figures import ALPHA
from decision.evaluation.paired import PairedRows, increments, least_increment

ACTIONS = 5


def log_of(draw: np.random.Generator, rounds: int) -> PairedRows:
    """Rounds of five messages, to all of which everybody responds alike."""
    shape = rounds, ACTIONS
    logged = 0.9 * draw.dirichlet([0.5] * ACTIONS, size=rounds) + 0.1 / ACTIONS
    chosen = (logged.cumsum(axis=1) < draw.random(rounds)[:, None]).sum(axis=1)
    return PairedRows(
        challenger=draw.dirichlet([0.2] * ACTIONS, size=rounds),
        champion=draw.dirichlet([0.2] * ACTIONS, size=rounds),
        logged=logged,
        predicted=draw.random(shape) * 0.3,
        value=np.ones((1, ACTIONS)),
        cost=np.zeros((1, ACTIONS)),
        chosen=chosen.clip(0, ACTIONS - 1),
        reached=(draw.random(rounds) < draw.uniform(0.02, 0.5)).astype(np.float64),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the shares that were wrong; 1 where the gate is wrong more often than it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gates", type=int, default=2000)
    parser.add_argument("--days", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=200, help="a day")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(arguments)
    wrong = ordinary = 0
    for gate in range(given.gates):
        rows = log_of(np.random.default_rng([given.seed, gate]), given.days * given.rounds)
        found = increments(rows, 1.0)
        least = least_increment(rows.value, rows.cost, 1.0)
        days = [found[: day * given.rounds] for day in range(1, given.days + 1)]
        wrong += any(lower_bound(seen, least, ALPHA) > 0 for seen in days)
        ordinary += any(seen.mean() > 1.645 * seen.std() / np.sqrt(len(seen)) for seen in days)
    print(f"{given.gates:,} gates, each looked at on {given.days} days of {given.rounds} decisions")
    print(f"always-valid bound   wrong {wrong / given.gates:7.2%}   says at most {ALPHA:.0%}")
    print(f"ordinary interval    wrong {ordinary / given.gates:7.2%}   says {ALPHA:.0%}")
    return int(wrong / given.gates > ALPHA)


if __name__ == "__main__":
    sys.exit(main())
