"""Decisions made elsewhere, read as a log of our own: trained on, judged, looked up."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decision.archive.archiver import Archiver
from decision.archive.change import TableChange
from decision.archive.erasing import erase_from_archive
from decision.archive.errors import ArchiveError
from decision.archive.folder import ArchiveFolder
from decision.archive.imported import is_claimed, is_imported
from decision.archive.lookup import look_up
from decision.archive.progress import read_state
from decision.archive.replays import read_replays
from decision.archive.table import Table
from decision.archive.tables import files
from decision.core.clock import DAY, HOUR
from decision.core.document import ContactState
from decision.core.identifiers import parse_decision_id, partition_of
from decision.evaluation.report import EvaluationOptions, EvaluationReport
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate
from decision.intake.decision_log.writing import feature_types
from decision.learning.goals import goals_of
from decision.learning.ope import ips, snips
from decision.learning.spec import parse_spec
from decision.learning.training_table import examples_of_log
from decision.scoring.features import Feature
from decision.store import MemoryStore
from tests.intake.decision_log.tables import HEAD, NOW, RULES, Desk, Drawn, rows_of, table

QUICK = EvaluationOptions(bootstrap=0)
SPEC = parse_spec(
    "t.yaml",
    "name: t\nfeatures: {message.name: categorical, customer.age: numeric, message.count_7d: "
    "numeric, message.days_since: numeric}\nvalidation: 0%\n",
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def judged(archive: Path, **more: Any) -> EvaluationReport:
    request = EvaluationRequest(reward_model=False, options=QUICK)
    return evaluate(archive, Candidate(**more), request)


def test_estimates_are_those_of_numpy_on_the_raw_table_to_the_last_digit(desk: Desk) -> None:
    """Of "always spring", which the rules choose without a model, and of what was logged."""
    drawn = Drawn(2_000)
    found = desk.imports(drawn.table())
    assert found.decisions == 2_000 and not found.bad_rows
    report = judged(desk.archive)
    sent = np.array([drawn.ARMS[arm] != "" for arm in drawn.arm])
    reward = drawn.reward * sent  # silence earns nothing here
    always = (drawn.arm == 0).astype(float)
    policy = report.policies[-1].metrics["responses"]
    for name, estimator in (("ips", ips), ("snips", snips)):
        expected = estimator(reward, drawn.probability, always)
        assert policy[name].estimate.value == pytest.approx(expected.value, rel=1e-12)
        assert policy[name].estimate.standard_error == pytest.approx(
            expected.standard_error, rel=1e-9
        )
    by_hand = (reward * always / drawn.probability).sum() / (always / drawn.probability).sum()
    assert policy["snips"].estimate.value == pytest.approx(by_hand, rel=1e-12)
    assert report.logged["responses"].value == pytest.approx(reward.mean(), rel=1e-12)
    assert report.policies[-1].unsupported == 0


def test_training_sees_the_rows_of_the_table_with_their_responses(desk: Desk) -> None:
    drawn = Drawn(500)
    desk.imports(drawn.table())
    with examples_of_log(desk.archive, SPEC, goals_of(desk.definition, None)) as found:
        sent = np.array([drawn.ARMS[arm] != "" for arm in drawn.arm])
        order = np.argsort(np.array(drawn.at)[sent])
        names = [feature.name for feature in found.features]
        assert len(found.label) == sent.sum()
        assert found.label.tolist() == drawn.reward[sent][order].tolist()
        age = found.matrix[:, names.index("customer.age")]
        assert age.tolist() == drawn.age[sent][order].tolist()
        assert found.probability.tolist() == drawn.probability[sent][order].tolist()


def test_importing_again_changes_nothing_and_later_outcomes_are_added(desk: Desk) -> None:
    drawn = Drawn(100)
    first = desk.imports(drawn.table())
    before = {name: desk.rows(name) for name in ("decisions", "replays", "events", "outcomes")}
    named = {name: files(desk.archive, name) for name in before}
    again = desk.imports(drawn.table())
    assert (again.decisions, again.known_decisions) == (0, 100)
    assert again.known_outcomes == first.outcomes
    assert named == {name: files(desk.archive, name) for name in before}
    assert before == {name: desk.rows(name) for name in before}
    drawn.reward[:] = 1.0
    later = desk.imports(drawn.table())
    assert (later.decisions, later.outcomes) == (0, 100 - first.outcomes)
    assert len(desk.rows("outcomes")) == 100 and len(desk.rows("decisions")) == 100
    copy = desk.folder / "copy.csv"
    copy.write_text(drawn.table())
    assert desk.imports(copy).known_decisions == 100  # a file of another name, the same decisions


def test_ids_are_ulids_of_their_time_and_customer_and_lead_back(desk: Desk) -> None:
    desk.imports(table(HEAD, "2026-10-01T10:00:00Z,李雷,points,push,outbound,0.25"))
    (row,) = desk.rows("decisions")
    millis, partition, _ = parse_decision_id(row["decision_id"])
    assert millis == row["decided_at"].timestamp() * 1000
    assert partition == partition_of("李雷")
    found = look_up(desk.archive, row["decision_id"])
    assert found is not None and found.record.selections[0].message == "points"
    assert found.document is None  # it was not decided by these rules: nothing is decided again
    assert [(one.message, one.selection_probability) for one in found.rows] == [("points", 0.25)]


def test_a_claim_of_uniform_assignment_is_marked_in_the_log(desk: Desk) -> None:
    head = "decided_at,customer_id,message,placement,outcome.purchase"
    rows = [
        [f"2026-10-01T10:{n:02d}:00Z", f"c-{n}", ("spring", "autumn", "")[n % 3], "outbound", n % 2]
        for n in range(30)
    ]
    found = desk.imports(table(head, *rows), uniform=("spring", "autumn", "silence"))
    assert found.claimed == found.decisions == 30
    assert all(is_imported(one) and is_claimed(one) for one in found.policy_versions)
    for row in desk.rows("decisions"):
        assert row["selection_probability"] == 1 / 3
        assert is_claimed(row["policy_version"])
        offered = [(one["message"], one["selection_probability"]) for one in row["candidates"]]
        assert offered == [("spring", 1 / 3), ("autumn", 1 / 3)]
    report = judged(desk.archive)
    assert any("claimed" in note for note in report.notes)
    report = desk.imports(table(head, *rows[:3]), uniform=("spring", "autumn"))
    assert report.bad_rows == 1 and "none of those that --uniform-over names" in desk.problems[0][1]


def test_probabilities_of_all_arms_say_what_could_have_been_given(desk: Desk) -> None:
    """Without them, it is what the table gives at the placement, the rest spread evenly."""
    head = "decided_at,customer_id,message,channel,placement,probability.spring,probability.points/push,probability.silence"
    desk.imports(
        table(
            head,
            "2026-10-01T10:00:00Z,c-1,spring,email,outbound,0.7,0.2,0.1",
            "2026-10-01T10:00:01Z,c-2,points,push,outbound,,1,0",
            "2026-10-01T10:00:02Z,c-3,,,outbound,0.5,,0.5",
        )
    )
    found = [
        (
            row["selection_probability"],
            [
                (one["message"], one["channel"], one["selection_probability"])
                for one in row["candidates"]
            ],
        )
        for row in desk.rows("decisions")
    ]
    assert found == [
        (0.7, [("spring", "email", 0.7), ("points", "push", 0.2)]),
        (1.0, [("points", "push", 1.0)]),
        (0.5, [("spring", "email", 0.5)]),
    ]
    questions = [replay.question.of for replay in read_replays(desk.archive)]
    assert [getattr(one, "messages", None) for one in questions] == [
        ("spring", "points"),
        ("points",),
        ("spring",),
    ]


def test_outcomes_are_events_an_hour_after_or_when_they_say(desk: Desk) -> None:
    head = HEAD + ",outcome.purchase,outcome_at.purchase,outcome.message.opened"
    desk.imports(
        table(
            head,
            "2026-10-01T10:00:00Z,c-1,spring,email,outbound,0.5,80.5,2026-10-03T10:00:00Z,1",
            "2026-10-01T10:00:00Z,c-2,spring,email,outbound,0.5,0,2026-10-03T10:00:00Z,0",
            "2026-10-01T10:00:00Z,c-3,,,outbound,0.5,1,,",
        )
    )
    events = sorted(desk.rows("events"), key=lambda row: (row["customer_id"], row["type"]))
    told = [(row["customer_id"], row["type"], row["value"], row["properties"]) for row in events]
    assert told == [
        ("c-1", "message.opened", None, "{}"),
        ("c-1", "purchase", 80.5, '{"amount":80.5}'),
        ("c-3", "purchase", 1.0, '{"amount":1.0}'),
    ]
    hours = [(row["at"].timestamp() * 1e6 - 1_790_848_800e6) / HOUR for row in events]
    assert hours == [1, 48, 1]
    assert sorted(row["event_id"] for row in desk.rows("outcomes")) == sorted(
        row["event_id"] for row in events
    )


def test_histories_are_those_of_the_rows_before_and_evaluation_sees_what_was_logged(
    desk: Desk,
) -> None:
    """Counts, days since, and what bounced; the document holds what the features were made of."""
    head = HEAD + ",outcome.message.bounced"
    rows = [
        "2026-10-09T10:00:00Z,c-1,spring,email,outbound,0.5,0",  # out of order in the file
        "2026-10-01T10:00:00Z,c-1,spring,email,outbound,0.5,0",
        "2026-10-05T10:00:00Z,c-1,spring,email,outbound,0.5,1",
        "2026-10-06T10:00:00Z,c-1,autumn,email,outbound,0.5,0",
        "2026-10-06T10:00:00Z,c-2,spring,email,outbound,0.5,0",
    ]
    desk.imports(table(head, *rows))
    found = sorted(desk.rows("decisions"), key=lambda row: (row["customer_id"], row["decided_at"]))
    counts = [row["features"]["message.count_7d"] for row in found]
    days = [row["features"].get("message.days_since") for row in found]
    contacts = [row["features"]["contacts.count_7d"] for row in found]
    assert counts == [0, 1, 0, 0, 0]  # the one of the 5th bounced
    assert days == [None, 4, None, 8, None]
    assert contacts == [0, 1, 1, 1, 0]
    seen = {one.decided_at: one.document for one in read_replays(desk.archive)}
    last = seen[max(seen)]
    assert [one.state for one in last.contacts] == [
        ContactState.CONFIRMED, ContactState.RELEASED, ContactState.CONFIRMED,
    ]  # fmt: skip
    assert {last.kinds[one.kind].message for one in last.contacts} == {"spring", "autumn"}


def test_features_of_specs_states_and_rules_are_computed_as_a_server_would(tmp_path: Path) -> None:
    rules = RULES + (
        "states: {rich: {when: {customer.spend: {gte: 100}}}, other: {}}\n"
        "rules: {vip: {when: {customer.state: rich}, set: {customer.tier: gold}}}\n"
    )
    desk = Desk(tmp_path, rules)
    head = HEAD + ",attribute.spend,attribute.birthday,event.type,event.cart,context.device"
    desk.imports(
        table(
            head, "2026-10-01T23:30:00Z,c-1,spring,email,outbound,0.5,120,2000-10-05,cart_add,7,ios"
        ),
        features=(
            Feature("customer.birthday.anniversary_in", "numeric"),
            Feature("customer.tier", "categorical"),
            Feature("events.purchase.count_7d", "numeric"),
        ),
    )
    (row,) = desk.rows("decisions")
    wanted = {
        "customer.spend": 120, "customer.birthday": "2000-10-05", "customer.birthday.anniversary_in": 3,
        "customer.tier": "gold", "customer.state": "rich", "event.type": "cart_add", "event.cart": 7,
        "context.device": "ios", "time.hour": 7, "time.weekday": "fri", "placement": "outbound",
        "message.tag.season": 1, "message.value": 3, "events.purchase.count_7d": 0,
    }  # fmt: skip
    assert wanted.items() <= row["features"].items()
    assert row["event_type"] == "cart_add"


def test_what_the_rules_would_not_have_allowed_is_said(tmp_path: Path) -> None:
    desk = Desk(tmp_path, RULES + "caps: {once: {of: {}, at_most: 1, within: 7d}}\n")
    rows = [
        f"2026-10-{day:02d}T10:00:00Z,c-{n},spring,email,outbound,0.5"
        for n in range(20)
        for day in (1, 3)
    ]
    found = desk.imports(table(HEAD, *rows))
    assert any("would not have allowed 50.0%" in note and "capped" in note for note in found.notes)


def test_silence_bad_probabilities_and_few_rows_are_judged_without_a_word_too_many(
    desk: Desk,
) -> None:
    """One row, and ten customers: imported, and said to be too few."""
    found = desk.imports(table(HEAD, "2026-10-01T10:00:00Z,c-1,,,outbound,0.5"))
    assert found.arms == {"silence": 1} and found.decisions == 1
    (row,) = desk.rows("decisions")
    assert (row["message"], row["outcome"], row["selection_probability"]) == (None, "none", 0.5)


# ---------------------------------------------------------------- beside other writers


def table_of(archive: Path, dataset: str) -> Table:
    found = Table.find(ArchiveFolder(archive), dataset)
    assert found is not None
    return found


def test_ended_at_any_step_nothing_is_there_twice_or_by_half(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies at each step of the commit; importing again then completes it."""

    class Died(BaseException):
        pass

    monkeypatch.setattr(TableChange, "abandon", lambda self: None)  # the dead tidy nothing up
    drawn = Drawn(30, days=1)
    steps: list[str] = []
    desk.imports(drawn.table(), archive=desk.folder / "whole", step=steps.append)
    assert len(steps) > 10
    whole = {name: len(rows_of(desk.folder / "whole", name)) for name in ("decisions", "outcomes")}
    for number in range(len(steps)):
        archive, left = desk.folder / f"at-{number}", itertools.count(number, -1)

        def step(name: str, left: Any = left) -> None:
            if next(left) == 0:
                raise Died(name)

        with pytest.raises(Died):
            desk.imports(drawn.table(), archive=archive, step=step)
        desk.imports(drawn.table(), archive=archive)
        assert whole == {name: len(rows_of(archive, name)) for name in whole}


