"""Prometheus metrics of the outbox: how much waits, and since when."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from decision.core.delivery import DeliveryCounts


class OutboxMetrics:
    """Shows what one worker has counted last. A channel where nothing waits any more has 0."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            name = f"nextbest_deliveries_{name}"
            return Gauge(name, text, labels, registry=registry, multiprocess_mode="livemostrecent")

        self._waiting = gauge("waiting", "Deliveries to be sent.", "channel")
        self._behind = gauge(
            "behind_seconds", "How long the earliest delivery has been due.", "channel"
        )
        self._oldest = gauge(
            "oldest_seconds", "How long ago the oldest that waits was decided.", "channel"
        )
        self._held = gauge("held", "Deliveries that failed or are unknown.")
        self._channels: set[str] = set()

    def show(self, counts: DeliveryCounts) -> None:
        """Shows how much waits."""
        self._channels.update(counts.waiting)
        for channel in self._channels:
            self._waiting.labels(channel).set(counts.waiting.get(channel, 0))
            self._behind.labels(channel).set(counts.behind.get(channel, 0) / 1000)
            self._oldest.labels(channel).set(counts.oldest.get(channel, 0) / 1000)
        self._held.set(counts.held)
