"""Reports from summaries of files are what plain SQL over the whole archive gives, whatever happens
to its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from decision.analytics.exposures import report_exposures
from decision.analytics.segments import NothingFound, segment_figures, segments
from decision.archive import log_columns
from decision.archive.change import TableChange
from decision.archive.compaction import compact
from decision.archive.erasing import erase_from_archive
from decision.archive.folder import ArchiveFolder
from decision.archive.forgetting import FOLDER
from decision.archive.layout import schema_of
from decision.archive.log_columns import LogColumns
from decision.archive.query import Database
from decision.archive.table import Table
from decision.archive.tables import files
from decision.archive.timeline import ArchivedDay, archived_days
from decision.archive.whereabouts import Whereabouts
from decision.core.clock import DAY, to_micros
from decision.core.errors import InputError
from decision.core.local_days import BEGIN, END, bounds
from decision.evaluation.retention import retention
from tests.analytics import by_sql

START = datetime(2026, 9, 1, tzinfo=UTC)
OLD = {"decisions": ["position", "experiments", "holdout", "degraded"], "events": ["entry_id"]}
"""Columns that a file of earlier does not have."""


class Made:
    """An archive with a folder, to which random rows are added a file at a time."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.draw = Random(seed)
        self.tables = ArchiveFolder(folder)
        self.number = 0

    def customer(self) -> str:
        return f"c{self.draw.randrange(30)}"

    def add(
        self, dataset: str, rows: list[dict[str, Any]], time: str, *, old: bool = False
    ) -> None:
        table = pa.Table.from_pylist(rows, schema_of(dataset))
        table = table.drop_columns(OLD[dataset]) if old else table
        change = TableChange(Table.make(self.tables, dataset))
        change.add(rows[0][time].date().isoformat(), table)
        change.commit()

    def batch(self, *, old: bool = False) -> None:
        """Some decisions, events and changes of one day."""
        draw, day = self.draw, START + timedelta(days=self.draw.randrange(3) * 9)
        decisions, events, changes = [], [], []
        for _ in range(draw.randint(1, 12)):
            self.number += 1
            at = day + timedelta(hours=draw.randrange(24) if draw.random() < 0.8 else 0)
            customer, name = self.customer(), f"d{draw.randrange(1 << 40):010x}"
            chosen = draw.choice([[], ["a"], ["a", "b"]])
            row = {
                "decision_id": name, "decided_at": at, "customer_id": customer,
                "placement": draw.choice(["home", "desk"]), "holdout": draw.random() < 0.3,
                "outcome": "selected" if chosen else "none",
                "degraded": ["store"] if draw.random() < 0.1 else [],
                "experiments": draw.choice([{}, {"t": "x"}, {"t": "y", "<b>u": "z"}]),
            }  # fmt: skip
            for place, message in enumerate(chosen or [None], 1):
                decisions.append({**row, "position": place if chosen else None, "message": message})
            if draw.random() < 0.1:
                about = json.dumps({"decision_id": name})
                changes.append(
                    {"change_id": name, "customer_id": customer, "kind": "not_given", "at": at,
                     "detail": about}
                )  # fmt: skip
        for _ in range(draw.randint(1, 15)):
            kind = draw.choice(["buy", "buy", "open", "message.opened"])
            value = draw.choice([1, 2.5, 10**6, "7", None, True, "x"])
            at = day + timedelta(hours=draw.randrange(24), seconds=draw.randrange(2))
            machine = {"machine": True} if draw.random() < 0.2 else {}
            events.append(
                {"event_id": f"e{draw.randrange(60)}", "customer_id": self.customer(), "at": at,
                 "type": kind, "received_at": at, "properties": json.dumps({"m": value, **machine})}
            )  # fmt: skip
        if draw.random() < 0.6:
            said = {"from": self.customer()}
            changes.append(
                {"change_id": f"m{self.number}", "customer_id": self.customer(), "kind": "merge",
                 "at": day, "detail": json.dumps(said)}
            )  # fmt: skip
        self.add("decisions", decisions, "decided_at", old=old)
        self.add("events", events, "at", old=old)
        if changes:
            self.add("changes", changes, "at")


