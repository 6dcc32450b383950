"""What the crash tests of the archive share: a writer, an archiver to be killed, and the count."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import deltalake  # noqa: F401 - before the fork
import pyarrow.compute
import pyarrow.parquet  # noqa: F401 - before the fork

from decision.archive.archiver import Archiver
from decision.archive.compaction import compact
from decision.archive.folder import ArchiveFolder, Share, parse_share
from decision.archive.location import location, parquet_file
from decision.archive.tables import files
from decision.core.clock import from_micros
from decision.core.schema import DecisionRequest, Event
from decision.engine import Engine, build_snapshot
from decision.engine.runtime import wall_clock
from decision.rulebook.reader import load_files
from decision.store import RedisStore
from tests.crash.harness import RULES

BATCH = 128
IDS = {"decisions": "decision_id", "events": "event_id", "outcomes": "event_id"}
IDS["replays"] = "decision_id"


async def engine_on(store: RedisStore) -> Engine:
    definition = load_files({"rules.yaml": RULES}).definition
    assert definition is not None
    engine = Engine(store)
    now = from_micros(wall_clock())
    engine.use(await build_snapshot(definition, None, store, now, durable=False))
    return engine


@dataclass
class Writer:
    """Decides and records until told to stop; remembers what was logged."""

    engine: Engine
    customers: int = 40
    stopped: bool = False
    logged: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in IDS})

    async def run(self, most: int | None = None) -> None:
        for number in count() if most is None else range(most):
            if self.stopped:
                return
            await self.one(number, f"客户-{number % self.customers}")
            await asyncio.sleep(0.005)

    async def one(self, number: int, customer: str) -> None:
        got = await self.engine.decide(DecisionRequest(placement="outbound", customer_id=customer))
        if "store" in got.degraded:
            raise AssertionError(got)
        self.logged["decisions"].add(got.decision_id)
        self.logged["replays"].add(got.decision_id)
        name = f"e-{number}"
        about: dict[str, Any] = {"type": "visit"}
        if got.outcome == "selected":
            message = got.selections[0].message
            about = {"type": "message.opened", "decision_id": got.decision_id, "message": message}
        event = Event(id=name, customer_id=customer, properties={"n": number}, **about)
        assert (await self.engine.events.record([event])).accepted == 1
        self.logged["events"].add(name)
        if event.decision_id is not None:
            self.logged["outcomes"].add(name)


async def _archive(url: str, prefix: str, out: str, share: Share, once: bool) -> None:
    folder = ArchiveFolder(location(out))
    store = RedisStore(url, prefix=prefix)
    await store.start()
    with folder.claimed(share):
        archiver = Archiver(folder, store, clock=wall_clock, keep=0, batch=BATCH, share=share)
        await archiver.open()
        while True:
            await archiver.run()
            compact(folder, small=50_000)
            if once:
                break
    await store.close()


def _fork_on_demand(url: str, prefix: str, out: str, share: str) -> None:
    """Everything is imported, and nothing is opened: a process forked from here archives at once."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            asyncio.run(_archive(url, prefix, out, parse_share(share), line == "once\n"))
            os._exit(0)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


class Archivers:
    """Archivers of one share, each in a process of its own, one after another."""

    def __init__(self, url: str, prefix: str, out: Path, share: str = "1/1") -> None:
        self._command = [sys.executable, "-m", __name__, url, prefix, str(out), share]

    async def __aenter__(self) -> Archivers:
        self._parent = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert await self.run_once() == 0
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        await asyncio.wait_for(self._parent.wait(), 30)

    async def start(self, what: str = "for ever") -> int:
        """Starts one; its process id."""
        assert self._parent.stdin is not None
        self._parent.stdin.write(f"{what}\n".encode())
        return await self._number()

    async def ended(self) -> int:
        """Waits for its end; the exit code."""
        return await self._number()

    async def run_once(self) -> int:
        """One run to its end; the exit code."""
        await self.start("once")
        return await self.ended()

    async def _number(self) -> int:
        assert self._parent.stdout is not None
        return int(await asyncio.wait_for(self._parent.stdout.readline(), 60))


def archived(out: Path, dataset: str) -> Counter[str]:
    """How often each id is in a dataset."""
    found: Counter[str] = Counter()
    for path in files(out, dataset):
        found.update(parquet_file(path).read([IDS[dataset]]).column(0).to_pylist())
    return found


def verify(out: Path, writer: Writer) -> dict[str, int]:
    """Rows in the tables are the records logged, by id: none doubled, none missing. And of what the
    dead have left nothing lies there once files are removed that nobody reads any more."""
    counts = {}
    compact(ArchiveFolder(out), kept=0)
    for dataset, ids in writer.logged.items():
        found = archived(out, dataset)
        doubled = [name for name, times in found.items() if times > 1]
        assert not doubled, (dataset, len(doubled))
        assert found.keys() == ids, (dataset, len(ids - found.keys()), len(found.keys() - ids))
        assert set((out / dataset).glob("date=*/*")) == set(files(out, dataset))
        counts[dataset] = len(ids)
    return counts


if __name__ == "__main__":
    _fork_on_demand(*sys.argv[1:])
