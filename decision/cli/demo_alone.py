"""The folder of a shop whose time is told: one demo at a time has it, and begins anew there."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from decision.cli.output import Fail

_ENDS_WITHIN: Final = 30.0


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds the folder, and removes what a shop of before has left in it.

    Raises:
        Fail: another demo has it.
    """
    from decision.store import EmbeddedRedis

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Fail(
                f"another demo with --speed runs in {folder}; end it, or start this one elsewhere"
            ) from None
        redis, until = EmbeddedRedis(folder / "redis"), time.monotonic() + _ENDS_WITHIN
        while redis.folder.exists() and redis.lives() and time.monotonic() < until:
            time.sleep(0.05)  # that of a demo that was killed ends by itself
        for left in (redis.folder, folder / "outbox", folder / "archive"):
            shutil.rmtree(left, ignore_errors=True)
        yield
