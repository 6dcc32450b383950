"""How late steps of journeys are, from when a timer is due to the commit, with runners.

    python -m benchmarks.journeys [--rate 2000] [--seconds 60] [--runners 2] [--asks 0.15]

Customers start at the rate given, and wait: for so long that all have started, and are in the
wait, before the first is due. Then as many come due each second, and nothing else happens. Some
ask for a decision then, for the others the journey ends. Runners are `nextbest outbound` as anybody
runs it, Redis writes every commit to the disk (`appendfsync always`).

When a commit was made, its entry in the log says, by Redis' clock. CPU is that of runners and Redis
while timers come due, for each timer.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from decision.core import records
from decision.core.clock import MILLISECOND, SECOND, from_micros
from decision.core.identifiers import PARTITIONS
from decision.core.schema import Event
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.rulebook.reader import load_files
from decision.store import EmbeddedRedis, RedisStore

BOUND: Final = 1.0
"""Seconds that 99 of 100 are to be looked at within."""

RULES: Final = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {service: {consent: not_required}}
channels: {push: {}}
placements: {crm: {channels: [push]}}
messages:
  hello: {purpose: service, tags: [hello], channels: [push], value: 2, content: {title: Hello}}
  other: {purpose: service, channels: [push], value: 9, content: {title: Other}}
journeys:
  welcome:
    start: {event: sign_up}
    goal: {event: purchase}
    steps:
      pause: {wait: WAITs}
      choose: {branch: [{when: {event.asks: true}, go: hello}, {go: done}]}
      hello: {ask: crm, of: {tags: [hello]}}
      done: {end: finished}
"""
_PORTION: Final = 50
"""Events that are written together."""
_MARGIN: Final = 10
"""Seconds from the last start to the first timer that is due."""


async def engine_on(store: RedisStore, rules: str) -> Engine:
    """An engine that records events."""
    engine = Engine(store, EngineSettings(timeout=30.0))
    policy = load_files({"rules.yaml": rules}).definition
    assert policy is not None
    at = from_micros(engine.runtime.clock())
    engine.use(await build_snapshot(policy, None, store, at, try_first=False, durable=False))
    return engine


async def start_all(engine: Engine, options: argparse.Namespace) -> None:
    """Starts a run for everybody, at the rate at which they are to come due."""
    count, under_way = options.rate * options.seconds, set[asyncio.Task[object]]()
    share, began = round(options.asks * 100), time.monotonic()
    for first in range(0, count, _PORTION):
        await asyncio.sleep(max(0.0, began + first / options.rate - time.monotonic()))
        numbers = range(first, min(first + _PORTION, count))
        events = [
            Event(
                id=f"s-{one}",
                type="sign_up",
                customer_id=f"c-{one}",
                properties={"asks": one % 100 < share},
            )
            for one in numbers
        ]
        task = asyncio.create_task(engine.events.record(events))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    took = time.monotonic() - began
    print(f"{count:,} runs started at {count / took:,.0f}/s", flush=True)


async def lags(store: RedisStore, wait: int) -> tuple[list[float], list[float], float]:
    """How late each timer was done, and each first step after its start, in seconds; and over how
    many seconds timers were done."""
    late: list[float] = []
    first: list[float] = []
    due: dict[str, int] = {}
    done: list[int] = []
    for partition in range(PARTITIONS):
        position = ""
        while entries := (await store.read_logs({partition: position})).get(partition):
            position = entries[-1].entry_id
            for entry in entries:
                if entry.record.kind != "journey":
                    continue
                record = records.decode_journey(entry.record.body)
                at = int(entry.entry_id.partition("-")[0]) * MILLISECOND
                if "pause:wait" in record.steps:
                    due[record.run] = record.at + wait * SECOND
                    first.append((at - record.started) / SECOND)
                elif (woken := due.pop(record.run, None)) is not None:
                    late.append((at - woken) / SECOND)
                    done.append(at)
    return sorted(late), sorted(first), (max(done) - min(done)) / SECOND


