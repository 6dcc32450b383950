"""Runs tests as if it were another time, somewhere else: `make clocks`.

`python -m tests.shifted_clock "2027-12-31 15:58" Asia/Kolkata tests/console` starts pytest, and all
that it starts, at that time of UTC on a machine of that zone; the time goes on from there. Without
arguments, the tests that read a clock run at each of `CLOCKS`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

CLOCKS = (
    (
        "2026-12-31 16:01",
        "America/New_York",
    ),  # a minute of the year in Shanghai, where the sample is
    ("2027-01-24 18:20", "Asia/Kolkata"),  # its quiet hours, and Monday in one place alone
    ("2027-03-28 00:55", "Europe/Berlin"),  # summer time begins while they run
    ("2028-02-28 23:58", "UTC"),  # into 29 February, in more than a year
)
"""When (UTC) and where the machine is."""

FOLDERS = (
    *("analytics", "api", "archive", "cli", "console", "docs", "drafts", "engine", "gateways"),
    *("intake", "maintenance", "outbound", "scenarios", "server", "simulation", "store"),
)
"""Folders of tests of what has a clock."""

LEFT_OUT = ("--ignore=tests/server/test_consuming.py",)
"""librdkafka waits until times on the wall: for as long as the clock was moved."""


def run(when: str, zone: str, arguments: list[str], library: Path) -> int:
    """pytest's exit code."""
    wanted = datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp()
    ahead = str(round(wanted - time.time()))
    there = os.environ | {"LD_PRELOAD": str(library), "CLOCK_SHIFT": ahead, "TZ": zone}
    tell = [sys.executable, "-c", "import time; print(time.time())"]
    told = subprocess.run(tell, env=there, capture_output=True, text=True, check=True).stdout
    assert abs(float(told) - wanted) < 60, f"the clock was not moved: {told}"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "4", "--dist", "worksteal", *LEFT_OUT]
    return subprocess.run([*command, *arguments], env=there).returncode


def main(given: list[str]) -> int:
    """The first exit code that is not 0."""
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "shifted_clock.so"
        source = here / "shifted_clock.c"
        compiler = os.environ.get("CC", "cc")
        subprocess.run(
            [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True
        )
        every = [f"tests/{name}" for name in FOLDERS]
        clocks = [(given[0], given[1])] if given else CLOCKS
        codes = []
        for when, zone in clocks:
            print(f"{when} UTC, on a machine in {zone}", flush=True)
            codes.append(run(when, zone, given[2:] or every, library))
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
