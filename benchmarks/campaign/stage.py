"""Everything that takes part in a campaign, started and stopped; and how long recovery takes."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
import time
from collections import defaultdict
from pathlib import Path

from benchmarks.campaign.archiver import Archiver
from benchmarks.campaign.evidence import Phase
from benchmarks.campaign.faults import FAULTS
from benchmarks.campaign.policy import RULES
from benchmarks.campaign.proxy import Proxy
from benchmarks.campaign.recovery import RECOVERS_WITHIN, Probes
from benchmarks.campaign.redis_pair import ARCHIVE_USER, PASSWORD, USER, Pair, RedisServer
from benchmarks.campaign.servers import ROOT, Server


class LoadProcess:
    """A client process, told what to do by its stdin."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process

    def tell(self, line: str) -> None:
        if self.process.returncode is None and self.process.stdin is not None:
            self.process.stdin.write(f"{line}\n".encode())

    async def ask(self, line: str) -> str:
        """Its answer; empty where it has ended."""
        self.tell(line)
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode().strip()


class Stage:
    """Two servers, two Redis, a proxy in between, and client processes; ports from `port` on."""

    def __init__(self, folder: Path, port: int, rate: float, seed: str, workers: int = 2) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            raise FileNotFoundError("redis-server 7 is needed: apt-get install redis-server")
        self.folder = folder
        self.rate = rate
        self.seed = seed
        (folder / "rules").mkdir(parents=True)
        (folder / "rules" / "rules.yaml").write_text(RULES)
        self.pair = Pair(
            RedisServer(binary, folder / "redis-1", port + 1),
            RedisServer(binary, folder / "redis-2", port + 2),
        )
        self.proxy = Proxy(port, port + 1)
        # One with a user and one without: what a refused login says differs.
        self.servers = [
            Server(folder, port + 3, f"redis://{USER}:{PASSWORD}@127.0.0.1:{port}/0", 1),
            Server(folder, port + 4, f"redis://127.0.0.1:{port}/0", workers),
        ]
        self.archiver = Archiver(folder, f"redis://{ARCHIVE_USER}:{PASSWORD}@127.0.0.1:{port}/0")
        self.loads: list[LoadProcess] = []
        self.asked = 0
        self.phases: list[Phase] = []
        self.findings: defaultdict[str, list[str]] = defaultdict(list)
        self.memory: defaultdict[int, int] = defaultdict(int)
        self._generation = 0
        self.probes = Probes()

    def found(self, check: str, text: str) -> None:
        """Something that must not be."""
        self.findings[check].append(text)

    async def start(self, loads: int = 2) -> None:
        """Starts everything but the load's rate."""
        await self.proxy.open()
        await asyncio.gather(self.pair.used.start(), self.pair.spare.start())
        await asyncio.gather(*(server.start() for server in self.servers))
        await self.archiver.start()
        self.loads = [await self._load() for _ in range(loads)]

    async def _load(self) -> LoadProcess:
        self._generation += 1
        name = f"{self._generation}"
        with (self.folder / "loads.err").open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.campaign.load", "--name", name),
                *("--ports", ",".join(str(server.port) for server in self.servers)),
                *("--journal", str(self.folder / f"journal-{name}.ndjson"), "--seed", self.seed),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        return LoadProcess(name, process)

    def set_rate(self, rate: float) -> None:
        """Decisions per second, of all client processes together."""
        for load in self.loads:
            load.tell(f"rate {rate / len(self.loads)}")

    async def pause_load(self) -> None:
        """No client sends anything from now on, and all of them have their answers."""
        await asyncio.gather(*(load.ask("pause") for load in self.loads))

    def resume_load(self) -> None:
        for load in self.loads:
            load.tell("go")

    async def replace_load(self, index: int) -> None:
        """Kills a client process; another one, with customers of its own, takes its place."""
        load = self.loads[index]
        self.asked += int(await load.ask("asked") or 0)
        load.process.kill()
        await load.process.wait()
        self.loads[index] = await self._load()
        self.set_rate(self.rate)

    async def decisions(self) -> int:
        """How many decisions were asked for so far."""
        counts = await asyncio.gather(*(load.ask("asked") for load in self.loads))
        return self.asked + sum(int(count or 0) for count in counts)

    async def stop_load(self) -> None:
        """Clients send what they still have, and end."""
        for load in self.loads:
            load.tell("stop")
        for load in self.loads:
            await load.process.wait()
        if errors := (self.folder / "loads.err").read_text():
            raise AssertionError(f"the load failed: {errors[-3000:]}")

    async def switch(self) -> None:
        """Leads the address to the other Redis. Connections that are open stay."""
        self.pair.swap()
        self.proxy.upstream = self.pair.used.port

    async def inflict(self, name: str, chance: random.Random) -> None:
        """One fault, then the time until all was well again."""
        began = time.time()
        await FAULTS[name](self, chance)
        ended = time.time()
        recovery = await self.probes.recovery(self.servers)
        if recovery.seconds is None:
            self.found("heals", f"{name}: not within {RECOVERS_WITHIN:g} s; servers restarted")
            for server in self.servers:
                server.kills.append(time.time())
                if server.alive:
                    await server.stop()
                await server.orphans(1)
                await server.start()
        self.phases.append(Phase(name, began, ended, *recovery))
        await self._leave_old_redis(name)

    async def _leave_old_redis(self, name: str) -> None:
        """Nobody may use what was demoted; from now on it is the spare, and follows nobody."""
        spare = self.pair.spare
        if (await spare.info("replication"))["role"] != "slave":
            return
        clients = str(await spare.ask("CLIENT", "LIST", "TYPE", "normal")).splitlines()
        # An archiver that sleeps between two looks finds out at its next one.
        others = (" user=admin ", f" user={ARCHIVE_USER} ")
        if left := [each for each in clients if not any(other in each for other in others)]:
            self.found("heals", f"{name}: {len(left)} connections stayed on the demoted Redis")
        await spare.ask("CLIENT", "KILL", "TYPE", "normal")
        await spare.ask("REPLICAOF", "NO", "ONE")
        await spare.ask("FLUSHALL")

    async def look(self) -> None:
        """Notes the memory of each server; an archiver that has ended is started again."""
        await self.archiver.start()
        for server in self.servers:
            self.memory[server.port] = max(self.memory[server.port], server.memory())
            await server.dropped()

    async def remove(self) -> None:
        """Ends everything that is left."""
        for load in self.loads:
            if load.process.returncode is None:
                load.process.kill()
                await load.process.wait()
        for server in self.servers:
            if server.alive:
                await server.kill()
            if server.process is not None:
                await server.orphans(0)
        await self.archiver.kill()
        self.proxy.refuse()
        for redis in (self.pair.used, self.pair.spare):
            await redis.remove()
