"""How long ago something was, whatever is done to the clock."""

from __future__ import annotations

import time
from typing import Final

_SINCE_BOOT: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def uptime() -> float:
    """Seconds since the machine started, those asleep included; for differences only."""
    return time.clock_gettime(_SINCE_BOOT)
