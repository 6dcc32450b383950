"""Metrics of decisions: counted in plain numbers, which the metrics get a little later, together.

A count of prometheus_client takes a lock, and a system call where there are several workers. A
decision has about fifteen of them: one by one they would cost as much as reading the request.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from decision.core.decide import Verdict
from decision.core.reasons import Reason
from decision.core.schema import Decision

STEPS: Final = ("read", "decide", "reserve", "total")
DEGRADED: Final = ("store", "deadline", "model", "contention", "timezone", "durability")
_BUCKETS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)


class _Histogram(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: Sequence[int], total: float) -> None:
        """Adds observations: how many fall into each bucket, and their sum."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class _Step:
    """How long one step took, of the decisions since these numbers were shown."""

    __slots__ = ("counts", "shown", "total")

    def __init__(self, shown: _Histogram) -> None:
        self.shown = shown
        self.counts = [0] * (len(_BUCKETS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(_BUCKETS, seconds)] += 1
        self.total += seconds

    def show(self) -> None:
        self.shown.add(self.counts, self.total)
        self.counts = [0] * len(self.counts)
        self.total = 0.0


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
        # No `Counter`, whose `+=` takes twice as long.
        self._outcomes: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._reasons: defaultdict[Reason, int] = defaultdict(int)
        self._missing: defaultdict[str, int] = defaultdict(int)

    def count(
        self,
        decision: Decision,
        verdict: Verdict | None,
        steps: dict[str, float],
        written: bool,
        exemplar: dict[str, str] | None,
    ) -> None:
        """Counts a decision. Of a dry run, only that and what it was degraded by."""
        for missing in decision.degraded:
            self._missing[missing] += 1
        if verdict is not None and not written:
            self._dry_runs.inc()
            return
        self._outcomes[decision.placement, decision.outcome] += 1
        if verdict is not None:
            reasons = self._reasons
            for reason, mask in verdict.fallen.items():
                if mask:
                    reasons[reason] += mask.bit_count()
        for name, taken in steps.items():
            step = self.steps.get(name)
            if step is None:
                continue
            if exemplar is None:
                step.add(taken)
            else:
                step.shown.observe(taken, exemplar)

    def show(self) -> None:
        """Brings the metrics up to date."""
        for outcome, count in self._outcomes.items():
            self._decisions.labels(*outcome).inc(count)
        for reason, count in self._reasons.items():
            self._fallen.labels(reason.value).inc(count)
        for missing, count in self._missing.items():
            if missing in DEGRADED:
                self._degraded.labels(missing).inc(count)
        for tally in (self._outcomes, self._reasons, self._missing):
            tally.clear()
        for step in self.steps.values():
            step.show()
