"""What a log cannot say is left out, counted, and told."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from decision.archive.errors import ArchiveError
from decision.core.clock import DAY, from_micros
from decision.evaluation.log import EvaluationError, open_log
from decision.evaluation.report import EvaluationReport
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate
from tests.data import needed
from tests.evaluation.archives import QUICK, edit, encoded, rows_of, write_day
from tests.learning.logs import (
    RULES,
    Deciding,
    World,
    definition_of,
    write_archive,
    write_policy,
)


@pytest.mark.parametrize("value", [None, 0.0, -0.1, 1.5, float("nan")])
def test_decisions_without_their_probability_are_left_out_and_spoil_nothing(
    archive: Path, tmp_path: Path, value: float | None
) -> None:
    chosen = [row["decision_id"] for row in rows_of(archive, "decisions") if row["message"]]

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
        for row in rows_of(archive, "decisions")
    ]
    rows = zip(rows_of(archive, "decisions"), waits, strict=True)
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
        for row in rows_of(archive, "decisions")
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
    first = rows_of(archive, "decisions")[0]["decision_id"]

    def of_the_other(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "policy_version": long.version} if row["decision_id"] == first else row

    log = edit(archive, tmp_path / "one", "decisions", of_the_other)
    log = edit(log, tmp_path / "two", "replays", of_the_other)
    write_policy(log, long)
    request = EvaluationRequest(reward_model=False, options=QUICK)
    counted = evaluate(log, Candidate(), request).log
    offered = "vip" in _possible(rows_of(archive, "decisions")[0])
    assert (counted.open_windows, counted.judged) == (offered, len(world.moments) - offered)

    whole = edit(archive, tmp_path / "three", "decisions", _of(long.version))
    whole = edit(whole, tmp_path / "four", "replays", _of(long.version))
    write_policy(whole, long)
    counted = evaluate(whole, Candidate(), request).log
    offers = sum("vip" in _possible(row) for row in rows_of(archive, "decisions"))
    assert 0 < offers < len(world.moments)
    assert (counted.open_windows, counted.judged) == (offers, len(world.moments) - offers)


def _of(version: str) -> Any:
    return lambda row: {**row, "policy_version": version}


def _first_day_only(end: int) -> Any:
    def change(row: dict[str, Any]) -> dict[str, Any] | None:
        return row if row["decided_at"] > from_micros(end - DAY) else None

    return change


def test_only_the_first_selection_of_a_decision_is_judged(archive: Path, tmp_path: Path) -> None:
    rows = rows_of(archive, "decisions")
    later = [
        {**row, "position": 2, "message": "tea", "channel": "push", "selection_probability": 0.5}
        for row in rows[:9]
    ]
    folder = tmp_path / "log"
    shutil.copytree(archive, folder)
    shutil.rmtree(folder / "decisions")
    write_day(folder, "decisions", [*rows, *later])
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
    known = sorted({row["customer_id"] for row in rows_of(archive, "decisions")})
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
    write_day(moved, "changes", changes)
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
    assert msgspec.json.decode(encoded(report))["customers"] == count


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
