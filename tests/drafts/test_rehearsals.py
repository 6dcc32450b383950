"""Files of a draft are checked, tested and tried beside the event loop, as the commands would."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from decision.archive.archiver import Archiver
from decision.archive.folder import ArchiveFolder
from decision.archive.replays import read_replays
from decision.cli.app import cli
from decision.core.clock import to_micros
from decision.core.errors import Overloaded
from decision.core.ports import LogRecord, Store
from decision.core.schema import DecisionRequest
from decision.drafts import rehearsal
from decision.drafts.rehearsal import check
from decision.drafts.rehearsals import RehearsalFailed, Rehearsals
from decision.drafts.results import Progressed
from decision.drafts.scenario_report import ScenarioReport
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.engine.runtime import wall_clock
from decision.rulebook.reader import load_files
from decision.store import MemoryStore, RedisStore
from tests.drafts.conftest import ALL, FILES, MESSAGES, SETUP, TESTS
from tests.waiting import until

pytestmark = pytest.mark.anyio

SAMPLE = Path(__file__).parents[2] / "rules"
START = datetime(2026, 11, 2, 2, tzinfo=UTC)
NAMES = ["marketing", "push", "email", "outbound", "coupon", "purpose", "channels", "value", "3"]


def sample() -> dict[str, str]:
    return {
        path.relative_to(SAMPLE).as_posix(): path.read_text("utf-8")
        for path in SAMPLE.rglob("*.yaml")
    }


def damaged(files: Mapping[str, str], draw: random.Random) -> dict[str, str]:
    """The files with some changes such as people make while they type."""
    found = dict(files)
    for _ in range(draw.randrange(1, 4)):
        if not found:
            break
        name = draw.choice(sorted(found))
        lines = found[name].split("\n")
        place = draw.randrange(len(lines))
        line = lines[place]
        kind = draw.randrange(7)
        if kind == 0:
            lines[place] = line[: draw.randrange(len(line) + 1)]
        elif kind == 1:
            lines.insert(place, line)
        elif kind == 2:
            del lines[place]
        elif kind == 3:
            word = draw.choice(NAMES)
            lines[place] = line.replace(word, word[:-1] + "x")
        elif kind == 4:
            lines[place] = draw.choice(["  ", "\t", "- ", '"', "{", "é", "\u200b"]) + line
        elif kind == 5:
            name = "更多/new file.yaml"
            lines = draw.choice(["", "messages:", "mesages: {}", "rules: []", "a: &b 1"]).split()
        else:
            found.pop(name)
            continue
        found[name] = "\n".join(lines)
    return found


@pytest.mark.parametrize("seed", range(40))
def test_a_check_says_what_the_command_says_of_a_folder_with_these_files(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    files = damaged(sample() if seed % 4 == 0 else FILES, draw)
    for name, text in files.items():
        path = tmp_path / "rules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    (tmp_path / "rules").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)
    said = json.loads(CliRunner().invoke(cli, ["check", "rules", "--json"]).stdout)
    found, _ = check(files, datetime.now(UTC))
    assert [one.as_dict() for one in found.diagnostics] == said["diagnostics"]
    assert (found.version or None) == said["policy_version"]
    assert found.counts == said["counts"]


async def test_a_child_checks_what_is_not_saved_yet_and_gives_places() -> None:
    rehearsals = Rehearsals()
    good = await rehearsals.check(ALL)
    assert good.usable and good.counts["messages"] == 2 and not good.errors
    bad = await rehearsals.check({**ALL, "messages.yaml": MESSAGES.replace("[push]", "[pusch]")})
    assert [(one.place, one.code) for one in bad.errors] == [
        ("rules/messages.yaml:4:16", "unknown-name"),
        ("rules/messages.yaml:5:18", "conflict"),
    ]
    assert not bad.usable
    assert not (await rehearsals.check({})).usable


async def test_a_child_runs_the_scenarios_with_coverage_and_tells_how_far_it_is() -> None:
    told: list[Progressed] = []
    rehearsals = Rehearsals()
    report = await rehearsals.test(ALL, tell=told.append)
    assert report.valid and report.passed == 1
    assert report.coverage is not None and 0 < report.coverage.percent < 100
    assert told and told[0] == Progressed(done=1, total=1)


def test_a_scenario_that_fails_is_shown_with_its_place_and_how_it_came_about() -> None:
    def run(**changes: str) -> ScenarioReport:
        return rehearsal.test({**ALL, **changes}, "", False, lambda done, total: None)

    report = run(**{"messages.yaml": MESSAGES.replace("value: 1", "value: 9")})
    (failed,) = report.failed
    assert failed.source == "rules/tests/coupon.yaml:1" and "coupon" in failed.problems[0]
    assert any("tips/email" in line for line in failed.trace)
    assert not report.valid and report.coverage is None
    wrong = run(**{"tests/coupon.yaml": TESTS.replace("ask", "asks")})
    assert not wrong.valid and wrong.diagnostics[0].file == "rules/tests/coupon.yaml"
    broken = run(**{"setup.yaml": SETUP.replace("email", "mail")})
    assert not broken.valid and broken.passed == 0 and broken.diagnostics
    assert rehearsal.test(FILES, "", True, lambda done, total: None).valid


async def test_a_child_that_takes_too_long_is_ended_and_too_many_are_refused() -> None:
    with pytest.raises(RehearsalFailed, match="took longer"):
        await Rehearsals(time_limit=0.01).check(ALL)
    await asyncio.to_thread(until, lambda: not children())
    full = Rehearsals(most=1, most_waiting=1)
    first = [asyncio.create_task(full.check(ALL)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await full.check(ALL)
    assert all(one.usable for one in await asyncio.gather(*first))


async def test_a_child_ends_with_who_waits_for_it() -> None:
    task = asyncio.create_task(Rehearsals().test(sample()))
    await asyncio.to_thread(until, children)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await asyncio.to_thread(until, lambda: not children())


def children() -> list[str]:
    """Our children that rehearse, by their ids."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            command = (place / "cmdline").read_text() if place.name.isdigit() else ""
            if "decision.drafts.rehearsal" in command:
                parent = (place / "stat").read_text().rpartition(")")[2].split()[1]
                found += [place.name] if int(parent) == os.getpid() else []
        except OSError:
            continue
    return found


