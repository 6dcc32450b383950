"""Workers that end during their start: seen at once, and not started for ever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from decision.server.settings import ServerSettings, SettingsError
from decision.server.workers import check
from tests.api.serving import ROOT
from tests.ports import free_port
from tests.waiting import until

_RUN = """
import os, sys, time
from pathlib import Path
from decision.api.protocol import BoundedProtocol
from decision.server.settings import ServerSettings
from decision.server.workers import run

def application():
    {application}

if __name__ == "__main__":
    settings = ServerSettings(
        workers=2, port=int(sys.argv[1]), redis_url="redis://127.0.0.1:1", follow="published"
    )
    sys.exit(run(settings, "its_start:application", BoundedProtocol))
"""

pytestmark = pytest.mark.slow


@contextmanager
def serving(folder: Path, application: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server of two workers whose application is what that code makes."""
    script = folder / "its_start.py"
    script.write_text(_RUN.replace("{application}", application))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEXTBEST_")}
    path = f"{ROOT}{os.pathsep}{folder}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(script), str(free_port())],
            cwd=folder,
            env={**kept, "PYTHONPATH": path},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ended(folder: Path) -> list[dict[str, Any]]:
    """What the log says of workers that ended."""
    rows = [row for row in (folder / "log").read_text().splitlines() if row.startswith("{")]
    return [row for row in map(json.loads, rows) if row["event"] == "worker_ended"]


def test_workers_that_all_end_before_one_was_ready_end_the_server_with_their_code(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, "sys.exit(4)") as server:
        assert server.wait(60) == 4
    assert len({row["pid"] for row in ended(tmp_path)}) >= 2
    assert {row["exit_code"] for row in ended(tmp_path)} == {4}


_FIRST_ENDS = """
    try:
        Path("first").touch(exist_ok=False)
    except FileExistsError:
        Path(f"starting-{os.getpid()}").touch()
        time.sleep(600)
    sys.exit(1)
"""


def test_a_worker_that_ends_is_seen_and_a_stop_is_obeyed_while_others_still_start(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, _FIRST_ENDS) as server:
        until(lambda: len(list(tmp_path.glob("starting-*"))) == 2)  # one instead of the first
        (first,) = ended(tmp_path)
        assert first["exit_code"] == 1
        assert server.poll() is None
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    pids = [int(file.name.partition("-")[2]) for file in tmp_path.glob("starting-*")]
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_an_archive_that_cannot_be_read_is_refused_before_there_are_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SettingsError, match="needs pyarrow; install what is missing with"):
        check(ServerSettings(archive=str(tmp_path)))
