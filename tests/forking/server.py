"""The process that imports what commands import, and forks for each: see the package."""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
import types
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

LIBRARIES = (
    *("deltalake", "duckdb", "lightgbm", "obstore", "phonenumbers", "resvg_py", "scipy.optimize"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
    *("pyarrow.compute", "pyarrow.dataset", "pyarrow.parquet", "rich.progress", "rich.table"),
)
"""What `decision` imports in functions. None of them starts threads of Python, or computes."""

AT_START = ("PYTHON", "LC_", "LANG", "LD_", "OMP_", "OPENBLAS_", "MALLOC_", "MPL", "HOME", "XDG_")
"""Variables that are read when a process starts, or when a library is imported."""


class Command(NamedTuple):
    """What to run, as who asked would have."""

    arguments: list[str]
    folder: str
    variables: dict[str, str]
    umask: int
    files: list[int]


class Asked(NamedTuple):
    """A command that runs, and the connection on which its end is awaited."""

    connection: socket.socket
    process: int
    handle: int

    def close(self) -> None:
        self.connection.close()
        os.close(self.handle)


def main() -> None:
    listener = socket.socket(fileno=int(sys.argv[1]))
    _import_all()
    gc.collect()
    gc.freeze()
    command = Server(listener).run()
    if command is not None:
        _become(command)
    _end_with(0 if command is None else _code_of_nextbest())


def _import_all() -> None:
    import decision

    own = (found.name for found in pkgutil.walk_packages(decision.__path__, "decision."))
    for name in (*own, *LIBRARIES):
        if not name.endswith("__main__"):
            with suppress(ImportError):  # an extra that is not installed
                importlib.import_module(name)


class Server:
    """Forks for those who ask until standard input ends."""

    def __init__(self, listener: socket.socket) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self._running: dict[int, Asked] = {}
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(0, selectors.EVENT_READ)

    def run(self) -> Command | None:
        """The command, in a process that is to run it; None in the server, at its end."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj == 0:
                    return None
                if key.fileobj is not self._listener:
                    self._end(key.data)
                elif (command := self._fork()) is not None:
                    return command

    def _fork(self) -> Command | None:
        connection, _ = self._listener.accept()
        command = _received(connection)
        if command is None:
            connection.close()  # who asked runs it then
            return None
        process = os.fork()
        if not process:
            os.setpgid(0, 0)  # who asked hands on signals, so that none comes twice
            connection.close()
            self._close()
            return command
        for file in command.files:
            os.close(file)
        connection.sendall(process.to_bytes(4, "big"))
        asked = Asked(connection, process, os.pidfd_open(process))
        for each in (asked.connection, asked.handle):
            self._selector.register(each, selectors.EVENT_READ, asked)
        self._running[process] = asked
        return None

    def _end(self, asked: Asked) -> None:
        """The command has ended, or who asked is gone, as at its death: neither outlives the other."""
        if self._running.pop(asked.process, None) is None:
            return  # both, at once
        signal.pidfd_send_signal(asked.handle, signal.SIGKILL)
        _, status = os.waitpid(asked.process, 0)
        with suppress(OSError):
            asked.connection.sendall(
                os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True)
            )
        for each in (asked.connection, asked.handle):
            self._selector.unregister(each)
        asked.close()

    def _close(self) -> None:
        for asked in self._running.values():
            asked.close()
        self._selector.close()
        self._listener.close()


def _received(connection: socket.socket) -> Command | None:
    length, files, _, _ = socket.recv_fds(connection, 4, 3)
    told = b""
    while len(length) == 4 and len(told) < int.from_bytes(length, "big"):
        if not (more := connection.recv(1 << 20)):
            break
        told += more
    try:
        command = Command(**json.loads(told), files=files)
    except (ValueError, TypeError):
        command = None
    if command is None or _at_start(command.variables) != _at_start(os.environ):
        for file in files:
            os.close(file)
        return None
    return command


def _at_start(variables: Any) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(AT_START)}


def _become(command: Command) -> None:
    """Makes of this process what `nextbest` started with this would be."""
    for number, file in enumerate(command.files):
        os.dup2(file, number)
    for file in command.files:
        if file > 2:
            os.close(file)
    os.chdir(command.folder)
    os.umask(command.umask)
    os.environ.clear()
    os.environ.update(command.variables)
    time.tzset()
    sys.argv[:] = ["nextbest", *command.arguments]
    sys.modules["__main__"] = types.ModuleType("__main__")


def _code_of_nextbest() -> int:
    from decision.cli import main as nextbest

    try:
        nextbest()
    except SystemExit as end:  # `main` never returns
        return end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
    return 1


def _end_with(code: int) -> NoReturn:
    """As Python ends, but for taking down what was imported, which takes as long as to import it."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
