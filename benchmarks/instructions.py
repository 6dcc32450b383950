"""Instructions of one decision, counted by valgrind and compared with recorded figures.

    python -m benchmarks.instructions            # or: make instructions
    python -m benchmarks.instructions --update   # records what it counts

A count of instructions does not depend on how busy the machine is: runs of the same code agree
within 1 %. So a change that makes decisions slower is seen when it is made. `decide()` is the
pure decision; `Engine.decide()` is a whole decision with the store in memory. Two policies: the
sample's, and a standard one with 100 candidates on five channels (half of them survive), 50 rules
and 10 caps. Customers have 20 contacts, about 40 attributes and, in the standard, 12 types of
events. The model is the sample model, its trees compiled for any processor.

The standard is counted with more, too: fields compared with fields, measures of dates, a score,
caps that vary, two tiers, and a budget of money that is paced. All that may cost 17 % at most
(15 % until the standard lost a fifth of its instructions: in instructions that was more).

Starting, loading and warming up are not counted. Hash seed, time and random numbers are fixed,
and the garbage collector is off.

A count over 10 % above its figure fails and shows the slowest functions; compare them with those
of the commit before (`--profile FIGURE`). A count over 10 % below its figure is only a warning:
record it, or a later loss of the gain goes unnoticed. Record new figures in the commit that
causes them, and say why: more function, other sample rules, other versions in the locks.

There are figures for each version of CPython and each processor architecture; those of 3.12 are
recorded with `make instructions ARGS=--update VENV=.venv312 PYTHON=python3.12`. `reference` is
plain Python that never changes. Where it differs by over 3 %, CPython was built with other
options, and the counts are not compared.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import ctypes
import gc
import json
import os
import platform
import pstats
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks._standard import CHANNELS, EVENT_TYPES, fill, made_up
from benchmarks.decision_cost import (
    ROOT,
    make_engine,
    request_for,
    sample,
    train_model,
    verdict_of,
)
from decision.core.definition import PolicyDefinition
from decision.scoring.compiled import compile_trees
from decision.scoring.linear import read_start
from decision.scoring.loading import check_version
from decision.scoring.model import Model
from decision.store import MemoryStore

FIGURES: Final = ROOT / "tests" / "speed" / "instructions.json"
"""Build of CPython → figure → instructions."""
SLACK: Final = 0.10
STANDARD: Final = "standard"
MORE: Final = "standard with more"
MORE_COSTS: Final = 0.17
"""What more may cost at most, as a share of the standard."""
SAME_BUILD: Final = 0.03
REFERENCE: Final = "reference"
RECORD_IT: Final = "Record it: make instructions ARGS=--update"
WARM_UP: Final = 20
COUNTED: Final = 20
"""Decisions, each for another customer."""
TIMEOUT: Final = 280.0
PROFILES: Final = 5
"""Runs of a profile; the shortest time of each function is shown."""
TOP: Final = 15

_SWITCH: Final = """
#include <valgrind/callgrind.h>
void begin(void) { CALLGRIND_START_INSTRUMENTATION; }
void end(const char *name) { CALLGRIND_STOP_INSTRUMENTATION; CALLGRIND_DUMP_STATS_AT(name); }
"""
_OBJECT: Final = "portable.o"
_ENVIRONMENT: Final = {
    "PYTHONHASHSEED": "0",
    "PYTHONTZPATH": "",  # the locked tzdata, not the machine's
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}

Begin = Callable[[], None]
End = Callable[[str], None]
Counts = Mapping[str, int]


class CannotCount(Exception):
    """Nothing can be counted or compared here; one sentence says why."""


# ------------------------------------------------------------ the process that decides


def reference() -> None:
    """Plain Python. Never change it: it tells builds of CPython apart."""
    for n in range(100):
        table = {str(k): (k * n) % 97 for k in range(50)}
        sorted(table.items(), key=lambda pair: pair[1])
        json.dumps(table)


async def decide_all(version: Path, begin: Begin, end: End) -> None:
    """Runs what is counted, each figure between `begin()` and `end(figure)`."""
    reference()
    begin()
    reference()
    end(REFERENCE)
    manifest, _, _ = check_version(version)
    trees = compile_trees(version, manifest, version / _OBJECT)
    start = read_start(version, manifest.start, manifest.features)
    model = Model(manifest, trees, "compiled", start=start)
    standard = made_up(CHANNELS, rules=50, event_types=EVENT_TYPES)
    await _decide("sample", sample(), model, begin, end)
    await _decide(STANDARD, standard, model, begin, end)
    await _decide("standard without a model", standard, None, begin, end)
    more = made_up(CHANNELS, rules=50, event_types=EVENT_TYPES, more=True)
    await _decide(MORE, more, model, begin, end)


async def _decide(
    name: str, definition: PolicyDefinition, model: Model | None, begin: Begin, end: End
) -> None:
    store = MemoryStore()
    engine = await make_engine(definition, model, store)
    names = await fill(engine, store, WARM_UP + COUNTED, attributes=24, event_types=EVENT_TYPES)
    requests = [request_for(each) for each in names]
    documents = [(await store.read(each)).document for each in names]
    random.seed(1)
    pairs = list(zip(documents, requests, strict=True))
    for document, request in pairs[:WARM_UP]:
        verdict_of(engine.snapshot, document, request)
    begin()
    for document, request in pairs[WARM_UP:]:
        verdict_of(engine.snapshot, document, request)
    end(f"{name}: decide()")
    for request in requests[:WARM_UP]:
        await engine.decide(request)
    begin()
    for request in requests[WARM_UP:]:
        await engine.decide(request)
    end(f"{name}: Engine.decide()")


def _count_inside(version: Path) -> None:
    switch = ctypes.CDLL(str(version / "switch.so"))
    asyncio.run(decide_all(version, switch.begin, lambda name: switch.end(name.encode())))


def _profile_inside(version: Path, figure: str) -> None:
    """Prints the functions in which a figure's decisions spend the most time of their own."""
    profile = cProfile.Profile()
    best: dict[tuple[str, int, str], tuple[float, int]] = {}

    def end(name: str) -> None:
        profile.disable()
        if name == figure:
            for place, (_, calls, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
                best[place] = min(best.get(place, (own, calls)), (own, calls))
        profile.clear()

    for _ in range(PROFILES):
        asyncio.run(decide_all(version, profile.enable, end))
    print(f"{figure}, by cProfile, per decision:\n  µs itself  calls")
    for (file, line, name), (own, calls) in sorted(best.items(), key=lambda each: -each[1][0])[
        :TOP
    ]:
        place = f"{file.removeprefix(f'{ROOT}/')}:{line} {name}" if line else name
        print(f"{own / COUNTED * 1e6:11.1f}  {calls / COUNTED:5.1f}  {place}")


# -------------------------------------------------------------- the process that counts


@contextmanager
def _prepared() -> Iterator[Path]:
    """The version folder of the sample model, its trees compiled for any processor.

    valgrind knows no AVX-512, so the object of this machine would not run.
    """
    import lleaves

    with tempfile.TemporaryDirectory(prefix="nextbest-") as folder:
        version = train_model(sample(), Path(folder))
        lleaves.Model(str(version / "model.txt")).compile(
            cache=str(version / _OBJECT),
            raw_score=True,
            target_cpu="generic",
            target_cpu_features="",
        )
        yield version


def _run(version: Path, *arguments: str, under: tuple[str, ...] = ()) -> str:
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    command = [*under, sys.executable, "-m", "benchmarks.instructions", "--inside", str(version)]
    return subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env={**kept, **_ENVIRONMENT},
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT,
        check=True,
    ).stdout


