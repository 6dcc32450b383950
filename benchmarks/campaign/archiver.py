"""`nextbest archive` as a process, and what it has written."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.campaign.servers import ROOT

EVERY: Final = "5s"
KEEP: Final = "3m"
"""How long archived decisions stay in Redis: events of the load about them come within that time."""


class Archiver:
    """Archives while the campaign runs. `ends` counts how often it ended by itself."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.out = folder / "archive"
        self.ends = 0
        self._said = 0
        self._log = folder / "archiver.log"
        self._url = redis_url
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Starts the service; again where it has ended.

        Where Redis is away at its start it ends and says so: whoever keeps it running tries again.
        """
        if self._process is not None and self._process.poll() is not None:
            self.ends += not self.text()[self._said :].startswith("Error: Redis at ")
        if self._process is None or self._process.poll() is not None:
            self._said = len(self.text())
            self._process = await asyncio.to_thread(self._run, "--every", EVERY, "--keep", KEEP)

    async def kill(self) -> None:
        """Signal 9."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self._process = None

    async def finish(self) -> int:
        """Ends the service, then archives all that is left; the exit code of that."""
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, 60)
            self._process = None
        last = await asyncio.to_thread(self._run, "--keep", "1s")
        return await asyncio.to_thread(last.wait, 600)

    def _run(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "decision.cli", "archive", "--out", str(self.out)]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self._log.open("ab") as out:
            return subprocess.Popen(
                [*command, "--redis-url", self._url, *options], stdout=out, stderr=out, env=environ
            )

    def text(self) -> str:
        """What it said."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def rows(self, dataset: str, columns: list[str]) -> Iterator[dict[str, Any]]:
        """The rows of a dataset, hidden files left out."""
        import pyarrow.parquet as pq

        for path in sorted(self.out.glob(f"{dataset}/date=*/[!._]*.parquet")):
            for batch in pq.ParquetFile(path).iter_batches(columns=columns):
                yield from batch.to_pylist()
