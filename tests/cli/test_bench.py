"""`nextbest bench`, and the list of benchmarks."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from decision.cli import bench as module

ROOT = Path(__file__).resolve().parents[2]


def benchmarks(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_benchmark_is_listed_with_what_it_measures():
    lines = benchmarks("--list").stdout.splitlines()
    names = {path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py")}
    assert {line.split()[0] for line in lines} == names
    assert all(len(line.split()) > 3 for line in lines)


def test_a_benchmark_that_does_not_exist_is_wrong_usage():
    result = benchmarks("nope")
    assert result.returncode == 2
    assert "decision_cost" in result.stderr


def test_every_step_of_a_decision_is_measured(redis_url, prefix, monkeypatch):
    """A small run of the real thing: it must keep step with the engine that it measures."""
    from benchmarks import decision_cost

    for name, value in (
        ("CUSTOMERS", 40),
        ("BATCH", 20),
        ("COMMITS", 50),
        ("ROUNDS", 1),
        ("SECONDS", 0.01),
    ):
        monkeypatch.setattr(decision_cost, name, value)
    steps = asyncio.run(decision_cost.measure(decision_cost.made_up(), None, redis_url, prefix))
    names = [name for name, _ in steps]
    assert len(set(names)) == len(names) == 13
    whole = dict(steps)["all of Engine.decide (memory)"]
    assert whole > dict(steps)["decode the document"] > 0


def test_without_a_checkout_it_says_so(run, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    result = run("bench")
    assert result.exit_code == 1
    assert "checkout" in result.stderr


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_it_runs_the_benchmark_of_the_checkout(run, monkeypatch, flags):
    seen = []

    def called(command, env, check):
        seen.append((command[1:], env["PYTHONPATH"]))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(module.subprocess, "run", called)
    assert run("bench", *flags).exit_code == 0
    assert seen[0][0] == ["-m", "benchmarks.decision_cost", *flags]
    assert str(ROOT) in seen[0][1]
