"""When a delivery is tried again: the table of Standard Webhooks.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

from typing import Final

DELAYS: Final = (
    *(0.0, 5.0, 5 * 60.0, 30 * 60.0, 2 * 3600.0, 5 * 3600.0),
    *(10 * 3600.0, 14 * 3600.0, 20 * 3600.0, 24 * 3600.0),
)
"""Seconds before each attempt, counted from the one before."""

LONGEST: Final = 24 * 3600.0
"""Seconds that a provider may ask us to wait, at most."""

_SPREAD: Final = 0.1


def delay_before(attempt: int, asked: float | None, draw: float) -> float | None:
    """Seconds until an attempt (the first is 1), None where there is no such attempt any more.

    `asked` is what the provider asks for: it is waited at least that long. `draw` in [0, 1) spreads
    attempts that failed together.

    >>> delay_before(2, None, 0.0), delay_before(2, 60.0, 0.0), delay_before(11, 1.0, 0.0)
    (5.0, 60.0, None)
    """
    if attempt > len(DELAYS):
        return None
    delay = max(DELAYS[attempt - 1], min(asked or 0.0, LONGEST))
    return delay * (1 + _SPREAD * draw)
