"""Gates looked at every day: how often one passes a policy that is no better than what is in force.

    python -m benchmarks.gates [--gates 2000] [--days 40] [--rounds 200]

Each gate has a log of its own, in which responses depend on nothing: no policy is better than
another, and each pass of "lift ≥ 0 %" is an error. The gate is looked at at the end of each day, and
is wrong if it passes on any. Beside it: an ordinary 95 % interval, looked at as often. Once both
policies are fixed; once both learn: what decides is fitted to the log each evening, and so is the
challenger, which tells two groups of customers apart. Then each evening judges all days anew, by
witnesses that have not seen the customer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from decision.core.arbitration import gap_weights
from decision.evaluation.always_valid import lower_bound
from decision.evaluation.evidence_figures import ALPHA
from decision.evaluation.paired import PairedRows, increments, least_increment

Array = NDArray[np.float64]

ACTIONS: Final = 5
CUSTOMERS: Final = 600
GROUPS: Final = 2
FOLDS: Final = 3
STARTS: Final = 20.0
GAMMA: Final = 50.0


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


def looks_fixed(draw: np.random.Generator, days: int, rounds: int) -> Iterator[PairedRows]:
    """The log as it is known each evening, of two policies that never change."""
    rows = log_of(draw, days * rounds)
    for day in range(1, days + 1):
        yield PairedRows(*(one if len(one) == 1 else one[: day * rounds] for one in rows))


def looks_learning(draw: np.random.Generator, days: int, rounds: int) -> Iterator[PairedRows]:
    """The same of two that are fitted each evening to all that was logged, as versions are."""
    customer = draw.integers(0, CUSTOMERS, days * rounds)
    fold, group = customer % FOLDS, customer // FOLDS % GROUPS
    # Customers differ in how readily they respond, to whatever message.
    rate = draw.beta(1, 9, CUSTOMERS)[customer]
    reached = (draw.random(days * rounds) < rate).astype(np.float64)
    chosen = np.zeros(days * rounds, dtype=np.intp)
    logged = np.full((days * rounds, ACTIONS), 1 / ACTIONS)
    shape = FOLDS, GROUPS, ACTIONS
    shows, responses = np.zeros(shape), np.zeros(shape)
    for day in range(1, days + 1):
        today = slice((day - 1) * rounds, day * rounds)
        deciding = _chosen_by(_rates(shows.sum(axis=0), responses.sum(axis=0)).mean(axis=0))
        logged[today] = deciding
        chosen[today] = draw.choice(ACTIONS, rounds, p=deciding)
        cell = fold[today], group[today], chosen[today]
        np.add.at(shows, cell, 1.0)
        np.add.at(responses, cell, reached[today])
        without = shows.sum(axis=0) - shows, responses.sum(axis=0) - responses
        apart = _rates(*without)
        alike = np.stack(
            [_rates(*(one.sum(axis=0) for one in pair)) for pair in zip(*without, strict=True)]
        )
        seen = slice(0, day * rounds)
        yield PairedRows(
            challenger=_chosen_by(apart)[fold[seen], group[seen]],
            champion=_chosen_by(alike)[fold[seen]],
            logged=logged[seen],
            predicted=apart[fold[seen], group[seen]],
            value=np.ones((1, ACTIONS)),
            cost=np.zeros((1, ACTIONS)),
            chosen=chosen[seen],
            reached=reached[seen],
        )


def _rates(shows: Array, responses: Array) -> Array:
    """The share that responded, pulled to where everybody starts."""
    rates: Array = (responses + STARTS * 0.05) / (shows + STARTS)
    return rates


def _chosen_by(rates: Array) -> Array:
    """How probably each message is selected, by inverse-gap weighting along the last axis."""
    rows = [gap_weights(row, GAMMA) for row in rates.reshape(-1, ACTIONS)]
    return np.array(rows).reshape(rates.shape)


LOOKS: Final[dict[str, Callable[[np.random.Generator, int, int], Iterator[PairedRows]]]] = {
    "policies that never change": looks_fixed,
    "policies that learn": looks_learning,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the shares that were wrong; 1 where the gate is wrong more often than it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gates", type=int, default=2000)
    parser.add_argument("--days", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=200, help="a day")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(arguments)
    print(f"{given.gates:,} gates, each looked at on {given.days} days of {given.rounds} decisions")
    worst = 0.0
    for name, looks in LOOKS.items():
        wrong = ordinary = 0
        for gate in range(given.gates):
            draw = np.random.default_rng([given.seed, gate])
            passed, crossed = False, False
            for rows in looks(draw, given.days, given.rounds):
                found = increments(rows, 1.0)
                least = least_increment(rows.value, rows.cost, 1.0)
                passed = passed or lower_bound(found, least, ALPHA) > 0
                crossed = crossed or found.mean() > 1.645 * found.std() / np.sqrt(len(found))
            wrong += passed
            ordinary += crossed
        print(name)
        print(f"  always-valid bound   wrong {wrong / given.gates:7.2%}   says at most {ALPHA:.0%}")
        print(f"  ordinary interval    wrong {ordinary / given.gates:7.2%}   says {ALPHA:.0%}")
        worst = max(worst, wrong / given.gates)
    return int(worst > ALPHA)


if __name__ == "__main__":
    sys.exit(main())
