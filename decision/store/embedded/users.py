"""The processes that use the embedded Redis of a folder: each holds a shared lock on `users.lock`.

The kernel takes the lock back however a process ends. The guard (`guard.py`) holds it exclusively
while it ends a server that nobody uses.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from decision.core.errors import StoreUnavailable
from decision.store.embedded.process import log_of

_POLL: Final = 0.02


class Users:
    """This process as one of them, from `join` to `leave`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "users.lock"
        self._lock = self._path.open("ab")
        self._pid = os.getpid()

    @property
    def is_own(self) -> bool:
        """Whether this is the process that joined; a forked child is not a user."""
        return self._pid == os.getpid()

    def join(self, timeout: float) -> None:
        """Takes the shared lock; the guard of a server that is just ending holds it until then.

        Raises:
            StoreUnavailable: it does so for longer than `timeout` seconds.
        """
        deadline = monotonic() + timeout
        while not self._takes(fcntl.LOCK_SH):
            if monotonic() > deadline:
                raise StoreUnavailable(
                    f"the embedded Redis in {self._folder} has been ending for {timeout:g} s; "
                    f"see {log_of(self._folder)}"
                )
            sleep(_POLL)

    def renewed(self, timeout: float) -> Users:
        """This, joined again where the lock's file was removed: a new guard sees only the new one.

        Raises:
            StoreUnavailable: as `join`.
        """
        path = self._path
        if path.exists() and os.path.samestat(path.stat(), os.fstat(self._lock.fileno())):
            return self
        users = Users(self._folder)
        users.join(timeout)
        self.close()
        return users

    def is_last(self, timeout: float) -> bool:
        """Whether no other process uses the server; the exclusive lock is then held."""
        deadline, shared = monotonic() + timeout, 0
        while not self._takes(fcntl.LOCK_EX):
            # The guard may hold the lock: for a moment while it looks, or while it ends.
            shared = shared + 1 if self._takes(fcntl.LOCK_SH) else 0
            if shared > 1 or monotonic() > deadline:
                return False
            self.leave()
            sleep(_POLL)
        return True

    def leave(self) -> None:
        """Gives the lock back, also for forked children."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Closes the lock's file."""
        self._lock.close()

    def _takes(self, kind: int) -> bool:
        try:
            fcntl.flock(self._lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
