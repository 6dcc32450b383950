"""Readers of an archive while its files are merged, and while customers are erased."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from decision.analytics.reports.kind import answer_to
from decision.analytics.reports.kinds import KINDS
from decision.archive.compaction import compact
from decision.archive.customers import days_of, rows_of
from decision.archive.damage import naming_damage
from decision.archive.erasing import erase_from_archive
from decision.archive.errors import ArchiveChanged
from decision.archive.folder import ArchiveFolder
from decision.archive.given import ids_not_given
from decision.archive.lookup import look_up
from decision.archive.policies import newest_version
from decision.archive.replays import read_replays
from decision.archive.tables import files
from decision.archive.timeline import archived_days
from decision.archive.whereabouts import Whereabouts
from decision.core.clock import DAY
from decision.core.definition import Goal
from decision.engine.runtime import wall_clock
from decision.evaluation.log import open_log
from decision.learning.spec import parse_spec
from decision.learning.training_table import examples_of_log
from tests.archive.test_given import SPEC, write

pytestmark = pytest.mark.anyio

_LONG_ENOUGH: Final = 0.3
"""Seconds for which each reader is asked again and again: dozens of merges."""


@contextmanager
def churn(archive: Path) -> Iterator[None]:
    """Puts another file in the place of every file, as often as readers let it."""
    over = threading.Event()

    def merge() -> None:
        folder = ArchiveFolder(archive)
        while not over.is_set():
            compact(folder, fewest=1)

    thread = threading.Thread(target=merge)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def examples(archive: Path) -> int:
    goals = {"a": Goal(event="buy", within=DAY)}
    with examples_of_log(archive, parse_spec("a.yaml", SPEC), goals) as found:
        return len(found)


def judged(archive: Path) -> int:
    with open_log(archive, parse_spec("a.yaml", SPEC).responses) as log:
        return sum(len(row) for row in log.read())


def found_in_days(archive: Path) -> list[Any]:
    whereabouts, found = Whereabouts(archive), []

    def take(day: Any) -> bool:
        found.append(sorted(row["decision_id"] for row in day.rows["decisions"]))
        return False

    archived_days(archive, ["decisions"], ["c-1"], wall_clock() + 9 * DAY, take, whereabouts)
    return found


def by_duckdb(archive: Path) -> int:
    """As the documentation shows it."""
    paths = [str(path) for path in files(archive, "decisions")]
    found = duckdb.sql(f"SELECT count(*) FROM read_parquet({paths}, union_by_name = true)")
    return int(found.fetchall()[0][0])


READERS: Final[dict[str, Callable[[Path], Any]]] = {
    "replays": lambda archive: [one.decision_id for one in read_replays(archive)],
    "ids not given": ids_not_given,
    "newest policy": newest_version,
    "days": found_in_days,
    "rows": lambda archive: [
        len(rows_of(archive, "events", day, ["c-1", "c-3"], paths=paths))
        for day, paths in days_of(archive, "events").items()
    ],
    "examples": examples,
    "judged": judged,
    "DuckDB": by_duckdb,
    "funnel": lambda archive: answer_to(
        KINDS["funnel"], {"steps": ["buy", "visit"], "within": "7d"}, archive
    ),
}


async def test_who_reads_while_files_are_merged_finds_what_is_there(tmp_path: Path) -> None:
    _, ids = await write(tmp_path)
    alone = {name: read(tmp_path) for name, read in READERS.items()}
    found = look_up(tmp_path, ids["given"])
    assert found is not None
    with churn(tmp_path):
        for name, read in READERS.items():
            until = time.monotonic() + _LONG_ENOUGH
            while time.monotonic() < until:
                assert read(tmp_path) == alone[name], name
                assert look_up(tmp_path, ids["given"]) is not None


async def test_who_is_overtaken_by_an_erasure_is_told_to_read_again(tmp_path: Path) -> None:
    await write(tmp_path)
    with (
        pytest.raises(ArchiveChanged, match="somebody was erased; do it again"),
        naming_damage(tmp_path),
    ):
        paths = [str(path) for path in files(tmp_path, "decisions")]
        erase_from_archive(tmp_path, ["c-1"])
        duckdb.read_parquet(paths).fetchall()
