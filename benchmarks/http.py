"""What a whole decision costs over HTTP: its CPU beside an empty route's, rates and times.

    python -m benchmarks.http                   # the short form of all parts: some 3 minutes
    python -m benchmarks.http --full            # 100,000 customers, all of the grid: 40 minutes
    python -m benchmarks.http --parts whole steps
    make bench                                  # with the peers, which it installs

Servers run on one core, one at a time and in turns; what asks them, and Redis, on another. All
figures are of one run. It writes `bench.json`, `bench.md` and pictures into `--out`; nothing is left
running, whatever ends it. The parts:

- `whole`: rates, CPU and times of five servers:
    - `empty`: a bare Litestar `@post`, with the structs of a decision's request and answer;
    - `store`: the same, with the two calls of the store that a decision makes: a read, and a commit
      with a record of 1.2 KB;
    - `light`: `nextbest serve`, a customer whom nobody knows, one placement, no model;
    - `standard`: `nextbest serve` with the standard of `_standard.py`;
    - `service`: a straightforward service of FastAPI, which decides the same (see `_http/service.py`).
- `steps`: where the CPU of a standard decision goes, by marks in a real server (`_http/marks.py`).
- `curve`: times over load, 10 % to 90 % of the highest rate.
- `grid`: more and fewer candidates, rules and contacts.
- `references`: the same two calls sent to Redis by themselves; the compiled trees by themselves.
- `peers`: Feast, zen-engine and Vowpal Wabbit, each at the part of a decision that it does.
- `workers`: one worker and two on the same core.
- `nodes`: 1, 2, 4 and 8 workers over one Redis and over a cluster of three, each process's CPU by
  itself; where it is named, or with `--full`.
- `reloads`: times while policy and model are replaced, a new version of it being tried first.
- `lookups`: how long the event loop stops while old decisions are looked up.

`CPU` is user and system time of the server, for each answer; `Redis` is Redis's. The ratio to the
empty route says what nextbest costs, and depends least on the machine. Rates are of a closed loop of
16 connections. Times (ms) are of one connection that has the server for itself, and of an open loop
with half of the highest rate: requests come at random times, whether earlier ones are answered or
not, and are counted from when they were due. Each figure is the median of its turns.

Redis keeps its append-only file, and does not rewrite it meanwhile. That begins with a fork, which
stops it for 5 to 90 ms, and goes on for seconds on the core that what asks needs as well.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks._http import measure, nodes, references, steady
from benchmarks._http.cases import CANDIDATES, GRID, RULES, Site, light, standard
from benchmarks._http.machine import end_on_sigterm, machine, never_rewrite, pin
from benchmarks._http.measure import Effort, Row, medians
from benchmarks._http.peers import beside
from benchmarks._http.report import tell
from benchmarks._http.servers import REFERENCES, serve_reference

QUICK: Final = Effort(seconds=1.2, turns=1, customers=2_000)
FULL: Final = Effort(seconds=8, turns=5, customers=100_000)


class Run:
    """One run: what is measured, on which sites, and what was found."""

    def __init__(self, home: Path, url: str, given: argparse.Namespace) -> None:
        self.home, self.url, self.given = home, url, given
        self.effort: Effort = given.effort
        self.site: Site = standard(home, url, self.effort.customers)
        self.found: dict[str, Any] = {}
        self.left_out: list[str] = []

    def whole(self) -> dict[str, Row]:
        """Server → its figures, each the median of its turns."""
        unknown = light(self.home, self.url)
        sites = {"empty": self.site, "store": self.site, "light": unknown, "standard": self.site}
        given: dict[str, tuple[list[str], str]] = {}
        try:
            given["service"] = beside.service(self.site, self.given.peers)
            sites["service"] = self.site
        except beside.Missing as missing:
            self.left_out.append(f"the straightforward service: {missing}.")
        turns: dict[str, list[Row]] = {name: [] for name in sites}
        for _ in range(self.effort.turns):
            for name, site in sites.items():
                command, path = given.get(name, ([], ""))
                seconds = self.effort.seconds
                turns[name].append(measure.whole(site, name, seconds, path, command))
            half = turns["standard"][-1]["rate"] / 2
            turns["empty"][-1]["p99_asked_as_standard_ms"] = measure.floor(
                self.site, self.effort.seconds, half
            )
        found = {name: medians(rows) for name, rows in turns.items()}
        found["standard"]["scored"] = measure.survivors(self.site)
        return found

    def steps(self) -> dict[str, Row]:
        """Step → its CPU."""
        return measure.steps(self.site, self.effort.seconds)

    def curve(self) -> list[Row]:
        """Times at each load."""
        shares = [0.1, 0.5, 0.9] if self.given.quick else [tenth / 10 for tenth in range(1, 10)]
        return measure.curve(self.site, shares, self.effort.seconds)

    def grid(self) -> dict[str, Row]:
        """Case → its CPU."""
        ends = (CANDIDATES[0], CANDIDATES[2], RULES[0], RULES[2])
        models = self.site.folder / "models"
        cases = ends if self.given.quick else GRID
        return measure.grid(self.home, self.url, models, cases, self.effort)

    def references(self) -> dict[str, Row]:
        """What decisions do in Redis, and with the model, by itself."""
        return {
            "the bytes of its two calls, from sockets": references.two_calls(self.site),
            "its compiled trees": references.trees(self.site),
        }

    def peers(self) -> dict[str, Row]:
        """Peer → its part, and ours."""
        found, left_out = beside.beside(self.site, self.given.peers, self.home)
        self.left_out += left_out
        return found

    def reloads(self) -> dict[str, Row]:
        """What is reloaded → times meanwhile and in between."""
        turns = 2 if self.given.quick else 6
        return steady.reloads(self.site, self.effort.seconds, turns)

    def lookups(self) -> dict[str, Any]:
        """How long the loop stops."""
        return steady.lookups(self.site, self.effort.seconds)

    def workers(self) -> dict[str, Row]:
        """Workers → their CPU."""
        return measure.workers(self.site, self.effort)

    def nodes(self) -> list[dict[str, Any]]:
        """Servers of Redis and workers → the CPU of each process."""
        try:
            return nodes.nodes(self.home, self.site.folder / "models", self.effort)
        except nodes.Missing as missing:
            self.left_out.append(f"a cluster: {missing}.")
            return []


PARTS: Final[dict[str, Callable[[Run], Any]]] = {
    "whole": Run.whole,
    "steps": Run.steps,
    "curve": Run.curve,
    "grid": Run.grid,
    "references": Run.references,
    "peers": Run.peers,
    "workers": Run.workers,
    "nodes": Run.nodes,
    "reloads": Run.reloads,
    "lookups": Run.lookups,
}


def run(given: argparse.Namespace) -> str:
    """Measures the parts asked for; returns the table."""
    from decision.store import EmbeddedRedis

    found: dict[str, Any] = {"machine": machine(), "given": _said(given.effort)}
    with tempfile.TemporaryDirectory(prefix="nextbest-bench-") as name:
        home = Path(name)
        with EmbeddedRedis(home / "redis", fsync="everysec") as url:
            never_rewrite(url)
            running = Run(home, url, given)
            for part in given.parts:
                print(f"measuring: {part}", flush=True)
                found[part] = PARTS[part](running)
                found["left_out"] = running.left_out
                text = tell(found, given.out)  # what was measured stays, should the next one fail
    return text


def _said(effort: Effort) -> str:
    turns = f"{effort.turns} turns" if effort.turns > 1 else "one turn"
    return f"{effort.customers:,} customers, {effort.seconds:g} s for each load, {turns}."


def main() -> None:
    """Measures and prints, or serves for a measurement."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.http",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--serve", choices=REFERENCES, help=argparse.SUPPRESS)
    parser.add_argument("port", type=int, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--full", action="store_true", help="the long form of all parts")
    parser.add_argument("--customers", type=int, help="loaded (2,000; 100,000)")
    parser.add_argument("--seconds", type=float, help="of each load (1.2; 8)")
    parser.add_argument("--turns", type=int, help="of each server (1; 5)")
    parser.add_argument("--parts", choices=PARTS, nargs="+")
    peers = Path(".venv/bench")
    parser.add_argument("--peers", type=Path, default=peers, help="packages of peers (.venv/bench)")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="(build/bench)")
    given = parser.parse_args()
    if given.serve:
        serve_reference(given.serve, given.port)
        return
    given.quick, usual = not given.full, FULL if given.full else QUICK
    given.parts = given.parts or [part for part in PARTS if given.full or part != "nodes"]
    asked = {key: getattr(given, key) for key in Effort._fields if getattr(given, key)}
    given.effort = usual._replace(**asked)
    end_on_sigterm()
    pin(1)  # also Redis, which this starts
    print(f"\n{run(given)}\nwritten to {given.out}/")


if __name__ == "__main__":
    main()
