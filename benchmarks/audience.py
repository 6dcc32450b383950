"""The nightly run, by several processes that are killed at random moments and begun again.

    python -m benchmarks.audience --customers 100000

One embedded Redis; a policy of one message, whose priority is by the customer's tier, and a budget
for a tenth of the customers. The processes (`nextbest run-audience --share I/N`) are killed with
signal 9, each time a random one after a random time, and begun again with the same command. At the
end, the log must have one decision for each customer, and the files must have one line for each who
was chosen: none twice, none missing. The CPU is that of the processes, Redis's own left out.

How well the order holds over all parts: of those who got a unit of the budget, how many are among
as many with the highest priority of all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from decision.core.identifiers import PARTITIONS
from decision.core.records import decode_decision
from decision.store import EmbeddedRedis, RedisStore

ROOT = Path(__file__).resolve().parents[1]
TIERS = 20
"""How many different priorities there are."""

_READER = "benchmark"


class Came(NamedTuple):
    """What came of a run. `decided` and `given` are by customer, `cpu` is seconds of CPU of all
    processes, those that were killed as well, `clock` seconds."""

    decided: Counter[str]
    given: Counter[str]
    takers: set[str]
    kills: int
    cpu: float
    clock: float


def tier_of(number: int) -> int:
    """The tier of a customer, alike in all partitions."""
    return number * 7_919 % TIERS


def write_rules(folder: Path, budget: int) -> None:
    """A policy of one message, with a budget, and a priority by tier."""
    folder.mkdir()
    rules = "".join(
        f"  tier-{tier}: {{when: {{customer.tier: {tier}}}, boost: {{}}, by: {1 + tier / 10}}}\n"
        for tier in range(TIERS)
    )
    (folder / "all.yaml").write_text(
        'settings: {timezone: UTC, currency: EUR, exploration: "off"}\n'
        "purposes: {service: {consent: not_required}}\n"
        "channels: {email: {}}\n"
        "placements: {outbound: {channels: [email]}}\n"
        "messages:\n"
        "  offer: {purpose: service, channels: [email], value: 10, content: {title: Offer},\n"
        f"    budget: {{total: {budget}}}}}\n"
        f"rules:\n{rules}"
    )


def write_customers(path: Path, customers: int) -> None:
    """A CSV file of customers, all in one segment."""
    with path.open("w") as file:
        file.write("customer_id,segment.all,tier\n")
        for number in range(customers):
            file.write(f"m-{number},true,{tier_of(number)}\n")


def nextbest(folder: Path, *arguments: str) -> list[str]:
    """The command line of a command on the store of a folder."""
    own = ("--redis-url", (folder / "url").read_text(), "--rules", str(folder / "rules"))
    return [sys.executable, "-m", "decision.cli", *arguments, *own]


class Part:
    """One process of the run, begun again each time it was killed."""

    def __init__(self, folder: Path, number: int, parts: int, order: str, *more: str) -> None:
        self.out = folder / f"{number}.ndjson"
        self.cpu = 0.0
        self.code: int | None = None
        self._log = folder / f"{number}.log"
        self._command = nextbest(
            *(folder, "run-audience", "--placement", "outbound", "--segment", "all"),
            *("--run", "night", "--share", f"{number}/{parts}", "--out", str(self.out)),
            *("--order", order, "--runs", str(folder / "runs"), "--in-step"),
        )
        self.start()

    def start(self) -> None:
        """Begins, or goes on."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=environment, stdout=log, stderr=log)

    def ended(self) -> bool:
        """Whether it has come to its end."""
        if self.code is None:
            pid, status, used = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                self.cpu += used.ru_utime + used.ru_stime
                self.code = os.waitstatus_to_exitcode(status)
                if self.code not in (0, -signal.SIGKILL):
                    raise SystemExit(f"{self._command} ended with {self.code}; see {self._log}")
        return self.code is not None

    def kill(self) -> None:
        """Kills it, and begins again."""
        os.kill(self._process.pid, signal.SIGKILL)
        while not self.ended():
            time.sleep(0.01)
        if self.code == -signal.SIGKILL:
            self.code = None
            self.start()