async def decided(store: Store, count: int) -> None:
    """Decisions for customers who agree, an hour apart, by the small policy."""
    definition = load_files(FILES).definition
    assert definition is not None
    engine = Engine(store, EngineSettings(seed="logged"))
    engine.use(await build_snapshot(definition, None, store, START))
    for number in range(count):
        customer = f"c-{number % 5}"
        if number < 5:
            consents = {"marketing": {"*": "granted"}}
            await engine.customers.set_consents(customer, consents)  # type: ignore[arg-type]
        request = DecisionRequest(placement="outbound", customer_id=customer)
        await engine.decide(request, now=to_micros(START + timedelta(hours=number)))


async def test_a_what_if_counts_exactly_what_changes_of_the_logged_decisions(
    store: Store,
) -> None:
    await decided(store, 30)
    told: list[Progressed] = []
    cheaper = {**FILES, "messages.yaml": MESSAGES.replace("value: 3", "value: 0.5")}
    found = await Rehearsals().what_if(cheaper, FILES, store, tell=told.append)
    assert (found.decisions, found.refused, found.complete) == (30, 0, True)
    assert (found.first, found.last) == (START, START + timedelta(hours=29))
    (old, new) = (load_files(files).definition for files in (FILES, cheaper))
    assert old is not None and new is not None
    assert (found.old_version, found.new_version) == (old.version, new.version)
    assert (found.differing, found.changes) == (30, {"other message": 30})
    for table, rows in {
        "message": {"coupon": (30, 0), "tips": (0, 30)},
        "channel": {"push": (30, 0), "email": (0, 30)},
        "outcome": {"selected": (30, 30)},
        "placement": {"outbound": (30, 30)},
    }.items():
        assert {row.name: (row.old, row.new) for row in found.by[table]} == rows
    assert [(one.old, one.new, one.count) for one in found.moves] == [
        ("coupon/push", "tips/email", 30)
    ]
    assert [(one.reason, one.count) for one in found.lost_because] == [("outranked", 30)]
    assert found.customers_changed == 5 and found.most_affected[0].changed == 6
    assert told and all(one.done <= 30 for one in told)


async def test_a_what_if_takes_the_newest_and_ends_when_its_time_is_over() -> None:
    store, rehearsals = MemoryStore(), Rehearsals()
    await decided(store, 30)
    found, late = await asyncio.gather(
        rehearsals.what_if(FILES, FILES, store, newest=10),
        rehearsals.what_if(FILES, FILES, store, seconds=0),
    )
    assert (found.decisions, found.differing, found.complete) == (10, 0, True)
    assert found.first == START + timedelta(hours=20)
    assert (late.decisions, late.first, late.complete) == (0, None, False)
    assert any("the time was over" in one for one in late.cautions)
    with pytest.raises(RehearsalFailed, match="the draft has errors"):
        await rehearsals.what_if({}, FILES, store)


async def test_a_what_if_over_an_archive_takes_its_newest_decisions(
    redis_store: RedisStore, tmp_path: Path
) -> None:
    await decided(redis_store, 60)  # on three days
    folder = ArchiveFolder(tmp_path)
    with folder.claimed():
        archiver = Archiver(folder, redis_store, clock=wall_clock, keep=0)
        await archiver.open()
        await archiver.run()
    for newest, since in ((1, 59), (20, 40), (59, 1), (60, 0), (1_000, 0)):
        times = sorted(one.decided_at for one in read_replays(tmp_path, newest=newest))
        assert len(times) == min(newest, 60)
        assert times[0] == to_micros(START + timedelta(hours=since))
    found = await Rehearsals().what_if(FILES, FILES, tmp_path, newest=20)
    assert (found.decisions, found.last) == (20, START + timedelta(hours=59))
    with pytest.raises(RehearsalFailed, match="replays"):
        await Rehearsals().what_if(FILES, FILES, tmp_path / "none")


async def test_decisions_are_read_only_when_it_is_the_turn_of_a_what_if() -> None:
    class Counting(MemoryStore):
        read = 0

        async def newest_records(self, partitions: Sequence[int], most: int) -> list[LogRecord]:
            self.read += 1
            return []

    store, rehearsals = Counting(), Rehearsals(most=1)
    async with rehearsals._free:
        waiting = [
            asyncio.create_task(rehearsals.what_if(FILES, FILES, store, newest=10))
            for _ in range(20)
        ]
        for _ in range(100):
            await asyncio.sleep(0)
        assert store.read == 0
        refused = [one for one in waiting if one.done()]
        assert len(refused) == 4 and all(isinstance(one.exception(), Overloaded) for one in refused)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
