"""One process at a time gives an audience to a target: a second one would give it twice."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from decision.cli.output import Fail


def lock_of(runs: Path, target: str | None, segment: str, condition: str) -> Path | None:
    """The lock of an audience for a target; None where customers are only counted.

    It is beside the runs, and ends with the process that holds it.
    """
    if target is None:
        return None
    told = "\0".join((target, segment, condition))
    return runs / f"{sha256(told.encode()).hexdigest()[:16]}.lock"


@contextmanager
def alone(path: Path | None, target: str | None) -> Iterator[None]:
    """Holds a lock.

    Raises:
        Fail: another process has it.
        OSError: its file cannot be written.
    """
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _locked(path, os.O_CREAT)
    if file is None:
        raise busy(target)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def is_held(path: Path | None) -> bool:
    """Whether another process has a lock. Nothing is made."""
    if path is None:
        return False
    with suppress(FileNotFoundError):
        file = _locked(path, 0)
        if file is None:
            return True
        os.close(file)
    return False


def busy(target: str | None) -> Fail:
    """What to say where another process is at it."""
    return Fail(f"another process is giving this audience to {target}; wait until it has ended")


def _locked(path: Path, create: int) -> int | None:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | create, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        if os.fstat(file).st_nlink:
            return file
        os.close(file)  # whoever had it has removed it meanwhile
