"""Prometheus metrics of the connection to Redis."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter

_TEXTS: Final = {
    "lost": ("store_connections_lost", "Connections to Redis that were lost or given up."),
    "stalls": ("store_stalls", "Times that Redis was silent for longer than a call could wait."),
    "unconfirmed": (
        "store_commits_unconfirmed",
        "Commits that not enough replicas had in time (NEXTBEST_DURABILITY).",
    ),
    "failed_at_once": ("store_calls_failed_at_once", "Calls not sent because Redis was silent."),
}


class ConnectionMetrics:
    """Adds up `ConnectionCounts`, of which this process has one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counters = {
            field: Counter(f"nextbest_{name}", text, registry=registry)
            for field, (name, text) in _TEXTS.items()
        }
        self._seen = dict.fromkeys(_TEXTS, 0)

    def show(self, counts: object) -> None:
        """Counts what happened since the last time; a store without a connection has None."""
        if counts is None:
            return
        for field, counter in self._counters.items():
            number = getattr(counts, field)
            counter.inc(number - self._seen[field])
            self._seen[field] = number
