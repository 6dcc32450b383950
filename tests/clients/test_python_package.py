"""The Python client as a package: what is in it, what it needs, and what it does beyond the contract."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tarfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nextbest_client import Client
from nextbest_client.calls import Retries, decoded, encoded
from nextbest_client.errors import NoAnswerError, ProblemError, problem_of
from nextbest_client.lines import Exchange, Portion, Portions, Request
from tests.clients.test_python_client import numbers
from tests.docs.pages import ROOT

FOLDER = ROOT / "clients" / "python"


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


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
    assert [numbers(one) for one in made] == [[1], [2, 4, 5], [6, 7]]


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


@given(st.lists(st.booleans(), max_size=60), st.data())
def test_lines_refused_for_now_are_sent_again_until_none_is_decided_any_more(
    repeatable: list[bool], data: st.DataObject
) -> None:
    """Each has its last answer, in order; no line is sent that was decided."""
    places: list[Any] = [Request(at, b"%d" % at, one) for at, one in enumerate(repeatable)]
    exchange = Exchange(Portion.of(places, 5), Retries(most=2, longest_wait=7))
    last: dict[int, Any] = {}
    in_vain, wait = 0, 0.0 if places else None
    while wait is not None:
        sent = [place.number for place in exchange.portion.places if isinstance(place, Request)]
        assert not any("decision_id" in last.get(number, ()) for number in sent)
        found: list[Any] = [
            {"error": {"line": number, "status": 429, "retry_after": 3}}
            if data.draw(st.booleans())
            else {"decision_id": str(number)}
            for number in sent
        ]
        last |= zip(sent, found, strict=True)
        in_vain = in_vain + 1 if all("error" in one for one in found) else 0
        wait = exchange.take(found)
        assert wait in (None, 3)
        assert in_vain <= 3
        left = any("error" in one for one in last.values())
        assert (wait is None) == (not left or in_vain == 3)
    assert exchange.answers() == [last[number] for number in range(len(places))]


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60) | st.datetimes().map(str))
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Fri, 31 Dec 2026 23:59:59 +9999999999")
@example("9" * 5000)
def test_whatever_retry_after_says_is_seconds_or_nothing(header: str) -> None:
    after = problem_of(503, {"retry-after": header}, b"").retry_after
    assert after is None or after >= 0


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(_json))
@example(b"[" * 200_000)
@example(b"9" * 5000)
@example(b'{"type": "urn:nextbest:problem:x", "title": {}, "detail": "", "errors": []}')
def test_whatever_a_body_is_it_is_an_object_or_a_problem(body: bytes) -> None:
    assert isinstance(problem_of(400, {}, body).detail, str)
    try:
        assert isinstance(decoded(httpx.Response(200), body), dict)
    except ProblemError as error:
        assert error.kind == "" or b"urn:nextbest" in body


def test_a_path_that_is_too_long_is_an_error_of_the_caller() -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(ValueError, match="path"):
        client.get_customer("x" * 70_000)
    for url in ("http://h/\x00", "http://a\x00b", "http://\u200b"):
        with pytest.raises(ValueError, match="no http"):
            Client(url)
