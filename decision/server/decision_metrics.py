"""Metrics of decisions: plain numbers, which the metrics get a little later, together.

A count of prometheus_client takes a lock, and a system call where there are several workers. A
decision has about fifteen of them: one by one they would cost as much as reading the request.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram

from decision.core.reasons import Reason
from decision.core.schema import Decision

STEPS: Final = ("read", "decide", "reserve", "total")
DEGRADED: Final = ("store", "deadline", "model", "contention", "timezone", "durability")
_BUCKETS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)


_MOST_ASIDE: Final = 10_000
"""Decisions whose times are put into buckets together at the most."""


class _Histogram(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: Sequence[int], total: float) -> None:
        """Adds observations: how many fall into each bucket, and their sum."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class _Step:
    """How many seconds one step took, of each decision since they were shown."""

    __slots__ = ("shown", "taken")

    def __init__(self, shown: _Histogram) -> None:
        self.shown = shown
        self.taken = array("d")

    def show(self) -> None:
        taken, self.taken = np.frombuffer(self.taken), array("d")
        counts = np.bincount(np.searchsorted(_BUCKETS, taken), minlength=len(_BUCKETS) + 1)
        self.shown.add(counts.tolist(), float(taken.sum()))


class DecisionMetrics:
    """What the decisions of this process came to, and how long they took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"nextbest_{name}", text, labels, registry=registry)

        self._decisions = counter(
            "decisions", "Decisions made, by placement and outcome.", "placement", "outcome"
        )
        self._fallen = counter(
            "candidates_fallen", "Candidates filtered out, by reason code.", "reason"
        )
        self._degraded = counter(
            "decisions_degraded",
            "Decisions made without something, by what was missing.",
            "missing",
        )
        self._dry_runs = counter("dry_runs", "Decisions computed and not counted.")
        self._seconds = _Histogram(
            "nextbest_decision_seconds",
            "How long a decision's steps took.",
            ["step"],
            buckets=_BUCKETS,
            registry=registry,
        )
        # Each is shown from the start, so that a rate over it can begin at 0.
        for reason in Reason:
            self._fallen.labels(reason.value)
        for missing in DEGRADED:
            self._degraded.labels(missing)
        self.steps = {step: _Step(self._seconds.labels(step)) for step in STEPS}

    def add(self, counts: Mapping[tuple[str, ...], int]) -> None:
        """Adds what `Activity` has counted of decisions."""
        for (kind, *names), count in counts.items():
            if kind == "d":
                self._decisions.labels(*names[:2]).inc(count)
            elif kind == "f":
                self._fallen.labels(names[0]).inc(count)
            elif kind == "g" and names[0] in DEGRADED:
                self._degraded.labels(names[0]).inc(count)

    def dry_run(self, decision: Decision) -> None:
        """Counts a dry run, and what it was degraded by."""
        self._dry_runs.inc()
        self.add({("g", missing): 1 for missing in decision.degraded})

    def time(self, steps: dict[str, float], exemplar: dict[str, str] | None) -> None:
        """Notes how long the steps of a decision took."""
        own = self.steps
        if exemplar is None:
            for name, taken in steps.items():
                if name in own:
                    own[name].taken.append(taken)
            if len(own["total"].taken) >= _MOST_ASIDE:
                self.show()
        else:
            for name, taken in steps.items():
                if name in own:
                    own[name].shown.observe(taken, exemplar)

    def show(self) -> None:
        """Brings the times up to date."""
        for step in self.steps.values():
            step.show()
