"""A campaign from its start to its verdict."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.campaign import report
from benchmarks.campaign.evidence import Evidence, Found
from benchmarks.campaign.http_client import Broken, Client, request
from benchmarks.campaign.oracle import judge
from benchmarks.campaign.redis_pair import PASSWORD, USER
from benchmarks.campaign.seen import Seen
from benchmarks.campaign.settle import settle
from benchmarks.campaign.stage import Stage
from benchmarks.campaign.stored import Stored

MEMORY: Final = 700 << 20
"""Bytes that a process of a server may take."""

SETTLES_WITHIN: Final = 30.0
"""Seconds at rest after which nothing more is expected, if nothing has come meanwhile."""

_SAMPLE: Final = 500


class Result(NamedTuple):
    """What a campaign showed."""

    seed: str
    minutes: float
    decisions: int
    table: dict[str, dict[str, Any]]
    found: dict[str, Found]

    @property
    def wrong(self) -> dict[str, list[str]]:
        """Check → what it found."""
        return {name: each.wrong for name, each in self.found.items() if each.wrong}

    def run(self) -> dict[str, Any]:
        """As it is counted."""
        return report.run_of(*self, report.commit())

    def figures(self) -> dict[str, Any]:
        """All of it, for machines."""
        checks = {
            name: {
                "looked_at": each.looked_at,
                "wrong": each.total,
                "examples": each.wrong[:100],
                "excused": dict(each.excused),
            }
            for name, each in self.found.items()
        }
        return {**self.run(), "phases": self.table, "checks": checks}


async def campaign(
    folder: Path,
    port: int,
    seed: str,
    *,
    seconds: float,
    rate: float,
    faults: Sequence[str],
    decisions: int | None = None,
    workers: int = 2,
) -> Result:
    """Load and faults for so many seconds, or decisions; then the checks."""
    stage = Stage(folder, port, rate, seed, workers)
    try:
        await stage.start()
        if not stage.pair.used.on_tmpfs:
            _say("a tmpfs cannot be mounted here (it needs root): no disk is filled")
            faults = [name for name in faults if "disk" not in name]
        began = time.time()
        await _inflict(stage, seed, faults, seconds, decisions)
        ended = time.time()
        _say(f"at rest after {len(stage.phases)} faults")
        await stage.stop_load()
        return await _verdict(stage, seed, began, ended)
    finally:
        await stage.remove()


async def _inflict(
    stage: Stage, seed: str, faults: Sequence[str], seconds: float, decisions: int | None
) -> None:
    """Faults in random order, each as often as the others, with some calm in between."""
    chance = random.Random(f"{seed}/faults")
    until = time.monotonic() + seconds
    left: list[str] = []
    stage.set_rate(stage.rate)
    await asyncio.sleep(3)
    while time.monotonic() < until if decisions is None else await stage.decisions() < decisions:
        if not left:
            left = chance.sample(faults, len(faults))
        name = left.pop()
        await stage.inflict(name, chance)
        phase = stage.phases[-1]
        steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in phase.steps.items())
        _say(
            f"{name}: {phase.ended - phase.began:.1f} s, recovered in "
            f"{_seconds(phase.recovered)} ({steps}; {phase.refused} refused)"
        )
        await stage.look()
        await asyncio.sleep(chance.uniform(0.5, 3))


async def _verdict(stage: Stage, seed: str, began: float, ended: float) -> Result:
    """Everybody comes to rest; then what was answered is compared with what is stored."""
    seen = await _read(stage)
    ports = [server.port for server in stage.servers]
    _say(f"sent again: {await settle(ports, stage.folder, seen)}")
    seen = await _read(stage)
    stored = await _rest(stage, seen)
    kills = [server.kills for server in stage.servers]
    dropped = [await server.dropped() for server in stage.servers]
    if any(dropped):
        _say(f"dropped by the servers, as they count: {dropped}")
    if (code := await stage.archiver.finish()) != 0:
        stage.found("archive", f"ended with {code}: {stage.archiver.text()[-1000:]}")
    if stage.archiver.ends:
        stage.found("archive", f"the service ended {stage.archiver.ends} times by itself")
    stored = await Stored().read(_redis_url(stage), list(stored.customers), stage.archiver)
    evidence = Evidence(seen, stored, time.time(), kills, stage.phases, dropped)
    found = await asyncio.to_thread(judge, evidence)
    found["looked up"] = await _look_up(stage, seen)
    found |= await _end(stage)
    for name, texts in stage.findings.items():
        before = found.get(name, Found(0, [], Counter()))
        found[name] = before._replace(wrong=[*before.wrong, *texts])
    table = report.by_phase(seen.points, stage.phases, began, ended)
    return Result(seed, (ended - began) / 60, seen.decisions, table, found)


async def _read(stage: Stage) -> Seen:
    """Journals, aside: the proxy that servers and the archive use runs in this loop."""
    journals = sorted(stage.folder.glob("journal-*.ndjson"))
    return await asyncio.to_thread(Seen().read, journals)


def _redis_url(stage: Stage) -> str:
    return f"redis://{USER}:{PASSWORD}@127.0.0.1:{stage.pair.used.port}/0"


async def _rest(stage: Stage, seen: Seen) -> Stored:
    """What is stored once nothing is missing any more, or the time for it is over."""
    url = _redis_url(stage)
    customers = {answer.customer for answer in seen.answers.values()}
    customers |= {lost.customer for lost in seen.lost}
    customers |= {change.what[0] for change in seen.changes["put"]}
    customers |= set(stage.probes.customers)
    for change in seen.changes["merge"]:
        customers |= set(change.what)
    erased = {change.what for change in seen.changes["erase"]}
    until, least = time.monotonic() + SETTLES_WITHIN, len(seen.answers) + 1
    while True:
        stored = await Stored().read(url, customers, stage.archiver)
        missing = sum(
            answer.decision_id not in stored.records and answer.customer not in erased
            for answer in seen.answers.values()
        )
        _say(f"{len(stored.records):,} records, {missing:,} answered decisions are not among them")
        if missing < least:
            until, least = time.monotonic() + SETTLES_WITHIN, missing
        elif time.monotonic() > until:
            return stored
        if not missing:
            return stored
        await asyncio.sleep(10)


async def _look_up(stage: Stage, seen: Seen) -> Found:
    """A sample of answered decisions, looked up over HTTP, is as it was answered."""
    erased = {change.what for change in seen.changes["erase"]}
    chance = random.Random(stage.seed)
    known = [
        answer
        for answer in seen.answers.values()
        if answer.customer not in erased and not answer.without_store
    ]
    wrong = []
    client = Client(stage.servers[0].port)
    sample = chance.sample(known, min(_SAMPLE, len(known)))
    for answer in sample:
        try:
            for _ in range(5):
                reply = await client.send(request("GET", f"/v1/decisions/{answer.decision_id}"), 20)
                if reply.status != 503:
                    break
                await asyncio.sleep(1)
        except Broken as error:
            wrong.append(f"{answer.decision_id}: {error}")
            continue
        if reply.status != 200:
            wrong.append(f"{answer.decision_id}: {reply.status} {reply.body[:200]!r}")
            continue
        decision = json.loads(reply.body)
        chosen = decision["selections"] if decision["outcome"] == "selected" else ()
        picks = tuple((each["message"], each["channel"]) for each in chosen)
        if picks != answer.picks or not decision["explanation"]:
            wrong.append(f"{answer.decision_id}: {picks} instead of {answer.picks}, explained")
    client.close()
    return Found(len(sample), wrong, Counter())


async def _end(stage: Stage) -> dict[str, Found]:
    """Servers live, stop when told to, and leave nothing; memory and logs."""
    alive, stops, left, memory, logs = [], [], [], [], []
    processes = 0
    for server in stage.servers:
        processes += len(server.processes())
        size = max(stage.memory[server.port], server.memory())
        if size > MEMORY:
            memory.append(f"a process of the server on {server.port} took {size >> 20} MiB")
        if not server.alive:
            alive.append(f"the server on {server.port} has ended: {server.text()[-500:]}")
            continue
        if (code := await server.stop()) != 0:
            stops.append(f"SIGTERM ended the server on {server.port} with {code}")
        if count := await server.orphans(5):
            left.append(f"{count} processes of the server on {server.port} lived on")
    for server in stage.servers:
        lines = server.text().splitlines()
        logs += [line[-400:] for line in lines if "never retrieved" in line or "Traceback" in line]
    largest = max(stage.memory.values(), default=0) >> 20
    return {
        "servers live": Found(len(stage.servers), alive, Counter()),
        "stops": Found(len(stage.servers), stops, Counter()),
        "processes left": Found(processes, left, Counter()),
        "memory": Found(largest, memory, Counter()),
        "servers' logs": Found(len(stage.servers), logs, Counter()),
    }


def _seconds(recovered: float | None) -> str:
    return "vain" if recovered is None else f"{recovered:.1f} s"


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
