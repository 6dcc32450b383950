"""The gateway that writes to files: for the demo, for tests, and for those who read files.

Deliveries are lines of NDJSON in one file a day (UTC). Any number of processes may write it. A line
is complete or not there: what a crash has cut is removed before the next line is added.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from decision.core.clock import time_text
from decision.gateways.protocol import (
    Accepted,
    AudiencePortion,
    GatewayConfig,
    OnUnknown,
    Outgoing,
    Result,
    Retry,
    Unknown,
)
from decision.gateways.registry import GatewayType

_BLOCK = 64 * 1024


class FileConfig(GatewayConfig, frozen=True, kw_only=True):
    """`path` is a folder; it is made where it is missing."""

    path: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery in the file. `at` is when it was decided."""

    decision_id: str
    message: str
    channel: str
    customer_id: str
    content: dict[str, object]
    at: str


class FileGateway:
    """Appends each delivery to `<path>/deliveries-<date>.ndjson`.

    A delivery that is attempted twice may be there twice: its `decision_id` and `message` tell.
    """

    on_unknown_default: OnUnknown = "again"

    def __init__(
        self, folder: Path, timeout: float = 15.0, clock: Callable[[], float] = time.time
    ) -> None:
        self.folder = folder
        self._timeout = timeout
        self._clock = clock

    async def send(self, outgoing: Outgoing) -> Result:
        """Appends one line; the answer comes when it is on disk."""
        line = Line(
            decision_id=outgoing.decision_id,
            message=outgoing.message,
            channel=outgoing.channel,
            customer_id=outgoing.customer_id,
            content=outgoing.content,
            at=time_text(outgoing.at),
        )
        name = time.strftime("deliveries-%Y-%m-%d.ndjson", time.gmtime(self._clock()))
        return await self._append(name, msgspec.json.encode(line))

    async def send_portion(self, portion: AudiencePortion) -> Result:
        """Appends one line for a portion to `<path>/audience-<run>.ndjson`."""
        return await self._append(
            f"audience-{portion.run}.ndjson", msgspec.json.encode(portion.payload())
        )

    async def _append(self, name: str, line: bytes) -> Result:
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.to_thread(append, self.folder / name, line + b"\n")
        except TimeoutError:
            return Unknown(f"{self.folder} did not take a line within {self._timeout:g} s")
        except OSError as error:
            return Retry(reason=f"{self.folder}: {error.strerror or error}")
        return Accepted()

    async def close(self) -> None:
        """Nothing is open between two lines."""


def append(path: Path, line: bytes) -> None:
    """Adds a line to a file that others write as well, and waits until it is on disk.

    Raises:
        OSError: it cannot be written; the file is as before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # ends with the process that holds it
        end = _end_of_lines(file)
        try:
            written = os.write(file, line)
            while written < len(line):
                written += os.write(file, line[written:])
            os.fsync(file)
        except OSError:
            os.ftruncate(file, end)  # as on a full disk
            raise
    finally:
        os.close(file)


def _end_of_lines(file: int) -> int:
    """Where the last complete line ends; what follows it was cut by a crash, and is removed."""
    size = end = os.fstat(file).st_size
    while end > 0:
        start = max(0, end - _BLOCK)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(file, end)
    return end


TYPE = GatewayType(
    config=FileConfig,
    make=lambda config, context: FileGateway(Path(config.path).absolute(), config.timeout),
)
