"""What `benchmarks.http` measures with: marks around steps, an open loop, and what it tells."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks._http import load, marks, report, steady

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("step", marks.STEPS)
def test_every_function_of_a_step_is_where_marks_look_for_it(step):
    assert all(callable(marks.find(name)[2]) for name in marks.STEPS[step])


def test_a_function_that_has_gone_is_named():
    with pytest.raises(LookupError, match=r"decision\.core\.decide:nothing .*marks\.py"):
        marks.find("decision.core.decide:nothing")


def test_steps_add_up_to_all_the_time_and_a_step_has_none_of_those_within_it():
    """Also of a coroutine, which has only what runs at once; while it waits, others have it."""
    now = 0.0
    timed = marks.Marks(lambda: now)

    def take(seconds: float) -> None:
        nonlocal now
        now += seconds

    inner = timed.around("stages", lambda: take(2.0))

    async def outer() -> int:
        take(1.0)
        inner()
        await asyncio.sleep(0)
        take(4.0)
        return 7

    async def both() -> list[int]:
        task = asyncio.create_task(timed.around("record", outer)())
        await asyncio.sleep(0)
        take(8.0)  # of nothing that has a mark
        return [await task]

    assert asyncio.run(both()) == [7]
    told = timed.told()
    assert (told["record"]["seconds"], told["stages"]["seconds"]) == (5.0, 2.0)
    assert told[marks.LOOP]["seconds"] == 8.0
    assert sum(row["seconds"] for row in told.values()) == now


def test_an_error_goes_through_marks_into_a_coroutine_and_out_of_it():
    timed = marks.Marks()

    async def waits() -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "cancelled"
        return "waited"

    async def cancelled() -> str:
        task = asyncio.create_task(timed.around("record", waits)())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(cancelled()) == "cancelled"


def test_requests_of_an_open_loop_are_sent_when_due_though_none_is_answered():
    """Else a server that stalls would be asked less, and its stall be seen in one request only."""
    wanted, waiting = 20, []

    class Stalled(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            waiting.append(self.transport)
            if len(waiting) == wanted:
                for each in waiting:
                    each.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            elif len(waiting) > wanted:
                self.transport.write(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")

    async def ask() -> load.Load:
        server = await asyncio.get_running_loop().create_server(Stalled, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        found = await load.open_loop(port, [load.get("/")], seconds=0.2, rate=400)
        server.close()
        return found

    found = asyncio.run(ask())
    assert found.answers == wanted
    assert found.refused == len(waiting) - wanted > 0


def test_an_open_loop_goes_on_until_told_and_takes_no_connection_that_was_hung_up():
    asked = []

    class HangsUp(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            asked.append(data)
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            self.transport.close()

    async def ask() -> load.Load:
        server = await asyncio.get_running_loop().create_server(HangsUp, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        ended = asyncio.Event()
        loop = load.open_loop(port, [load.get("/")], float("inf"), rate=50, ended=ended)
        running = asyncio.create_task(loop)
        while len(asked) < 5:
            await asyncio.sleep(0.01)
        ended.set()
        found = await running
        server.close()
        return found

    found = asyncio.run(ask())
    assert found.answers == len(asked) >= 5


def test_a_stop_of_the_event_loop_is_seen_as_long_as_it_is():
    async def stopped() -> float:
        stops = steady.Stops()
        watching = asyncio.create_task(stops.watch())
        await asyncio.sleep(0.01)
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
        await asyncio.sleep(0.01)
        watching.cancel()
        return stops.told()["longest_ms"]

    assert asyncio.run(stopped()) > 45


def test_a_target_is_told_where_its_figures_were_measured_and_only_there():
    grid = {
        "few": {"candidates": 10, "rules": 50, "contacts": 20, "cpu_us": 100.0},
        "many": {"candidates": 1_000, "rules": 50, "contacts": 20, "cpu_us": 600.0},
    }
    rows = [row for target in report.TARGETS if (row := target.row({"grid": grid}))]
    assert rows == ["| candidates 10 → 1,000: CPU grows by | ≤ 5 | 6 | **no** |"]


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_running_whatever_ends_it(number, tmp_path):
    command = [sys.executable, "-m", "benchmarks.http", "--parts", "steps", "--seconds", "60"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # all that it starts has this in its name
    with subprocess.Popen(
        [*command, "--customers", "50", "--out", str(tmp_path)], cwd=ROOT, env=environment
    ) as run:
        until = time.monotonic() + 120
        while not any("nextbest-bench-" in one and "marks" in one for one in commands()):
            assert time.monotonic() < until and run.poll() is None
            time.sleep(0.1)
        run.send_signal(number)
        assert run.wait(60) != 0
    assert [one for one in commands() if str(tmp_path) in one] == []
    assert [path for path in tmp_path.iterdir() if path.name.startswith("nextbest-bench-")] == []


def commands() -> list[str]:
    """The commands of all processes of this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found
