"""The look at a worker's own answers: how many of the last seconds had to do without the store?

What fails for a share of the customers is a trouble of the store, whatever the error is. What fails
for one or two is damage to their data: that is a line of the log.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from decision.observability import get_logger
from decision.server.health.state import Trouble, without_address
from decision.store.health import AnswerCount, Failure

WITHIN: Final = 10.0
"""Seconds for which an answer without the store counts."""

SHARE: Final = 0.1
"""Of all answers, from which on those without the store are a trouble."""

LEAST: Final = 3
"""Customers for whom they must have been."""

_LOGGED_EVERY: Final = 60.0

_log = get_logger()


class AnswerWatch:
    """Watches the answers of one worker. `where` is the store's address."""

    def __init__(self, answers: AnswerCount, where: str) -> None:
        self._answers = answers
        self._where = where
        self._served: deque[tuple[float, int]] = deque([(time.monotonic(), answers.served)])
        self._logged: dict[str, float] = {}

    def look(self) -> Trouble | None:
        """What the answers of the last seconds tell; logs what is no trouble."""
        now = time.monotonic()
        self._served.append((now, self._answers.served))
        while len(self._served) > 1 and self._served[1][0] <= now - WITHIN:
            self._served.popleft()
        failures = self._answers.failures
        while failures and failures[0].at <= now - WITHIN:
            failures.popleft()
        if not failures:
            return None
        last, count = failures[-1], len(failures)
        total = count + self._answers.served - self._served[0][1]
        customers = len({one.customer_id for one in failures})
        if customers >= LEAST and count >= SHARE * total:
            return self._trouble(last, f"{count:,} of {total:,} answers")
        if now - self._logged.get(last.code, -_LOGGED_EVERY) >= _LOGGED_EVERY:
            self._logged[last.code] = now
            found = self._trouble(last, f"{count:,} answers, for {customers} customers,")
            _log.warning("answered_without_store", code=last.code, problem=found.text)
        return None

    def _trouble(self, last: Failure, which: str) -> Trouble:
        if last.reason:
            why = f"Redis refuses ({last.code}): {last.reason}"
        else:
            why = f"{last.code}: the log says more where a request failed"
        fix = f"; {last.fix}" if last.fix else ""
        text = f"{which} of the last {WITHIN:g} s were given without the store: {why}{fix}"
        return Trouble(last.code, f"{text} (at {self._where})", without_address(text, self._where))
