"""Reloads under load on a real server: no request fails, whatever is put into the folder."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.reload import Load, call, metric, policy, write
from tests.api.serving import Server

pytestmark = [pytest.mark.slow, pytest.mark.anyio]


def files(turn: int, *, broken: bool = False) -> dict[str, str]:
    found = policy(12, 6, turn)
    if broken:
        found["settings.yaml"] = found["settings.yaml"].replace("at_most: 2", "at_most: 0")
    return found


async def asked(server: Server, path: str, method: str = "GET") -> tuple[int, Any]:
    return await asyncio.to_thread(call, server.port, path, method)


async def when_all(server: Server, version: str) -> None:
    """Returns when twenty new connections in a row find that version in force."""
    until = time.monotonic() + 60
    while True:
        found = {(await asked(server, "/v1/policy"))[1]["policy_version"] for _ in range(20)}
        if found == {version}:
            return
        assert time.monotonic() < until, found
        await asyncio.sleep(0.05)


def workers_of(server: Server) -> list[int]:
    """The processes that answer: children of the server that listen."""
    children = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(server.process.pid)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [int(line.split()[0]) for line in children if "spawn_main" in line]


async def turns(server: Server, rules: Path, load: Load, count: int) -> tuple[set[str], int]:
    """A sound and a broken policy in turn: the versions accepted, and how many were refused."""
    accepted, refused = set(), 0
    for turn in range(1, count + 1):
        write(rules, files(turn, broken=turn % 2 == 0))
        status, answer = await asked(server, "/v1/policy/reload", "POST")
        if turn % 2:
            assert status == 200, answer
            accepted.add(answer["policy_version"])
            assert answer["refusal"] is None
        else:
            assert status == 409, answer
            refused += 1
            found = (await asked(server, "/v1/policy"))[1]
            assert found["refusal"]["count"] == 1
            assert (await asked(server, "/health/ready"))[0] == 200
    return accepted, refused


async def loop(tmp_path: Path, count: int, workers: int) -> None:
    rules = tmp_path / "rules"
    write(rules, files(0))
    with Server(tmp_path, rules=rules, models=tmp_path / "none", workers=workers) as server:
        await asyncio.to_thread(server.wait_until, "/health/ready", 200, 180)
        load = Load(server.port, rate=50)
        task = asyncio.create_task(load.run())
        first = (await asked(server, "/v1/policy"))[1]["policy_version"]
        accepted, refused = await turns(server, rules, load, count)
        load.stopped = True
        await task
        assert load.failures == []
        assert load.versions.total() > count
        assert set(load.versions) <= accepted | {first}
        total = 'nextbest_policy_reloads_total{result="%s"}'
        assert metric(server.port, total % "refused") == refused
        assert metric(server.port, total % "ok") == len(accepted)
        assert server.stop() == 0
    assert "Traceback" not in server.text


async def test_sound_and_broken_policies_in_turn_fail_no_request(tmp_path: Path) -> None:
    await loop(tmp_path, 8, workers=2)


@pytest.mark.soak
async def test_two_hundred_reloads_fail_no_request(tmp_path: Path) -> None:
    await loop(tmp_path, 200, workers=2)


async def test_a_worker_killed_during_a_reload_comes_back_with_the_policy_in_force(
    tmp_path: Path,
) -> None:
    """Even though the folder is broken by then; the other worker goes on meanwhile."""
    rules = tmp_path / "rules"
    write(rules, files(0))
    with Server(tmp_path, rules=rules, models=tmp_path / "none", workers=2) as server:
        await asyncio.to_thread(server.wait_until, "/health/ready", 200, 180)
        version = (await asked(server, "/v1/policy"))[1]["policy_version"]
        write(rules, files(1))
        server.process.send_signal(signal.SIGHUP)
        before = workers_of(server)
        assert len(before) == 2
        until = time.monotonic() + 60
        while (found := (await asked(server, "/v1/policy"))[1]["policy_version"]) == version:
            assert time.monotonic() < until, server.text
            await asyncio.sleep(0.05)
        await when_all(server, found)
        write(rules, files(2, broken=True))
        server.process.send_signal(signal.SIGHUP)
        os.kill(before[0], signal.SIGKILL)
        answered = 0
        until = time.monotonic() + 60
        while len(now := workers_of(server)) < 2 or before[0] in now or answered < 50:
            assert time.monotonic() < until
            try:
                status, _ = await asked(server, "/health/ready")
            except OSError:
                continue  # it was in the hands of the worker that was killed
            assert status == 200
            answered += 1
        await when_all(server, found)
        until = time.monotonic() + 60
        while (view := (await asked(server, "/v1/policy"))[1])["refusal"] is None:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
        assert (view["refusal"]["trigger"], view["policy_version"]) == ("SIGHUP", found)
        write(rules, files(3))
        status, answer = await asked(server, "/v1/policy/reload", "POST")
        assert status == 200
        await when_all(server, answer["policy_version"])
        assert server.stop() == 0
