"""Waiting for a condition, with a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from redis import Redis

T = TypeVar("T")


def until(wanted: Callable[[], T], seconds: float = 120) -> T:
    """Asks again until the answer is true; returns it."""
    end = time.monotonic() + seconds
    while not (found := wanted()):
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.02)
    return found


def until_written(folder: Path) -> None:
    """Until the Redis in that folder has written all that it has acknowledged to its file.

    With `everysec` it acknowledges before that while an earlier write is being brought to the disk,
    for up to two seconds, and a killed Redis then loses it.
    """
    with Redis(unix_socket_path=str(folder / "redis.sock")) as redis:
        until(lambda: redis.info("persistence")["aof_buffer_length"] == 0)
