"""Policies judged by a log: against the truth of a simulated shop, and where nothing can be said."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from decision.archive.journal import ArchiveError
from decision.archive.replays import read_replays
from decision.core.clock import DAY, HOUR, from_micros
from decision.core.definition import Goal
from decision.core.document import Contact, ContactKind, ContactState
from decision.core.policy_builder import compile_policy
from decision.evaluation.log import EvaluationError, open_log
from decision.evaluation.report import EvaluationOptions, EvaluationReport
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import ARMS, Candidate, TargetPolicies
from decision.learning.goals import goals_of
from decision.learning.ope import dr, ips, sndr, snips
from decision.learning.spec import parse_spec
from decision.learning.training_table import examples_of_log
from decision.scoring.manifest import Responses
from tests.data import needed
from tests.learning.logs import (
    RULES,
    Deciding,
    Moment,
    World,
    definition_of,
    write_archive,
    write_policy,
)

QUICK = EvaluationOptions(bootstrap=100)


@pytest.fixture(scope="module")
def world() -> World:
    return World(1_500)


@pytest.fixture(scope="module")
def archive(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("log"), world, Deciding(world.definition, 4.0), 1)


def truth(world: World, deciding: Deciding) -> float:
    """What a decision under that policy earns, in truth."""
    return float(
        np.mean(
            [
                deciding.chances(moment) @ world.truth(deciding.policy, moment)
                for moment in world.moments
            ]
        )
    )


def edit(archive: Path, to: Path, dataset: str, change: Any) -> Path:
    """A copy of an archive with the rows of a dataset changed."""
    shutil.copytree(archive, to)
    for path in sorted((to / dataset).glob("date=*/*.parquet")):
        table = pq.ParquetFile(path).read()
        rows = [row for row in map(change, table.to_pylist()) if row is not None]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return to


# ---------------------------------------------------------------- the truth


@pytest.mark.slow
def test_intervals_cover_what_a_policy_truly_earns_as_often_as_they_say(world: World) -> None:
    """60 logs of 500 decisions: 95 % intervals of four estimators hold the truth in 88 % or more.

    The policy judged explores far less than the one that logged, and boosts nothing.
    """
    _cover(world, runs=60, count=500, least=0.88)


@pytest.mark.soak
def test_intervals_cover_the_truth_in_many_runs(world: World) -> None:
    _cover(world, runs=2_000, count=2_000, least=0.935)


def _cover(world: World, runs: int, count: int, least: float) -> None:
    logging = Deciding(world.definition, 4.0)
    target = Deciding(definition_of(RULES.replace("by: 2", "by: 1.01")), 60.0)
    policy = logging.policy
    ours, theirs, true = (
        np.array([each(moment) for moment in world.moments])
        for each in (logging.chances, target.chances, lambda moment: world.truth(policy, moment))
    )
    # Silence is the last column: a decision in which nothing is left earns nothing.
    ours, theirs = (np.column_stack([each, 1 - each.sum(axis=1)]) for each in (ours, theirs))
    true = np.column_stack([true, np.zeros(len(true))])
    value = float((theirs * true).sum(axis=1).mean())
    assert abs(value - float((ours * true).sum(axis=1).mean())) > 0.003
    generator = np.random.default_rng(5)
    hits = dict.fromkeys(("ips", "snips", "dr", "sndr"), 0)
    for _ in range(runs):
        rows = generator.integers(0, len(ours), count)
        drawn = (generator.random(count)[:, None] > ours[rows].cumsum(axis=1)).sum(axis=1)
        action = np.minimum(drawn, ours.shape[1] - 1)
        reward = (generator.random(count) < true[rows, action]).astype(float)
        logged: Any = (reward, ours[rows, action], np.clip(theirs[rows, action], 0, 1))
        model: Any = {
            "expected_reward": 0.6 * true[rows] + 0.03,
            "target_distribution": np.clip(theirs[rows], 0, 1),
            "action": action,
        }
        for name, found in (
            ("ips", ips(*logged)),
            ("snips", snips(*logged)),
            ("dr", dr(*logged, **model)),
            ("sndr", sndr(*logged, **model)),
        ):
            low, high = found.confidence_interval
            hits[name] += low <= value <= high
    assert all(number / runs >= least for number in hits.values()), hits


def test_a_policy_is_worth_what_it_would_truly_earn(world: World, archive: Path) -> None:
    """From the archive alone: its rules, documents and events, decided again under another γ."""
    report = evaluate(archive, Candidate(exploration=60.0), EvaluationRequest(options=QUICK))
    policy = report.policies[-1]
    value = truth(world, Deciding(world.definition, 60.0))
    for name in ("ips", "snips", "dr", "sndr", "switch_dr"):
        estimate = policy.metrics["responses"][name].estimate
        assert abs(estimate.value - value) < 3 * estimate.standard_error, name
    logged = report.logged["responses"]
    assert abs(logged.value - truth(world, Deciding(world.definition, 4.0))) < (
        3 * logged.standard_error
    )
    assert policy.unsupported == 0 and abs(policy.weights.mean_z or 0) < 3
    assert not policy.cautions
    assert report.log.judged == len(world.moments) == report.customers
    assert report.holdout and report.silent >= report.holdout


def test_the_policy_that_logged_earns_what_was_logged(archive: Path) -> None:
    """Decided again without a change, every weight is 1: to the last digit it is the log."""
    report = evaluate(
        archive, Candidate(exploration=4.0), EvaluationRequest(reward_model=False, options=QUICK)
    )
    policy = report.policies[-1]
    assert policy.weights.mean == pytest.approx(1) and policy.weights.max == pytest.approx(1)
    for metric in ("responses", "value"):
        for name in ("ips", "snips"):
            found = policy.metrics[metric][name]
            assert found.estimate.value == pytest.approx(report.logged[metric].value)
            assert found.lift.relative_interval == pytest.approx((0, 0), abs=1e-9)
    assert sum(row.logged_share for row in report.messages) == pytest.approx(1)
    assert sum(row.target_share for row in report.messages) == pytest.approx(1)
    for row in report.messages:
        assert row.target_responses.value == pytest.approx(row.logged_responses)
    again = evaluate(
        archive, Candidate(exploration=4.0), EvaluationRequest(reward_model=False, options=QUICK)
    )
    assert msgspec.json.encode(again) == msgspec.json.encode(report)


def test_arms_are_what_they_are_called(archive: Path) -> None:
    with open_log(archive, None) as log:
        targets = TargetPolicies(Candidate(exploration=None), log.policies, arms=True)
    spoken = 0
    for replay, _ in zip(read_replays(archive), range(100), strict=False):
        found = targets.decide_again(replay)
        count = len(found.candidates)
        assert set(found.targets) == set(ARMS)
        for name, chance in found.targets.items():
            assert chance.silence + chance.probability.sum() == pytest.approx(1), name
            if name == "random eligible" and count:
                assert chance.probability.tolist() == [1 / count] * count
            elif count:
                assert chance.probability.max() == 1
        if not count:
            continue
        spoken += 1
        policy = found.bound.policy
        gains = policy.message_values[found.candidates] - 20 * policy.costs[found.candidates]
        # Without a model everybody has the prior, 5 %: without levers the dearest message wins.
        assert found.targets["no levers"].probability[int(gains.argmax())] == 1
        levered = found.targets["the whole"].probability
        assert found.targets["rules only"].probability.tolist() == levered.tolist()
    assert spoken > 50


def test_segments_are_parts_of_the_whole(archive: Path) -> None:
    report = evaluate(
        archive,
        Candidate(exploration=60.0),
        EvaluationRequest(
            by=("state", "placement", "customer.country", "context.nowhere"), options=QUICK
        ),
    )
    for field in ("customer.state", "placement", "customer.country", "context.nowhere"):
        rows = [row for row in report.segments if row.field == field]
        assert sum(row.decisions for row in rows) == report.log.judged
        mean = sum(row.decisions * row.logged["responses"].value for row in rows)
        assert mean / report.log.judged == pytest.approx(report.logged["responses"].value)
    names = {row.segment for row in report.segments if row.field == "customer.state"}
    assert names == {"active", "quiet"}
    assert [row.segment for row in report.segments if row.field == "context.nowhere"] == ["(none)"]
    whole = report.policies[-1].metrics["responses"]["sndr"]
    only = next(row for row in report.segments if row.field == "placement")
    assert only.target["responses"].estimate.value == pytest.approx(whole.estimate.value)
    assert only.target["responses"].lift.relative == pytest.approx(whole.lift.relative)


def test_no_figure_depends_on_the_order_of_rows_in_the_files(archive: Path, tmp_path: Path) -> None:
    again = tmp_path / "log"
    shutil.copytree(archive, again)
    generator = np.random.default_rng(6)
    for path in sorted(again.rglob("*.parquet")):
        table = pq.ParquetFile(path).read()
        pq.write_table(table.take(generator.permutation(len(table))), path)
    asked = EvaluationRequest(by=("customer.country", "placement"), options=QUICK)
    one, other = (evaluate(log, Candidate(exploration=60.0), asked) for log in (archive, again))
    _alike(msgspec.to_builtins(one), msgspec.to_builtins(other))


def test_read_seven_at_a_time_the_log_gives_the_same_bytes(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the rows read at once nor the groups of rows in the files change a digit."""
    from decision.evaluation import gather, log, supports

    asked = EvaluationRequest(arms=True, by=("customer.country", "state"), options=QUICK)
    whole = evaluate(archive, Candidate(exploration=60.0), asked)
    parts = tmp_path / "log"
    shutil.copytree(archive, parts)
    for path in sorted(parts.rglob("*.parquet")):
        pq.write_table(pq.ParquetFile(path).read(), path, row_group_size=13)
    monkeypatch.setattr(log, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(gather, "BATCH", 7)
    monkeypatch.setattr(supports, "ENTRIES_AT_ONCE", 7)
    streamed = evaluate(parts, Candidate(exploration=60.0), asked)
    assert msgspec.json.encode(streamed) == msgspec.json.encode(whole)


def test_candidates_are_read_as_they_were_written(archive: Path) -> None:
    """Against a plain reading of the rows: what could have been chosen, and how probably."""
    with open_log(archive, None) as log:
        found = {name: one for day in log.days() for name, one in log.judged_on(day).items()}
    assert len(found) == 1_500
    for row in _rows(archive, "decisions"):
        expected = {
            f"{one['message']}/{one['channel']}": one["selection_probability"]
            for one in row["candidates"]
            if one["selection_probability"] > 0
        }
        if (rest := 1 - sum(expected.values())) > 1e-9:
            expected[""] = pytest.approx(rest)
        one = found[row["decision_id"]]
        assert one.shares == expected and one.support == expected.keys()


def _alike(one: Any, other: Any) -> None:
    """Equal but for the last digits of sums."""
    if isinstance(one, dict):
        assert list(one) == list(other)
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            _alike(*pair)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-9)
    else:
        assert one == other


