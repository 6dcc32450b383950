"""Metrics of decisions: counted aside, and shown as if each had been counted at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from decision.server.decision_metrics import _BUCKETS, DecisionMetrics, _Histogram, _Step

SECONDS = st.floats(0, 10) | st.sampled_from(_BUCKETS)


def rows(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """(name, bucket) → value of the one histogram."""
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(st.lists(SECONDS), st.lists(SECONDS))
def test_observations_added_together_show_as_those_added_one_by_one(
    first: list[float], then: list[float]
) -> None:
    at_once, one_by_one = CollectorRegistry(), CollectorRegistry()
    metrics = DecisionMetrics(CollectorRegistry())
    step = _Step(_Histogram("taken", "", buckets=_BUCKETS, registry=at_once))
    metrics.steps["read"] = step
    other = Histogram("taken", "", buckets=_BUCKETS, registry=one_by_one)
    for part in (first, then):
        for taken in part:
            metrics.time({"read": taken, "other": taken}, None)
            other.observe(taken)
        step.show()
        found, wanted = rows(at_once), rows(one_by_one)
        assert found.keys() == wanted.keys()
        assert all(abs(found[key] - wanted[key]) < 1e-9 for key in wanted)


def test_what_is_shown_is_not_shown_again() -> None:
    registry = CollectorRegistry()
    metrics = DecisionMetrics(registry)
    metrics.time({"total": 0.002}, None)
    for _ in range(2):
        metrics.show()
        labels = {"step": "total"}
        assert registry.get_sample_value("nextbest_decision_seconds_count", labels) == 1
