"""Prometheus metrics of admission control."""

from __future__ import annotations

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

from decision.server.admission import Admission


class AdmissionMetrics:
    """Shows how much of a worker is in use; of several workers the sum, and the worst delay."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, mode: Literal["livesum", "livemax"] = "livesum") -> Gauge:
            return Gauge(f"nextbest_{name}", text, registry=registry, multiprocess_mode=mode)

        self._under_way = gauge("decisions_under_way", "Decisions and writes begun.")
        self._waiting = gauge("decisions_waiting", "Those that wait for their turn.")
        self._limit = gauge("decisions_limit", "How many may be under way at once.")
        self._delay = gauge("loop_delay_seconds", "How late the event loop is.", "livemax")
        self._overloaded = Counter(
            "nextbest_requests_overloaded", "Requests refused under overload.", registry=registry
        )
        self._seen = 0

    def show(self, admission: Admission) -> None:
        """Says how things stand, and counts what was refused since the last time."""
        self._under_way.set(admission.running)
        self._waiting.set(admission.waiting)
        self._limit.set(admission.limit.value)
        self._delay.set(admission.limit.delay)
        self._overloaded.inc(admission.refused - self._seen)
        self._seen = admission.refused
