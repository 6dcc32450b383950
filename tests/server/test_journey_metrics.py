"""What metrics say of journeys."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from decision.core.timers import WakeCounts, tally_of
from decision.engine.journeys.stepping import Looked
from decision.server.journey_metrics import JourneyMetrics, WakeMetrics


def test_a_step_in_which_nobody_is_any_more_is_shown_with_nobody() -> None:
    registry = CollectorRegistry()
    metrics = JourneyMetrics(registry)

    def shown(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"nextbest_{name}", labels)

    tallies = {
        tally_of("welcome", "pause"): 2,
        tally_of("welcome", "!goal"): 3,
        tally_of("welcome", "!runs"): 1,
        tally_of("欢迎", "!"): 1,
    }
    metrics.show(WakeCounts(4, 9, 1500), tallies)
    assert (shown("timers", due="near"), shown("timers", due="far")) == (4, 9)
    assert shown("timers_behind_seconds") == 1.5
    assert shown("journey_waiting", journey="welcome", step="pause") == 2
    assert shown("journey_ended", journey="welcome", reason="goal") == 3
    assert shown("journey_ended", journey="welcome", reason="runs") is None
    assert shown("journey_refused", journey="welcome") == 1
    assert shown("journey_unexplained", journey="welcome") == 0
    assert shown("journey_unexplained", journey="欢迎") == 1
    metrics.show(WakeCounts(0, 9, 0), {tally_of("welcome", "!goal"): 5})
    assert shown("journey_waiting", journey="welcome", step="pause") == 0
    assert shown("journey_ended", journey="welcome", reason="goal") == 5


def test_a_journey_that_goes_on_again_is_shown_so() -> None:
    registry = CollectorRegistry()
    metrics = JourneyMetrics(registry)
    labels = {"journey": "welcome"}
    metrics.show_held({"welcome"}, {"welcome": 7})
    assert registry.get_sample_value("nextbest_journey_paused", labels) == 1
    assert registry.get_sample_value("nextbest_journey_held_back", labels) == 7
    metrics.show_held((), {})
    assert registry.get_sample_value("nextbest_journey_paused", labels) == 0
    assert registry.get_sample_value("nextbest_journey_held_back", labels) == 0


def test_looks_are_counted_with_what_they_came_to_and_how_late_they_were() -> None:
    registry = CollectorRegistry()
    metrics = WakeMetrics(registry)
    metrics.claimed(3)
    metrics.looked(0.2, Looked(steps=5, asks=2, doubles=1))
    metrics.looked(7.0, Looked())
    metrics.failed()
    shown = registry.get_sample_value
    assert shown("nextbest_timers_claimed_total") == 3
    assert shown("nextbest_journey_steps_total") == 5
    assert shown("nextbest_journey_asks_total") == 2
    assert shown("nextbest_journey_doubles_total") == 1
    assert shown("nextbest_timer_looks_failed_total") == 1
    assert shown("nextbest_timer_lag_seconds_bucket", {"le": "0.25"}) == 1
    assert shown("nextbest_timer_lag_seconds_count") == 2
