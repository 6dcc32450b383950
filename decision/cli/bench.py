"""`nextbest bench`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import rich_click as click

from decision.cli.options import json_option
from decision.cli.output import Fail, busy


@click.command(epilog="Example: nextbest bench")
@json_option
def bench(as_json: bool) -> int:
    """Measure what a decision costs, step by step.

    Microseconds of CPU for the sample's rules and for 100 made-up candidates, with a customer of
    20 contacts, in memory and on an embedded Redis. Needs a checkout, in which benchmarks/ says
    how it is measured; `python -m benchmarks --list` there lists the other benchmarks.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "benchmarks" / "decision_cost.py").is_file():
        raise Fail("the benchmarks are not in the installed package; run this from a checkout")
    command = [sys.executable, "-m", "benchmarks.decision_cost", *(["--json"] if as_json else [])]
    with busy("Measuring"):
        return subprocess.run(command, env=_environment(root), check=False).returncode


def _environment(root: Path) -> dict[str, str]:
    """This environment, in which the checkout's packages are found."""
    paths = filter(None, (str(root), os.environ.get("PYTHONPATH")))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