def runner(folder: Path, url: str) -> subprocess.Popen[bytes]:
    """One more `nextbest outbound`."""
    command = [sys.executable, "-m", "decision.cli", "outbound", "--rules", str(folder / "rules")]
    with (folder / "runners.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--redis-url", url],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
            stdout=log,
            stderr=log,
        )


def cpu_of(processes: Mapping[str, int]) -> dict[str, float]:
    """Name → seconds of CPU that a process has used so far, by its id."""
    found = {}
    for name, process in processes.items():
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        found[name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


async def under_way(store: RedisStore) -> int:
    """How many runs there are."""
    counts = await store.tallies()
    return sum(number for name, number in counts.items() if "!" not in name)


async def measure(options: argparse.Namespace) -> bool:
    wait = options.seconds + _MARGIN
    rules = RULES.replace("WAIT", str(wait))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules").mkdir()
        (folder / "rules" / "rules.yaml").write_text(rules, "utf-8")
        with EmbeddedRedis(folder / "redis", fsync="always", binary=options.redis) as url:
            store = RedisStore(url, timeout=30.0)
            await store.start()
            engine = await engine_on(store, rules)
            runners = [runner(folder, url) for _ in range(options.runners)]
            try:
                return await _measure(store, engine, runners, options, wait)
            finally:
                for one in runners:
                    one.terminate()
                for one in runners:
                    one.wait()
                await store.close()


async def _measure(
    store: RedisStore,
    engine: Engine,
    runners: Sequence[subprocess.Popen[bytes]],
    options: argparse.Namespace,
    wait: int,
) -> bool:
    told = await store.connection.call(("INFO", "server"), 10.0)
    processes = {"Redis": int(told.partition(b"process_id:")[2].split()[0])}
    processes |= {f"runner {number}": one.pid for number, one in enumerate(runners, 1)}
    await asyncio.sleep(3)  # the runners start
    count, began = options.rate * options.seconds, time.monotonic()
    await start_all(engine, options)
    await asyncio.sleep(max(0.0, began + wait - 2 - time.monotonic()))
    before = cpu_of(processes)
    while await under_way(store):  # noqa: ASYNC110 - other processes
        await asyncio.sleep(0.5)
    used = {name: now - before[name] for name, now in cpu_of(processes).items()}
    late, first, seconds = await lags(store, wait)
    _say("started", first, count / options.seconds)
    _say("timers done", late, count / seconds)
    each = {name: f"{spent / count * SECOND:.0f}" for name, spent in used.items()}
    said = ", ".join(f"{name} {micros} µs" for name, micros in each.items())
    print(f"CPU for each timer: {said}; {sum(used.values()) / seconds:.2f} cores in all")
    return len(late) == count and _at(late, 0.99) < BOUND


def _say(what: str, late: Sequence[float], rate: float) -> None:
    at = [_at(late, share) * 1000 for share in (0.5, 0.99, 1.0)]
    said = "p50 {:.0f} ms   p99 {:.0f} ms   most {:.0f} ms late".format(*at)
    print(f"{len(late):>10,} {what:12} {rate:>8,.0f}/s   {said}", flush=True)


def _at(late: Sequence[float], share: float) -> float:
    return late[min(len(late) - 1, int(len(late) * share))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journeys", description=__doc__)
    parser.add_argument("--rate", type=int, default=2_000, help="how many come due a second")
    parser.add_argument("--seconds", type=int, default=60, help="for how long")
    parser.add_argument("--runners", type=int, default=2, help="processes")
    parser.add_argument("--asks", type=float, default=0.15, help="the share that asks")
    parser.add_argument("--redis", help="the server's path; left out, the embedded one")
    options = parser.parse_args()
    return 0 if asyncio.run(measure(options)) else 1


if __name__ == "__main__":
    sys.exit(main())
