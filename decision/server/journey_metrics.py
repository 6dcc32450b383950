"""Prometheus metrics of journeys: who waits where, how runs ended, and how timely all goes on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from decision.core.journeys.counts import counts_by_journey
from decision.core.ports import Store
from decision.core.timers import WakeCounts
from decision.engine.journeys.stepping import Looked

_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)


class JourneyMetrics:
    """Shows what one worker has counted last. A step in which nobody is any more has 0."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            name = f"nextbest_{name}"
            return Gauge(name, text, labels, registry=registry, multiprocess_mode="livemostrecent")

        timers = gauge("timers", "Customers who are to be looked at, by when.", "due")
        self._near, self._far = timers.labels("near"), timers.labels("far")
        self._behind = gauge(
            "timers_behind_seconds", "How long the earliest timer has been due and unclaimed."
        )
        self._waiting = gauge("journey_waiting", "Runs that are in a step.", "journey", "step")
        self._ended = gauge("journey_ended", "Runs that ended, by reason.", "journey", "reason")
        self._refused = gauge(
            "journey_refused", "Runs not started for customers who had too many.", "journey"
        )
        self._unexplained = gauge(
            "journey_unexplained", "Runs that ended without a reason.", "journey"
        )
        self._paused = gauge("journey_paused", "1: it stands still until resumed.", "journey")
        self._held_back = gauge(
            "journey_held_back",
            "Customers with runs that are due, of a journey that is paused or at its limits.",
            "journey",
        )
        self._steps: set[tuple[str, str]] = set()
        self._still: set[str] = set()

    async def look(self, store: Store) -> None:
        """Counts, and shows it."""
        tallies = await store.tallies()
        self.show(await store.count_wakes(), tallies)
        counts = counts_by_journey(tallies).items()
        self.show_held(await store.held_journeys(), {n: own.held_back for n, own in counts})

    def show_held(self, paused: Collection[str], held_back: Mapping[str, int]) -> None:
        """Shows which journeys stand still, and how many customers are held back."""
        self._still.update(paused, held_back)
        for journey in self._still:
            self._paused.labels(journey).set(journey in paused)
            self._held_back.labels(journey).set(held_back.get(journey, 0))

    def show(self, wakes: WakeCounts, tallies: Mapping[str, int]) -> None:
        """Shows timers, and the counts of runs, see `TimerStore`."""
        self._near.set(wakes.near)
        self._far.set(wakes.far)
        self._behind.set(wakes.behind / 1000)
        waiting: dict[tuple[str, str], int] = {}
        for journey, counts in counts_by_journey(tallies).items():
            waiting |= {(journey, step): number for step, number in counts.waiting.items()}
            for reason, number in counts.ended.items():
                self._ended.labels(journey, reason).set(number)
            self._refused.labels(journey).set(counts.refused)
            self._unexplained.labels(journey).set(counts.unexplained)
        self._steps.update(waiting)
        for journey, step in self._steps:
            self._waiting.labels(journey, step).set(waiting.get((journey, step), 0))


class WakeMetrics:
    """Implements `decision.outbound.observer.WakeObserver`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"nextbest_{name}", text, registry=registry)

        self._lag = Histogram(
            "nextbest_timer_lag_seconds",
            "From when a timer was due to the end of the look at its customer.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self._claimed = counter("timers_claimed", "Timers that were claimed.")
        self._failed = counter("timer_looks_failed", "Looks at customers that failed for a defect.")
        self._steps = counter("journey_steps", "Steps that runs have entered.")
        self._asks = counter("journey_asks", "Decisions that journeys asked for.")
        self._doubles = counter(
            "journey_doubles", "Asks left out, because somebody else had asked already."
        )

    def claimed(self, number: int) -> None:
        """Counts claims."""
        self._claimed.inc(number)

    def looked(self, lag: float, looked: Looked) -> None:
        """Counts what a look came to."""
        self._lag.observe(lag)
        self._steps.inc(looked.steps)
        self._asks.inc(looked.asks)
        self._doubles.inc(looked.doubles)

    def failed(self) -> None:
        """Counts a look that failed."""
        self._failed.inc()
