"""Summaries are made ahead of those who ask: by the archive, and by a child of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from decision.analytics.candidates.archived import ArchivedCandidates
from decision.analytics.summarizing import USUAL, Wanted, summarize, summarize_new
from decision.archive.errors import ArchiveError
from decision.archive.forgetting import FOLDER
from decision.archive.log_columns import Amount, LogColumns
from decision.archive.service import ArchiveOptions, archive_log
from decision.archive.whereabouts import Whereabouts
from decision.core.clock import from_micros
from decision.core.schema import DecisionRequest, Event
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.engine.runtime import wall_clock
from decision.rulebook.reader import load_files
from decision.store import MemoryStore
from tests.analytics.candidates.made import FILES

pytestmark = pytest.mark.anyio
ZONE = "Asia/Kolkata"


async def a_log(customers: int = 5) -> Any:
    """A store with decisions and events."""
    store = MemoryStore()
    definition = load_files(FILES).definition
    assert definition is not None
    engine = Engine(store, EngineSettings(), wall_clock)
    engine.use(await build_snapshot(definition, None, store, from_micros(wall_clock())))
    for number in range(customers):
        await engine.decide(DecisionRequest(placement="desk", customer_id=f"c{number}"))
        bought = Event(type="purchase", customer_id=f"c{number}", properties={"amount": 5})
        await engine.events.record([bought])
    return store


def missing(archive: Path) -> int:
    columns = LogColumns(archive).jobs(Amount(*USUAL))
    candidates = ArchivedCandidates(archive).jobs(ZONE)
    return len(columns) + len(candidates) + len(Whereabouts(archive).jobs())


async def archived(
    folder: Path, make: Callable[[Callable[[], bool]], object] | None, **options: Any
) -> None:
    given = ArchiveOptions(folder=folder, **options)
    log = await a_log()
    await archive_log(log, given, wall_clock, asyncio.Event(), summarize=make)


async def test_an_archive_leaves_nothing_for_the_first_look_to_count(tmp_path: Path) -> None:
    await archived(tmp_path, None)
    # of decisions: columns, candidates, customers; of events: columns, amounts, customers
    assert missing(tmp_path) == 6
    await archived(tmp_path / "other", partial(summarize_new, tmp_path / "other"))
    assert missing(tmp_path / "other") == 0
    state, amounts = LogColumns(tmp_path / "other").with_amounts(Amount(*USUAL))
    assert (len(state.decided.at), amounts.money.tolist()) == (5, [5.0] * 5)


async def test_what_fails_is_said_and_the_archive_goes_on(tmp_path: Path) -> None:
    def fail(stopped: Callable[[], bool]) -> None:
        raise ArchiveError("no place")

    await archived(tmp_path, fail)
    assert missing(tmp_path) == 6


async def test_what_is_there_is_not_made_again_and_who_is_told_to_stop_stops(
    tmp_path: Path,
) -> None:
    await archived(tmp_path, None)
    wanted = Wanted(archive=str(tmp_path), timezone=ZONE, amount=USUAL, customers=True)
    assert summarize(wanted, stopped=lambda: True) == 0
    told: list[float] = []
    assert summarize(wanted, told.append) == 6
    assert sorted(told) == told and told[-1] == 6
    assert summarize(wanted) == summarize_new(tmp_path) == 0


async def test_where_nothing_can_be_kept_nothing_is_made(tmp_path: Path) -> None:
    await archived(tmp_path, None)
    (tmp_path / FOLDER).write_text("not a folder")
    assert summarize(Wanted(archive=str(tmp_path), timezone=ZONE)) == 0
    assert len(LogColumns(tmp_path).state().decided.at) == 5
