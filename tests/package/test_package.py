"""The wheel and the sdist, as `make package` builds them: what is in them, and that the wheel works.

The wheel is installed without its dependencies into a new environment, which finds those of the
present one, but not the checkout.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from decision.cli.app import COMMANDS

pytest.importorskip("hatchling", reason="hatchling, which builds the package, is not installed")

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def done(*args: object, cwd: Path, **given: str) -> str:
    """What a command prints; it has to exit with 0."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NEXTBEST_", "PYTHON", "SOURCE_DATE"))
    }
    result = subprocess.run(
        [str(arg) for arg in args],
        cwd=cwd,
        env={**environment, **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def build(source: Path, out: Path, *flags: str) -> None:
    done(sys.executable, "-m", "hatchling", "build", "-d", out, *flags, cwd=source)


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def files_below(*folders: str) -> set[str]:
    paths = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    names = (path.relative_to(ROOT) for path in paths)
    return {
        name.as_posix()
        for name in names
        if not any(
            part in ("__pycache__", "node_modules") or part.startswith(".") for part in name.parts
        )
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist and the wheel."""
    out = tmp_path_factory.mktemp("dist")
    build(ROOT, out)
    return out


@pytest.fixture(scope="module")
def unpacked(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in the sdist."""
    out = tmp_path_factory.mktemp("sdist")
    shutil.unpack_archive(only(built, "*.tar.gz"), out)
    return only(out, "nextbest-*")


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that has the wheel."""
    pytest.importorskip("pip", reason="this environment has no pip")
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, symlinks=True)
    paths = sysconfig.get_paths(vars={"base": str(home), "platbase": str(home)})
    # A folder that a .pth file names is searched; its own .pth files, as of the checkout, are not.
    Path(paths["purelib"], "present.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    bin_folder = home / "bin"
    pip = (sys.executable, "-m", "pip", "--python", bin_folder / "python", "install", "--quiet")
    done(*pip, "--no-deps", "--no-index", only(built, "*.whl"), cwd=home)
    return bin_folder


def test_the_wheel_has_the_code_the_sample_and_the_starter_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(only(built, "*.whl")) as wheel:
        metadata = {name for name in wheel.namelist() if name.startswith("nextbest-")}
        names = set(wheel.namelist()) - metadata
    sample = {f"decision/_sample/{name}" for name in files_below("rules")}
    sample |= {f"decision/_sample/models/{path.name}" for path in (ROOT / "models").glob("*.yaml")}
    sources = files_below("decision/console/frontend")  # what they build is in static/
    assert sources
    assert names == files_below("decision") - sources | sample
    assert "decision/console/static/manifest.json" in names
    assert {name for name in names if name.startswith("decision/_starter/")}
    assert {Path(name).suffix for name in names} <= {
        ".py",
        ".typed",
        ".sql",
        ".lua",
        ".html",
        ".json",
        ".yaml",
        *(".css", ".js", ".svg", ".txt", ".po"),  # the console
    }
    assert {name.rpartition("/")[2] for name in metadata} == {
        *("METADATA", "WHEEL", "RECORD", "entry_points.txt", "LICENSE")
    }


def test_the_sdist_has_what_building_and_testing_need(unpacked: Path) -> None:
    needed = files_below("decision", "rules", "tests", "docs", "benchmarks")
    needed |= {path.relative_to(ROOT).as_posix() for path in ROOT.glob("requirements*.lock")}
    needed |= {"pyproject.toml", "Makefile", "README.md", "LICENSE", "models/engagement.yaml"}
    found = {
        path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()
    }
    assert needed <= found
    tops = {path.name for path in ROOT.iterdir()} | {"PKG-INFO"}
    assert {path.name for path in unpacked.iterdir()} <= tops - {".git", ".venv", "dist"}


def test_the_sdist_builds_the_same_wheel(built: Path, unpacked: Path, tmp_path: Path) -> None:
    build(unpacked, tmp_path, "-t", "wheel")
    wheel = only(built, "*.whl")
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_same_files_give_the_same_sdist(built: Path, tmp_path: Path) -> None:
    build(ROOT, tmp_path, "-t", "sdist")
    sdist = only(built, "*.tar.gz")
    assert (tmp_path / sdist.name).read_bytes() == sdist.read_bytes()


def test_from_an_empty_folder_the_wheel_starts_a_shop(installed: Path, tmp_path: Path) -> None:
    """init, check, test and decide, in a folder with a blank and Chinese in its path."""
    folder = tmp_path / "my shop 茶店"
    folder.mkdir()
    nextbest = installed / "nextbest"
    where = "import decision; print(decision.__file__)"
    assert Path(done(installed / "python", "-c", where, cwd=folder)).is_relative_to(
        installed.parent
    )
    assert done(nextbest, "--version", cwd=folder).startswith("nextbest ")
    done(nextbest, "init", cwd=folder)
    assert done(nextbest, "check", "--strict", cwd=folder).startswith("rules is")
    assert "2 scenarios passed, 0 failed" in done(nextbest, "test", cwd=folder)
    request = {
        "customer_id": "c-1",
        "placement": "outbound",
        "event": {"type": "order.shipped"},
        "at": "2026-03-02T10:00:00Z",
    }
    (folder / "requests.ndjson").write_text(json.dumps(request), "utf-8")
    flags = ("--rules", "rules", "--requests", "requests.ndjson", "--out", "-")
    answer = json.loads(done(nextbest, "decide", *flags, cwd=folder))
    assert answer["selections"][0]["message"] == "order-shipped"


def test_from_an_empty_folder_the_wheel_starts_the_demo(installed: Path, tmp_path: Path) -> None:
    shown = done(installed / "nextbest", "demo", "--check", "--customers", "50", cwd=tmp_path)
    assert '"outcome": "selected"' in shown


def test_every_command_of_the_wheel_gives_help(installed: Path, tmp_path: Path) -> None:
    code = (
        "from decision.cli.app import COMMANDS, cli\n"
        "for name in COMMANDS: cli.main([name, '--help'], standalone_mode=False)"
    )
    shown = done(installed / "python", "-c", code, cwd=tmp_path)
    for name in COMMANDS:
        assert f"Example: nextbest {name}" in shown
