"""Whether the store answers: noted in one place, told to health checks, metrics and the log."""

from __future__ import annotations

from decision.observability import get_logger
from decision.server.metrics import Metrics

_log = get_logger()


class StoreHealth:
    """The store's state as last seen. `problem` says why it is unavailable, or is None."""

    def __init__(self, metrics: Metrics) -> None:
        self.problem: str | None = None
        self._metrics = metrics

    def note(self, problem: str | None) -> None:
        """Notes what the last call to the store showed; logs only a change."""
        if problem is not None and self.problem is None:
            _log.error("store_away", problem=problem)
        elif problem is None and self.problem is not None:
            _log.info("store_back")
        self.problem = problem
        self._metrics.store_answers(problem is None)