def measure() -> dict[str, int]:
    """Figure → instructions of one decision.

    Raises:
        CannotCount: valgrind, its headers or a C compiler is missing.
    """
    if shutil.which("valgrind") is None:
        raise CannotCount("valgrind is not installed")
    with _prepared() as version:
        source = version / "switch.c"
        source.write_text(_SWITCH)
        build = [*shlex.split(os.environ.get("CC", "gcc")), "-shared", "-fPIC", "-o"]
        try:
            subprocess.run([*build, version / "switch.so", source], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            raise CannotCount("a C compiler or valgrind/callgrind.h is missing") from None
        options = ("-q", "--tool=callgrind", "--instr-atstart=no", "--vgdb=no")
        _run(version, under=("valgrind", *options, f"--callgrind-out-file={version / 'out'}"))
        counted = {}
        for dump in sorted(version.glob("out.*"), key=lambda path: int(path.suffix[1:])):
            text = dump.read_text("utf-8")
            figure = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
            total = re.search(r"^totals: (\d+)$", text, re.MULTILINE)
            if figure is not None and total is not None:
                times = 1 if figure[1] == REFERENCE else COUNTED
                counted[figure[1]] = round(int(total[1]) / times)
    return counted


def profile(figure: str) -> str:
    """Where the decisions of that figure spend their time."""
    with _prepared() as version:
        return _run(version, "--profile", figure)


# ---------------------------------------------------------------------------- compare


def build_name() -> str:
    """The figures' key for the CPython that runs this."""
    version = ".".join(platform.python_version_tuple()[:2])
    return f"{platform.python_implementation()} {version}, {platform.machine()}"


def _all_figures() -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = json.loads(FIGURES.read_text("utf-8"))
    return found


def recorded(counted: Counts) -> dict[str, int]:
    """The figures to compare with.

    Raises:
        CannotCount: there are none for this build of CPython.
    """
    figures = _all_figures().get(build_name())
    if figures is None:
        raise CannotCount(f"no figures are recorded for {build_name()}")
    if abs(counted[REFERENCE] / figures[REFERENCE] - 1) > SAME_BUILD:
        raise CannotCount(
            f"the figures are of a CPython built with other options: its reference is "
            f"{figures[REFERENCE]:,} instructions, here {counted[REFERENCE]:,}"
        )
    return figures


def judge(counted: Counts, figures: Counts) -> tuple[list[str], list[str]]:
    """The figures that cost over 10 % more than recorded, and over 10 % less; furthest first."""
    shares = {name: count / figures[name] - 1 for name, count in counted.items() if name in figures}
    ordered = sorted(shares, key=lambda name: -abs(shares[name]))
    slower = [name for name in ordered if shares[name] > SLACK]
    return slower, [name for name in ordered if shares[name] < -SLACK]


def too_much_more(counted: Counts) -> dict[str, float]:
    """Figures of the standard with more that cost over 17 % more than without → the share."""
    shares = {
        name: count / counted[STANDARD + name.removeprefix(MORE)] - 1
        for name, count in counted.items()
        if name.startswith(MORE)
    }
    return {name: share for name, share in shares.items() if share > MORE_COSTS}


def table(counted: Counts, figures: Counts) -> str:
    """A line for each figure: counted, recorded, and the difference."""
    width = max(map(len, counted))
    lines = [f"{'instructions of one decision'.ljust(width)}      counted     recorded"]
    for name, count in counted.items():
        figure = figures.get(name)
        rest = f"{figure:13,} {count / figure - 1:+7.1%}" if figure else "  not recorded"
        lines.append(f"{name.ljust(width)}{count:13,}{rest}")
    return "\n".join(lines)


def update(counted: Counts) -> None:
    """Records the counts as the figures of this build."""
    figures = {**_all_figures(), build_name(): dict(counted)}
    FIGURES.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", "utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.instructions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--update", action="store_true", help="record what is counted")
    parser.add_argument("--profile", metavar="FIGURE", help="only show where its time is spent")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.inside is not None:
        gc.disable()
        if given.profile:
            _profile_inside(given.inside, given.profile)
        else:
            _count_inside(given.inside)
        return 0
    if given.profile:
        print(profile(given.profile))
        return 0
    counted: dict[str, int] = {}
    try:
        counted = measure()
        if given.update:
            update(counted)
        figures = recorded(counted)
    except CannotCount as error:
        if counted:
            print(table(counted, {}))
        print(error, file=sys.stderr)
        return 1
    print(table(counted, figures))
    slower, faster = judge(counted, figures)
    if faster:
        print(f"\nFaster than recorded: {', '.join(faster)}. {RECORD_IT}")
    if slower:
        print(f"\nSlower than recorded: {', '.join(slower)}.\n\n{profile(slower[0])}")
    much = too_much_more(counted)
    for name, share in much.items():
        print(f"\n{name} costs {share:.1%} more than without; {MORE_COSTS:.0%} are allowed.")
    return 1 if slower or much else 0


if __name__ == "__main__":
    sys.exit(main())
