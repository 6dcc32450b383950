"""What was done to runs of journeys: archived once, looked at, exported, erased."""

from __future__ import annotations

import msgspec
import pytest

from decision.archive.compaction import compact
from decision.archive.folder import ArchiveFolder
from decision.core import records
from decision.core.clock import HOUR, from_micros
from decision.core.records import JourneyRecord
from decision.core.schema import CustomerUpdate
from decision.engine import Engine
from decision.engine.log_records import journey_records
from decision.engine.runtime import wall_clock
from decision.server.exporting import Exports
from decision.server.timelines import Timelines
from tests.archive.test_archive import Path, Store, archive, engine, log, rows

__all__ = ["engine"]
pytestmark = pytest.mark.anyio

ASKED = JourneyRecord(
    customer_id="mei",
    at=wall_clock() - HOUR,
    journey="welcome",
    run="r-1",
    key="cart-7",
    started=wall_clock() - 2 * HOUR,
    steps=["hello:ask", "pause:wait"],
    asked="hello",
    decision_id="01J",
    outcome="selected",
    holds=True,
)
REFUSED = JourneyRecord(
    customer_id="mei", at=wall_clock(), journey="welcome", run="", refused="runs"
)


async def test_what_was_done_to_a_run_is_archived_as_it_was_and_once(
    store: Store, tmp_path: Path
) -> None:
    out, logged = tmp_path / "out", journey_records("01K", [ASKED, REFUSED])
    assert records.decode_journey(logged[0].body) == ASKED
    await log(store, "mei", *logged)
    await archive(store, out)
    await log(store, "mei", *logged)  # a commit that was logged twice
    await archive(store, out)
    first, second = sorted(rows(out, "journeys"), key=lambda row: str(row["record_id"]))
    fields = msgspec.structs.asdict(ASKED)
    for name in ("at", "started"):
        fields[name] = from_micros(fields[name])
    assert first == {"record_id": "01K.0", **fields}
    assert (second["record_id"], second["refused"], second["started"]) == ("01K.1", "runs", None)


async def test_an_erasure_takes_what_journeys_did_also_where_files_were_merged(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for customer in ("mei", "stays"):
        await engine.customers.update(customer, CustomerUpdate(attributes={"a": 1}))
        one = msgspec.structs.replace(ASKED, customer_id=customer)
        await log(store, customer, *journey_records(f"k-{customer}", [one]))
        await archive(store, out)
    compact(ArchiveFolder(out))
    await log(store, "mei", *journey_records("unread", [ASKED]))
    await engine.customers.erase("mei")
    await archive(store, out)
    assert [row["customer_id"] for row in rows(out, "journeys")] == ["stays"]


async def test_the_timeline_and_the_export_have_it_from_the_log_and_the_archive(
    engine: Engine, store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    await engine.customers.update("mei", CustomerUpdate(attributes={"a": 1}))
    await log(store, "mei", *journey_records("k-1", [ASKED]))
    timelines = Timelines(engine, str(out))
    await archive(store, out)
    await log(store, "mei", *journey_records("k-2", [REFUSED]))
    page = await timelines.page("mei", ["journey"])
    refused, asked = page.rows
    assert (refused.journey, refused.refused, refused.run) == ("welcome", "runs", msgspec.UNSET)
    assert (asked.run, asked.steps, asked.asked) == ("r-1", ["hello:ask", "pause:wait"], "hello")
    assert (asked.decision_id, asked.outcome, asked.ended) == ("01J", "selected", msgspec.UNSET)
    exported = Exports(engine, str(out)).lines("mei")
    lines = [msgspec.json.decode(line) async for line in exported]
    kinds = [(line["kind"], line["in"]) for line in lines if "journey" in line["kind"]]
    assert sorted(kinds) == [("journey", "log"), ("journeys", "archive")]
