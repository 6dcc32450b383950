"""An embedded Redis that ends under those who use it is started again, and never twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from decision.children import how_it_ended
from decision.store.embedded import watch as redis_watch
from decision.store.embedded.server import EmbeddedRedis
from decision.store.embedded.watch import WatchedRedis
from tests.store.test_embedded import ask, finish, pid_of, runs, wait_until_gone
from tests.waiting import until

USER = """
    import sys
    from decision.store import EmbeddedRedis, WatchedRedis
    server = WatchedRedis(EmbeddedRedis(sys.argv[1]))
    print(server.start(), flush=True)
    sys.stdin.readline()
    server.stop()
"""


@pytest.fixture(autouse=True)
def as_a_command() -> None:
    """Logging is not set up, as in a command: what must be known goes to stderr."""
    structlog.reset_defaults()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose server is stopped at the end, whoever started it."""
    yield tmp_path / "redis"
    with EmbeddedRedis(tmp_path / "redis"):
        pass


def start_user(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Another process that uses and watches the folder until a line is written to it."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(USER), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def another(url: str, old: int) -> int:
    """The process id of the server that came after that one."""

    def found() -> int:
        try:
            pid = pid_of(url)
        except (OSError, StopIteration):
            return 0
        return pid if pid != old else 0

    return until(found)


def servers(folder: Path) -> list[int]:
    """Every redis-server whose data is in that folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            binary = (process / "exe").resolve().name
            if "redis" in binary and (process / "cwd").resolve() == folder.resolve():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_a_killed_server_comes_back_with_its_data_and_it_is_said(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = ""

    def started(times: int) -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return said.count("the embedded Redis was started again") == times

    with WatchedRedis(EmbeddedRedis(folder, fsync="always")) as url:
        ask(url, "SET key value")
        for times in (1, 2):
            pid = pid_of(url)
            os.kill(pid, signal.SIGKILL)
            again = another(url, pid)
            until(lambda: started(times))  # noqa: B023
            assert "value" in ask(url, "GET key")
    assert not runs(again)
    assert said.count("the embedded Redis ended") == 2


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_with_many_users_one_starts_it_again(folder: Path, by: signal.Signals) -> None:
    users = [start_user(folder) for _ in range(3)]
    url = users[0][1]
    pid = pid_of(url)
    os.kill(pid, by)
    again = another(url, pid)
    assert until(lambda: servers(folder) == [again])
    for process, _ in users[:-1]:
        assert finish(process) == 0
        assert runs(again)
    assert finish(users[-1][0]) == 0
    assert not runs(again)


def test_a_short_command_beside_a_server_neither_starts_nor_ends_one(folder: Path) -> None:
    with WatchedRedis(EmbeddedRedis(folder)) as url:
        pid = pid_of(url)
        process, _ = start_user(folder)
        assert servers(folder) == [pid]
        assert finish(process) == 0
        assert servers(folder) == [pid]
        process, _ = start_user(folder)
        process.kill()
        process.communicate()
        assert servers(folder) == [pid] == [pid_of(url)]


def test_a_server_that_another_command_started_outlives_it(folder: Path) -> None:
    process, url = start_user(folder)
    pid = pid_of(url)
    with WatchedRedis(EmbeddedRedis(folder)):
        assert finish(process) == 0
        assert pid_of(url) == pid
    wait_until_gone(pid)


def test_when_the_last_user_is_killed_the_server_ends(folder: Path) -> None:
    users = [start_user(folder) for _ in range(2)]
    pid = pid_of(users[0][1])
    for process, _ in users:
        process.kill()
        process.communicate()
    wait_until_gone(pid)
    until(lambda: not servers(folder))


def test_a_killed_guard_takes_its_server_along_and_the_users_start_another(folder: Path) -> None:
    redis = EmbeddedRedis(folder)
    with WatchedRedis(redis) as url:
        pid = pid_of(url)
        assert redis.process is not None
        redis.process.kill()
        again = another(url, pid)
        until(lambda: servers(folder) == [again])


def test_a_server_that_cannot_start_is_tried_at_growing_intervals_and_says_why(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with WatchedRedis(EmbeddedRedis(folder)) as url:
        pid = pid_of(url)
        data = folder / "appendonly.aof"
        kept = data.read_bytes()
        monkeypatch.setattr(redis_watch, "_LONGEST_PAUSE", 0.4)
        data.write_bytes(b"?" * 100)
        os.kill(pid, signal.SIGKILL)
        seen = ""

        def refused() -> bool:
            nonlocal seen
            seen += capfd.readouterr().err
            return seen.count("and nothing before that is complete") >= 3

        until(refused)
        assert not servers(folder)
        data.write_bytes(kept)
        another(url, pid)
    assert seen.count("the embedded Redis ended") == 1


def test_a_folder_that_is_removed_under_a_server_is_said_and_no_second_one_starts(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    redis = WatchedRedis(EmbeddedRedis(folder))
    url = redis.start()
    pid = pid_of(url)
    shutil.rmtree(folder)
    seen = ""

    def said() -> bool:
        nonlocal seen
        seen += capfd.readouterr().err
        return "was removed while in use" in seen

    until(said)
    assert runs(pid) and not folder.exists()
    redis.stop()
    wait_until_gone(pid)


def test_how_a_process_ended_is_a_code_or_the_name_of_a_signal() -> None:
    assert how_it_ended(3) == {"exit_code": 3}
    assert how_it_ended(-9) == {"signal": "SIGKILL"}
    assert how_it_ended(-200) == {"signal": "200"}
    assert how_it_ended(None) == {}
