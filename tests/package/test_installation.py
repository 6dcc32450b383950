"""What is said where the packages of an extra are missing: a command that works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from decision.core.errors import FileError
from decision.installation import EXTRAS, install_hint, sample

ROOT = Path(__file__).resolve().parents[2]


def command(extra: str = "train") -> list[str]:
    said, _, shown = install_hint("this needs x", extra).partition(" with: ")
    assert said == "this needs x; install what is missing"
    return shlex.split(shown)


TRAIN = {
    *("deltalake", "duckdb", "matplotlib", "obstore", "pyarrow", "resvg-py", "universal-pathlib"),
}


def packages(args: list[str]) -> set[str]:
    return {re.split(r"[<>=\[]", arg)[0] for arg in args}


def test_the_command_installs_the_packages_of_the_extra_by_name_into_this_python() -> None:
    python, *rest = command()
    assert python == sys.executable
    assert rest[:3] == ["-m", "pip", "install"]
    assert packages(rest[3:]) == TRAIN


def test_an_extra_that_contains_another_names_the_packages_of_both() -> None:
    assert packages(command("dask")[4:]) == {*TRAIN, "dask", "pandas", "scikit-learn"}


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("duckdb", "duckdb"),
        ("pyarrow", "pyarrow"),
        ("deltalake", "deltalake"),
        ("matplotlib", "matplotlib"),
        ("resvg_py", "resvg-py"),
        ("dask", "dask"),
        ("distributed", "dask"),
        ("pandas", "pandas"),
        ("sklearn", "scikit-learn"),
    ],
)
def test_a_module_leads_to_the_extra_that_brings_it(module: str, package: str) -> None:
    assert package in packages(command(EXTRAS[module])[4:])


@pytest.mark.slow
def test_the_command_runs_as_it_is_shown() -> None:
    """Every package is here already, so nothing is asked of an index."""
    pytest.importorskip("pip", reason="this environment has no pip")
    shown = install_hint("x").partition(" with: ")[2]
    result = subprocess.run(
        f"{shown} --dry-run --no-index", shell=True, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "Would install" not in result.stdout


def test_without_pip_uv_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decision.installation.find_spec", lambda name: None)
    assert command()[:5] == ["uv", "pip", "install", "--python", sys.executable]


def test_a_checkout_that_is_not_installed_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.requires", none)
    assert command("dask")[-2:] == ["-e", f"{ROOT}[dask]"]


def test_no_other_text_says_how_an_extra_is_installed() -> None:
    folders = (ROOT / "decision", ROOT / "docs", ROOT / "benchmarks")
    paths = [path for folder in folders for path in folder.rglob("*") if path.suffix]
    told = [
        str(path.relative_to(ROOT))
        for path in (*paths, ROOT / "README.md")
        if path.suffix in (".py", ".md", ".html") and "nextbest[" in path.read_text("utf-8")
    ]
    assert told == []


def test_a_sample_that_is_missing_is_said_with_its_place() -> None:
    assert (sample("rules") / "settings.yaml").is_file()
    with pytest.raises(FileError, match="_sample/nowhere: the sample is missing"):
        sample("nowhere")
