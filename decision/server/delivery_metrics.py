"""Prometheus metrics of deliveries."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from decision.outbound.observer import RESULTS, DeliveryResult

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)


class DeliveryMetrics:
    """Implements `decision.outbound.observer.DeliveryObserver`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._results = Counter(
            "nextbest_deliveries",
            "Deliveries that were looked at, by what became of them.",
            ["channel", "result"],
            registry=registry,
        )
        self._seconds = Histogram(
            "nextbest_delivery_seconds",
            "From the look at a delivery to the end of its attempt.",
            ["channel"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._paused = _gauge(
            "nextbest_gateway_paused", "1: it sends nothing until resumed.", ["gateway"], registry
        )
        self._failing = _gauge(
            "nextbest_gateway_failing",
            "1: ten attempts failed in a row; it is left alone but for one at a time.",
            ["gateway", "channel"],
            registry,
        )
        self._without = _gauge(
            "nextbest_channel_without_gateway",
            "1: the gateways file names none for a channel of the rules.",
            ["channel"],
            registry,
        )
        self._channels: set[str] = set()

    def delivered(self, channel: str, result: DeliveryResult, seconds: float) -> None:
        """What became of a delivery."""
        self._see(channel)
        self._results.labels(channel, result).inc()
        self._seconds.labels(channel).observe(seconds)

    def paused(self, gateways: Mapping[str, bool]) -> None:
        """Which gateways are paused."""
        for name, paused in gateways.items():
            self._paused.labels(name).set(paused)

    def failing(self, channels: Mapping[tuple[str, str], bool]) -> None:
        """Which gateways are left alone."""
        for (gateway, channel), failing in channels.items():
            self._see(channel)
            self._failing.labels(gateway, channel).set(failing)

    def without_gateway(self, channels: Collection[str]) -> None:
        """Which channels have no gateway."""
        for channel in channels:
            self._without.labels(channel).set(1)

    def _see(self, channel: str) -> None:
        """Shows every result of a channel from the start on: Prometheus takes the first value that
        it sees for where a counter began, so the first of a kind would never be in an increase.
        """
        if channel not in self._channels:
            self._channels.add(channel)
            for result in RESULTS:
                self._results.labels(channel, result)


def _gauge(name: str, text: str, labels: list[str], registry: CollectorRegistry) -> Gauge:
    return Gauge(name, text, labels, registry=registry, multiprocess_mode="livemostrecent")
