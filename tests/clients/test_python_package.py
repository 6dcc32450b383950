"""The Python client as a package: what is in it, what it needs, and what it does beyond the contract."""

from __future__ import annotations

import ast
import subprocess
import sys
import tarfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from nextbest_client import Client
from nextbest_client.calls import encoded
from nextbest_client.errors import NoAnswerError
from nextbest_client.lines import Portions
from tests.docs.pages import ROOT

FOLDER = ROOT / "clients" / "python"
SOURCE = FOLDER / "src" / "nextbest_client"


@pytest.mark.slow
def test_the_wheel_has_the_client_its_types_and_its_licence_and_nothing_else(
    tmp_path: Path,
) -> None:
    pytest.importorskip("hatchling", reason="hatchling, which builds the package, is missing")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, timeout=120)
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = {
            name.replace("nextbest_client-0.1.0.dist-info", "info") for name in wheel.namelist()
        }
        metadata = wheel.read("nextbest_client-0.1.0.dist-info/METADATA").decode()
    own = {f"nextbest_client/{each.name}" for each in SOURCE.iterdir() if each.is_file()}
    assert names == own | {"info/METADATA", "info/WHEEL", "info/RECORD", "info/licenses/LICENSE"}
    assert "nextbest_client/py.typed" in names
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        tops = {name.split("/")[1] for name in sdist.getnames()}
    assert tops == {"src", "pyproject.toml", "README.md", "LICENSE", "PKG-INFO", ".gitignore"}
    assert metadata.count("Requires-Dist: ") == 1


def test_it_needs_the_standard_library_and_httpx_alone() -> None:
    found = set()
    for path in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
    assert found - set(sys.stdlib_module_names) == {"httpx", "nextbest_client"}


def test_a_key_is_in_no_representation() -> None:
    with Client("http://localhost", "secret") as client:
        assert "secret" not in repr(client) + str(client)
    for url, key in (("http://h:secret@h", None), ("http://h", "secret\nx")):
        with pytest.raises(ValueError) as error:
            Client(url, key)
        assert "secret" not in str(error.value)


def test_a_time_needs_an_offset_and_a_number_must_be_finite() -> None:
    assert (
        encoded({"at": datetime(2026, 1, 2, tzinfo=UTC)}) == b'{"at":"2026-01-02T00:00:00+00:00"}'
    )
    for bad in (datetime.fromisoformat("2026-01-02"), float("nan"), float("inf"), "\ud800"):
        with pytest.raises(ValueError):
            encoded({"at": bad})
    with pytest.raises(TypeError):
        encoded({"at": {1, 2}})


def test_a_portion_is_full_by_its_lines_or_by_its_bytes() -> None:
    portions = Portions(3, None)
    long = {"placement": "p", "context": {"x": "x" * 600_000}}
    given = [long, long, "", *[{"placement": str(number)} for number in range(4)]]
    made = [ready for line in given for ready in portions.add(line)]
    made += portions.rest()
    assert [one.places for one in made] == [[1], [2, 4, 5], [6, 7]]


def test_what_is_no_json_has_an_error_in_its_place() -> None:
    portions = Portions(10, None)
    bad: Any = {"placement": "p", "context": {"x": float("nan")}}
    good: Any = {"placement": "p"}
    assert not [*portions.add(good), *portions.add(bad), *portions.add(good)]
    (portion,) = portions.rest()
    answer = httpx.Response(200, content=b'{"decision_id": "1"}\n{"error": {"line": 2}}\n')
    first, second, third = portion.result(answer)
    assert first == {"decision_id": "1"} and third == {"error": {"line": 3}}
    assert "error" in second and second["error"]["line"] == 2
    with pytest.raises(NoAnswerError, match="fewer lines"):
        portion.result(httpx.Response(200, content=b'{"decision_id": "1"}\n'))
