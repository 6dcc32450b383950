"""Starts an embedded Redis again when it has ended under those who use it.

Every process that uses the server watches it, in a thread; a lock in the folder lets one of them
start it. A server that ends again and again is started at growing intervals, up to a minute.
"""

from __future__ import annotations

import atexit
import subprocess
import threading
from time import monotonic
from typing import Final

from decision.children import how_it_ended
from decision.core.errors import StoreUnavailable
from decision.observability import tell
from decision.store.embedded.server import EmbeddedRedis

_LOOKS_EVERY: Final = 0.25
_LIVES: Final = 60.0
"""Seconds after which a server that was started counts as one that lives."""
_LONGEST_PAUSE: Final = 60.0
_UNWRITTEN_FOR: Final = 2
"""Seconds for which a server with `everysec` holds back acknowledged writes (`EmbeddedRedis`)."""


class WatchedRedis:
    """An embedded Redis that comes back by itself, from `start` to `stop`."""

    def __init__(self, redis: EmbeddedRedis) -> None:
        self._redis = redis
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> str:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> str:
        """Starts the server, or finds the one that runs; returns its URL.

        Raises:
            StoreUnavailable: it cannot be started; the text says why and what to do.
        """
        url = self._redis.start()
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="redis-watch", daemon=True)
            self._thread.start()
            atexit.register(self.stop)  # before that of the server, which would be revived
        return url

    def stop(self) -> None:
        """Stops watching, and stops using the server.

        Raises:
            StoreUnavailable: it does not stop within half a minute.
        """
        atexit.unregister(self.stop)
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._redis.stop()

    def _watch(self) -> None:
        since, pause = monotonic(), 0.0
        while not self._stopped.wait(_LOOKS_EVERY):
            if self._redis.running():
                continue
            if monotonic() - since > _LIVES:
                pause = 0.0
            if not self._redis.lives():  # else it is said once it is sure that nobody reaches it
                self._tell_end(pause)
            pause = self._start_again(pause)
            since = monotonic()

    def _tell_end(self, pause: float) -> None:
        details = how_it_ended(self._redis.exit_code())
        text = f"the embedded Redis ended; it is started again in {pause:g} s"
        if "signal" in details and self._redis.fsync == "everysec":
            details["may_have_lost_s"] = _UNWRITTEN_FOR
            text += f"; it was killed, so its last {_UNWRITTEN_FOR} s of writes may be lost"
        tell("redis_ended", text, folder=str(self._redis.folder), **details)

    def _start_again(self, pause: float) -> float:
        """Tries until a server runs; returns how long to wait first, should that one end too."""
        while not self._stopped.wait(pause):
            pause = min(max(1.0, 2 * pause), _LONGEST_PAUSE)
            try:
                pid = self._redis.revive(self._stopped.is_set)
            except (StoreUnavailable, OSError, subprocess.SubprocessError) as error:
                tell(
                    "redis_not_started",
                    f"{error}; the next attempt is in {pause:g} s",
                    problem=str(error),
                    next_attempt_s=pause,
                )
                continue
            if pid is not None:
                tell("redis_started_again", "the embedded Redis was started again", pid=pid)
            break
        return pause
