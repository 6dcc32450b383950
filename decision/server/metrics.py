"""Prometheus metrics. Labels come from the policy and from fixed lists, never from callers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_latest

from decision.core.decide import Verdict
from decision.core.ports import RuleMatcher
from decision.core.schema import Decision
from decision.engine.runtime import wall_clock
from decision.engine.snapshot import Snapshot
from decision.server.activity import Activity
from decision.server.admission_metrics import AdmissionMetrics
from decision.server.budget_metrics import BudgetMetrics
from decision.server.client_metrics import ClientMetrics
from decision.server.connection_metrics import ConnectionMetrics
from decision.server.coupon_metrics import CouponMetrics
from decision.server.decision_metrics import DecisionMetrics
from decision.server.health.metrics import StoreMetrics
from decision.server.journey_metrics import JourneyMetrics
from decision.server.keys.entries import ApiKey
from decision.server.outbox_metrics import OutboxMetrics

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = b"application/openmetrics-text"
OPENMETRICS_TYPE: Final = OPENMETRICS + b"; version=1.0.0; charset=utf-8"
MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder in which several workers add up their metrics."""

FOLLOWED: Final = ("released", "not_written", "given", "too_late", "logged", "erased", "dropped")
RESULTS: Final = ("accepted", "duplicate", "rejected")
REPORTS: Final = (
    *("accepted", "duplicates", "rejected", "machine", "ignored", "unmatched"),
    *("unreadable", "unsigned", "later"),
)
_Mode = Literal["livemin", "livemax", "livesum"]
"""What a gauge shows of several workers."""

_SCOPE: Final = ("placement", "purpose")
"""Labels of a model's scope; empty where it is of all others."""


