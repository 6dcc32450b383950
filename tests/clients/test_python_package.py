"""The Python client as a package: what is in it, what it needs, and what it does beyond the contract."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from nextbest_client import Client, ProblemError
from nextbest_client.calls import Call, Retries, encoded, has_ids
from nextbest_client.errors import NoAnswerError, problem_of
from nextbest_client.lines import Portions, Splitter
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


def test_a_time_needs_an_offset_and_a_number_must_be_finite() -> None:
    assert (
        encoded({"at": datetime(2026, 1, 2, tzinfo=UTC)}) == b'{"at":"2026-01-02T00:00:00+00:00"}'
    )
    for bad in (datetime.fromisoformat("2026-01-02"), float("nan"), float("inf"), "\ud800"):
        with pytest.raises(ValueError):
            encoded({"at": bad})
    with pytest.raises(TypeError):
        encoded({"at": {1, 2}})


@pytest.mark.parametrize(
    ("body", "repeatable"),
    [
        ({"placement": "p"}, False),
        ({"placement": "p", "request_id": "r"}, True),
        ({"placement": "p", "request_id": None}, False),
        ({"placement": "p", "dry_run": True}, True),
        ({"events": []}, True),
        ({"events": [{"id": "1"}, {"id": "2"}]}, True),
        ({"events": [{"id": "1"}, {"type": "x"}]}, False),
    ],
)
def test_a_request_can_be_sent_twice_where_it_names_what_it_does(
    body: dict[str, Any], repeatable: bool
) -> None:
    assert has_ids(body) is repeatable


def test_a_call_is_made_again_as_often_as_asked_and_after_what_the_server_says() -> None:
    call: Call[None] = Call("GET", "/", repeatable=True)
    busy = ProblemError(503, "unavailable", "", "", retry_after=7)
    retries = Retries(most=2, longest_wait=7)
    assert [retries.wait(call, busy, made) for made in (1, 2, 3)] == [7, 7, None]
    assert Retries(most=2, longest_wait=6).wait(call, busy, 1) is None
    lost = NoAnswerError("", sent=True)
    waits = [retries.wait(call, lost, made) for made in (1, 2)]
    assert all(wait is not None and 0.1 <= wait <= 0.6 for wait in waits)
    unsafe: Call[None] = Call("POST", "/")
    assert retries.wait(unsafe, lost, 1) is None
    assert retries.wait(unsafe, NoAnswerError("", sent=False), 1) is not None
    assert retries.wait(unsafe, ProblemError(429, "", "", ""), 1) is not None
    for status in (400, 401, 403, 404, 409, 413, 415, 500):
        assert retries.wait(call, ProblemError(status, "", "", ""), 1) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("soon", None),
        ("-3", None),
        ("1.5", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    headers = {} if header is None else {"retry-after": header}
    assert problem_of(503, headers, b"").retry_after == seconds


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<h1>no</h1>", b"[]", b"{}", b"null", b'{"type": 5}', b"\xff\xfe"),
        *(b'{"type": "urn:nextbest:problem:x"}', b'{"type": "about:blank", "title": "T"}'),
    ],
)
def test_an_error_of_a_proxy_has_no_kind(body: bytes) -> None:
    error = problem_of(599, {}, body)
    assert (error.status, error.kind, error.errors) == (599, "", ())
    assert str(error).startswith("599 ")


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_line_ends_with_a_line_feed_alone(size: int) -> None:
    """Also where JSON has other separators of lines in it, and wherever the pieces end."""
    lines = Splitter(httpx.Response(200))
    data = '{"a": "\u2028\x85 é茶😀"}\n\n{"b": 1}\r\n{"c": 2}'.encode()
    found = []
    for start in range(0, len(data), size):
        found += lines.add(data[start : start + size])
    assert [*found, *lines.end()] == [{"a": "\u2028\x85 é茶😀"}, {"b": 1}, {"c": 2}]


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
