"""What counts as a response, and for which decision."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decision.archive.replays import read_replays
from decision.core.clock import DAY, from_micros
from decision.core.definition import Goal
from decision.evaluation.log import EvaluationError, open_log
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate
from decision.learning.goals import goals_of
from decision.learning.spec import parse_spec
from decision.learning.training_table import examples_of_log
from decision.scoring.manifest import Responses
from tests.evaluation.archives import QUICK, rows_of, write_day
from tests.learning.logs import (
    RULES,
    definition_of,
)


def test_rewards_are_goals_reached_in_their_window(archive: Path, tmp_path: Path) -> None:
    """Against a plain reading of the same rows: windows, other messages, other decisions."""
    generator = np.random.default_rng(8)
    decisions = rows_of(archive, "decisions")[:200]
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
    write_day(folder, "decisions", decisions)
    write_day(folder, "outcomes", outcomes)
    write_day(folder, "events", events)
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
    decisions = [row for row in rows_of(archive, "decisions") if row["message"]][:300]
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
        write_day(tmp_path, name, rows)
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
        for row in rows_of(archive, "decisions")
        if row["message"] is None
    ]
    shutil.rmtree(folder / "events")
    last = from_micros(max(replay.decided_at for replay in read_replays(archive)) + 3 * DAY)
    visits.append(
        {"event_id": "z", "customer_id": "z", "type": "z", "at": last, "received_at": last}
    )
    write_day(folder, "events", visits)
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
