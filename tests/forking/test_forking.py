"""A command that the fork server runs is, to all who look on, one that was started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.forking import REAL, command_path

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def run(way: Path, *arguments: str, **more: Any) -> tuple[int, str, str]:
    done = subprocess.run([way, *arguments], capture_output=True, text=True, check=False, **more)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--version"], 0, "nextbest "),
        (["chek"], 2, "No such command 'chek'"),
        (["check", "nowhere"], 1, "nowhere"),
        (["check", "rules"], 0, "is valid"),
    ],
)
def test_both_say_the_same_and_end_with_the_same_code(
    arguments: list[str], code: int, said: str
) -> None:
    started, forked = run(REAL, *arguments), run(command_path(), *arguments)
    assert forked == started
    assert forked[0] == code and said in forked[1] + forked[2]


def test_folder_variables_and_umask_are_those_of_who_asks(tmp_path: Path) -> None:
    """And those of one command are not those of the next."""
    given = {**os.environ, "NEXTBEST_RULES": "nowhere", "TZ": "Asia/Shanghai"}
    assert "nowhere" in run(command_path(), "check", env=given)[2]
    assert "nowhere" not in run(command_path(), "check")[2]
    made = [command_path(), "init", "mine"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True, umask=0o077)
    written = [path for path in (tmp_path / "mine").rglob("*") if path.is_file()]
    assert written and {path.stat().st_mode & 0o777 for path in written} == {0o600}


def test_standard_input_is_read_by_both() -> None:
    line = '{"placement": "nowhere", "customer_id": "c-1", "at": "2026-11-21T10:00:00+08:00"}'
    decide = ["decide", "--rules", "rules", "--requests", "-", "--out", "-"]
    started, forked = (run(way, *decide, input=line) for way in (REAL, command_path()))
    assert forked == started and "nowhere" in forked[1]


@contextmanager
def watching(way: Path) -> Iterator[subprocess.Popen[str]]:
    """A command that waits for changes."""
    with subprocess.Popen(
        [way, "check", "rules", "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any("waiting for a change" in line for line in process.stdout)
        yield process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_both_alike(number: signal.Signals) -> None:
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip(f"{number.name} is ignored by what tests start, as by jobs in the background")
    ends = []
    for way in (REAL, command_path()):
        with watching(way) as process:
            process.send_signal(number)
        ends.append(process.returncode)
    assert ends[0] == ends[1]


def test_killed_it_leaves_nothing_behind() -> None:
    with watching(command_path()) as process:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.read()  # ends when the last who could write has ended


def test_where_nobody_answers_it_runs_the_command_itself(tmp_path: Path) -> None:
    alone = tmp_path / "nextbest"
    alone.write_bytes(command_path().read_bytes())
    alone.chmod(0o700)
    (tmp_path / "real").symlink_to(REAL)
    assert run(alone, "--version") == run(REAL, "--version")
