"""The figures of a campaign: by fault, by check, and the count that later runs add to."""

from __future__ import annotations

import json
import subprocess
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.campaign.evidence import Found, Phase
from benchmarks.campaign.recovery import STEPS
from benchmarks.campaign.seen import Point

COUNT: Final = Path(__file__).parents[1] / "campaign.json"
"""All runs that were counted."""

AIM: Final = 10_000_000


def by_phase(
    points: Sequence[Point], phases: Sequence[Phase], began: float, ended: float
) -> dict[str, dict[str, Any]]:
    """Fault → what became of decisions while it lasted and servers recovered; `calm`: the rest."""
    starts = [phase.began for phase in phases]
    ends = [phase.ended + (phase.recovered or 30.0) for phase in phases]
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    waits: defaultdict[str, list[float]] = defaultdict(list)
    for point in points:
        place = bisect_right(starts, point.ended) - 1
        name = phases[place].name if place >= 0 and point.ended <= ends[place] else "calm"
        counts[name][point.result] += 1
        if point.result == "good" and point.seconds:
            waits[name].append(point.seconds)
    seconds: defaultdict[str, float] = defaultdict(float)
    for phase, end in zip(phases, ends, strict=True):
        seconds[phase.name] += min(end, ended) - phase.began
    seconds["calm"] = max(0.0, ended - began - sum(seconds.values()))
    table = {}
    for name in sorted(seconds, key=lambda each: (each != "calm", each)):
        own = [phase for phase in phases if phase.name == name]
        healed = [phase.recovered for phase in own if phase.recovered is not None]
        waits[name].sort()
        table[name] = {
            "times": len(own),
            "seconds": round(seconds[name], 1),
            "decisions": counts[name].total(),
            "good": counts[name]["good"],
            "good_per_second": round(counts[name]["good"] / max(seconds[name], 0.001)),
            "p99_ms": round(waits[name][len(waits[name]) * 99 // 100] * 1000) if waits[name] else 0,
            **{key: counts[name][key] for key in ("degraded", "503", "500", "lost")},
            "recovery_s": round(max(healed), 1) if healed else None,
            "not_recovered": len(own) - len(healed),
            "fault_s": _spread([phase.ended - phase.began for phase in own]),
            **{
                f"{step}_s": _spread([one.steps[step] for one in own if step in one.steps])
                for step in STEPS
            },
            "well_s": _spread(healed),
            "refused": sum(phase.refused for phase in own),
        }
    return table


def print_phases(table: Mapping[str, Mapping[str, Any]]) -> None:
    """The table by fault."""
    columns = ("times", "seconds", "decisions", "good", "good_per_second", "p99_ms")
    columns += ("degraded", "503", "500", "lost", "recovery_s", "not_recovered")
    titles = [name.replace("good_per_second", "good/s") for name in columns]
    print(f"{'fault':26}" + "".join(f"{name:>{max(9, len(name) + 1)}}" for name in titles))
    for name, row in table.items():
        cells = ("-" if row[column] is None else row[column] for column in columns)
        widths = (max(9, len(title) + 1) for title in titles)
        print(f"{name:26}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)))


def print_recovery(table: Mapping[str, Mapping[str, Any]]) -> None:
    """How long each fault lasted, and from its end until each step worked in every worker."""
    columns = ("fault_s", *(f"{step}_s" for step in STEPS), "well_s")
    print("\nseconds: median/longest; the steps and `well` (all at once) from the fault's end")
    print(f"{'fault':26}{'times':>6}" + "".join(f"{name:>14}" for name in columns) + "  refused")
    for name, row in table.items():
        if row["times"]:
            cells = ("/".join(f"{each:.1f}" for each in row[one]) or "never" for one in columns)
            print(f"{name:26}{row['times']:>6}" + "".join(f"{each:>14}" for each in cells), end="")
            print(f"{row['refused']:>9}")


def _spread(seconds: Sequence[float]) -> list[float]:
    """The median and the longest; nothing of nothing."""
    return [round(median(seconds), 1), round(max(seconds), 1)] if seconds else []


def print_checks(found: Mapping[str, Found]) -> None:
    """What each check found, with examples."""
    print(f"\n{'check':26}{'looked at':>12}{'wrong':>9}  excused")
    for name, each in found.items():
        excused = ", ".join(f"{count} {reason}" for reason, count in each.excused.items())
        print(f"{name:26}{each.looked_at:>12,}{each.total:>9,}  {excused}")
    for name, each in found.items():
        for text in each.wrong[:5]:
            print(f"  {name}: {text}")
        if len(each.wrong) > 5:
            print(f"  {name}: … {len(each.wrong) - 5} more")


def commit() -> str:
    """The version that is tried; `+` where files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=10"]
    run = subprocess.run(command, cwd=COUNT.parent, capture_output=True, text=True, check=False)
    return run.stdout.strip() or "unknown"


def record(run: Mapping[str, Any], path: Path = COUNT) -> int:
    """Adds a run; returns how many decisions were made in runs that found nothing wrong."""
    known = json.loads(path.read_text()) if path.exists() else {"runs": []}
    known["runs"].append(run)
    total: int = sum(one["decisions"] for one in known["runs"] if not one["findings"])
    text = {"decisions": total, "aim": AIM, "runs": known["runs"]}
    path.write_text(json.dumps(text, indent=1, ensure_ascii=False) + "\n")
    return total


def run_of(
    seed: str,
    minutes: float,
    decisions: int,
    table: Mapping[str, Mapping[str, Any]],
    found: Mapping[str, Found],
    commit_id: str,
) -> dict[str, Any]:
    """One run as the count keeps it."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit_id,
        "seed": seed,
        "minutes": round(minutes, 1),
        "decisions": decisions,
        "faults": {name: row["times"] for name, row in table.items() if row["times"]},
        "findings": {name: each.total for name, each in found.items() if each.wrong},
    }