def agree(archive: Path, *sources: LogColumns) -> None:
    """Every report of each source is what SQL says, of all days and of some."""
    with by_sql.opened(archive) as database:
        for source in sources:
            _agrees(database, source)


def _agrees(database: Database, source: LogColumns) -> None:
    day = (START + timedelta(days=9)).date()
    for first, last in ((None, None), (day, None), (START.date(), START.date())):
        begin, end = bounds(first, last, "Asia/Shanghai")
        asked: dict[str, Any] = {"first": first, "last": last, "timezone": "Asia/Shanghai"}
        _exposures_agree(database, source, begin, end, asked)
        for event in ("any", "buy"):
            found = retention(source, event=event, weeks=3, by="placement", **asked)
            expected = by_sql.retention(database, event, 3, begin, end)
            told = {
                (group.name, held, week.week): (share.customers, share.active)
                for group in found.groups
                for week in group.weeks
                for held, share in ((False, week.treated), (True, week.holdout))
                if share is not None
            }
            assert told == expected
            for week in found.weeks:
                sums = [n for (_, held, w), n in expected.items() if w == week.week and not held]
                assert (week.treated.customers if week.treated else 0) == sum(n for n, _ in sums)
    until = to_micros(START) + 40 * DAY
    expected = by_sql.behaviour(database, "buy", "m", until)
    if not expected:
        with pytest.raises(NothingFound):
            segments(source, event="buy", amount="m", until=until)
        return
    found = segments(source, event="buy", amount="m", activity="open", until=until)
    one = found.behaviour
    rows = zip(one.days.tolist(), one.age_days.tolist(), one.total.tolist(), strict=True)
    assert dict(zip(one.customer_id, rows, strict=True)) == expected
    asked = {"event": "buy", "amount": "m", "activity": "open", "until": until}
    assert segment_figures(source, **asked) == found.summary()


def _exposures_agree(
    database: Database, source: LogColumns, begin: int, end: int, asked: dict[str, Any]
) -> None:
    for placement in (None, "home"):
        expected = by_sql.exposures(database, begin, end, placement)
        try:
            found = report_exposures(source, placement=placement, **asked)
        except NothingFound:
            assert placement and expected["totals"][1] == 0
            continue
        totals = (found.customers, found.decisions, found.held_customers, found.held_out)
        assert (*totals, found.not_given) == expected["totals"]
        by_message = report_exposures(source, placement=placement, by="message", **asked)
        told = {
            (one.experiment, one.variant, name): (one.customers, one.decisions, one.selected)
            for report, own in ((found, None), (by_message, True))
            for one in report.exposures
            for name in [one.group if own else None]
        }
        assert told == expected["rows"]


def erase(made: Made) -> None:
    erase_from_archive(made.folder, [made.customer(), made.customer()])


def merge_files(made: Made) -> None:
    compact(made.tables, fewest=2)


def damage_a_summary(made: Made) -> None:
    kept = sorted((made.folder / FOLDER).glob("*/*.summary"))
    made.draw.choice(kept).write_bytes(b"PAR1")


def lose_the_summaries(made: Made) -> None:
    for path in (made.folder / FOLDER).glob("*/*.summary"):
        path.unlink()


