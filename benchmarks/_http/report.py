"""What is told: one JSON and one Markdown table, with the targets beside the figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks._http.peers.beside import FEAST
from benchmarks._http.pictures import draw_curve, draw_steps
from benchmarks._http.servers import SERVERS

Found = dict[str, Any]


class Target(NamedTuple):
    """A figure that is wanted: at least, or at most, so much. `figure` is None where not measured."""

    name: str
    wanted: float
    most: bool
    figure: Callable[[Found], float | None]

    def row(self, found: Found) -> str | None:
        """A row of the table; None where it was not measured."""
        try:
            got = self.figure(found)
        except (KeyError, IndexError):
            return None
        if got is None:
            return None
        held = got <= self.wanted if self.most else got >= self.wanted
        bound = f"{'≤' if self.most else '≥'} {self.wanted:g}"
        return f"| {self.name} | {bound} | {got:.3g} | {'yes' if held else '**no**'} |"


def _cpu(name: str) -> Callable[[Found], float]:
    return lambda found: found["whole"]["empty"]["cpu_us"] / found["whole"][name]["cpu_us"]


def _growth(key: str, few: int, many: int) -> Callable[[Found], float | None]:
    """How much the CPU of a decision grows from few to many of something, all else the same."""

    def growth(found: Found) -> float | None:
        usual = {"candidates": 100, "rules": 50, "contacts": 20}
        cost = {
            row[key]: row["cpu_us"]
            for row in found["grid"].values()
            if all(row[other] == value for other, value in usual.items() if other != key)
        }
        return cost[many] / cost[few]

    return growth


TARGETS: Final = (
    Target("empty's CPU over the standard's", 0.22, False, _cpu("standard")),
    Target("empty's CPU over the light one's", 0.35, False, _cpu("light")),
    Target(
        "CPU of the straightforward service, times the standard's",
        10,
        False,
        lambda found: found["whole"]["service"]["cpu_us"] / found["whole"]["standard"]["cpu_us"],
    ),
    Target(
        "p99 at half of the highest rate, times p50 alone",
        4,
        True,
        lambda found: (
            found["whole"]["standard"]["p99_half_ms"] / found["whole"]["standard"]["p50_alone_ms"]
        ),
    ),
    Target(
        "p99 at half of the highest rate, ms",
        5,
        True,
        lambda found: found["whole"]["standard"]["p99_half_ms"],
    ),
    Target("candidates 10 → 1,000: CPU grows by", 5, True, _growth("candidates", 10, 1_000)),
    Target("rules 10 → 1,000: CPU grows by", 4, True, _growth("rules", 10, 1_000)),
    Target(
        "CPU of a decision with two workers, times that with one",
        1.1,
        True,
        lambda found: found["workers"]["2"]["cpu_us"] / found["workers"]["1"]["cpu_us"],
    ),
    Target(
        "CPU of Feast's read, times ours",
        10,
        False,
        lambda found: found["peers"][FEAST]["times"],
    ),
    Target(
        "Redis for a decision, µs",
        25,
        True,
        lambda found: found["whole"]["standard"]["redis_us"],
    ),
    Target(
        "p99 while the policy is reloaded, times p99 otherwise",
        2,
        True,
        lambda found: found["reloads"]["policy"]["ratio"],
    ),
    Target(
        "p99 while the model is reloaded, times p99 otherwise",
        2,
        True,
        lambda found: found["reloads"]["model"]["ratio"],
    ),
    Target(
        "the loop's longest stop by looking up, ms",
        5,
        True,
        lambda found: found["lookups"]["longest_ms"],
    ),
)


def tell(found: Found, folder: Path) -> str:
    """Writes all figures, the table and the pictures into a folder; returns the table."""
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(found)
    (folder / "bench.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    (folder / "bench.md").write_text(text, "utf-8")
    if rows := found.get("curve"):
        alone = found.get("whole", {}).get("standard", {}).get("p50_alone_ms")
        draw_curve(rows, alone, folder / "latency.svg")
    if steps := found.get("steps"):
        draw_steps(steps, folder / "steps.svg")
    return text


def markdown(found: Found) -> str:
    """The figures as Markdown: the machine, targets, and a table for each part measured."""
    machine = found["machine"]
    parts = [
        f"Commit {machine['commit']}; {machine['processor']}, {machine['cpus']} CPUs, load"
        f" {machine['load']}; " + ", ".join(f"{name} {machine[name]}" for name in _VERSIONS) + "."
        f" {found['given']}"
    ]
    wanted = [row for target in TARGETS if (row := target.row(found)) is not None]
    if wanted:
        parts.append(_table(["", "wanted", "got", "held"], wanted))
    parts += [table(found[part]) for part, table in _TABLES.items() if found.get(part)]
    parts += [f"Not measured: {why}" for why in found.get("left_out", [])]
    return "\n\n".join(parts) + "\n"


_VERSIONS: Final = ("python", "litestar", "uvicorn", "uvloop", "msgspec", "lightgbm", "lleaves")


def _table(heads: list[str], rows: list[str]) -> str:
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows])


def _whole(found: dict[str, Any]) -> str:
    base = found["empty"]
    heads = ["", "answers/s", "CPU, µs", "Redis, µs", "empty's CPU over it"]
    rows = [
        f"| {SERVERS[name]} | {row['rate']:,.0f} | {row['cpu_us']:.0f} | {row['redis_us']:.0f} |"
        f" {base['cpu_us'] / row['cpu_us']:.3f} | {row['p50_alone_ms']:.2f} |"
        f" {row['p50_half_ms']:.2f} | {row['p99_half_ms']:.2f} |"
        for name, row in found.items()
    ]
    table = _table([*heads, "p50 alone, ms", "p50 at half", "p99 at half"], rows)
    if (floor := base.get("p99_asked_as_standard_ms")) is None:
        return table
    return (
        f"{table}\n\nAn empty @post, asked as often as the standard decision at half, has a p99 of"
        f" {floor:.2f} ms: the machine, what asks, and chance."
    )


def _grid(found: dict[str, Any]) -> str:
    usual = found.get("100 candidates, 50 rules, 20 contacts", next(iter(found.values())))
    rows = [
        f"| {name} | {row['scored']:.0f} | {row['rate']:,.0f} | {row['cpu_us']:.0f} |"
        f" {row['cpu_us'] / usual['cpu_us']:.2f} |"
        for name, row in found.items()
    ]
    return _table(["", "scored", "answers/s", "CPU, µs", "times the standard's"], rows)


def _steps(found: dict[str, Any]) -> str:
    steps = {step: row for step, row in found.items() if step != "marks"}
    rows = [f"| {step} | {row['us']:.1f} | {row['times']:.2f} |" for step, row in steps.items()]
    rows.append(f"| **together** | {sum(row['us'] for row in steps.values()):.1f} | |")
    rows.append(f"| the marks, which are no part of it | {found['marks']['us']:.1f} | |")
    return _table(["step of a standard decision, in place", "CPU, µs", "calls"], rows)


def _curve(found: list[Any]) -> str:
    rows = [
        f"| {row['share']:.0%} | {row['asked']:,.0f} | {row['p50_ms']:.2f} | {row['p90_ms']:.2f} |"
        f" {row['p99_ms']:.2f} | {row['refused']:.1f} |"
        for row in found
    ]
    heads = ["load", "asked per second", "p50, ms", "p90", "p99", "refused per second"]
    return _table(heads, rows)


def _references(found: dict[str, Any]) -> str:
    rows = [
        f"| {name} | {_us(row.get('cpu_us'))} | {_us(row.get('redis_us'))} |"
        for name, row in found.items()
    ]
    return _table(["", "CPU, µs", "Redis, µs"], rows)


def _peers(found: dict[str, Any]) -> str:
    rows = [
        f"| {name} | {row['theirs_us']:.1f} | {row['ours_us']:.1f} | {row['times']:.1f} |"
        for name, row in found.items()
    ]
    return _table(["CPU, µs", "theirs", "ours", "theirs over ours"], rows)


def _workers(found: dict[str, Any]) -> str:
    rows = [
        f"| {count} | {row['rate']:,.0f} | {row['cpu_us']:.0f} |" for count, row in found.items()
    ]
    return _table(["workers, on one core", "answers/s", "CPU, µs"], rows)


def _nodes(found: list[Any]) -> str:
    rows = [
        f"| {row['servers']} | {row['workers']} | {row['rate']:,.0f} | {row['cpu_us']:.0f} |"
        f" {' '.join(f'{one:.0f}' for one in row['redis_us'])} | {row['p50_ms']:.1f} |"
        for row in found
    ]
    heads = ["servers of Redis", "workers, on one core", "answers/s", "CPU of workers, µs"]
    return _table([*heads, "of each server", "p50, ms"], rows)


def _reloads(found: dict[str, Any]) -> str:
    rows = [
        f"| {what} | {row['turns']:.0f} | {row['seconds']:.1f} | {row['between_ms']:.2f} |"
        f" {row['during_ms']:.2f} | {row['ratio']:.2f} | {row['refused']:.0f} |"
        for what, row in found.items()
    ]
    heads = ["reloaded", "times", "s each", "p99 between, ms", "p99 during, ms", "ratio", "refused"]
    return _table(heads, rows)


def _lookups(found: dict[str, Any]) -> str:
    rows = [
        f"| {what} | {row['looked_up']:,.0f} | {row['p99_ms']:.2f} | {row['longest_ms']:.2f} |"
        for what, row in found["loads"].items()
    ]
    heads = ["what is asked", "answers", "the loop's stops: p99, ms", "the longest"]
    return _table(heads, rows)


def _us(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


_TABLES: Final[dict[str, Callable[[Any], str]]] = {
    "whole": _whole,
    "steps": _steps,
    "curve": _curve,
    "grid": _grid,
    "references": _references,
    "peers": _peers,
    "workers": _workers,
    "nodes": _nodes,
    "reloads": _reloads,
    "lookups": _lookups,
}
