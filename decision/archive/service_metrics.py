"""What an archive service tells over HTTP: its metrics, and whether it makes progress."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Final

from decision.archive.archiver import Lag
from decision.archive.batch_writer import ArchiveCounts
from decision.core.clock import SECOND
from decision.exposition import serve_registry

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_LEAST: Final = 120.0
_PASSES: Final = 4


class Passes:
    """When something was last archived, or a pass ended that found nothing more.

    `every` is the seconds between passes; `clock` counts seconds.
    """

    def __init__(self, every: float, clock: Callable[[], float] = monotonic) -> None:
        self.limit = max(_LEAST, _PASSES * every)
        """Seconds without progress after which the service counts as failing."""
        self._clock = clock
        self._last = clock()

    def made(self, _: float = 0) -> None:
        """Notes progress."""
        self._last = self._clock()

    @property
    def problem(self) -> str | None:
        """What is wrong, for people; None: nothing."""
        silent = self._clock() - self._last
        if silent <= self.limit:
            return None
        return f"no pass has ended, and nothing was archived, for {silent:.0f} s; see the log"


class ArchiveMetrics:
    """What Prometheus reads of an archive service."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Gauge

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"nextbest_archive_{name}", text, labels, registry=registry)

        self._pending = gauge("pending_entries", "Entries of the log not archived, about.")
        self._age = gauge("oldest_pending_seconds", "Age of the oldest entry not archived.")
        self._rows = gauge("rows", "Rows written since the start.", "dataset")
        self._aside = gauge("quarantined", "Records that could not be read since the start.")
        self._last = gauge("last_success_seconds", "When a pass last ended, Unix time.")
        self._waits = gauge("standing_by", "1 while another process archives this share, else 0.")

    def behind(self, lag: Lag) -> None:
        """Shows what waits at the start of a pass."""
        self._pending.set(lag.entries)
        self._age.set(lag.age / SECOND)

    def standing_by(self, waits: bool) -> None:
        """Shows whether another process has the share."""
        self._waits.set(waits)

    def done(self, counts: ArchiveCounts) -> None:
        """Shows what was done at its end."""
        self._last.set_to_current_time()
        self._aside.set(counts.quarantined)
        for dataset, number in counts.rows.items():
            self._rows.labels(dataset).set(number)


def served_metrics(host: str, port: int, passes: Passes) -> ArchiveMetrics:
    """Metrics of an archive, served; its `/health` is 503 without progress.

    Raises:
        FileError: the address is not available.
    """
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    serve_registry(host, port, registry, lambda: passes.problem)
    return ArchiveMetrics(registry)
