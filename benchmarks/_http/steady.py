"""How steady a server is: times while its rules and model are replaced, and stops by looking up.

    python -m benchmarks._http.steady FILE serve --rules …

runs `nextbest serve` with a task beside it that measures how late the event loop comes to it. On
SIGUSR1 it writes into FILE what it has measured since the last time.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import signal
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from benchmarks._http.cases import Site
from benchmarks._http.load import Load, closed_loop, get, open_loop, quantile, request_of, run
from benchmarks._http.measure import WARM, told
from benchmarks._http.servers import served

Row = dict[str, float]

_TICK: Final = 0.001
_HEAVY: Final = 400
"""Decisions that the customer with a long history has had."""
_AFTER: Final = 0.3
"""Seconds after a reload in which what it left to do still counts."""


def reloads(site: Site, seconds: float, turns: int) -> dict[str, Row]:
    """What → p99 while it is replaced and in between, at half of the highest rate."""
    from benchmarks._standard import train_standard
    from decision.scoring.versions import current_version, point_to

    models, rules = site.folder / "models", site.folder / "rules" / "rules.yaml"
    first = current_version(models)
    assert first is not None
    versions, text = [train_standard(models, seed=8), first], rules.read_text("utf-8")

    def policy(turn: int) -> None:
        aside = rules.with_suffix(".aside")
        aside.write_text(f"# turn {turn}\n{text}", "utf-8")
        aside.replace(rules)

    def model(turn: int) -> None:
        point_to(models, versions[turn % 2])

    with served(site, "reloaded") as (port, _):
        requests = [request_of(one) for one in site.customers]
        run(closed_loop(port, requests, min(WARM, seconds), 16))
        most = run(closed_loop(port, requests, seconds, 16)).rate
        try:
            return {
                name: run(_reloaded(port, requests, most / 2, change, seconds, turns))
                for name, change in (("policy", policy), ("model", model))
            }
        finally:
            rules.write_text(text, "utf-8")
            point_to(models, first)


async def _reloaded(
    port: int,
    requests: list[bytes],
    rate: float,
    change: Callable[[int], None],
    seconds: float,
    turns: int,
) -> Row:
    """An open loop, while something is changed again and again, until the last change is done."""
    during: list[tuple[float, float]] = []
    before = None
    ended = asyncio.Event()
    load = asyncio.create_task(open_loop(port, requests, math.inf, rate, ended))
    for turn in range(turns):
        await asyncio.sleep(seconds)
        await asyncio.to_thread(change, turn)
        began = time.perf_counter()
        answer = await asyncio.to_thread(_post, port, "/v1/policy/reload")
        await asyncio.sleep(_AFTER)
        now = answer["policy_version"], answer["model_version"]
        assert now != before, f"{now} were in force before the reload"
        before = now
        during.append((began, time.perf_counter()))
    ended.set()
    found = await load
    between = [
        taken for due, taken in zip(found.due, found.times, strict=True) if not _in(due, during)
    ]
    within = [taken for due, taken in zip(found.due, found.times, strict=True) if _in(due, during)]
    row = {"during_ms": quantile(within, 0.99) * 1e3, "between_ms": quantile(between, 0.99) * 1e3}
    taken = sum(end - start for start, end in during) / turns - _AFTER
    ratio = row["during_ms"] / row["between_ms"]
    return {"turns": turns, "seconds": taken, **row, "ratio": ratio, "refused": found.refused}


def _in(moment: float, windows: list[tuple[float, float]]) -> bool:
    return any(began <= moment < ended for began, ended in windows)


def _post(port: int, path: str) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=300) as answer:
        return json.load(answer)


def lookups(site: Site, seconds: float) -> dict[str, Any]:
    """How long the event loop stops while decisions and a long history are looked up."""
    path = site.folder / "stops.json"
    command = [sys.executable, "-m", "benchmarks._http.steady", str(path), *site.serve()]
    heavy = site.middle
    with served(site, "stops", command=command) as (port, pid):
        made = run(_decisions(port, [request_of(heavy)] * _HEAVY))
        made += run(_decisions(port, [request_of(one) for one in site.customers[:200]]))
        asked = {
            "nothing": [get("/health/live")],
            "decisions, one by one": [get(f"/v1/decisions/{one}") for one in made],
            "what happened to a customer with a long history": [
                get(f"/v1/customers/{heavy}/timeline")
            ],
        }
        found = {}
        for name, requests in asked.items():
            told(pid, path)
            load: Load = run(closed_loop(port, requests, seconds, 2))
            stops: Any = told(pid, path)
            found[name] = {"looked_up": load.answers, **stops}
    longest = max(row["longest_ms"] for name, row in found.items() if name != "nothing")
    return {"loads": found, "longest_ms": longest}


async def _decisions(port: int, requests: list[bytes]) -> list[str]:
    from benchmarks._http.load import Connection

    connection = await Connection.open(port)
    found = [json.loads(await connection.ask(one))["decision_id"] for one in requests]
    connection.close()
    return found


class Stops:
    """How long the event loop kept a task waiting that was due, in this process' own CPU at most.

    A loop that waits because another program has the core does not stop for that: what counts is
    the smaller of the delay and of the CPU that all threads of this process used meanwhile.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            due, used = time.perf_counter() + _TICK, time.process_time()
            await asyncio.sleep(_TICK)
            late, used = time.perf_counter() - due, time.process_time() - used
            self.seconds.append(max(0.0, min(late, used)))

    def told(self) -> Row:
        """The 99th percentile and the longest, in ms; then it begins anew."""
        stops, self.seconds = self.seconds, []
        return {"p99_ms": quantile(stops, 0.99) * 1e3, "longest_ms": max(stops, default=0.0) * 1e3}


def main() -> None:
    """Serves, and watches the loop."""
    app = importlib.import_module("decision.api.app")
    from decision.cli.app import cli

    path, stops, watch_loop = Path(sys.argv[1]), Stops(), app.watch_loop

    async def watch_both(*given: Any) -> None:
        watching: list[Awaitable[None]] = [watch_loop(*given), stops.watch()]
        await asyncio.gather(*watching)

    def tell(*_: object) -> None:
        aside = path.with_suffix(".aside")
        aside.write_text(json.dumps(stops.told()))
        aside.replace(path)

    app.watch_loop = watch_both  # type: ignore[attr-defined]
    signal.signal(signal.SIGUSR1, tell)
    cli(sys.argv[2:], prog_name="nextbest")


if __name__ == "__main__":
    main()
