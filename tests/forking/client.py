"""`nextbest` on the path of tests: it has the fork server run the command, and stands for it.

Signals that it gets the command gets, and it ends as the command does.
"""

# pathlib takes longer to import than all of this takes to run
# ruff: noqa: PTH109, PTH115, PTH120
import contextlib
import json
import os
import signal
import socket
import sys

HERE = os.path.dirname(__file__)
SERVING = ("serve", "demo", "outbound", "consume")
HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)


def main() -> None:
    asked = None if sys.argv[1:2] and sys.argv[1] in SERVING else ask()
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDED_ON)
    process = int.from_bytes(asked.recv(4), "big") if asked else 0
    if not asked or not process:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDED_ON)
        real = os.readlink(f"{HERE}/real")
        os.execv(real, [real, *sys.argv[1:]])
    for number in HANDED_ON:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda given, _: hand_on(process, given))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDED_ON)
    end_as(int.from_bytes(asked.recv(4), "big", signed=True))


def ask():
    """A connection on which the command was handed over; None where nobody listens."""
    asked = socket.socket(socket.AF_UNIX)
    umask = os.umask(0o77)
    os.umask(umask)
    command = {
        "arguments": sys.argv[1:],
        "folder": os.getcwd(),
        "variables": dict(os.environ),
        "umask": umask,
    }
    told = json.dumps(command).encode()
    try:
        asked.connect(f"{HERE}/socket")
        socket.send_fds(asked, [len(told).to_bytes(4, "big")], [0, 1, 2])
        asked.sendall(told)
    except OSError:
        return None
    return asked


def hand_on(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended, and its code is on the way
        os.kill(process, number)


def end_as(code: int) -> None:
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


main()
