"""What a server's metrics say, for pages: numbers by name, and quantiles of histograms."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric


class Figures:
    """The samples of metrics, by the name under which Prometheus has them.

    >>> from prometheus_client import CollectorRegistry, Histogram
    >>> registry = CollectorRegistry()
    >>> seconds = Histogram("took", "", ["step"], buckets=(0.1, 0.2, 0.4), registry=registry)
    >>> for took in (0.05, 0.15, 0.15, 0.3):
    ...     seconds.labels("all").observe(took)
    >>> figures = Figures(registry.collect())
    >>> figures.value("took_count"), round(figures.quantile("took", 0.5, step="all"), 3)
    (4.0, 0.15)
    """

    def __init__(self, families: Iterable[Metric]) -> None:
        self._samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in families:
            for one in family.samples:
                self._samples.setdefault(one.name, []).append((one.labels, one.value))

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples with these labels; 0 where there is none."""
        return sum(value for own, value in self._samples.get(name, ()) if _has(own, labels))

    def by(self, name: str, label: str) -> dict[str, float]:
        """Value of a label → the sum of its samples, without those that are 0."""
        found: dict[str, float] = {}
        for own, value in self._samples.get(name, ()):
            if value and label in own:
                found[own[label]] = found.get(own[label], 0) + value
        return found

    def quantile(self, name: str, share: float, **labels: str) -> float | None:
        """The value below which a share of a histogram's observations lies; None without any.

        Within a bucket it is taken in proportion; beyond the last bound it is that bound.
        """
        buckets: dict[float, float] = {}
        for own, value in self._samples.get(f"{name}_bucket", ()):
            if _has(own, labels):
                bound = float(own["le"])
                buckets[bound] = buckets.get(bound, 0) + value
        total = max(buckets.values(), default=0)
        if not total:
            return None
        low, below = 0.0, 0.0
        for bound, count in sorted(buckets.items()):
            if count >= share * total and count > below:
                if bound == float("inf"):
                    return low
                return low + (bound - low) * (share * total - below) / (count - below)
            low, below = bound, count
        return low


def _has(own: dict[str, str], labels: dict[str, str]) -> bool:
    return all(own.get(name) == value for name, value in labels.items())
