"""Decisions that are no longer in the log are found in the archive."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from decision.archive.archiver import Archiver
from decision.archive.folder import ArchiveFolder
from decision.core.schema import DecisionRequest
from decision.engine import Engine, build_snapshot
from decision.engine.runtime import wall_clock
from decision.rulebook.reader import load_folder
from decision.store import MemoryStore
from tests.api.conftest import running

pytestmark = pytest.mark.anyio


def write_archive(folder: Path, decision: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Rows of a decision as the archive keeps them, in the partition of its day."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    candidate = pa.struct(
        [
            ("message", pa.string()), ("channel", pa.string()),
            ("response_probability", pa.float64()), ("priority", pa.float64()),
            ("selection_probability", pa.float64()), ("reason", pa.string()),
        ]
    )  # fmt: skip
    schema = pa.schema(
        [
            ("decision_id", pa.string()), ("request_id", pa.string()),
            ("decided_at", pa.timestamp("us", "UTC")), ("customer_id", pa.string()),
            ("placement", pa.string()), ("event_type", pa.string()), ("outcome", pa.string()),
            ("reason", pa.string()), ("message", pa.string()), ("channel", pa.string()),
            ("response_probability", pa.float64()), ("priority", pa.float64()),
            ("selection_probability", pa.float64()), ("candidates", pa.list_(candidate)),
            ("policy_version", pa.string()), ("model_version", pa.string()),
            ("degraded", pa.list_(pa.string())), ("latency_us", pa.int64()),
        ]
    )  # fmt: skip
    at = datetime.fromisoformat(decision["decided_at"])
    place = folder / "decisions" / f"date={at.astimezone(UTC).date()}"
    place.mkdir(parents=True)
    given = {
        name: decision[name]
        for name in ("decision_id", "request_id", "customer_id", "placement", "outcome", "reason",
                     "policy_version", "model_version", "degraded")
    }  # fmt: skip
    table = pa.Table.from_pylist(
        [{**given, "decided_at": at, "latency_us": 1, **row} for row in rows], schema
    )
    parquet.write_table(table, place / "part-0.parquet")


async def test_a_decision_that_left_the_log_is_found_in_the_archive(
    rules: Path, tmp_path: Path
) -> None:
    pytest.importorskip("duckdb")
    (tmp_path / "archive").mkdir()
    async with running(rules, archive=str(tmp_path / "archive")) as api:
        await api.consent()
        decision = (await api.decide(customer_id="c-1", limit=2, dry_run=True)).json()
        url = f"/v1/decisions/{decision['decision_id']}"
        assert (await api.client.get(url)).status_code == 404
        chosen = decision["selections"]
        candidates = [
            {
                name: one[name]
                for name in (
                    "message",
                    "channel",
                    "response_probability",
                    "priority",
                    "selection_probability",
                )
            }
            for one in chosen
        ] + [{"message": "offer", "channel": "email", "reason": "outranked", "priority": 0.1}]
        numbers = (
            "message",
            "channel",
            "response_probability",
            "priority",
            "selection_probability",
        )
        write_archive(
            tmp_path / "archive",
            decision,
            [{**{name: one[name] for name in numbers}, "candidates": candidates} for one in chosen],
        )
        found = (await api.client.get(url)).json()
        same = {name for name in decision if name not in ("selections", "explanation")}
        assert {name: found[name] for name in same} == {name: decision[name] for name in same}
        assert [one["message"] for one in found["selections"]] == [one["message"] for one in chosen]
        assert found["explanation"][-1]["reason"] == "outranked"
        other = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"
        for missing in (decision["decision_id"][:-1] + "0", other, "0" * 26):
            if missing != decision["decision_id"]:
                assert (await api.client.get(f"/v1/decisions/{missing}")).status_code == 404


async def archived_elsewhere(rules: Path, out: Path) -> list[str]:
    """Archived decisions of a store that numbers kinds of contacts the other way round."""
    definition = load_folder(rules).definition
    assert definition is not None
    now = datetime.now(UTC)
    store = MemoryStore()
    forwards = await build_snapshot(definition, None, MemoryStore(), now, durable=False)
    await store.register_kinds([one.kind for one in reversed(forwards.policy.candidates)])
    engine = Engine(store)
    engine.use(await build_snapshot(definition, None, store, now, durable=False))
    await engine.customers.set_consents("c-9", {"marketing": {"*": "granted"}})
    names = []
    for placement in ("app_home", "outbound", "outbound", "outbound"):
        request = DecisionRequest(placement=placement, customer_id="c-9")
        names.append((await engine.decide(request)).decision_id)
    folder = ArchiveFolder(out)
    with folder.claimed():
        archiver = Archiver(folder, store, clock=wall_clock, keep=0)
        await archiver.open()
        await archiver.run()
    return names


def damaged(file: Path, how: str, rng: Random) -> None:
    """Damages a file in one way."""
    data = bytearray(file.read_bytes())
    if how == "emptied":
        data.clear()
    elif how == "cut":
        del data[rng.randrange(len(data)) :]
    elif how == "zeros":
        data = bytearray(len(data))
    elif how == "a folder":
        file.unlink()
        file.mkdir()
        return
    else:
        for _ in range(rng.choice((1, 1, 5, 50))):
            data[rng.randrange(len(data))] = rng.randrange(256)
    file.write_bytes(data)


async def test_a_damaged_archive_is_a_503_and_never_a_500(rules: Path, tmp_path: Path) -> None:
    """Where the damage does not matter, it is the decision, or it is not found."""
    archive, copy = tmp_path / "archive", tmp_path / "copy"
    name = (await archived_elsewhere(rules, archive))[1]
    paths = (path for path in archive.rglob("*") if path.is_file() and path.stat().st_size)
    files = sorted(path.relative_to(archive) for path in paths)
    ways = ["emptied", "cut", "zeros", "a folder"] + ["bytes"] * 6
    statuses = Counter[int]()
    async with running(rules, archive=str(copy)) as api:
        for number, (file, how) in enumerate(itertools.product(files, ways)):
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(archive, copy)
            damaged(copy / file, how, Random(number))
            answer = await api.client.get(f"/v1/decisions/{name}")
            statuses[answer.status_code] += 1
            assert answer.status_code in (200, 404, 503), (file, how, answer.text)
            assert str(tmp_path) not in answer.text
    assert statuses[503] > 10
    assert statuses[200] > 10


async def test_an_archived_decision_looked_up_between_two_live_ones_changes_neither(
    rules: Path, tmp_path: Path
) -> None:
    """Its contacts are numbered by the register of its archive; no cap learns these numbers."""
    names = await archived_elsewhere(rules, tmp_path / "archive")
    async with running(rules, archive=str(tmp_path / "archive")) as api:
        await api.consent()
        chosen = []
        for name in names:
            found = (await api.client.get(f"/v1/decisions/{name}")).json()
            assert found["explanation"]
            for selection in found["selections"]:
                assert selection["content"]["title"]
            decision = (await api.decide(customer_id="c-1")).json()
            chosen.append([one["message"] for one in decision["selections"]])
        assert chosen == [["offer"], ["news"], [], []]


async def test_while_the_archive_is_not_there_nothing_is_said_to_be_missing(
    rules: Path, tmp_path: Path
) -> None:
    """Unmounted: no folder, or an empty one where there was more."""
    archive, elsewhere = tmp_path / "archive", tmp_path / "elsewhere"
    name = (await archived_elsewhere(rules, archive))[0]
    unknown = "0" * 26
    async with running(rules, archive=str(archive)) as api:

        async def statuses() -> list[int]:
            urls = [f"/v1/decisions/{one}" for one in (name, unknown)]
            return [(await api.client.get(url)).status_code for url in urls]

        assert await statuses() == [200, 404]
        archive.rename(elsewhere)
        assert await statuses() == [503, 503]
        archive.mkdir()
        assert await statuses() == [503, 503]
        archive.rmdir()
        elsewhere.rename(archive)
        assert await statuses() == [200, 404]