class Metrics:
    """The engine's observer, and what `/metrics` shows. One a process; `clock` is the engine's."""

    def __init__(self, clock: Callable[[], int] = wall_clock) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"nextbest_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, mode: _Mode, *labels: str) -> Gauge:
            return Gauge(
                f"nextbest_{name}", text, labels, registry=registry, multiprocess_mode=mode
            )

        def version(name: str, text: str, *labels: str) -> Gauge:
            said = f"{text} 1 for the version in force."
            return gauge(name, said, "livemax", "version", *labels)

        self.decisions = DecisionMetrics(registry)
        self.activity = Activity(clock, self.decisions.add)
        events = counter("events", "Events received, by result.", "result")
        followed = counter(
            "followed",
            "What came of decisions whose answer was late, and of answers given without the store.",
            "result",
        )
        reports = counter("reports", "Delivery reports of providers, by result.", "result")
        self._reports = {result: reports.labels(result) for result in REPORTS}
        self._store_up = gauge("store_up", "1 where the store answers and takes writes.", "livemin")
        self.store = StoreMetrics(registry)
        self._policy = version("policy_info", "Policy in force.")
        self._model = version("model_info", "Models in force, by scope.", *_SCOPE)
        self._shadow = version("shadow_info", "Challengers scored beside models.", *_SCOPE)
        self._loaded_at = gauge(
            "policy_loaded_timestamp_seconds", "When the policy in force was loaded.", "livemin"
        )
        self._model_up = gauge(
            "model_up", "1 where models score, 0 where one is missing.", "livemin"
        )
        reloads = counter(
            "policy_reloads",
            "Policies put in force or refused after the start, by result.",
            "result",
        )
        model_reloads = counter(
            "model_reloads", "Changes of the models put in force or refused, by result.", "result"
        )
        self._refused_since = gauge(
            "policy_refused_timestamp_seconds",
            "Since when every newer policy was refused; 0 where the newest is in force.",
            "livemax",
        )
        self._keys = gauge("api_keys", "API keys in force, expired ones included.", "livemin")
        self._keys_expire = gauge(
            "api_key_expiry_timestamp_seconds",
            "When the next API key expires; 0 where none will.",
            "livemax",
        )
        self._keys_refused = gauge(
            "api_keys_refused_timestamp_seconds",
            "Since when the keys file cannot be used; 0 where it can.",
            "livemax",
        )
        self._rule_engine_failures = counter(
            "rule_engine_failures", "Times that the plain evaluator stood in for the rule engine."
        )
        self.connection = ConnectionMetrics(registry)
        self.exemplar: Callable[[], dict[str, str] | None] | None = None
        self.admission = AdmissionMetrics(registry)
        self.budgets = BudgetMetrics(registry)
        self.outbox = OutboxMetrics(registry)
        self.journeys = JourneyMetrics(registry)
        self.clients = ClientMetrics(registry)
        self.coupons = CouponMetrics(registry)
        gauge("workers", "Workers that serve.", "livesum").set(1)
        self._failures_seen: tuple[RuleMatcher | None, int] = (None, 0)
        # Children are looked up once: a look-up by label costs as much as the count itself.
        self._events = {result: events.labels(result) for result in RESULTS}
        self._followed = {result: followed.labels(result) for result in FOLLOWED}
        self._reloads = {result: reloads.labels(result) for result in ("ok", "refused")}
        self._model_reloads = {result: model_reloads.labels(result) for result in ("ok", "refused")}
        self._versions: dict[Gauge, set[tuple[str, ...]]] = {}

    def decided(
        self, decision: Decision, verdict: Verdict | None, steps: dict[str, float], written: bool
    ) -> None:
        """Counts a decision."""
        if written or verdict is None:
            self.activity.decided(decision, verdict)
            self.decisions.time(steps, None if self.exemplar is None else self.exemplar())
        else:
            self.decisions.dry_run(decision)

    def recorded(self, event_type: str, result: str) -> None:
        """Counts an event; its type is no label, as callers choose it."""
        found = self._events.get(result)
        if found is not None:
            found.inc()
        if result == "accepted":
            self.activity.recorded(event_type)

    def reported(self, result: str, number: int = 1) -> None:
        """Counts delivery reports."""
        self._reports[result].inc(number)

    def followed(self, result: str) -> None:
        """Counts what came of something that was done after its answer."""
        self._followed[result].inc()

    def store_answers(self, up: bool) -> None:
        """Says whether the store answers."""
        self._store_up.set(1 if up else 0)

    def reloaded(self, ok: bool) -> None:
        """Counts a reload of the policy."""
        self._reloads["ok" if ok else "refused"].inc()

    def model_reloaded(self, ok: bool) -> None:
        """Counts a change of the model or its challenger."""
        self._model_reloads["ok" if ok else "refused"].inc()

    def refused_since(self, since: datetime | None) -> None:
        """Says since when newer policies were refused, or that none was."""
        self._refused_since.set(0 if since is None else since.timestamp())

    def keys_in_force(self, keys: Sequence[ApiKey]) -> None:
        """Says how many keys there are, and when the next one ends."""
        ends = [key.expires.timestamp() for key in keys if key.expires is not None]
        self._keys.set(len(keys))
        self._keys_expire.set(min((end for end in ends if end > time.time()), default=0))

    def keys_refused_since(self, since: float | None) -> None:
        """Says since when the keys file cannot be used, or that it can."""
        self._keys_refused.set(since or 0)

    def count_rule_engine_failures(self, matcher: RuleMatcher) -> None:
        """Counts what the rule engine in force has failed at since the last look."""
        failures = getattr(matcher, "failures", 0)
        seen_of, seen = self._failures_seen
        self._rule_engine_failures.inc(failures - (seen if seen_of is matcher else 0))
        self._failures_seen = (matcher, failures)

    def in_force(self, snapshot: Snapshot) -> None:
        """Says which versions are in force."""
        self._show_versions(self._policy, {(snapshot.policy_version,)})
        for gauge, models in ((self._model, snapshot.models), (self._shadow, snapshot.challengers)):
            labels: set[tuple[str, ...]] = {
                (one.version, scope.placement or "", scope.purpose or "")
                for scope, one in models.items()
            }
            self._show_versions(gauge, labels)
        self._model_up.set(1 if snapshot.scores_all else 0)
        self._loaded_at.set(snapshot.loaded_at.timestamp())

    def _show_versions(self, gauge: Gauge, labels: set[tuple[str, ...]]) -> None:
        # Set to 0 and not removed: files shared between processes cannot forget a label.
        for gone in self._versions.get(gauge, set()) - labels:
            gauge.labels(*gone).set(0)
        for one in labels:
            gauge.labels(*one).set(1)
        self._versions[gauge] = labels

    def show(self) -> None:
        """Brings what is counted aside up to date."""
        self.activity.pass_on()
        self.decisions.show()

    def render(self, *, openmetrics: bool = False) -> bytes:
        """The text for Prometheus, of all processes of this server together.

        `openmetrics`: in that format, which has exemplars; those of several workers are left out.
        """
        registry = self._everywhere()
        write = openmetrics_latest if openmetrics else generate_latest
        return write(registry)

    def families(self) -> list[Metric]:
        """What `render` shows, as it is collected."""
        return list(self._everywhere().collect())

    def _everywhere(self) -> CollectorRegistry:
        """The metrics of all processes of this server together."""
        self.show()
        registry = self.registry
        if MULTIPROCESS in os.environ:
            registry = CollectorRegistry()
            forget_dead(Path(os.environ[MULTIPROCESS]))
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry

    def close(self) -> None:
        """Takes this process's gauges out of the shared ones."""
        self.show()
        if MULTIPROCESS in os.environ:
            multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]


def forget_dead(folder: Path) -> None:
    """Removes the gauges of workers that were killed."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except PermissionError:
            pass  # it lives, under another user
