"""Randomised mailings and displays of others, imported, trained on and judged like a log of ours."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks import hillstrom
from decision.evaluation.gate import evidence_for
from decision.evaluation.promotion import promote_if_passed
from decision.evaluation.report import EvaluationOptions
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate
from decision.learning.goals import goals_of
from decision.learning.ope import ips, snips
from decision.learning.spec import load_spec
from decision.learning.train import train_on_log
from decision.scoring.loading import load_model
from tests.data import needed
from tests.intake.decision_log.tables import Desk

QUICK = EvaluationOptions(bootstrap=0)
COLUMNS = ("recency", "history", "mens", "womens", "newbie", "zip_code", "channel")


def mailing(to: Path, rows: list[hillstrom.Row], start: int, step: int) -> np.ndarray:
    """A part of Hillstrom's mailing as a table; returns (arm, visit) of its rows."""
    own = rows[start::step]
    with to.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        names = [f"attribute.{name}" for name in COLUMNS]
        out.writerow(["decided_at", "customer_id", "message", *names, "outcome.visit"])
        for row in own:
            known = [row.attributes[name] for name in COLUMNS]
            out.writerow(["2008-03-20T10:00:00", row.customer_id, row.arm or "", *known, row.visit])
    arms = {"mens": 0, "womens": 1, None: 2}
    return np.array([(arms[row.arm], row.visit) for row in own])


@pytest.mark.slow
def test_the_randomised_mailing_is_learned_from_and_judged_as_by_hand(tmp_path: Path) -> None:
    """One half is imported and trained on, the other half judged; then promoted from the log."""
    needed("hillstrom/hillstrom.csv")
    rows = hillstrom.load()
    rules = (hillstrom.RULES / "campaign.yaml").read_text("utf-8")
    desk = Desk(tmp_path, rules.replace("threshold: 0.1", "threshold: 0"))
    table, uniform = tmp_path / "mailing.csv", ("mens", "womens", "silence")
    mailing(table, rows, 0, 2)
    found = desk.imports(table, uniform=uniform)
    assert (found.decisions, found.bad_rows) == (32_000, 0)
    assert found.balance is not None and found.balance.differing == []
    spec = load_spec(hillstrom.SPEC)
    models = tmp_path / "models"
    models.mkdir()
    folder = train_on_log(spec, desk.archive, goals_of(desk.definition, None), models, report=False)
    other = tmp_path / "other"
    data = mailing(table, rows, 1, 2)
    desk.imports(table, uniform=uniform, archive=other)
    model = load_model(folder)
    request = EvaluationRequest(spec=spec, reward_model=False, options=QUICK)
    report = evaluate(other, Candidate(model=model), request)
    arm, visit = data.T
    sent = arm < 2
    # Exploration is off, so the target is the arm that the model expects more of, by hand:
    chosen = np.array(
        [("mens", "womens").index(one) for one in hillstrom.choose(folder, rows[1::2])]
    )
    policy = report.policies[-1].metrics["responses"]
    for name, estimator in (("ips", ips), ("snips", snips)):
        by_hand = estimator(visit * sent, np.full(len(arm), 1 / 3), (chosen == arm).astype(float))
        assert policy[name].estimate.value == pytest.approx(by_hand.value, rel=1e-9), name
    assert policy["snips"].estimate.value > 0.16  # always mens: .1828; uniform over all: .1468
    evidence = evidence_for(models, folder, spec=hillstrom.SPEC, archive=other)
    assert promote_if_passed(models, evidence).outcome == "current"


@pytest.mark.slow
def test_displays_with_true_propensities_come_in_with_these(tmp_path: Path) -> None:
    """The Open Bandit Dataset's uniform log: 80 items, three positions."""
    source = needed("obd/random_all_all.csv")
    messages = "\n".join(
        f"  item-{n}: {{purpose: shop, channels: [site], value: 1, goal: {{event: click, within: "
        f"1d}}, content: {{title: t}}}}"
        for n in range(80)
    )
    places = ", ".join(f"position-{n}: {{channels: [site]}}" for n in (1, 2, 3))
    desk = Desk(
        tmp_path,
        "settings: {timezone: UTC}\npurposes: {shop: {consent: not_required}}\nchannels: {site: {}}"
        f"\nplacements: {{{places}}}\nmessages:\n{messages}\n",
    )
    table = tmp_path / "displays.csv"
    clicks, items, chances = [], [], []
    with source.open(encoding="utf-8") as file, table.open("w", newline="") as to:
        out = csv.writer(to)
        features = [f"user_feature_{n}" for n in range(4)]
        head = "decided_at,customer_id,message,placement,probability"
        out.writerow([*head.split(","), *(f"context.{one}" for one in features), "outcome.click"])
        for row in csv.DictReader(file):
            clicks.append(int(row["click"]))
            items.append(int(row["item_id"]))
            chances.append(float(row["propensity_score"]))
            out.writerow(
                [
                    *(row["timestamp"], f"u-{row['']}", f"item-{row['item_id']}"),
                    *(f"position-{row['position']}", row["propensity_score"]),
                    *(row[one] for one in features),
                    row["click"],
                ]
            )
    found = desk.imports(table)
    assert (found.decisions, found.bad_rows) == (10_000, 0)
    assert found.outcomes == sum(clicks)
    rows = sorted(desk.rows("decisions"), key=lambda row: int(row["customer_id"][2:]))
    assert [int(row["message"].removeprefix("item-")) for row in rows] == items
    assert [row["selection_probability"] for row in rows] == chances
    assert {len(row["candidates"]) for row in rows} == {80}
    report = evaluate(
        desk.archive,
        Candidate(exploration=0.0),
        EvaluationRequest(reward_model=False, options=QUICK),
    )
    # Without a model and with γ = 0 all 80 are alike: the policy that logged, every weight 1.
    assert report.policies[-1].metrics["responses"]["snips"].estimate.value == pytest.approx(
        np.mean(clicks), rel=1e-9
    )
