"""Sample-ratio mismatch: whether the variants of an experiment have the shares that they should.

A sequential multinomial test (Lindon and Malek 2022, "Anytime-valid inference for multinomial
count data", https://arxiv.org/abs/2011.03567): customers fall to the variants with the expected
shares, or with others, drawn from a Dirichlet distribution about these. The Bayes factor of the
second against the first is a martingale where the expected shares hold, so that it ever reaches
1/alpha with probability alpha at most (Ville's inequality): it may be looked at every hour. A
chi-square test may be looked at once.

How far shares are off is not known beforehand, so Bayes factors for several concentrations of the
Dirichlet distribution are averaged, which is a martingale as well.

Each customer counts once. Their order does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from decision.core.schema import Moment

ALPHA: Final = 0.001
"""The probability with which an experiment whose shares are right is ever reported."""

CONCENTRATIONS: Final = (10.0, 100.0, 1_000.0, 10_000.0, 100_000.0)
"""From shares that are far off, which few customers show, to some that are hardly off."""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One variant: its share by the rules (0 to 1), and how many customers have fallen to it."""

    name: str
    share: float
    customers: int


class SampleRatio(msgspec.Struct, frozen=True, kw_only=True):
    """The variants of one experiment, and the p-value of their shares, valid at any time.

    `since` is when the first of the decisions was made that are counted.

    >>> found = ratio_of("colour", [("red", 0.5, 800), ("blue", 0.5, 1_000)])
    >>> found.mismatch, found.customers
    (True, 1800)
    """

    experiment: str
    arms: list[Arm]
    p_value: float
    since: Moment | None = None

    @property
    def customers(self) -> int:
        """How many customers were counted."""
        return sum(arm.customers for arm in self.arms)

    @property
    def mismatch(self) -> bool:
        """Whether the shares cannot be chance: the variants must not be compared."""
        return self.p_value <= ALPHA


def ratio_of(
    experiment: str, arms: Sequence[tuple[str, float, int]], since: datetime | None = None
) -> SampleRatio:
    """The sample ratio of variants, each with name, share by the rules and customers."""
    counts, shares = [count for *_, count in arms], [share for _, share, _ in arms]
    return SampleRatio(
        experiment=experiment,
        arms=[Arm(name=name, share=share, customers=count) for name, share, count in arms],
        p_value=p_value(counts, shares),
        since=since,
    )


def p_value(counts: Sequence[int], shares: Sequence[float]) -> float:
    """The probability, at most, that counts this unlikely ever appear where the shares hold.

    `shares` sum to 1. It holds whenever it is looked at, and however often.

    >>> p_value([50, 50], [0.5, 0.5])
    1.0
    >>> p_value([821_588, 815_482], [0.5, 0.5]) < 0.001
    True

    Raises:
        ValueError: there are not as many shares as counts, or they do not sum to 1.
    """
    if len(counts) != len(shares) or not math.isclose(math.fsum(shares), 1, abs_tol=1e-6):
        raise ValueError(f"{len(counts)} counts and shares {list(shares)}; must sum to 1")
    if any(count and not share for count, share in zip(counts, shares, strict=True)):
        return 0.0  # somebody is where nobody can be
    known = [(count, share) for count, share in zip(counts, shares, strict=True) if share]
    logs = [_log_bayes_factor(known, concentration) for concentration in CONCENTRATIONS]
    most = max(logs)
    mixed = most + math.log(math.fsum(math.exp(one - most) for one in logs) / len(logs))
    return math.exp(-max(0.0, mixed))


def _log_bayes_factor(counts: Sequence[tuple[int, float]], concentration: float) -> float:
    """Of the Dirichlet-multinomial distribution with parameters concentration · share."""
    total = sum(count for count, _ in counts)
    found = math.lgamma(concentration) - math.lgamma(concentration + total)
    return found + math.fsum(
        math.lgamma(concentration * share + count)
        - math.lgamma(concentration * share)
        - count * math.log(share)
        for count, share in counts
    )
