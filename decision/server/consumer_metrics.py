"""Prometheus metrics of reading Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

MessageResult = Literal["stored", "rejected", "empty"]
RESULTS: Final = ("stored", "rejected", "empty")


class ConsumerMetrics:
    """How many messages were read, and how many are still to be.

    `waits_for` is what does not answer at the moment; "" where nothing is waited for.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.waits_for = "the brokers"
        self._messages = Counter(
            "nextbest_consumed_messages",
            "Messages of Kafka that were read, by what became of them.",
            ["topic", "result"],
            registry=registry,
        )
        self._lag = Gauge(
            "nextbest_consumer_lag",
            "Messages of a partition that are not stored yet, where this process reads it.",
            ["topic", "partition"],
            registry=registry,
        )
        self._waiting = Gauge(
            "nextbest_consumer_waiting",
            "1: nothing is read at the moment, since the brokers or the store do not answer.",
            registry=registry,
        )

    def reads(self, topic: str) -> None:
        """Shows every result of a topic from the start on, so that rates are right."""
        for result in RESULTS:
            self._messages.labels(topic, result)

    def read(self, topic: str, result: MessageResult) -> None:
        """What became of a message."""
        self._messages.labels(topic, result).inc()

    def lag(self, partitions: Mapping[tuple[str, int], int]) -> None:
        """What is left to read of the partitions that are read here; others are not shown."""
        self._lag.clear()
        for (topic, partition), left in partitions.items():
            self._lag.labels(topic, partition).set(left)

    def waits(self, what: str) -> None:
        """What does not answer at the moment, if anything."""
        self.waits_for = what
        self._waiting.set(bool(what))