@pytest.mark.anyio
async def test_an_archiver_goes_on_after_an_import_and_both_keep_their_rows(desk: Desk) -> None:
    from tests.archive.test_archive import archive as run_archiver

    store = MemoryStore()
    folder = ArchiveFolder(desk.archive)
    with folder.claimed():
        archiver = Archiver(folder, store, clock=lambda: NOW, keep=0)
        await archiver.open()
        found = desk.imports(Drawn(50).table())
        await archiver.run()
    await run_archiver(store, desk.archive)
    assert len(desk.rows("decisions")) == found.decisions == 50
    assert read_state(desk.archive) is not None


def test_what_the_archive_has_learned_meanwhile_makes_the_tables_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A feature that another writer has logged with another type, while rows were read."""
    desk.imports(Drawn(20).table())
    first = iter([{}])
    monkeypatch.setattr(
        "decision.intake.decision_log.run.feature_types",
        lambda archive: next(first, None) or feature_types(archive),
    )
    table_of(desk.archive, "decisions").widen({"context.x": "text"})
    found = desk.imports(
        table(HEAD + ",context.x", "2026-11-01T10:00:00Z,n-1,spring,email,outbound,0.5,7")
    )
    assert found.decisions == 1
    (row,) = [row for row in desk.rows("decisions") if row["customer_id"] == "n-1"]
    assert dict(row["features_other"])["context.x"] == "7"


def test_erased_customers_leave_and_others_stay(desk: Desk) -> None:
    desk.imports(Drawn(20).table())
    assert erase_from_archive(desk.archive, ["c-3"]).rows >= 2
    assert len(desk.rows("decisions")) == 19


def test_a_folder_of_files_that_nobody_journals_is_refused(desk: Desk) -> None:
    (desk.archive / "decisions" / "date=2026-10-01").mkdir(parents=True)
    (desk.archive / "decisions" / "date=2026-10-01" / "x.parquet").write_bytes(b"x")
    with pytest.raises(ArchiveError, match="import into another folder"):
        desk.imports(Drawn(20).table())


def test_a_dry_run_writes_nothing(desk: Desk) -> None:
    found = desk.imports(Drawn(20).table(), dry_run=True)
    assert found.rows == 20 and found.decisions == 0 and found.balance is not None
    assert not desk.archive.exists()


def test_where_nobody_reached_anything_the_windows_are_closed_all_the_same(desk: Desk) -> None:
    drawn = Drawn(40)
    drawn.reward[:] = 0
    found = desk.imports(drawn.table())
    assert found.outcomes == 0 and "no row has an outcome" in " ".join(found.notes)
    report = judged(desk.archive)
    assert report.log.judged == 40 and report.logged["responses"].value == 0
    assert desk.imports(drawn.table(), now=NOW + DAY).known_decisions == 40
    assert [row["type"] for row in desk.rows("events")] == ["log.complete"]


def test_goal_windows_are_closed_by_the_time_up_to_which_outcomes_are_known(desk: Desk) -> None:
    """By now, at most 90 days after the last row; or as the caller says."""
    found = desk.imports(Drawn(20).table())
    assert found.until == min(NOW, found.to_time + 90 * DAY)
    assert {row["received_at"].timestamp() * 1e6 for row in desk.rows("events")} == {found.until}
    early = desk.imports(Drawn(20).table(), until=found.to_time + HOUR, archive=desk.folder / "b")
    assert early.until == found.to_time + HOUR