# ---------------------------------------------------------------- rules that change


def test_what_could_not_have_been_logged_is_reported_and_not_guessed(archive: Path) -> None:
    """A new message, always best: its whole probability is without support, IPS gives it 0."""
    text = RULES.replace(
        "states:",
        "  new: {purpose: marketing, channels: [email], value: 1000, "
        "goal: {event: purchase, within: 1d}, content: {title: t}}\nstates:",
    )
    report = evaluate(
        archive,
        Candidate(rules=definition_of(text), exploration=None),
        EvaluationRequest(options=QUICK),
    )
    policy = report.policies[-1]
    assert policy.unsupported == pytest.approx(1 - report.holdout / report.log.judged)
    assert policy.metrics["responses"]["ips"].estimate.value == 0
    assert any("could not have happened in the log" in text for text in policy.cautions)
    assert any("100" in text for text in policy.cautions)


def test_a_message_or_placement_that_is_gone_is_silent_or_another(archive: Path) -> None:
    fewer = RULES.replace("  cups:", "  mugs:")
    report = evaluate(
        archive,
        Candidate(rules=definition_of(fewer)),
        EvaluationRequest(reward_model=False, options=QUICK),
    )
    gone = next(row for row in report.messages if row.message == "cups")
    assert gone.logged_share > 0 and gone.target_share == 0 == gone.target_responses.value
    moved = definition_of(RULES.replace("outbound:", "elsewhere:"))
    report = evaluate(
        archive, Candidate(rules=moved), EvaluationRequest(reward_model=False, options=QUICK)
    )
    assert any("lack their placement" in note for note in report.notes)
    assert report.messages[0].message == "" and report.messages[0].target_share == 1


