"""Counts follow what happens to an archive, and what cannot be counted is said."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from decision.analytics.candidates.archived import ArchivedCandidates
from decision.analytics.candidates.deciding import report_sensitivity
from decision.analytics.candidates.funnel import report_candidates
from decision.analytics.candidates.recent import RecentCandidates, read_recent
from decision.analytics.candidates.scope import Range
from decision.analytics.candidates.win_loss import report_win_loss
from decision.analytics.segments import NothingFound
from decision.archive.archiver import Archiver
from decision.archive.compaction import compact
from decision.archive.erasing import erase_from_archive
from decision.archive.errors import ArchiveError
from decision.archive.folder import ArchiveFolder
from decision.archive.forgetting import FOLDER as SUMMARIES
from decision.archive.policies import policy_path
from decision.core import records
from decision.core.clock import DAY
from decision.core.errors import InputError
from decision.core.schema import CustomerUpdate, DecisionRequest
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.rulebook.reader import load_files
from decision.store import MemoryStore
from tests.analytics.candidates.made import (
    FILES,
    PAIRS,
    POLICY,
    START,
    Made,
    Way,
    archive,
    changes,
    of,
)

pytest.importorskip("pyarrow")


def one(number: int, chosen: bool = True, **more: Any) -> Made:
    """A decision between the first two candidates; all others were not eligible."""
    ways = [Way("not_eligible") for _ in PAIRS]
    for place, probability in ((0, 0.5), (2, 0.4)):
        ways[place] = Way("outranked" if chosen else "capped", probability, scored=chosen)
        ways[place].priority = float(probability * POLICY.message_values[place] - 0.5)
    if chosen:
        ways[0].reason = None
    return of(ways, [0] if chosen else [], number=number, **more)


def decisions(source: Any, **asked: Any) -> int:
    return report_candidates(source, Range(**asked)).about.decisions


def test_counts_are_kept_and_new_files_are_added_to_them(tmp_path: Path) -> None:
    archive(tmp_path, [one(1), one(2)])
    source = ArchivedCandidates(tmp_path)
    assert decisions(source) == 2
    [kept] = (tmp_path / SUMMARIES).glob("*/*.summary")
    before = kept.stat().st_mtime_ns
    archive(tmp_path, [one(3)], "part-1")
    assert decisions(source) == decisions(ArchivedCandidates(tmp_path)) == 3
    assert kept.stat().st_mtime_ns == before
    assert len(list((tmp_path / SUMMARIES).glob("*/*.summary"))) == 2


def test_an_erased_customer_is_no_longer_counted_nor_kept(tmp_path: Path) -> None:
    archive(tmp_path, [one(1), one(2)])
    source = ArchivedCandidates(tmp_path)
    assert decisions(source) == 2
    [kept] = (tmp_path / SUMMARIES).glob("*/*.summary")
    erase_from_archive(tmp_path, ["c1"])
    changes(tmp_path, [{"change_id": "e", "customer_id": "p", "kind": "erasure", "at": None}])
    about = report_candidates(source).about
    assert (about.decisions, about.erased_customers) == (1, 1)
    assert about.incomplete == ["decisions of 1 erased customers are not in it"]
    assert not kept.exists()


def test_a_damaged_summary_is_made_again_and_a_folder_that_cannot_be_written_is_no_matter(
    tmp_path: Path,
) -> None:
    archive(tmp_path, [one(1)])
    assert decisions(ArchivedCandidates(tmp_path)) == 1
    [kept] = (tmp_path / SUMMARIES).glob("*/*.summary")
    kept.write_bytes(b"PAR1 and no more")
    assert decisions(ArchivedCandidates(tmp_path)) == 1
    (tmp_path / "file").touch()
    assert decisions(ArchivedCandidates(tmp_path, tmp_path / "file" / "below")) == 1


def test_a_decision_that_nobody_was_given_is_taken_out_also_when_that_is_said_later(
    tmp_path: Path,
) -> None:
    some = [one(1), one(2), one(3, chosen=False)]
    archive(tmp_path, some)
    source = ArchivedCandidates(tmp_path)
    assert decisions(source) == 3
    said = {
        "change_id": some[0].record.decision_id, "customer_id": "c1", "kind": "not_given",
        "at": datetime(2026, 11, 20, tzinfo=UTC), "detail": "{}",
    }  # fmt: skip
    changes(tmp_path, [said])
    log = RecentCandidates(
        [records.line_of(each.record) for each in some],
        {POLICY.version: FILES},
        not_given=frozenset({some[0].record.decision_id}),
    )
    for again in (source, ArchivedCandidates(tmp_path), log):
        found = report_candidates(again)
        assert (found.about.decisions, found.about.not_given) == (2, 1)
        assert found.total.chosen == 1
        [a, b] = report_win_loss(again).rows
        assert (a.name, a.won, b.name, b.lost) == ("a", 1, "b", 1)
        assert report_sensitivity(again).compared == 1


def test_what_was_given_without_the_store_is_counted_apart(tmp_path: Path) -> None:
    lost = one(2, chosen=False, degraded=["store"])
    archive(tmp_path, [one(1), lost])
    log = RecentCandidates(
        [records.line_of(each) for each in (one(1).record, lost.record)], {POLICY.version: FILES}
    )
    for source in (ArchivedCandidates(tmp_path), log):
        about = report_candidates(source).about
        assert (about.decisions, about.without_store, about.policy_unknown) == (1, 1, 0)


def test_decisions_of_a_policy_that_is_not_kept_are_counted_until_it_is_back(
    tmp_path: Path,
) -> None:
    archive(tmp_path, [one(1)])
    path = policy_path(tmp_path, POLICY.version)
    text = path.read_bytes()
    path.unlink()
    source = ArchivedCandidates(tmp_path)
    found = report_candidates(source, by="category")
    assert [row.name for row in found.rows] == ["?"]
    assert found.total.chosen == 1
    [said] = found.about.incomplete
    assert POLICY.version in said and "its 1 decisions" in said
    assert report_sensitivity(source).compared == 0
    path.write_bytes(text)
    for again in (source, ArchivedCandidates(tmp_path)):
        assert report_candidates(again, by="category").rows[0].name != "?"
        assert report_sensitivity(again).compared == 1
        assert report_candidates(again).about.incomplete == []
    unknown = RecentCandidates([records.line_of(one(1).record)], {})
    about = report_candidates(unknown).about
    assert (about.decisions, about.policy_unknown) == (0, 1)
    assert about.incomplete[-1] == "1 decisions have no candidates: their policy was not kept"


def test_a_range_without_decisions_says_so_and_what_the_source_has(tmp_path: Path) -> None:
    assert report_candidates(ArchivedCandidates(tmp_path)).about.incomplete == [
        "the archive has no decisions yet"
    ]
    archive(tmp_path, [one(1)])
    source = ArchivedCandidates(tmp_path)
    found = report_candidates(source, Range(first=date(2020, 1, 1), last=date(2020, 1, 2)))
    assert (found.rows, found.total.decisions) == ([], 0)
    assert found.about.incomplete == [
        "no decision is in this range: take a longer one, or fewer conditions",
        "the archive begins later than the range: what was before is not in it",
    ]
    assert found.about.since == found.about.until is not None
    assert report_win_loss(source, found.about.range).rows == []
    assert {part.share for part in report_sensitivity(source, found.about.range).parts} == {0}


def test_what_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    archive(tmp_path, [one(1, tests={"copy": "short"})])
    source = ArchivedCandidates(tmp_path)
    nothing = [
        (Range(placement="dusk"), {}, "no decision has the placement dusk; it is one of desk"),
        (Range(experiment="copi"), {}, r'the experiment copi.* did you mean "copy"'),
        (Range(experiment="copy", variant="long"), {}, "the variant long; it is one of short"),
        (Range(), {"message": "ha"}, "the message ha; it is one of a, b, c, hi"),
        (Range(), {"by": "day", "category": "w"}, "the category w; it is one of x, y, z"),
    ]
    for asked, more, words in nothing:
        with pytest.raises(NothingFound, match=words):
            report_candidates(source, asked, **more)
    with pytest.raises(NothingFound, match="the channel pusch"):
        report_win_loss(source, by="channel", name="pusch")
    with pytest.raises(NothingFound, match="the message ha"):
        report_sensitivity(source, message="ha")
    wrong = [
        (Range(timezone="Mars"), {}, "timezone: Mars is not a time zone"),
        (Range(first=date(2026, 2, 1), last=date(2026, 1, 1)), {}, "last: the range ends on"),
        (Range(variant="short"), {}, "a variant needs its experiment"),
        (Range(segment="event.type"), {}, "event.type is not stored with customers"),
        (Range(segment="customer.state"), {}, "customer.state is not stored"),
        (Range(segment_value="x"), {}, "a segment's value needs its field"),
        (Range(), {"by": "mesage"}, 'did you mean "message"'),
        (Range(), {"by": "variant"}, "need an experiment"),
        (Range(), {"by": "segment"}, "need the field of the segment"),
        (Range(), {"by": "message", "channel": "push"}, "cannot be of one channel only"),
        (Range(), {"by": "day", "channel": "push", "message": "a"}, "beside message"),
    ]
    for asked, more, words in wrong:
        with pytest.raises(InputError, match=words):
            report_candidates(source, asked, **more)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    archive(tmp_path, [one(1)])
    [path] = (tmp_path / "decisions").glob("*/*.parquet")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ArchiveError, match=f"{path} cannot be read"):
        report_candidates(ArchivedCandidates(tmp_path))


@pytest.mark.anyio
async def test_real_decisions_have_the_same_figures_in_log_and_archive_through_compaction(
    tmp_path: Path,
) -> None:
    """Also by a field of customers, and for the newest ones of a log."""
    clock = [START]
    store = MemoryStore(lambda: clock[0] / 1_000_000)
    definition = load_files(FILES).definition
    assert definition is not None
    engine = Engine(store, EngineSettings(), lambda: clock[0])
    at = datetime.fromtimestamp(START / 1_000_000, UTC)
    engine.use(await build_snapshot(definition, None, store, at))
    folder = ArchiveFolder(tmp_path)
    with folder.claimed():
        archiver = Archiver(folder, store, clock=lambda: clock[0], keep=DAY)
        await archiver.open()
        source = ArchivedCandidates(tmp_path)
        for number in range(9):
            customer = f"c{number}"
            city = ["上海", "Bremen"][number % 2]
            await engine.customers.update(customer, CustomerUpdate(attributes={"city": city}))
            for placement in ("home", "desk"):
                clock[0] += 1_000_000
                await engine.decide(DecisionRequest(placement=placement, customer_id=customer))
            await archiver.run()
            assert decisions(source) == 2 * (number + 1)
        before = report_candidates(source, Range(segment="customer.city"), by="segment")
        assert {row.name: row.decisions for row in before.rows} == {"上海": 10, "Bremen": 8}
        assert compact(folder).files
        log = await read_recent(store)
        for asked, by in ((Range(), "message"), (Range(segment="customer.city"), "segment")):
            after = report_candidates(source, asked, by=by)
            assert after.rows == report_candidates(log, asked, by=by).rows
            assert after.total == report_candidates(log, asked, by=by).total
        assert report_candidates(source, Range(segment="customer.city"), by="segment") == before
        assert report_win_loss(source).rows == report_win_loss(log).rows
        assert report_sensitivity(source).parts == report_sensitivity(log).parts
    newest = report_candidates(await read_recent(store, 3))
    assert (newest.about.decisions, newest.about.limit) == (3, 3)
    assert newest.about.since == datetime.fromtimestamp(START / 1_000_000 + 16, UTC)


@pytest.mark.anyio
async def test_the_newest_records_are_read_a_few_at_a_time_and_decoded_off_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So a look at the log keeps no decision waiting."""
    most, threads = [0], set[int]()
    store = MemoryStore(lambda: START / 1_000_000)
    definition = load_files(FILES).definition
    assert definition is not None
    engine = Engine(store, EngineSettings(), lambda: START)
    at = datetime.fromtimestamp(START / 1_000_000, UTC)
    engine.use(await build_snapshot(definition, None, store, at))
    for number in range(300):
        await engine.decide(DecisionRequest(placement="home", customer_id=f"c{number % 3}"))
    read_logs, decode = store.read_logs, records.decode_line

    async def counted(positions: Any, count: int) -> Any:
        pages = await read_logs(positions, count)
        most.append(sum(map(len, pages.values())))
        return pages

    def decoded(body: bytes) -> Any:
        threads.add(threading.get_ident())
        return decode(body)

    monkeypatch.setattr(store, "read_logs", counted)
    monkeypatch.setattr(records, "decode_line", decoded)
    recent = await read_recent(store, 250)
    assert max(most) <= 256
    assert threads and threading.get_ident() not in threads
    found = report_candidates(recent).about
    assert (found.decisions, found.limit) == (250, 250)
