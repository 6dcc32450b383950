"""Processes that end under a running server: each is said, replaced, and none is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import RULES
from tests.api.serving import ROOT, Server
from tests.ports import free_port
from tests.store.test_redis_watch import servers
from tests.waiting import until, until_written

pytestmark = pytest.mark.slow


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "policy.yaml").write_text(RULES, "utf-8")
    return tmp_path / "rules"


def lines(server: Server, event: str) -> list[dict[str, Any]]:
    """What the server's log says about that."""
    rows = [json.loads(row) for row in server.text.splitlines() if row.startswith("{")]
    return [row for row in rows if row["event"] == event]


def workers(server: Server) -> set[int]:
    """The worker processes of a server."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == server.process.pid and b"spawn_main" in command:
            found.add(int(folder.name))
    return found


def refused(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def gone(*pids: int) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def answers(server: Server) -> list[str]:
    """What a decision was made without."""
    missing: list[str] = server.decide(placement="app_home")["degraded"]
    return missing


@pytest.mark.parametrize("count", [1, 2])
def test_a_killed_embedded_redis_comes_back_and_decisions_answer_meanwhile(
    rules: Path, tmp_path: Path, count: int
) -> None:
    with Server(tmp_path, workers=count) as server:
        server.ready()
        until(lambda: len(lines(server, "policy_in_force")) == count)
        put = httpx.put(server.url + "/v1/customers/c-1", json={"attributes": {"name": "x"}})
        assert put.status_code == 200, put.text
        data = tmp_path / ".nextbest" / "redis"
        until_written(data)
        for killed in (1, 2):
            (pid,) = servers(data)
            os.kill(pid, signal.SIGKILL)
            until(lambda: len(lines(server, "redis_started_again")) == killed)  # noqa: B023
            assert [lines(server, "redis_started_again")[-1]["pid"]] == servers(data)
            answers(server)
            until(lambda: "store" not in answers(server))
            (again,) = servers(data)
            assert again != pid
        ended = lines(server, "redis_ended")
        assert [(row["signal"], row["may_have_lost_s"]) for row in ended] == [("SIGKILL", 2)] * 2
        found = server.wait_until("/v1/customers/c-1", 200).json()
        assert found["attributes"] == {"name": "x"}
        server.wait_until("/health/ready", 200)
        assert server.stop() == 0
    assert servers(data) == []


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_dead_worker_is_replaced_and_the_log_says_how_it_ended(
    rules: Path, tmp_path: Path, by: signal.Signals
) -> None:
    with Server(tmp_path, workers=2) as server:
        server.ready()
        before = until(lambda: len(found := workers(server)) == 2 and found)
        assert before
        pid = min(before)
        os.kill(pid, by)
        (ended,) = until(lambda: lines(server, "worker_ended"))
        assert ended["pid"] == pid
        assert ended.get("signal") == by.name or ended.get("exit_code") is not None
        (started,) = until(lambda: lines(server, "worker_started"))
        assert started["instead_of"] == pid
        until(lambda: len(workers(server)) == 2)
        assert started["pid"] in workers(server)
        assert server.stop() == 0


@pytest.mark.parametrize("count", [1, 2])
def test_a_killed_server_leaves_nothing_behind(rules: Path, tmp_path: Path, count: int) -> None:
    with Server(tmp_path, workers=count) as server:
        server.ready()
        (redis,) = servers(tmp_path / ".nextbest" / "redis")
        children = workers(server)
        assert len(children) >= count - 1
        server.process.kill()
        server.process.wait()
        until(lambda: gone(redis, *children))
        assert refused(server.port)
    with Server(tmp_path, workers=count) as again:
        assert again.ready().stop() == 0


@pytest.mark.parametrize("count", [1, 2])
def test_the_process_that_the_log_names_reloads_on_sighup(
    rules: Path, tmp_path: Path, count: int
) -> None:
    with Server(tmp_path, workers=count) as server:
        server.ready()
        until(lambda: len(lines(server, "policy_in_force")) == count)
        (listening,) = lines(server, "listening")
        assert listening["pid"] == server.process.pid
        changed = (rules / "policy.yaml").read_text() + "# changed\n"
        (rules / "policy.yaml").write_text(changed)
        before = httpx.get(server.url + "/v1/policy").json()["policy_version"]
        os.kill(listening["pid"], signal.SIGHUP)
        server.wait_until_json("/v1/policy", lambda view: view["policy_version"] != before)
        assert server.stop() == 0


def test_a_killed_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    port = free_port()
    demo = subprocess.Popen(
        [sys.executable, "-m", "decision.cli", "demo", "--port", str(port), "--customers", "50"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: not refused(port), 180)
        (redis,) = until(lambda: servers(tmp_path / ".nextbest" / "redis"))
        demo.kill()
        demo.wait()
        until(lambda: refused(port))
        until(lambda: gone(redis))
    finally:
        demo.kill()
        demo.wait()


def test_workers_that_end_at_once_are_started_at_growing_intervals(
    rules: Path, tmp_path: Path
) -> None:
    with Server(tmp_path, workers=2) as server:
        server.ready()
        until(lambda: len(workers(server)) == 2)
        for killed in range(1, 4):
            pid = until(lambda: min(workers(server), default=0))
            last = lines(server, "worker_started")
            if last:
                pid = last[-1]["pid"]
            os.kill(pid, signal.SIGKILL)
            until(lambda: len(lines(server, "worker_started")) == killed)  # noqa: B023
        pauses = [row["next_start_s"] for row in lines(server, "worker_ended")]
        assert pauses == [0, 1, 2]
        assert server.stop() == 0


def test_a_torn_end_of_the_data_is_said_in_the_log(rules: Path, tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.ready()
        assert server.stop() == 0
    file = tmp_path / ".nextbest" / "redis" / "appendonly.aof"
    size = file.stat().st_size
    with file.open("ab") as data:
        data.write(bytes(4096))
    with Server(tmp_path) as server:
        server.ready()
        (said,) = lines(server, "redis_data_repaired")
        assert (said["offset"], said["dropped_bytes"]) == (size, 4096)
        assert said["file"] == str(file)
        assert Path(said["kept_in"]).read_bytes() == bytes(4096)
        assert server.stop() == 0