def perform(
    folder: Path, customers: int, parts: int, kills: int, pause: float, order: str = "value"
) -> Came:
    """Loads customers, and runs all parts side by side; `pause` is the mean time between kills."""
    write_rules(folder / "rules", max(1, customers // 10))
    write_customers(folder / "customers.csv", customers)
    draw = random.Random(customers)
    with EmbeddedRedis(folder / "redis", fsync="everysec") as url:
        (folder / "url").write_text(url)
        load = nextbest(folder, "load", str(folder / "customers.csv"))
        subprocess.run(load, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        asyncio.run(_keep_log(url))
        began, done = time.perf_counter(), 0
        running = [Part(folder, number + 1, parts, order) for number in range(parts)]
        following = began + draw.expovariate(1 / pause)
        while left := [part for part in running if not part.ended()]:
            time.sleep(0.05)
            if done < kills and time.perf_counter() > following:
                draw.choice(left).kill()
                done += 1
                following = time.perf_counter() + draw.expovariate(1 / pause)
        clock = time.perf_counter() - began
        decided, takers = asyncio.run(_decided(url))
    given = Counter(line["customer_id"] for part in running for line in _lines(part.out))
    return Came(decided, given, takers, done, sum(part.cpu for part in running), clock)


async def _keep_log(url: str) -> None:
    """Is a reader of every log, so that nobody trims what is to be counted."""
    store = RedisStore(url)
    await store.start()
    for number in range(PARTITIONS):
        await store.advance_log(number, _READER, "0-0", 0)
    await store.close()


async def _decided(url: str) -> tuple[Counter[str], set[str]]:
    """Customer → how many decisions the log has; and to whom something was given."""
    store = RedisStore(url, timeout=60)
    await store.start()
    decided: Counter[str] = Counter()
    takers: set[str] = set()
    for number in range(PARTITIONS):
        for one in await store.log_records(number):
            if one.kind == "decision":
                record = decode_decision(one.body)
                decided[record.customer_id] += 1
                if record.selections:
                    takers.add(record.customer_id)
    await store.close()
    return decided, takers


def _lines(path: Path) -> Iterator[dict[str, str]]:
    if path.exists():
        with path.open("rb") as file:
            yield from map(json.loads, file)


def faults(came: Came, customers: int) -> list[str]:
    """What must not be, in words."""
    found = []
    if twice := sum(number > 1 for number in came.decided.values()):
        found.append(f"{twice} customers were decided for twice")
    if missing := customers - len(came.decided):
        found.append(f"{missing} customers were left out")
    if came.given != Counter(came.takers):
        found.append("the files do not have what was given")
    if len(came.takers) > customers // 10:
        found.append(f"the budget was exceeded: {len(came.takers)}")
    return found


def in_order(came: Came) -> float:
    """Of those who got something, how many would also have by the highest priority of all."""
    tiers = sorted((tier_of(int(name[2:])) for name in came.decided), reverse=True)
    least = tiers[len(came.takers) - 1]
    return sum(tier_of(int(name[2:])) >= least for name in came.takers) / len(came.takers)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audience", description=__doc__)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pause", type=float, default=20.0, help="mean seconds between kills")
    parser.add_argument("--order", choices=["value", "listed"], default="value")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        came = perform(
            Path(folder), given.customers, given.processes, given.kills, given.pause, given.order
        )
    wrong = faults(came, given.customers)
    print(f"customers                  {given.customers:>12,}")
    print(f"processes                  {given.processes:>12,}")
    print(f"killed (signal 9)          {came.kills:>12,}")
    print(f"decided for once           {sum(n == 1 for n in came.decided.values()):>12,}")
    print(f"twice, missing, other fault {'; '.join(wrong) or 'none':>11}")
    print(f"got a unit of the budget   {len(came.takers):>12,}")
    print(f"of them by highest priority{in_order(came):>12.1%}")
    print(f"seconds                    {came.clock:>12,.0f}")
    print(f"CPU per customer, µs       {came.cpu / given.customers * 1e6:>12,.0f}")
    print(f"customers per CPU second   {given.customers / came.cpu:>12,.0f}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
