"""`nextbest erase`: gone from the store, and from the archive's files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from decision.archive.erasing import erase_from_archive
from decision.archive.errors import UnreadableFile
from tests.cli.conftest import Run


def write(path: Path, customers: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"customer_id": customers, "n": list(range(len(customers)))})
    pq.write_table(table, path)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    write(folder / "decisions" / "date=2026-11-20" / "a.parquet", ["王", "b", "王"])
    write(folder / "decisions" / "date=2026-11-21" / "b.parquet", ["b", "c"])
    write(folder / "outcomes" / "date=2026-11-21" / "c.parquet", ["王"])
    pq.write_table(pa.table({"other": [1]}), folder / "other.parquet")
    return folder


def customers(folder: Path) -> list[str]:
    found: list[Any] = []
    for path in sorted(folder.rglob("*.parquet")):
        file = pq.ParquetFile(path)
        if "customer_id" in file.schema_arrow.names:
            found += file.read(["customer_id"]).column(0).to_pylist()
    return found


def test_every_row_of_the_customer_goes_and_every_other_stays(archive: Path) -> None:
    untouched = (archive / "decisions" / "date=2026-11-21" / "b.parquet").stat().st_mtime_ns
    assert erase_from_archive(archive, {"王"}) == (4, 2, 3)
    assert customers(archive) == ["b", "b", "c"]
    assert not (archive / "outcomes" / "date=2026-11-21" / "c.parquet").exists()
    after = (archive / "decisions" / "date=2026-11-21" / "b.parquet").stat().st_mtime_ns
    assert after == untouched
    assert erase_from_archive(archive, {"王"}) == (3, 0, 0)


def test_a_damaged_file_is_named(archive: Path) -> None:
    bad = archive / "decisions" / "bad.parquet"
    bad.write_bytes(b"PAR1 not at all")
    with pytest.raises(UnreadableFile, match=r"bad\.parquet cannot be read"):
        erase_from_archive(archive, {"王"})


def test_the_command_erases_both_and_again_finds_nothing(
    archive: Path, redis_url: str, prefix: str
) -> None:
    def run(*arguments: str, code: int = 0) -> Any:
        ran = subprocess.run(
            [sys.executable, "-m", "decision.cli", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        assert ran.returncode == code, ran.stderr
        return ran.stdout + (ran.stderr if code else "")

    rows = archive.parent / "rows.ndjson"
    rows.write_text(json.dumps({"customer_id": "王", "attributes": {"a": 1}}) + "\n")
    where = ["--redis-url", redis_url, "--key-prefix", prefix]
    run("load", str(rows), "--rules", "rules", "--models", str(archive), *where)
    # Blanks around an id are no part of it, in the archive neither.
    found = json.loads(run("erase", " 王", "--archive", str(archive), "--json", *where))
    assert found["erased"] == ["王"]
    assert found["archive"] == {"files": 4, "rewritten": 2, "rows": 3}
    proof = found["certificate"]
    assert (proof["complete"], proof["store"]["documents"]) == (True, 1)
    assert (proof["archives"][0]["rows"], proof["archives"][0]["files"]) == (3, 2)
    assert proof["append_only_file"]["state"] == "pending" and len(proof["pending"]) == 1
    assert any(".nextbest/audiences" in one for one in proof["not_reached"])
    assert "王" not in json.dumps(proof, ensure_ascii=False)
    again = run("erase", "王", "--archive", str(archive), *where, code=1)
    assert "nothing was there" in again and "is not known in the store or the archive" in again
    assert "0 rows removed" in again and "delivery 0, provider id 0" in again
    assert "erasure 0" in again and "append-only file: pending" in again


def test_a_customer_who_is_not_known_is_said_and_exits_with_1(
    run: Run, redis_url: str, prefix: str, archive: Path
) -> None:
    """As 404 over HTTP does; the erasure is logged, so that archives erase what they may have."""
    where = ["--redis-url", redis_url, "--key-prefix", prefix]
    unknown = run("erase", "nobody-1", *where)
    assert unknown.exit_code == 1
    assert "'nobody-1' is not known in the store; is the id right" in unknown.output
    as_json = run("erase", "nobody-1", "--json", *where)
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["certificate"]["store"]["documents"] == 0
    only_archived = run("erase", "c", "--archive", archive, *where)
    assert only_archived.exit_code == 0, only_archived.output
