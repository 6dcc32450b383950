"""Prometheus metrics of the budgets that many messages share."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge

from decision.engine.budget_views import BudgetView


class BudgetMetrics:
    """Shows what one worker has looked up last. A budget that is gone has 0."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(
                f"nextbest_budget_{name}",
                text,
                ["budget", "unit"],
                registry=registry,
                multiprocess_mode="livemostrecent",
            )

        self._spent = gauge("spent", "What is spent of a budget in its present period.")
        self._held = gauge("held", "What servers hold of a budget for their next decisions.")
        self._freed = gauge("freed", "What may be spent by now.")
        self._limit = gauge("limit", "What may be spent in the whole period.")
        self._shown: set[tuple[str, str]] = set()

    def show(self, views: Sequence[BudgetView]) -> None:
        """Says how the budgets stand."""
        shared = {(one.name, one.unit): one for one in views if one.of == "budgets"}
        for labels in self._shown | shared.keys():
            one = shared.get(labels)
            self._spent.labels(*labels).set(one.spent if one else 0)
            self._held.labels(*labels).set(one.held if one else 0)
            self._freed.labels(*labels).set(one.freed if one else 0)
            self._limit.labels(*labels).set(one.limit if one else 0)
        self._shown |= shared.keys()