def test_caps_count_the_contacts_of_each_document_by_their_own_names(world: World) -> None:
    """Each archived document numbers its kinds of contacts itself; caps must not mix them up."""
    text = RULES + "caps:\n  one: {of: {}, per: message, at_most: 1, within: 14d}\n"
    definition = definition_of(text)
    targets = TargetPolicies(Candidate(rules=definition, exploration=4.0), policies=None)  # type: ignore[arg-type]
    policy = compile_policy(definition)
    for moment in world.moments[:40]:
        for info in policy.candidates[:3]:
            kind = ContactKind(info.message, info.channel, info.purpose, info.category, info.tags)
            at = moment.at - HOUR
            contact = Contact(kind=0, at=at, state=ContactState.CONFIRMED, mark=0, tag=0)
            document = msgspec.structs.replace(moment.document, contacts=[contact], kinds=(kind,))
            known = moment._replace(document=document)
            fresh = Deciding(definition, 4.0).chances(known)
            found = targets.decide_again(_replay(known))
            here = np.zeros(len(policy.candidates))
            here[found.candidates] = found.targets["the whole"].probability
            assert here.tolist() == fresh.tolist()
            assert fresh[policy.candidates.index(info)] == 0


def test_a_target_gives_no_candidate_whose_text_is_too_long(world: World) -> None:
    text = RULES.replace("push: {cost: 0.02}", "push: {cost: 0.02, max_length: {title: 9}}")
    text = text.replace("{title: t}", '{title: "Hi {{ customer.country }}"}')
    targets = TargetPolicies(Candidate(rules=definition_of(text)), policies=None)  # type: ignore[arg-type]
    for country, fits in (("Chad", True), ("Guatemala", False)):
        channels = set()
        for moment in world.moments[:20]:
            document = msgspec.structs.replace(moment.document, attributes={"country": country})
            found = targets.decide_again(_replay(moment._replace(document=document)))
            channels |= {found.bound.policy.candidates[one].channel for one in found.candidates}
            chances = found.targets["the whole"]
            assert chances.probability.sum() + chances.silence == pytest.approx(1)
        assert ("push" in channels) is fits


