"""Prometheus metrics of the store: what the worker that watches it has seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

from decision.server.health.losses import KINDS, Kind
from decision.store.health import COUNTED, ServerState

WHAT: Final = ("store", "data", "durability", "log", "clock", "watch", "keys")
"""What `nextbest_degraded` has a value for."""

SETTINGS: Final = ("maxmemory-policy", "appendonly")

_Mode = Literal["livemostrecent", "livemax"]


class StoreMetrics:
    """Gauges have the value of the worker that looked last; counters are of all workers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str, mode: _Mode = "livemostrecent") -> Gauge:
            return Gauge(
                f"nextbest_{name}", text, labels, registry=registry, multiprocess_mode=mode
            )

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"nextbest_{name}", text, labels, registry=registry)

        degraded = gauge(
            "degraded", "1 while something is wrong, by what it is.", "what", mode="livemax"
        )
        refusals = counter("store_refusals", "Calls that Redis refused, by its code.", "code")
        losses = counter("store_losses", "Losses of data that were noticed, by kind.", "kind")
        safe = gauge("redis_setting_safe", "1 where a setting of Redis loses no data.", "setting")
        self._loss_at = gauge("store_loss_timestamp_seconds", "When a loss was noticed last.")
        self._written_at = gauge(
            "store_last_write_timestamp_seconds", "When Redis last acknowledged a write on trial."
        )
        self._used = gauge("redis_memory_used_bytes", "Memory that Redis uses.")
        self._max = gauge("redis_memory_max_bytes", "maxmemory of Redis; 0 where it has no limit.")
        self._evicted = counter("redis_evicted_keys", "Keys that Redis has evicted.")
        self._offset = gauge("clock_offset_seconds", "This server's clock minus that of Redis.")
        self._skew = gauge("clock_skew_seconds", "Most that clocks of servers on a Redis differ.")
        self._entries = gauge("log_entries", "Entries of the log in Redis.")
        self._bytes = gauge("log_bytes", "Memory that the log takes in Redis, about.")
        self._limit = gauge(
            "log_limit_bytes", "Memory to which the log is trimmed; 0 where it is not."
        )
        self._trimmed = counter("log_trimmed_entries", "Entries removed beyond the limit.")
        self._readers = gauge("log_readers", "Readers of the log, such as an archive.")
        self._lag = gauge("log_lag_seconds", "Age of the oldest entry that a reader has not read.")
        self._degraded = {what: degraded.labels(what) for what in WHAT}
        self._refusals = {code: refusals.labels(code) for code in COUNTED}
        self._losses = {kind: losses.labels(kind) for kind in KINDS}
        self._safe = {name: safe.labels(name) for name in SETTINGS}
        self._counted = dict.fromkeys(COUNTED, 0)

    def degraded(self, what: str, found: bool) -> None:
        """Says whether something is wrong."""
        self._degraded[what].set(1 if found else 0)

    def refused(self, counts: Mapping[str, int]) -> None:
        """Counts what was refused since the last time; `counts` are of all time."""
        for code, count in counts.items():
            if count > self._counted[code]:
                self._refusals[code].inc(count - self._counted[code])
                self._counted[code] = count

    def written(self) -> None:
        """Notes that a write was acknowledged just now."""
        self._written_at.set_to_current_time()

    def server(self, state: ServerState) -> None:
        """Shows what Redis says of itself."""
        self._used.set(state.used_memory)
        self._max.set(state.max_memory)
        for name, gauge in self._safe.items():
            gauge.set(0 if name in state.risks else 1)

    def lost(self, kinds: Collection[Kind], evicted: int) -> None:
        """Counts losses, and keys that were evicted since the last time."""
        for kind in kinds:
            self._losses[kind].inc()
        if kinds:
            self._loss_at.set_to_current_time()
        self._evicted.inc(evicted)

    def lost_before(self, at: float) -> None:
        """Shows when a loss was noticed, seconds since 1970, before this process began."""
        self._loss_at.set(at)

    def clocks(self, offset: float, skew: float) -> None:
        """Shows by how many seconds clocks differ."""
        self._offset.set(offset)
        self._skew.set(skew)

    def log(
        self, entries: int, size: int, limit: int, removed: int, readers: int, lag: float
    ) -> None:
        """Shows the log; `removed` is since the last time, `lag` is in seconds."""
        self._entries.set(entries)
        self._bytes.set(size)
        self._limit.set(limit)
        self._trimmed.inc(removed)
        self._readers.set(readers)
        self._lag.set(lag)
