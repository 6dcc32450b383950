"""Prometheus metrics of the connections of clients."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class ClientMetrics:
    """Shows how many connections there are, and what became of others at the limit."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"nextbest_client_connections_{name}", text, registry=registry)

        self._open = Gauge(
            "nextbest_client_connections",
            "Connections of clients, without those beyond the limit.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._closed_idle = counter(
            "closed_idle", "Idle connections closed at the limit, to make room for new ones."
        )
        self._over_limit = counter(
            "over_limit",
            "Connections beyond the limit, on which health and metrics alone are answered.",
        )
        self._seen = (0, 0)

    def show(self, total: int, closed_idle: int, over_limit: int) -> None:
        """Says how many there are; the other two are counts of all time."""
        seen_closed, seen_over = self._seen
        self._open.set(total)
        self._closed_idle.inc(closed_idle - seen_closed)
        self._over_limit.inc(over_limit - seen_over)
        self._seen = (closed_idle, over_limit)
