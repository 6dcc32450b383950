"""What metrics say of what waits to be sent."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from decision.core.delivery import DeliveryCounts
from decision.server.outbox_metrics import OutboxMetrics


def test_a_channel_where_nothing_waits_any_more_is_shown_with_nothing() -> None:
    registry = CollectorRegistry()
    metrics = OutboxMetrics(registry)

    def shown(name: str, channel: str) -> float | None:
        return registry.get_sample_value(f"nextbest_deliveries_{name}", {"channel": channel})

    behind, oldest = {"email": 90_500, "push": 0}, {"email": 95_000, "push": 7_200_000}
    metrics.show(DeliveryCounts({"email": 3, "push": 1}, 2, behind, oldest))
    assert (shown("waiting", "email"), shown("behind_seconds", "email")) == (3, 90.5)
    assert (shown("oldest_seconds", "email"), shown("oldest_seconds", "push")) == (95, 7200)
    assert (shown("waiting", "push"), shown("behind_seconds", "push")) == (1, 0)
    assert registry.get_sample_value("nextbest_deliveries_held") == 2
    metrics.show(DeliveryCounts({"push": 1}, 0, {"push": 5_000}, {"push": 5_000}))
    assert (shown("waiting", "email"), shown("behind_seconds", "email")) == (0, 0)
    assert shown("oldest_seconds", "email") == 0
    assert shown("behind_seconds", "push") == 5