STEPS: list[Callable[[Made], None]] = [
    Made.batch, Made.batch, lambda made: made.batch(old=True), erase, merge_files, damage_a_summary,
    lose_the_summaries,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_reports_are_those_of_sql_through_all_that_happens_to_an_archive(
    tmp_path: Path, seed: int
) -> None:
    """New files, old ones without columns, erasures, compaction, merges, summaries lost: both a
    source that lives through it, and one that begins with the kept summaries."""
    made = Made(tmp_path, seed)
    for _ in range(3):
        made.batch()
    source = LogColumns(tmp_path)
    agree(tmp_path, source)
    for _ in range(4):
        for step in made.draw.sample(STEPS, 2):
            step(made)
        agree(tmp_path, source, LogColumns(tmp_path))


def test_of_what_was_erased_nothing_is_kept(tmp_path: Path) -> None:
    made = Made(tmp_path, 9)
    for _ in range(3):
        made.batch()
    source = LogColumns(tmp_path)
    state = source.state()
    source.with_amounts(log_columns.Amount("buy", "m"))
    [gone, *_] = state.ids.to_pylist()
    erase_from_archive(tmp_path, [gone])
    kept = LogColumns(tmp_path, tmp_path / "file" / "below")  # a folder that cannot be written
    for path in (tmp_path / FOLDER).glob("*/*.summary"):
        assert f'"{gone}"' not in str(pq.read_table(path).to_pylist()).replace("'", '"')
    assert gone not in source.state().ids.to_pylist()
    assert kept.state().ids.to_pylist() == source.state().ids.to_pylist()


def test_a_file_is_summarized_once_and_its_summary_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(tmp_path, 2)
    made.batch()
    made.batch()
    LogColumns(tmp_path).state()
    monkeypatch.setattr(log_columns.source, "events_of", None)
    monkeypatch.setattr(log_columns.source, "decisions_of", None)
    LogColumns(tmp_path).state()  # nothing is made again
    merge_files(made)
    paths = [path for name in ("decisions", "events") for path in files(tmp_path, name)]
    kept = {path.name for path in (tmp_path / FOLDER).glob("*/*.summary")}
    stems = {f"{path.parent.name}-{path.stem}" for path in paths}
    assert all(any(name.startswith(stem) for stem in stems) for name in kept)


def test_ranges_that_no_time_can_say_are_without_bound() -> None:
    first, last = date.min, date.max
    assert bounds(first, last, "Asia/Shanghai") == (BEGIN, END)
    assert bounds(first, last, "America/New_York")[1] == END


def test_what_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    made = Made(tmp_path, 1)
    with pytest.raises(NothingFound, match="archive some first"):
        report_exposures(tmp_path)
    made.batch()
    with pytest.raises(NothingFound, match="placement dusk; it is one of"):
        report_exposures(tmp_path, placement="dusk")
    with pytest.raises(InputError, match='did you mean "message"'):
        report_exposures(tmp_path, by="mesage")
    with pytest.raises(InputError, match='did you mean "placement"'):
        retention(tmp_path, by="placemen")


def of_one(archive: Path, customer: str, where: Whereabouts | None) -> list[Any]:
    """All that the dates of an archive have of a customer, the latest first."""
    found: list[Any] = []

    def take(day: ArchivedDay) -> bool:
        found.extend((day.begins, name, row) for name, rows in day.rows.items() for row in rows)
        return False

    datasets = ("decisions", "events", "changes")
    assert archived_days(archive, datasets, [customer], END, take, where) is None
    return found


def test_files_without_a_customer_are_passed_over_and_nothing_of_theirs_is_missed(
    tmp_path: Path,
) -> None:
    made, where = Made(tmp_path, 5), Whereabouts(tmp_path)
    for step in (Made.batch, Made.batch, Made.batch, merge_files, Made.batch, erase, Made.batch):
        step(made)
        for number in range(30):
            customer, opened = f"c{number}", 0
            for dataset in ("decisions", "events", "changes"):
                paths = {
                    path
                    for path in files(tmp_path, dataset)
                    if customer in pq.read_table(path, columns=["customer_id"])[0].to_pylist()
                }
                assert set(where.files(dataset, [customer])) == paths
                opened += len(paths)
            if number % 6 == 0:
                everything = of_one(tmp_path, customer, None)
                assert of_one(tmp_path, customer, where) == everything
                assert of_one(tmp_path, customer, Whereabouts(tmp_path)) == everything
    assert opened < sum(len(files(tmp_path, name)) for name in ("decisions", "events", "changes"))


def test_who_follows_spares_others_the_look_at_the_files_for_a_while(tmp_path: Path) -> None:
    made = Made(tmp_path, 6)
    made.batch()
    source, amount = LogColumns(tmp_path), log_columns.Amount("buy", "m")
    before = source.with_amounts(amount)[0]
    source.follow(600)
    made.batch()
    assert source.state() is before and source.with_amounts(amount)[0] is before
    source.follow(0)
    after, _ = source.with_amounts(amount)
    assert after is source.state() is not before
    agree(tmp_path, source)
