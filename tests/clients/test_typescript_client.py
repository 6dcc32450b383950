"""The TypeScript client does what the contract of all clients says, in Node."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.clients.contract import Contract, broken_pieces
from tests.clients.typescript import FOLDER, MISSING, installed, node

pytestmark = pytest.mark.skipif(node() is None, reason=MISSING)


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[[dict[str, Any]], Mapping[str, Any]]]:
    """Does a step in a Node that stays."""
    with subprocess.Popen(
        [str(node()), installed() / "test" / "runner.js"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        asked, told = process.stdin, process.stdout

        def step(given: dict[str, Any]) -> Mapping[str, Any]:
            asked.write(json.dumps(given) + "\n")
            asked.flush()
            line = told.readline()
            if not line:
                pytest.fail(f"the runner ended: {process.communicate()[1]}")
            found: dict[str, Any] = json.loads(line)
            return found

        yield step
        process.stdin.close()


def test_the_client_keeps_the_contract(contract: Contract, run: Any) -> None:
    assert contract.broken("typescript", run) == []


def test_its_pieces_give_what_the_contract_says(run: Any) -> None:
    assert broken_pieces(run) == []


@pytest.mark.slow
def test_the_package_has_what_is_compiled_its_readme_and_its_licence_and_nothing_else(
    tmp_path: Path,
) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    package = installed() / "node_modules" / "nextbest-client"
    command = ["npm", "pack", "--offline", "--ignore-scripts", "--pack-destination", str(tmp_path)]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("*.tgz")
    with tarfile.open(path) as packed:
        names = {name.removeprefix("package/") for name in packed.getnames()}
    made = {
        f"dist/{source.stem}{ending}"
        for source in (FOLDER / "src").glob("*.ts")
        for ending in (".js", ".d.ts")
    }
    assert names == made | {"package.json", "README.md", "LICENSE"}


def test_it_needs_nothing_at_run_time_and_names_exact_versions() -> None:
    package = json.loads((FOLDER / "package.json").read_text("utf-8"))
    assert "dependencies" not in package
    assert all(version[0].isdigit() for version in package["devDependencies"].values())
    assert "resolved" not in (FOLDER / ".npmrc").read_text("utf-8")
    assert not (FOLDER / "package-lock.json").exists()
