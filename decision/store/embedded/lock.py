"""One server at a time over the data of a folder.

Whoever has the data holds an exclusive `flock` on the folder itself: the server, by a descriptor
that its guard leaves to it, from before it reads the data until it has ended. A folder, unlike a
lock file, cannot be removed or replaced under the data; it is the same under another path, in
another mount and in another container of the same machine. It is no lock between machines that
share a network file system.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from decision.core.errors import StoreUnavailable
from decision.observability import tell

_POLL: Final = 0.1
_PATIENCE: Final = 2.0
"""Seconds in which a server that cannot be reached may show up, as one that is just starting."""
_SERVER: Final = re.compile(rb"(?:[^\0]*/)?(?:redis|valkey)-server[ \0]")
_CHILD: Final = re.compile(rb"(?:redis|valkey)-(?:aof|rdb)-")


@dataclass(frozen=True)
class Server:
    """A process that has a folder's data."""

    pid: int
    parent: int
    stopped: bool
    """By SIGSTOP, or by a debugger."""
    is_child: bool
    """It only writes a new file for its parent, the server."""


@contextmanager
def unused(folder: Path, kind: int = fcntl.LOCK_EX) -> Iterator[bool]:
    """Whether no server has the folder's data; if so, none can start while the block runs.

    With `LOCK_SH` several can look at once.

    Raises:
        StoreUnavailable: the folder cannot be locked.
    """
    try:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _no_lock(folder, error) from error
    try:
        try:
            fcntl.flock(place, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            raise _no_lock(folder, error) from error
        try:  # a server that an earlier version started holds no lock
            yield all(server.is_child for server in servers_of(folder))
        finally:
            fcntl.flock(place, fcntl.LOCK_UN)  # also for a child forked meanwhile
    finally:
        os.close(place)


def servers_of(folder: Path) -> list[Server]:
    """The processes of Redis whose working directory is the folder, as far as they can be seen.

    One of another user or in another container cannot be; nor can any without `/proc`.
    """
    here, found = folder.stat(), []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            cwd = (process / "cwd").stat()
            if (cwd.st_dev, cwd.st_ino) != (here.st_dev, here.st_ino):
                continue
            command = (process / "cmdline").read_bytes()
            is_child = _CHILD.match(command) is not None
            if is_child or _SERVER.match(command):
                state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
                found.append(Server(int(process.name), int(parent), state in "Tt", is_child))
    pids = {one.pid for one in found}  # a child has its parent's name for a moment
    return [replace(one, is_child=one.is_child or one.parent in pids) for one in found]


def ask_to_end(folder: Path, server: Server) -> None:
    """Sends SIGTERM, on which Redis writes what it has and ends; never to another process.

    A child that has outlived its server is killed: what it writes, nobody takes.
    """
    with suppress(ProcessLookupError):
        process = os.pidfd_open(server.pid)
        try:
            if server.pid in {one.pid for one in servers_of(folder)}:
                by = signal.SIGKILL if server.is_child else signal.SIGTERM
                signal.pidfd_send_signal(process, by)
        finally:
            os.close(process)


def make_way(
    folder: Path, timeout: float, is_reached: Callable[[], bool], given_up: Callable[[], bool]
) -> bool:
    """Ends a server that lives and cannot be reached, and waits for its end; it is said.

    Returns whether none has the data; if not, one is reached by now, or it is `given_up`.

    Raises:
        StoreUnavailable: one still has it after `timeout` seconds, and no other may start.
    """
    since, asked = monotonic(), set[int]()
    while True:
        with unused(folder) as free:
            if free:
                return True
        if is_reached() or given_up():
            return False
        servers = servers_of(folder)
        pids = {server.pid for server in servers}
        patient = monotonic() - since < _PATIENCE
        for server in servers:
            orphan = server.is_child and server.parent not in pids
            if server.pid in asked or not (orphan or not (patient or server.is_child)):
                continue
            if not server.is_child:
                tell(
                    "redis_unreachable",
                    f"the embedded Redis in {folder} runs as process {server.pid} and cannot be "
                    "reached by its socket; it is asked to end, and another is started then",
                    pid=server.pid,
                    folder=str(folder),
                )
            asked.add(server.pid)
            ask_to_end(folder, server)
        if monotonic() - since > timeout:
            raise StoreUnavailable(_still_there(folder, servers))
        sleep(_POLL)


def _still_there(folder: Path, servers: list[Server]) -> str:
    for server in servers:
        if not server.is_child:
            how = (
                f"is stopped; continue it (kill -CONT {server.pid}), and it ends"
                if server.stopped
                else "does not end; end it"
            )
            return (
                f"process {server.pid} has the data in {folder}, cannot be reached by its socket "
                f"and {how}; no second server is started over the same data"
            )
    return (
        f"a Redis that is not seen here has the data in {folder} and cannot be reached by its "
        "socket: it belongs to another user or runs in another container; stop that one; no "
        "second server is started over the same data"
    )


def _no_lock(folder: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"the folder {folder} of the embedded Redis cannot be locked: {error.strerror}; make it "
        "readable, use one on a local disk, or set NEXTBEST_REDIS_URL"
    )
