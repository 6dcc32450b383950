"""CPU of one call, in this process: without anything of nextbest, so that peers can use it too."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Final

AT_ONCE: Final = 16
"""Reads that are under way, as in a server under load."""


def cost(call: Callable[[], object], seconds: float = 0.2, rounds: int = 5) -> float:
    """µs of CPU of one call, of all threads: the median of some rounds, after one that warms."""
    calls = 1
    while (spent := _spent(call, calls)) < seconds / 4:
        calls *= 2
    calls = max(1, round(calls * seconds / spent))
    return statistics.median(_spent(call, calls) for _ in range(rounds)) / calls * 1e6


def _spent(call: Callable[[], object], calls: int) -> float:
    began = time.process_time()
    for _ in range(calls):
        call()
    return time.process_time() - began