def _replay(moment: Moment) -> Any:
    from decision.archive.replays import ArchivedReplay

    return ArchivedReplay(
        decision_id="d",
        decided_at=moment.at,
        customer_id=moment.document.customer_id,
        question=moment.question,
        document=moment.document,
        policy_version="-",
    )


# ---------------------------------------------------------------- what counts


def test_rewards_are_goals_reached_in_their_window(archive: Path, tmp_path: Path) -> None:
    """Against a plain reading of the same rows: windows, other messages, other decisions."""
    generator = np.random.default_rng(8)
    decisions = _rows(archive, "decisions")[:200]
    outcomes: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for number, row in enumerate(decisions):
        for extra in range(3):
            delay = int(generator.choice([-1, 0, 1, DAY - 1, DAY, DAY + 1, 2 * DAY, 2 * DAY + 1]))
            at = row["decided_at"] + timedelta(microseconds=delay)
            event = {
                "event_id": f"x-{number}-{extra}",
                "customer_id": row["customer_id"],
                "type": str(generator.choice(["purchase", "other"])),
                "at": at,
                "decision_id": [None, row["decision_id"], "else"][int(generator.integers(3))],
                "message": [None, row["message"], "else"][int(generator.integers(3))],
            }
            events.append({**event, "received_at": at, "decision_id": None, "message": None})
            if event["decision_id"]:
                outcomes.append(event)
            else:
                events[-1]["message"] = event["message"]
    last = max(row["decided_at"] for row in decisions) + timedelta(days=9)
    events.append(
        {"event_id": "z", "customer_id": "z", "type": "z", "at": last, "received_at": last}
    )
    folder = tmp_path / "log"
    shutil.copytree(archive / "policies", folder / "policies")
    _write(folder, "decisions", decisions)
    _write(folder, "outcomes", outcomes)
    _write(folder, "events", events)
    found = {}
    with open_log(folder, Responses()) as log:
        assert log.attribution == "each"
        for day in log.days():
            found.update(log.judged_on(day))
    within = {"tea": DAY, "cups": 2 * DAY, "points": DAY, "vip": DAY}
    known = {one["event_id"]: one for one in outcomes}
    told = [known.get(one["event_id"], one) for one in events]
    assert len(found) == 200
    hits = 0
    for row in decisions:
        expected = any(
            one["customer_id"] == row["customer_id"]
            and one["type"] == "purchase"
            and timedelta(0)
            < one["at"] - row["decided_at"]
            <= timedelta(microseconds=within.get(row["message"] or "", 0))
            and one.get("decision_id") in (None, row["decision_id"])
            and one.get("message") in (None, row["message"])
            for one in told
        )
        hits += expected
        assert found[row["decision_id"]].reached == expected, row["decision_id"]
    assert 10 < hits < 150


