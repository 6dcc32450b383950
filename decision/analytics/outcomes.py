"""What customers did after a test or a control group first had an effect on them, by variant.

A customer counts in the variant of their first decision on which the test had an effect, for
what they did within a time after it, once that time is over. So everybody has had the same time,
and who has not answered yet is no failure. Customers who were in two variants (they were merged,
or shares have changed) are left out, and counted.

Each variant is compared with the control: the one of that name, else the first one in the rules;
of control groups, those in one. Where there are several, their intervals are wider (Bonferroni), so
that all of them together hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np

from decision.analytics.anytime import ALPHA, FEWEST, Compared, Sample, difference
from decision.analytics.assignments import HELD, OTHERS
from decision.archive.log_columns import Amount, Amounts, LogColumns, LogState
from decision.archive.log_columns.state import Codes, Ints
from decision.core.clock import from_micros
from decision.core.definition import Experiment
from decision.core.schema import Moment

CONTROL: Final = "control"

Verdict = Literal["control", "early", "open", "more", "less"]
"""Of a variant: it is the control; too early; the interval has zero in it; above zero; below."""

_NEVER: Final = np.iinfo(np.int64).max
_NONE: Final = 127


class ArmOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One variant: its customers, how many did it, and what it was worth to them on average.

    `conversion` and `worth` are its differences from the control, per customer.
    """

    name: str
    customers: int
    converted: int
    value: float
    conversion: Compared | None
    worth: Compared | None
    verdict: Verdict


class ExperimentOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The variants of one experiment; `waiting` customers have time left, `mixed` were in two."""

    experiment: str
    control: str
    arms: list[ArmOutcome]
    waiting: int
    mixed: int


class OutcomeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What customers did: events of a type within a time (microseconds), and their amounts.

    `until` is when the log ends.
    """

    event: str
    amount: str
    within: int
    until: Moment
    experiments: list[ExperimentOutcome]


class _Exposed(NamedTuple):
    """Decisions on which an experiment had an effect, and which of its arms each was in."""

    person: Codes
    at: Ints
    arm: Codes


def report_outcomes(
    source: LogColumns,
    experiments: Sequence[Experiment],
    *,
    event: str,
    within: int,
    amount: str = "amount",
    begin: int = 0,
    end: int = _NEVER,
    since: Mapping[str, datetime] | None = None,
) -> OutcomeReport:
    """The outcomes of customers who came to an experiment within a range of time (microseconds).

    `since` says from when each experiment has the shares that it has now: those who came before are
    left out.

    Raises:
        ArchiveError: the archive lacks a file, or one is damaged.
    """
    state, amounts = source.with_amounts(Amount(event, amount))
    until = max(state.until_decided, state.until_received)
    counted = _Counting(state, amounts, within, begin, end, until)
    found = []
    groups = [one for one in experiments if not one.variants]
    if groups:
        name = ", ".join(one.name for one in groups)
        found.append(counted.outcome(name, [HELD, OTHERS], 0, _held(state), since))
    for one in experiments:
        if one.variants:
            names = list(one.variants)
            control = names.index(CONTROL) if CONTROL in names else 0
            exposed = _of_test(state, one.name, names)
            found.append(counted.outcome(one.name, names, control, exposed, since))
    return OutcomeReport(
        event=event, amount=amount, within=within, until=from_micros(until), experiments=found
    )


def _held(state: LogState) -> _Exposed:
    rows = np.flatnonzero(state.decided.given)
    decided = state.decided
    arm = np.where(decided.held[rows], 0, 1).astype(np.int32)
    return _Exposed(decided.person[rows], decided.at[rows], arm)


def _of_test(state: LogState, test: str, names: Sequence[str]) -> _Exposed:
    decided, places = state.decided, {name: place for place, name in enumerate(names)}
    arms = [places.get(json.loads(text).get(test), -1) for text in decided.tests.names]
    by_code = np.array([*arms, -1], np.int32)  # the last is that of the code −1: no test
    arm = by_code[decided.tests.codes]
    rows = np.flatnonzero(decided.given & (arm >= 0))
    return _Exposed(decided.person[rows], decided.at[rows], arm[rows])


class _Counting:
    """Counts what customers did after they came to an experiment."""

    def __init__(
        self, state: LogState, amounts: Amounts, within: int, begin: int, end: int, until: int
    ) -> None:
        self._people = state.people
        self._amounts = amounts
        self._within = within
        self._begin = begin
        self._end = end
        self._until = until

    def outcome(
        self,
        experiment: str,
        names: Sequence[str],
        control: int,
        exposed: _Exposed,
        since: Mapping[str, datetime] | None,
    ) -> ExperimentOutcome:
        """The outcome of one experiment."""
        started = (since or {}).get(experiment)
        own = slice(None) if started is None else exposed.at >= started.timestamp() * 1e6
        person, at, arm = exposed.person[own], exposed.at[own], exposed.arm[own]
        first = np.full(self._people, _NEVER)
        np.minimum.at(first, person, at)
        low = np.full(self._people, _NONE, np.int32)
        high = np.full(self._people, -1, np.int32)
        np.minimum.at(low, person, arm)
        np.maximum.at(high, person, arm)
        came = (high >= 0) & (first >= self._begin) & (first < self._end)
        mixed = came & (low != high)
        over = first <= self._until - self._within
        counted = came & ~mixed & over
        did, money = self._afterwards(first, counted)
        arms = []
        for place in range(len(names)):
            who = counted & (low == place)
            spent = money[who]
            hits, n = int(np.count_nonzero(did & who)), int(np.count_nonzero(who))
            worth = Sample.of_sums(n, float(spent.sum()), float(np.dot(spent, spent)))
            arms.append((Sample.of_share(hits, n), worth, hits))
        return ExperimentOutcome(
            experiment=experiment,
            control=names[control],
            arms=[
                _compared(name, place, control, arms, ALPHA / max(1, len(names) - 1))
                for place, name in enumerate(names)
            ],
            waiting=int(np.count_nonzero(came & ~mixed & ~over)),
            mixed=int(np.count_nonzero(mixed)),
        )

    def _afterwards(self, first: Ints, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """By customer: whether they did it in time, and with how much money."""
        events = self._amounts
        rows = np.flatnonzero(counted[events.person])
        person, at = events.person[rows], events.at[rows]
        begun = first[person]
        rows = rows[(at > begun) & (at <= begun + self._within)]
        did = np.zeros(self._people, np.bool_)
        did[events.person[rows]] = True
        money = np.nan_to_num(events.money[rows], nan=0.0, posinf=0.0, neginf=0.0)
        return did, np.bincount(events.person[rows], money, self._people)


def _compared(
    name: str, place: int, control: int, arms: Sequence[tuple[Sample, Sample, int]], alpha: float
) -> ArmOutcome:
    share, worth, hits = arms[place]
    base, base_worth, base_hits = arms[control]
    conversion = None if place == control else difference(base, share, alpha)
    verdict: Verdict = "open"
    if place == control:
        verdict = "control"
    elif min(hits, share.n - hits, base_hits, base.n - base_hits) < FEWEST or conversion is None:
        verdict = "early"
    elif conversion.always[0] > 0:
        verdict = "more"
    elif conversion.always[1] < 0:
        verdict = "less"
    return ArmOutcome(
        name=name,
        customers=share.n,
        converted=hits,
        value=worth.mean,
        conversion=conversion,
        worth=None if place == control else difference(base_worth, worth, alpha),
        verdict=verdict,
    )
