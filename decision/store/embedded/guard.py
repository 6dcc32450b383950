"""The parent of an embedded Redis: ends it when nobody uses its folder any more. A script.

    python guard.py USERS_LOCK BINARY ARGUMENT...

Every process that uses the server holds a shared lock on USERS_LOCK. The kernel takes the lock
back however a process ends, also by `kill -9`. So the exclusive lock, once it is granted here,
says that the last user is gone; one that comes within seconds finds the server still there. If
this process is killed, the kernel sends SIGTERM to the server (Linux), and its users start it
again. Standard library only: it starts in milliseconds.

The server inherits an exclusive lock on the working directory, its data's folder, and holds it
until it ends (`lock.py`). Where another has it, this process ends with the code `TAKEN`.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

_GRACE = 2.0
"""Seconds without users after which the server is stopped."""
_PR_SET_PDEATHSIG = 1
_LOOKS_FOR = 1.0
"""Seconds in which the lock may be held by one that only looks."""
TAKEN = 75
"""The exit code where another server has the data."""


def main() -> int:
    """Runs the server until it ends or nobody uses it; ends as it did."""
    libc = ctypes.CDLL(None)
    data = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    if not is_locked(data):
        return TAKEN

    def end_with_parent() -> None:
        with contextlib.suppress(AttributeError):  # only Linux has it
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    # The death signal is tied to the thread that forks: here it is the main and only one.
    server = subprocess.Popen(
        sys.argv[2:],
        preexec_fn=end_with_parent,  # noqa: PLW1509
        pass_fds=(data,),
    )
    os.close(data)  # from here on the lock is the server's alone
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())

    def wait_for_the_last_user() -> None:
        users = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)  # held until this process ends
        gone_since = None
        while gone_since is None or time.monotonic() - gone_since < _GRACE:
            fcntl.flock(users, fcntl.LOCK_UN)
            if gone_since is not None:
                time.sleep(0.1)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                gone_since = gone_since or time.monotonic()
            except BlockingIOError:
                fcntl.flock(users, fcntl.LOCK_EX)
                gone_since = time.monotonic()
        server.terminate()

    threading.Thread(target=wait_for_the_last_user, daemon=True).start()
    code = server.wait()
    if code < 0:  # end by the same signal, so that who started us sees it
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def is_locked(data: int) -> bool:
    """Takes the lock on the data's folder; False where another server has it."""
    deadline = time.monotonic() + _LOOKS_FOR
    while True:
        try:
            fcntl.flock(data, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True


if __name__ == "__main__":
    sys.exit(main())
