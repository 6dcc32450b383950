"""The shop that the documentation speaks of: `nextbest demo`, in which nobody else acts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.docs.pages import ROOT
from tests.forking import command_path
from tests.ports import free_port

CUSTOMERS = 500


class Shop:
    """A running demo: its folder, its address, and the folders that a reader would have beside it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"

    def desk(self, folder: Path) -> Path:
        """A folder as a reader has it: the sample's rules and specs, and the demo's own folder."""
        shutil.copytree(ROOT / "rules", folder / "rules")
        (folder / "models").mkdir()
        shutil.copy(ROOT / "models" / "engagement.yaml", folder / "models")
        (folder / ".nextbest").symlink_to(self.folder / ".nextbest")
        (self.folder / "archive").mkdir(exist_ok=True)  # one log, one archive
        (folder / "archive").symlink_to(self.folder / "archive")
        return folder


@contextmanager
def running_shop(folder: Path) -> Iterator[Shop]:
    """The demo, served; ended afterwards."""
    port = free_port()
    with (folder / "demo.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "decision.cli", "demo"),
                *("--port", str(port), "--customers", str(CUSTOMERS), "--no-shop", "--no-open"),
            ],
            cwd=folder,
            env={**environment(), "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
    try:
        shop = Shop(folder, port)
        wait_until_ready(shop.url, process, 900)  # machines may be busy
        yield shop
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def environment() -> dict[str, str]:
    """The environment of commands: no settings from outside, this `nextbest` and Python first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEXTBEST_")}
    first = f"{command_path().parent}:{Path(sys.executable).parent}"
    return {**kept, "PATH": f"{first}:{kept['PATH']}", "COLUMNS": "160"}


def wait_until_ready(url: str, process: subprocess.Popen[bytes], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, f"it ended with {process.returncode}"
        try:
            if httpx.get(f"{url}/health/ready", verify=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not ready within {seconds} s")
