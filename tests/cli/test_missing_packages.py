"""A command that needs packages of an extra says so before it has any effect."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from redis import Redis

from tests.cli.conftest import Run

WITHOUT = ("duckdb", "deltalake")


@pytest.fixture
def where(redis_url: str, prefix: str) -> list[str]:
    return ["--redis-url", redis_url, "--key-prefix", prefix]


def content(url: str, prefix: str) -> dict[bytes, object]:
    """Everything in the store, readers of the log included."""
    with Redis.from_url(url) as redis:
        keys = list(redis.scan_iter(match=prefix + "*", count=1000))
        return {key: redis.dump(key) for key in keys}


@pytest.mark.parametrize("missing", WITHOUT)
@pytest.mark.parametrize(
    "command",
    [
        "archive --out OUT",
        "archive --out OUT --every 1s",
        "archive --out OUT --take-over",
        "erase c-1 --archive LOG",
        "rebuild --archive LOG --rules RULES",
        "segments --log LOG --rules RULES",
        "evaluate --log LOG",
        "evaluate --log LOG --retention",
        "train SPEC --log LOG --rules RULES",
        "simulate --rules RULES --log LOG",
    ],
)
def test_a_command_without_its_packages_changes_nothing_and_says_how_to_install_them(
    command: str,
    missing: str,
    run: Run,
    rules: Path,
    where: list[str],
    redis_url: str,
    prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = tmp_path / "rows.ndjson"
    rows.write_text('{"customer_id": "c-1", "events": [{"type": "view"}]}\n')
    models = tmp_path / "models"
    assert run("load", rows, "--rules", rules, "--models", models, *where).exit_code in (0, 1)
    (tmp_path / "log").mkdir()
    before = content(redis_url, prefix)
    assert before
    places = {"OUT": tmp_path / "out", "LOG": tmp_path / "log", "RULES": rules, "SPEC": "spec.yaml"}
    words = [str(places.get(word, word)) for word in command.split()]
    monkeypatch.setitem(sys.modules, missing, None)
    store = where if words[0] in ("archive", "erase", "rebuild", "segments") else []
    result = run(*words, *store)
    assert result.exit_code == 1
    assert f"needs {missing}; install what is missing with: " in result.output
    assert not (tmp_path / "out").exists() and list((tmp_path / "log").iterdir()) == []
    assert content(redis_url, prefix) == before


def test_an_archive_can_be_given_up_without_the_packages(
    run: Run, where: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("archive", "--out", tmp_path / "out", *where).exit_code == 0
    for name in WITHOUT:
        monkeypatch.setitem(sys.modules, name, None)
    left = run("archive", "--out", tmp_path / "out", "--leave", *where)
    assert left.exit_code == 0, left.output


def test_a_table_in_parquet_needs_pyarrow_and_one_in_csv_does_not(
    run: Run, rules: Path, where: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "rows.csv").write_text("customer_id\nc-1\n")
    (tmp_path / "rows.parquet").write_bytes(b"")
    options = ("--rules", rules, "--models", tmp_path / "models", *where)
    assert run("load", tmp_path / "rows.csv", *options).exit_code == 0
    refused = run("load", tmp_path / "rows.parquet", *options)
    assert refused.exit_code == 1
    assert "reading Parquet needs pyarrow; install" in refused.output
