"""A Redis server that nextbest starts itself where no other is configured.

Data, socket, log and locks are in one folder. Every process that uses it holds a shared lock on
`users.lock`; the last one stops the server. Its parent is `guard.py`, which stops it where
the last one was killed. Before a start the data is checked, and a torn end is cut. A server that
lives holds its folder (`lock.py`): one that cannot be reached is ended before another starts.
"""

from __future__ import annotations

import atexit
import fcntl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final, Literal
from urllib.parse import quote

from decision.core.errors import StoreUnavailable
from decision.store.embedded.guard import TAKEN
from decision.store.embedded.lock import ask_to_end, make_way, servers_of, unused
from decision.store.embedded.process import find_binary, launch, log_of, prepare, why_it_ended
from decision.store.embedded.unix_socket import ask, listens, socket_path, state
from decision.store.embedded.users import Users

_POLL: Final = 0.02
_STOP_TIMEOUT: Final = 30.0
_STOPPED_FOR: Final = 1.0
"""Seconds after which a server that is stopped (SIGSTOP) is not waited for."""


class EmbeddedRedis:
    """The server of one folder: `start` it, use the URL it gives, `stop` it.

    `fsync` says how soon a write is on disk. With `everysec` about two seconds can be lost, when
    the machine goes down, and also when the server is killed while the disk is busy: writes that
    it has acknowledged then wait in its memory. `always` loses nothing. `timeout` is in seconds;
    reading large data takes a while.
    `binary` is the server's path; left out, see `find_binary`.
    """

    def __init__(
        self,
        folder: str | Path = ".nextbest/redis",
        *,
        fsync: Literal["everysec", "always"] = "everysec",
        timeout: float = 120.0,
        binary: str | None = None,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.fsync = fsync
        self._timeout = timeout
        self._binary = binary
        self._users: Users | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> str:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> str:
        """Starts the server, or finds the one that runs; returns its URL.

        Raises:
            StoreUnavailable: it cannot be started; the text says why and what to do.
        """
        if self._users is None:
            self._prepare_folder()
            with self._locked():
                users = Users(self.folder)
                try:
                    users.join(self._timeout)
                    self._ensure_running()
                except BaseException:
                    users.close()
                    raise
            self._users = users
            atexit.register(self.stop)
        return "unix://" + quote(str(socket_path(self.folder)))

    def stop(self) -> None:
        """Stops using the server; if no other process uses it, stops it and waits for its end.

        Raises:
            StoreUnavailable: it does not stop within half a minute.
        """
        if self._users is None or not self._users.is_own:
            return
        atexit.unregister(self.stop)
        users, self._users = self._users, None
        with closing(users):
            users.leave()
            if not self.folder.exists():  # removed meanwhile; the guard stops the server
                return
            with self._locked():
                try:
                    if users.is_last(_STOP_TIMEOUT):
                        self._shut_down()
                finally:
                    users.leave()

    def revive(self, given_up: Callable[[], bool]) -> int | None:
        """Starts the server again where it has ended; returns the new one's process id.

        None where it runs, or where another process has just started it. While it loads its data
        `given_up` is asked, and ends the waiting.

        Raises:
            StoreUnavailable: it cannot be started; the text says why and what to do.
        """
        if not self.folder.exists():
            raise StoreUnavailable(
                f"the folder {self.folder} of the embedded Redis was removed while in use; put it "
                "back, or start everything that uses it again"
            )
        with self._locked():
            if self._users is not None and self._users.is_own:
                self._users = self._users.renewed(self._timeout)
            if state(self.folder) is not None:
                return None
            self._ensure_running(given_up)
            if given_up():
                return None
            alive = [one.pid for one in servers_of(self.folder) if not one.is_child]
            return alive[0] if alive else int((self.folder / "redis.pid").read_text())

    def running(self) -> bool:
        """Whether a server listens on the socket; quick, and never waits for a slow one."""
        return listens(self.folder)

    def lives(self) -> bool:
        """Whether a server has the data, also one that cannot be reached."""
        try:
            with unused(self.folder, fcntl.LOCK_SH) as free:
                return not free
        except (StoreUnavailable, OSError):
            return False

    def exit_code(self) -> int | None:
        """How the server that this process started has ended, as `Popen.returncode`; else None."""
        if self.process is None:
            return None
        try:
            return self.process.wait(timeout=_POLL)
        except subprocess.TimeoutExpired:
            return None

    def _prepare_folder(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.folder / "start.lock").open("ab").close()
        except OSError as error:
            raise StoreUnavailable(
                f"the embedded Redis cannot use the folder {self.folder}: {error.strerror}; make "
                "it writable, start elsewhere, or set NEXTBEST_REDIS_URL"
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Excludes other processes that start or stop the server of this folder."""
        with (self.folder / "start.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
            fcntl.flock(lock, fcntl.LOCK_UN)

    def _ensure_running(self, given_up: Callable[[], bool] = lambda: False) -> None:
        deadline = monotonic() + self._timeout
        log = log_of(self.folder)
        logged = log.stat().st_size if log.exists() else 0
        launched = False
        while (now := state(self.folder)) != "ready" and not given_up():
            if launched and self.process is not None and (code := self.process.poll()) is not None:
                self.process, launched = None, False
                if code != TAKEN:
                    raise why_it_ended(self.folder, logged)
            if now is None and not launched:
                launched = self._launch(given_up)
            if monotonic() > deadline:
                self._abandon()
                raise StoreUnavailable(
                    f"the embedded Redis in {self.folder} is not ready after "
                    f"{self._timeout:g} s; see {log}"
                )
            sleep(_POLL)

    def _launch(self, given_up: Callable[[], bool]) -> bool:
        """Starts a server once no other has the data; False where one is found by then."""
        is_reached = lambda: state(self.folder) is not None  # noqa: E731
        if not make_way(self.folder, _STOP_TIMEOUT, is_reached, given_up):
            return False
        if self.process is not None:  # the guard of the one before
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=1)
        binary = self._binary or find_binary()
        with unused(self.folder) as free:
            if not free:
                return False
            prepare(self.folder, binary)
        self.process = launch(self.folder, socket_path(self.folder), binary, self.fsync)
        return True

    def _abandon(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):  # it still has the data, and is ended later
                process.wait(timeout=_STOP_TIMEOUT)

    def _shut_down(self) -> None:
        # The append-only file is written, a snapshot is not. By both ways: where it takes no
        # connection it takes the signal, and where it cannot be seen it takes the command.
        ask(self.folder, b"SHUTDOWN NOSAVE\r\n")
        for server in servers_of(self.folder):
            if not server.is_child:
                ask_to_end(self.folder, server)
        self._wait_until_gone()

    def _wait_until_gone(self) -> None:
        deadline, stopped_since = monotonic() + _STOP_TIMEOUT, None
        while self.lives() or (self.process and self.process.poll() is None):
            stopped = [one.pid for one in servers_of(self.folder) if one.stopped]
            stopped_since = (stopped_since or monotonic()) if stopped else None
            if stopped_since is not None and monotonic() - stopped_since > _STOPPED_FOR:
                raise StoreUnavailable(
                    f"the embedded Redis in {self.folder}, process {stopped[0]}, is stopped and is "
                    f"left; it ends once it continues (kill -CONT {stopped[0]})"
                )
            if monotonic() > deadline:
                raise StoreUnavailable(
                    f"the embedded Redis in {self.folder} does not stop; see {log_of(self.folder)}"
                )
            sleep(_POLL)
        self.process = None
