"""`nextbest archive` and `nextbest rebuild`, as a shell runs them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pyarrow.parquet as pq
import pytest

from decision.archive.tables import files
from decision.store import EmbeddedRedis, RedisStore
from tests.cli.conftest import Run
from tests.ports import free_port

pytestmark = pytest.mark.anyio


@pytest.fixture
def where(redis_url: str, prefix: str) -> list[str]:
    return ["--redis-url", redis_url, "--key-prefix", prefix]


def load(run: Run, rules: Path, where: list[str], folder: Path) -> None:
    """Two customers with an event each."""
    event = {"type": "purchase", "at": "2026-11-01T00:00:00Z", "properties": {"amount": 5}}
    path = folder / "rows.ndjson"
    lines = [json.dumps({"customer_id": name, "events": [event]}) for name in ("王", "b")]
    path.write_text("\n".join(lines))
    loaded = run("load", path, "--rules", rules, "--models", folder / "models", *where)
    assert loaded.exit_code == 0, loaded.output


def event_ids(out: Path) -> list[str]:
    return [
        name
        for path in files(out, "events")
        for name in pq.ParquetFile(path).read(["event_id"]).column(0).to_pylist()
    ]


def test_once_then_nothing_is_left_to_do(
    run: Run, rules: Path, where: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    empty = run("archive", "--out", out, "--json", *where)
    assert empty.exit_code == 0
    assert json.loads(empty.stdout)["rows"] == {}
    load(run, rules, where, tmp_path)
    first = run("archive", "--out", out, *where)
    assert first.exit_code == 0
    assert "2 entries archived" in first.stdout
    assert "rows: 2 events" in first.stdout
    again = json.loads(run("archive", "--out", out, "--keep", "0", "--json", *where).stdout)
    assert (again["entries"], again["trimmed"]) == (0, 2)
    assert len(event_ids(out)) == 2
    other = run("archive", "--out", tmp_path / "other", *where)
    assert other.exit_code == 1
    assert "--take-over" in other.output
    gone = json.loads(run("erase", "王", "--archive", out, "--json", *where).stdout)
    assert gone["archive"]["rows"] == 1


def test_a_folder_that_cannot_be_written_is_named(
    run: Run, where: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    result = run("archive", "--out", tmp_path / "file" / "out", *where)
    assert result.exit_code == 1
    assert "file" in result.output
    assert run("archive", "--out", tmp_path / "o", "--every", "soon", *where).exit_code == 2
    away = run("archive", "--out", tmp_path / "o", "--redis-url", "redis://127.0.0.1:1")
    assert away.exit_code == 1


@pytest.mark.slow
async def test_a_record_that_cannot_be_read_is_set_aside_and_exits_with_1(
    run: Run, where: list[str], redis_store: RedisStore, tmp_path: Path
) -> None:
    log = redis_store.keys.log(7)
    await redis_store.connection.call(("XADD", log, "*", "not", "ours"), 5, write=True)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "decision.cli", "archive", "--out", str(out), *where]
    root = Path(__file__).parents[2]
    found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert found.returncode == 1, found.stderr
    assert "cannot be read: 1 record" in found.stdout
    [line] = next((out / "_quarantine").glob("*.ndjson")).read_text().splitlines()
    assert json.loads(line)["partition"] == 7
    found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


class Service:
    """`nextbest archive --every`, in a process of its own."""

    def __init__(self, out: Path, *more: str) -> None:
        command = [sys.executable, "-m", "decision.cli", "archive", "--out", str(out)]
        self.out = out
        self.process = subprocess.Popen(
            [*command, "--every", "1s", "--json", *more],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()

    def wait_for(self, number: int) -> None:
        """Until so many events are archived."""
        while not self.out.exists() or len(event_ids(self.out)) < number:
            assert self.process.poll() is None
            time.sleep(0.05)

    def stop(self) -> tuple[dict[str, Any], str]:
        """(what it tells of its work, what it said meanwhile)."""
        self.process.send_signal(signal.SIGTERM)
        printed, said = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, said
        return json.loads(printed), said


@pytest.mark.slow
def test_the_service_archives_until_it_is_told_to_stop(
    run: Run, rules: Path, where: list[str], tmp_path: Path
) -> None:
    """Alone on its folder; and Prometheus reads what it does."""
    out = tmp_path / "out"
    port = free_port()
    with Service(out, *where, "--metrics-port", str(port)) as service:
        load(run, rules, where, tmp_path)
        service.wait_for(2)
        second = run("archive", "--out", out, *where)
        assert second.exit_code == 1
        assert "another nextbest archive" in second.output
        told = ""
        while 'nextbest_archive_rows{dataset="events"} 2.0' not in told:
            assert service.process.poll() is None
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                told = answer.read().decode()
        assert "nextbest_archive_pending_entries" in told
        assert "nextbest_archive_quarantined 0.0" in told
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            assert (answer.status, answer.read()) == (200, b"ok\n")
        counts, _ = service.stop()
    assert counts["rows"]["events"] == 2 == len(event_ids(out))


@pytest.mark.slow
def test_the_service_outlives_redis_and_goes_on(
    run: Run, rules: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out, home = tmp_path / "out", tmp_path_factory.mktemp("redis")
    with EmbeddedRedis(home) as url:
        where = ["--redis-url", url]
        load(run, rules, where, tmp_path)
        service = Service(out, *where)
        try:
            service.wait_for(2)
        except BaseException:
            service.process.kill()
            raise
    with service:
        assert service.process.stderr is not None
        assert any("trying again" in line for line in iter(service.process.stderr.readline, ""))
        with EmbeddedRedis(home) as url:
            assert where == ["--redis-url", url]
            event = {"type": "purchase", "at": "2026-11-02T00:00:00Z"}
            path = tmp_path / "more.ndjson"
            path.write_text(json.dumps({"customer_id": "c", "events": [event]}))
            given = ["--rules", rules, "--models", tmp_path / "models", *where]
            assert run("load", path, *given).exit_code == 0
            service.wait_for(3)
            _, said = service.stop()
    assert "Redis is back" in said
    assert len(event_ids(out)) == 3


@pytest.mark.slow
def test_the_service_waits_for_a_redis_that_is_absent_at_its_start(
    run: Run, rules: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out, home = tmp_path / "out", tmp_path_factory.mktemp("redis")
    with EmbeddedRedis(home) as url:
        where = ["--redis-url", url]
        load(run, rules, where, tmp_path)
    once = run("archive", "--out", tmp_path / "once", *where)
    assert once.exit_code == 1 and "Redis" in once.output
    with Service(out, *where) as service:
        assert service.process.stderr is not None
        assert any("trying again" in line for line in iter(service.process.stderr.readline, ""))
        with EmbeddedRedis(home) as again:
            assert again == url
            service.wait_for(2)
            _, said = service.stop()
    assert "Redis is back" in said
    with Service(tmp_path / "never", *where) as service:
        assert service.process.stderr is not None
        assert any("trying again" in line for line in iter(service.process.stderr.readline, ""))
        counts, _ = service.stop()  # it can be stopped while it waits
    assert counts["entries"] == 0


def test_take_over_begins_anew_with_what_the_log_still_has(
    run: Run, rules: Path, where: list[str], tmp_path: Path
) -> None:
    load(run, rules, where, tmp_path)
    assert run("archive", "--out", tmp_path / "old", *where).exit_code == 0
    taken = run("archive", "--out", tmp_path / "new", "--take-over", *where)
    assert taken.exit_code == 0, taken.output
    assert len(event_ids(tmp_path / "new")) == 2  # --keep left them for an hour
    back = run("archive", "--out", tmp_path / "old", *where)
    assert back.exit_code == 1
    assert str(tmp_path / "new") in back.output.replace("\n", "")
    assert run("archive", "--out", tmp_path / "new", *where).exit_code == 0


def test_rebuild_counts_for_a_changed_policy(
    run: Run, rules: Path, where: list[str], tmp_path: Path
) -> None:
    load(run, rules, where, tmp_path)
    out = tmp_path / "out"
    assert run("archive", "--out", out, *where).exit_code == 0
    text = (rules / "all.yaml").read_text("utf-8")
    changed = text.replace("events.purchase.count_7d: 0", "events.purchase.sum_amount_90d: {lt: 1}")
    (rules / "all.yaml").write_text(changed, "utf-8")
    given = ["--archive", out, "--rules", rules, "--models", tmp_path / "models", *where]
    found = json.loads(run("rebuild", *given, "--json").stdout)
    assert (found["customers"], found["changed"], found["events"]) == (2, 2, 2)
    again = run("rebuild", *given)
    assert again.exit_code == 0
    assert "0 customers of 2 changed" in again.stdout
    wrong = run("rebuild", *given, "--types", "purchse")
    assert wrong.exit_code == 2
    assert "purchase" in wrong.output
    none = run("rebuild", "--archive", tmp_path, "--rules", rules, *where)
    assert none.exit_code == 1
    assert "is no archive" in none.output


def test_an_archive_that_is_given_up_keeps_its_files_and_can_be_begun_again(
    run: Run, rules: Path, where: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    load(run, rules, where, tmp_path)
    assert run("archive", "--out", out, *where).exit_code == 0
    left = run("archive", "--out", out, "--leave", *where)
    assert left.exit_code == 0
    assert "given up" in left.stdout
    assert len(event_ids(out)) == 2
    again = json.loads(run("archive", "--out", out, "--json", *where).stdout)
    assert again["entries"] == 0
