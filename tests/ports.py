"""Ports for servers of tests."""

from __future__ import annotations

import os
import random
import socket
from contextlib import ExitStack

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def free_port(*hosts: str, count: int = 1) -> int:
    """A port that nobody listens on at these addresses, the first of so many in a row.

    Workers of pytest-xdist have ranges of their own, below the ports that Linux gives to clients:
    nobody else takes it before it is used.
    """
    start = 20_000 + 1_000 * (_WORKER % 12)
    while True:
        first = random.SystemRandom().randrange(start, start + 1_000 - count)
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    for host in hosts or ("127.0.0.1",):
                        stack.enter_context(socket.socket()).bind((host, port))
            except OSError:
                continue
        return first