@pytest.mark.parametrize("attribution", ["last_touch", "each", "discounted"])
def test_evaluation_and_training_attribute_alike(
    archive: Path, tmp_path: Path, attribution: str
) -> None:
    """Several decisions for each customer, one failed contact; the sum is that of the events."""
    decisions = [row for row in _rows(archive, "decisions") if row["message"]][:300]
    first = decisions[0]["decided_at"]
    for number, row in enumerate(decisions):
        row["customer_id"] = f"c-{number % 100}"
        row["decided_at"] = first + timedelta(hours=5 * (number // 100), seconds=number)
    events = [
        {"event_id": f"e-{number}", "customer_id": f"c-{number}", "type": "purchase"}
        | dict.fromkeys(("at", "received_at"), first + timedelta(hours=11))
        for number in range(0, 100, 3)
    ]
    late = dict.fromkeys(("at", "received_at"), first + timedelta(days=9))
    events.append({"event_id": "z", "customer_id": "z", "type": "z", **late})
    failed = {"event_id": "f", "customer_id": "c-0", "type": "message.failed", "at": first}
    failed |= {"decision_id": decisions[200]["decision_id"], "message": None}
    shutil.copytree(archive / "policies", tmp_path / "policies")
    for name, rows in (("decisions", decisions), ("events", events), ("outcomes", [failed])):
        _write(tmp_path, name, rows)
    spec = parse_spec("s", f"name: s\nattribution: {attribution}\nfeatures: {{time.hour: numeric}}")
    goals = goals_of(definition_of(RULES), None)
    with examples_of_log(tmp_path, spec, goals) as examples:
        trained = float(examples.label.sum())
    with open_log(tmp_path, spec.responses) as log:
        judged = {key: one for day in log.days() for key, one in log.judged_on(day).items()}
    total = sum(one.reached for one in judged.values())
    if attribution == "each":  # what failed is no row of training; here it stays
        assert (trained, total) == (34 * 3 - 1, 34 * 3)
    else:
        assert trained == pytest.approx(34) and total == pytest.approx(34)
        assert judged[decisions[200]["decision_id"]].reached == 0


def _rows(archive: Path, dataset: str) -> list[dict[str, Any]]:
    return [
        row
        for path in sorted((archive / dataset).glob("date=*/*.parquet"))
        for row in pq.ParquetFile(path).read().to_pylist()
    ]


def _write(folder: Path, dataset: str, rows: list[dict[str, Any]]) -> None:
    from tests.learning.logs import write_rows

    write_rows(folder, dataset, rows, "decided_at" if dataset == "decisions" else "at")


def test_one_target_for_all_lets_silence_earn_what_comes_by_itself(
    archive: Path, tmp_path: Path
) -> None:
    spec = parse_spec(
        "s.yaml",
        "name: s\ntarget: {event: visit, within: 1d}\nfeatures: {time.hour: numeric}\n",
    )
    folder = tmp_path / "log"
    shutil.copytree(archive, folder)
    visits = [
        {
            "event_id": f"v-{row['decision_id']}",
            "customer_id": row["customer_id"],
            "type": "visit",
            "at": row["decided_at"] + timedelta(hours=2),
            "received_at": row["decided_at"] + timedelta(hours=2),
        }
        for row in _rows(archive, "decisions")
        if row["message"] is None
    ]
    shutil.rmtree(folder / "events")
    last = from_micros(max(replay.decided_at for replay in read_replays(archive)) + 3 * DAY)
    visits.append(
        {"event_id": "z", "customer_id": "z", "type": "z", "at": last, "received_at": last}
    )
    _write(folder, "events", visits)
    request = EvaluationRequest(spec=spec, count_silence=False, reward_model=False, options=QUICK)
    assert evaluate(folder, Candidate(), request).logged["responses"].value == 0
    counted = evaluate(folder, Candidate(), EvaluationRequest(spec=spec, options=QUICK))
    assert counted.logged["responses"].value == pytest.approx(counted.silent / counted.log.judged)
    found = counted.policies[-1].metrics["responses"]
    assert found["sndr"].estimate.value == pytest.approx(counted.logged["responses"].value)
    worth = (4 + 6 + 3 + 9) / 4
    earned = counted.logged["value"].value + 0.01 * (1 - counted.silent / counted.log.judged)
    assert earned == pytest.approx(worth * counted.silent / counted.log.judged, abs=0.01)
    clicks = Responses(target=Goal(event="message.clicked", within=DAY))
    for asked in (None, clicks):
        with (
            pytest.raises(EvaluationError, match="one target for all messages"),
            open_log(folder, asked, count_silence=True),
        ):
            pass


# ---------------------------------------------------------------- what cannot be judged


@pytest.mark.parametrize("value", [None, 0.0, -0.1, 1.5, float("nan")])
def test_decisions_without_their_probability_are_left_out_and_spoil_nothing(
    archive: Path, tmp_path: Path, value: float | None
) -> None:
    chosen = [row["decision_id"] for row in _rows(archive, "decisions") if row["message"]]

    def without(ids: set[str], drop: bool) -> Any:
        def change(row: dict[str, Any]) -> dict[str, Any] | None:
            if row["decision_id"] not in ids:
                return row
            return None if drop else {**row, "selection_probability": value}

        return change

    seven, request = set(chosen[:7]), EvaluationRequest(reward_model=False, options=QUICK)
    some = edit(archive, tmp_path / "some", "decisions", without(seven, drop=False))
    report = evaluate(some, Candidate(exploration=9.0), request)
    assert (report.log.improbable, report.log.improbable_id) == (7, min(seven))
    assert any(note.startswith(f"7 decisions, such as {min(seven)}") for note in report.notes)
    gone = edit(archive, tmp_path / "gone", "decisions", without(seven, drop=True))
    same = evaluate(gone, Candidate(exploration=9.0), request)
    assert report.policies == same.policies
    nothing = edit(archive, tmp_path / "all", "decisions", without(set(chosen), drop=False))
    nothing = edit(nothing, tmp_path / "none", "decisions", lambda row: row["message"] and row)
    with pytest.raises(EvaluationError, match=f"{len(chosen)} without a selection probability"):
        evaluate(nothing, Candidate(), request)


def test_what_is_too_young_contended_or_unknown_is_left_out_and_counted(
    world: World, archive: Path, tmp_path: Path
) -> None:
    """A decision waits for the longest window of what could have been chosen in it, whatever was."""
    contended = {f"01J{number:023d}" for number in range(5)}

    def change(row: dict[str, Any]) -> dict[str, Any]:
        if row["decision_id"] in contended:
            row["degraded"] = ["contention"]
        return row

    log = edit(archive, tmp_path / "one", "decisions", change)
    lost = {f"01J{number:023d}" for number in range(10, 14)}
    log = edit(
        log, tmp_path / "two", "replays", lambda row: None if row["decision_id"] in lost else row
    )
    end = world.moments[-1].at
    log = edit(
        log,
        tmp_path / "three",
        "events",
        lambda row: row if row["received_at"] <= from_micros(end) else None,
    )
    report = evaluate(log, Candidate(), EvaluationRequest(reward_model=False, options=QUICK))
    waits = [
        max((2 if name == "cups" else 1 for name in _possible(row)), default=1)
        for row in _rows(archive, "decisions")
    ]
    rows = zip(_rows(archive, "decisions"), waits, strict=True)
    young = sum(
        row["decided_at"] + days * timedelta(days=1) > from_micros(end) for row, days in rows
    )
    assert set(waits) == {1, 2} and report.log.longest_window == 2 * DAY
    assert (report.log.open_windows, report.log.contended) == (young, 5)
    assert report.log.no_replay == 4
    assert report.log.judged == len(world.moments) - young - 9
    with pytest.raises(EvaluationError, match="younger than the longest goal window"):
        evaluate(
            edit(log, tmp_path / "four", "decisions", _first_day_only(end)),
            Candidate(),
            EvaluationRequest(reward_model=False, options=QUICK),
        )


def test_how_far_a_log_goes_can_be_said(world: World, archive: Path) -> None:
    """A log whose latest entry is old closes no window of the latest decisions; nor one cut off."""
    middle = world.moments[len(world.moments) // 2].at
    request = EvaluationRequest(until=middle, reward_model=False, options=QUICK)
    counted = evaluate(archive, Candidate(), request).log
    assert counted.to_time == middle
    assert counted.judged == sum(
        row["decided_at"] + timedelta(days=2 if "cups" in _possible(row) else 1)
        <= from_micros(middle)
        for row in _rows(archive, "decisions")
    )
    with pytest.raises(EvaluationError, match="--until"):
        evaluate(archive, Candidate(), msgspec.structs.replace(request, until=world.moments[5].at))


def _possible(row: dict[str, Any]) -> set[str]:
    found = {one["message"] for one in row["candidates"] if (one["selection_probability"] or 0) > 0}
    return found | ({row["message"]} if row["message"] else set())


def test_an_old_decision_with_a_long_window_keeps_nothing_else_from_being_judged(
    world: World, archive: Path, tmp_path: Path
) -> None:
    """Of another policy; or of this one, where only those wait to whom it could have been given."""
    short = "gte: 2000}}, goal: {event: purchase, within: 1d}"
    long = definition_of(RULES.replace(short, short.replace("1d", "90d")))
    first = _rows(archive, "decisions")[0]["decision_id"]

    def of_the_other(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "policy_version": long.version} if row["decision_id"] == first else row

    log = edit(archive, tmp_path / "one", "decisions", of_the_other)
    log = edit(log, tmp_path / "two", "replays", of_the_other)
    write_policy(log, long)
    request = EvaluationRequest(reward_model=False, options=QUICK)
    counted = evaluate(log, Candidate(), request).log
    offered = "vip" in _possible(_rows(archive, "decisions")[0])
    assert (counted.open_windows, counted.judged) == (offered, len(world.moments) - offered)

    whole = edit(archive, tmp_path / "three", "decisions", _of(long.version))
    whole = edit(whole, tmp_path / "four", "replays", _of(long.version))
    write_policy(whole, long)
    counted = evaluate(whole, Candidate(), request).log
    offers = sum("vip" in _possible(row) for row in _rows(archive, "decisions"))
    assert 0 < offers < len(world.moments)
    assert (counted.open_windows, counted.judged) == (offers, len(world.moments) - offers)


def _of(version: str) -> Any:
    return lambda row: {**row, "policy_version": version}


def _first_day_only(end: int) -> Any:
    def change(row: dict[str, Any]) -> dict[str, Any] | None:
        return row if row["decided_at"] > from_micros(end - DAY) else None

    return change


def test_only_the_first_selection_of_a_decision_is_judged(archive: Path, tmp_path: Path) -> None:
    rows = _rows(archive, "decisions")
    later = [
        {**row, "position": 2, "message": "tea", "channel": "push", "selection_probability": 0.5}
        for row in rows[:9]
    ]
    folder = tmp_path / "log"
    shutil.copytree(archive, folder)
    shutil.rmtree(folder / "decisions")
    _write(folder, "decisions", [*rows, *later])
    report = evaluate(
        folder, Candidate(exploration=4.0), EvaluationRequest(reward_model=False, options=QUICK)
    )
    assert report.log.later_selections == 9 and report.log.judged == len(rows)
    weights = report.policies[-1].weights
    assert weights.max == pytest.approx(1) and weights.mean == pytest.approx(1, abs=1e-9)


def test_an_archive_that_is_none_says_what_it_lacks(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="has no Parquet files"):
        evaluate(tmp_path, Candidate())
    half = tmp_path / "half"
    shutil.copytree(archive, half)
    shutil.rmtree(half / "replays")
    with pytest.raises(EvaluationError, match="what the decisions saw is not archived"):
        evaluate(half, Candidate())
    rest = tmp_path / "rest"
    shutil.copytree(archive, rest)
    shutil.rmtree(rest / "policies")
    with pytest.raises(EvaluationError, match="restore it"):
        evaluate(rest, Candidate())


@pytest.mark.parametrize("dataset", ["decisions", "events", "replays"])
def test_a_damaged_file_of_any_dataset_is_named(
    archive: Path, tmp_path: Path, dataset: str
) -> None:
    """Whoever reads it first, DuckDB or Arrow, and whether its head or a page is gone."""
    for number, flip in enumerate((lambda data: data[:-4] + b"XXXX", _flipped)):
        broken = tmp_path / str(number)
        shutil.copytree(archive, broken)
        path = sorted((broken / dataset).glob("date=*/*.parquet"))[0]
        path.write_bytes(flip(path.read_bytes()))
        with pytest.raises((ArchiveError, ValueError), match="cannot be read") as raised:
            evaluate(broken, Candidate(), EvaluationRequest(reward_model=False, options=QUICK))
        assert str(path) in str(raised.value)


def _flipped(data: bytes) -> bytes:
    third = len(data) // 3
    return data[:third] + bytes(byte ^ 255 for byte in data[third:-third]) + data[-third:]


def test_customers_that_were_merged_are_one(archive: Path, tmp_path: Path) -> None:
    """What they do under the new id counts for decisions under the old one; and two ids of one
    person are one cluster."""
    moved = edit(
        archive,
        tmp_path / "moved",
        "events",
        lambda row: {**row, "customer_id": f"新-{row['customer_id']}"},
    )
    plain = evaluate(archive, Candidate(), EvaluationRequest(reward_model=False, options=QUICK))
    lost = evaluate(moved, Candidate(), EvaluationRequest(reward_model=False, options=QUICK))
    assert plain.logged["responses"].value > 0 == lost.logged["responses"].value
    known = sorted({row["customer_id"] for row in _rows(archive, "decisions")})
    merges = [("新-" + each, each) for each in known]
    merges += [(f"新-{known[1]}", f"新-{known[0]}")]
    changes = [
        {
            "customer_id": into,
            "kind": "merge",
            "at": from_micros(1),
            "detail": f'{{"from":"{gone}"}}',
        }
        for into, gone in merges
    ]
    _write(moved, "changes", changes)
    found = evaluate(moved, Candidate(), EvaluationRequest(reward_model=False, options=QUICK))
    assert found.logged["responses"].value == plain.logged["responses"].value
    assert found.customers == plain.customers - 1


def test_without_a_reward_model_estimates_are_those_of_weights_alone(archive: Path) -> None:
    with_model = evaluate(archive, Candidate(exploration=60.0), EvaluationRequest(options=QUICK))
    without: EvaluationReport = evaluate(
        archive, Candidate(exploration=60.0), EvaluationRequest(reward_model=False, options=QUICK)
    )
    assert set(without.policies[-1].metrics["value"]) == {"ips", "snips"}
    for name in ("ips", "snips"):
        one = with_model.policies[-1].metrics["value"][name]
        assert without.policies[-1].metrics["value"][name] == one
    assert without.best == "snips" and with_model.best == "sndr"


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_tiny_log_says_little_and_says_so(world: World, tmp_path: Path, count: int) -> None:
    """No warning, no crash, and no interval that pretends to know."""
    log = write_archive(tmp_path, world, Deciding(world.definition, 4.0), 1, only=count)
    report = evaluate(log, Candidate(), EvaluationRequest(arms=True, by=("state",), options=QUICK))
    assert report.log.judged == count
    if count == 1:
        assert report.logged["value"].standard_error == float("inf")
    assert any("fewer than 100" in text for text in report.policies[-1].cautions)
    assert msgspec.json.decode(msgspec.json.encode(report))["customers"] == count


def test_a_log_of_silence_knows_nothing_of_messages(world: World, tmp_path: Path) -> None:
    mute = definition_of(RULES.replace("outbound: {", "outbound: {threshold: 1000, "))
    log = write_archive(tmp_path, world, Deciding(mute, 4.0), 1, only=40)
    same = evaluate(log, Candidate(), EvaluationRequest(options=QUICK)).policies[-1]
    assert same.weights.mean == 1 and same.unsupported == 0
    loud = evaluate(
        log, Candidate(rules=definition_of(RULES)), EvaluationRequest(options=QUICK)
    ).policies[-1]
    assert loud.unsupported > 0.8 and loud.metrics["value"]["ips"].estimate.value == 0
    assert loud.metrics["value"]["sndr"].estimate.value <= 0


def test_no_reward_is_predicted_by_a_model_that_has_seen_it(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fold's model learns from the contacts of other customers alone, and of all of those."""
    from decision.evaluation import reward_model

    learned: list[tuple[int, float]] = []

    def fit(features: Any, matrix: Any, label: Any) -> Any:
        learned.append((len(matrix), float(label.sum())))
        part = len(learned) - 1
        return lambda rows: np.full(len(rows), float(part))

    monkeypatch.setattr(reward_model, "_fit", fit)
    with open_log(archive, None) as log:
        rows = [row for day in log.days() for row in log.judged_on(day).values()]
        model = reward_model.fit_reward_model(log)
    given = [row for row in rows if row.message]
    for part in range(reward_model.FOLDS):
        others = [row for row in given if reward_model.fold_of(row.customer_id) != part]
        assert learned[part] == (len(others), sum(row.reached for row in others))
        assert 0.5 < len(others) / len(given) < 0.8
    folds = np.array([2, 0, 1, 2])
    assert model.expect(np.zeros((4, len(model.features))), folds).tolist() == folds.tolist()


def test_later_decisions_alone_are_judged_from_a_time_on(world: World, archive: Path) -> None:
    since = world.moments[700].at
    report = evaluate(
        archive, Candidate(), EvaluationRequest(since=since, reward_model=False, options=QUICK)
    )
    assert report.log.earlier == sum(moment.at < since for moment in world.moments)
    assert report.log.judged == len(world.moments) - report.log.earlier
    with pytest.raises(EvaluationError, match="none of 1500 decisions is late enough"):
        evaluate(
            archive,
            Candidate(),
            EvaluationRequest(since=world.moments[-1].at + 1, reward_model=False, options=QUICK),
        )


def test_real_customers_are_judged_as_by_hand(tmp_path: Path) -> None:
    """Hillstrom's campaign, silent at random with a third: always the same e-mail, or silence."""
    from benchmarks import evaluation, hillstrom
    from decision.learning.spec import load_spec

    needed("hillstrom")
    rows = hillstrom.load()[:1_200]
    archive = evaluation.write_archive(tmp_path / "log", rows, evaluation.definition())
    spec = load_spec(hillstrom.SPEC)
    free = evaluation.without_threshold(evaluation.definition())
    for best, threshold in (("mens", -1.0), ("womens", -1.0), (None, 2.0)):
        rules = msgspec.structs.replace(
            free,
            messages=tuple(
                msgspec.structs.replace(one, value=1.0 if one.name == best else 0.5)
                for one in free.messages
            ),
            placements=tuple(
                msgspec.structs.replace(one, threshold=threshold) for one in free.placements
            ),
        )
        report = evaluate(
            archive,
            Candidate(rules=rules),
            EvaluationRequest(spec=spec, count_silence=True, reward_model=False, options=QUICK),
        )
        found = report.policies[-1]
        by_hand = hillstrom.value([best] * len(rows), rows)
        snips = found.metrics["responses"]["snips"].estimate
        assert snips.value == pytest.approx(by_hand.value, abs=1e-9)
        assert snips.standard_error == pytest.approx(by_hand.standard_error)
        assert found.unsupported == 0
        visits = sum(row.visit for row in rows)
        assert report.logged["responses"].value == pytest.approx(visits / len(rows))


# ---------------------------------------------------------------- tiers

TIERED = (
    RULES.replace(
        "purposes: {marketing: {consent: opt_out}}",
        "purposes: {marketing: {consent: opt_out}, urgent: {consent: not_required, tier: 1}}",
    )
    .replace("vip: {purpose: marketing", "vip: {purpose: urgent")
    .replace("{gte: 2000}", "{gte: 200}")
)


def test_tiers_are_known_to_targets_and_arms(world: World, tmp_path: Path) -> None:
    """None picks what waits for another tier, so every choice has support."""
    definition = definition_of(TIERED)
    archive = write_archive(tmp_path / "log", world, Deciding(definition, 4.0), 1)
    report = evaluate(archive, Candidate(exploration=60.0), EvaluationRequest(options=QUICK))
    policy = report.policies[-1]
    assert policy.unsupported == 0 and not policy.cautions
    value = truth(world, Deciding(definition, 60.0))
    for name in ("ips", "dr"):
        estimate = policy.metrics["responses"][name].estimate
        assert abs(estimate.value - value) < 3 * estimate.standard_error, name

    with open_log(archive, None) as log:
        targets = TargetPolicies(Candidate(exploration=4.0), log.policies, arms=True)
    first = waited = 0
    for replay, _ in zip(read_replays(archive), range(400), strict=False):
        found = targets.decide_again(replay)
        names = [found.bound.names[index] for index in found.candidates.tolist()]
        if "vip/email" in names:
            first += 1
            waited += len(names) > 1
            for name, chance in found.targets.items():
                assert chance.probability[names.index("vip/email")] == 1, name
                assert chance.silence == 0
        elif names:
            random = found.targets["random eligible"].probability
            assert random.tolist() == [1 / len(names)] * len(names)
    assert first > 20 and waited > 20


def test_what_only_a_later_selection_was_drawn_from_is_no_support(
    world: World, tmp_path: Path
) -> None:
    """Of a decision of several messages, the log has the probability of each one's last draw."""
    archive = write_archive(tmp_path / "log", world, Deciding(definition_of(TIERED), 4.0), 1)

    def drawn_later(row: dict[str, Any]) -> dict[str, Any]:
        for one in row["candidates"]:
            if one["selection_probability"] == 0:
                one["selection_probability"] = 0.5
        return row

    several = edit(archive, tmp_path / "several", "decisions", drawn_later)
    found = 0
    with open_log(archive, None) as log, open_log(several, None) as later:
        for (one, _), (other, _) in zip(log.read(), later.read(), strict=True):
            if one.message == "vip":
                assert one.support == other.support
                found += 1
    assert found > 20
