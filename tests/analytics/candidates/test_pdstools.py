"""The figures are those of pdstools' Decision Analyzer, on its own sample of 7,069 decisions.

The sample is `data/sample_eev2.parquet` of pegasystems/pega-datascientist-tools on GitHub. It has
several rows of one action in a decision (one per component): each row is a candidate here, with the
action as its message and a channel of its own. Stages become ours: engagement policies
`not_eligible`, contact policies `capped`, what arbitration removes `below_threshold`, what bundling
removes `outranked`, the output is chosen. pdstools' winners are those with the highest priority, so
for wins and the sensitivity all rows from arbitration on are left in the draw, and the first is
chosen; their priority is the product of its parts, beside which the sample's own is up to 6 %.
`get_sensitivity` breaks ties by name, and says 1,831 and 1,528 for propensity and value; here a tie
changes nothing, so the priorities that `re_rank` gives are compared without ties. What pdstools
counts by rows, as the rivals of a group, is not compared.

The written figures are what pdstools 5.1.0 says; where it is installed, it is asked again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from decision.analytics.candidates.counting import count
from decision.analytics.candidates.deciding import report_sensitivity
from decision.analytics.candidates.facts import CandidateFacts, Facts
from decision.analytics.candidates.funnel import report_candidates
from decision.analytics.candidates.source import Counted, CountsDatabase
from decision.analytics.candidates.win_loss import report_win_loss
from decision.archive.layout import schema_of
from tests.data import needed

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
STAGES = {
    "EngagementPolicies": "not_eligible",
    "JourneysContactPolicies": "capped",
    "Arbitration": "below_threshold",
    "Bundling": "outranked",
    "Output": None,
}
SCORED = ("Arbitration", "Bundling", "Output")
ENTERED = {
    "Engagement Policies": "not_eligible",
    "Journeys and Contact Policies": "capped",
    "Arbitration": "below_threshold",
    "Bundling": "draw",
}
COLUMNS = {
    "pxInteractionID": "decision",
    "pxDecisionTime": "at",
    "pyName": "action",
    "Stage_pyStageGroup": "stage",
    "FinalPropensity": "propensity",
    "Value": "value",
    "Weight": "lever",
    "Stage_pyOrder": "order",
    "pyIssue": "issue",
    "pyGroup": "group",
    "Priority": "priority",
}
WITHOUT_ACTIONS = {"not_eligible": 0, "capped": 3713, "below_threshold": 2281, "draw": 699}
INFLUENCE = {"response_probability": 1788, "value": 1504, "lever": 98}
WINS = {
    "Action014": (599, 469),
    "Action028": (490, 1957),
    "Action001": (259, 2112),
    "Action006": (242, 2523),
    "Action029": (230, 691),
}


class Rows:
    """A source of decisions from rows of candidates."""

    def __init__(self, rows: list[dict[str, Any]], facts: Facts | None) -> None:
        self._database = CountsDatabase(None)
        batches = pa.Table.from_pylist(rows, schema_of("decisions")).to_batches()
        self._database.add("sample", count(batches, "UTC", lambda version: facts, {}))

    @contextmanager
    def counts(self, timezone: str, segment: str | None = None) -> Iterator[Counted]:
        with self._database.reading() as database:
            yield Counted(database, "archive", timezone)


@pytest.fixture(scope="module")
def sample() -> Path:
    return needed("pdstools/sample_eev2.parquet")


def decisions(sample: Path, stages: tuple[str, ...]) -> Iterator[list[dict[str, Any]]]:
    """The rows of each decision that are of these stages."""
    table = pq.read_table(sample, columns=list(COLUMNS)).rename_columns(list(COLUMNS.values()))
    rows = [row for row in table.sort_by("decision").to_pylist() if row["stage"] in stages]
    for _, own in groupby(rows, key=lambda row: row["decision"]):
        yield list(own)


def product(row: dict[str, Any]) -> float:
    """The priority of an arbitrated row: the sample's own is up to 6 % beside the product."""
    return float(row["propensity"]) * float(row["value"]) * float(row["lever"])


def ranked(row: dict[str, Any]) -> tuple[Any, ...]:
    """The order in which pdstools ranks."""
    return (-product(row), -row["order"], row["issue"], row["group"], row["action"])


def decision(own: list[dict[str, Any]], candidates: list[dict[str, Any]]) -> dict[str, Any]:
    chosen = [one for one in candidates if one["reason"] is None]
    return {
        "decision_id": own[0]["decision"],
        "decided_at": own[0]["at"],
        "customer_id": "",
        "placement": "Web",
        "outcome": "selected" if chosen else "none",
        "position": 1,
        "message": chosen[0]["message"] if chosen else None,
        "channel": chosen[0]["channel"] if chosen else None,
        "candidates": candidates,
        "policy_version": "1",
    }


@pytest.fixture(scope="module")
def whole(sample: Path) -> Rows:
    """All rows, each at the stage where it ended."""
    found = []
    for own in decisions(sample, tuple(STAGES)):
        number = Counter[str]()
        candidates = []
        for row in own:
            number[row["action"]] += 1
            score = float(row["priority"] or 0) if row["stage"] in SCORED else None
            candidates.append(
                {
                    "message": row["action"],
                    "channel": str(number[row["action"]]),
                    "reason": STAGES[row["stage"]],
                    "priority": score,
                    "response_probability": score,
                }
            )
        found.append(decision(own, candidates))
    return Rows(found, None)


@pytest.fixture(scope="module")
def arbitrated(sample: Path) -> Rows:
    """Those from arbitration on; the one with the highest priority is chosen."""
    found, facts = [], {}
    for own in decisions(sample, SCORED):
        own.sort(key=ranked)
        candidates = []
        for n, row in enumerate(own):
            channel = f"{n}:{row['value']}"  # values differ by row: each is a candidate of its own
            facts[row["action"], channel] = CandidateFacts("", float(row["value"]), 0.0)
            candidates.append(
                {
                    "message": row["action"],
                    "channel": channel,
                    "reason": "outranked" if n else None,
                    "priority": product(row),
                    "response_probability": float(row["propensity"]),
                }
            )
        found.append(decision(own, candidates))
    return Rows(found, facts)


def wins(rows: Rows) -> dict[str, tuple[int, int]]:
    return {row.name: (row.won, row.lost) for row in report_win_loss(rows).rows}


def changed(rows: Rows) -> dict[str, int]:
    return {part.part: part.changed for part in report_sensitivity(rows).parts}


def test_the_figures_are_those_that_pdstools_has_said(whole: Rows, arbitrated: Rows) -> None:
    fell = {one.stage: one.entered - one.passed for one in report_candidates(whole).total.stages}
    assert {stage: fell[stage] for stage in WITHOUT_ACTIONS} == WITHOUT_ACTIONS
    assert {part: changed(arbitrated)[part] for part in INFLUENCE} == INFLUENCE
    found = wins(arbitrated)
    assert {name: found[name] for name in WINS} == WINS


def test_the_figures_are_those_that_pdstools_says(
    sample: Path, whole: Rows, arbitrated: Rows
) -> None:
    analyzer = pytest.importorskip("pdstools.decision_analyzer").DecisionAnalyzer
    pl = pytest.importorskip("polars")
    all_rows = pl.read_parquet(sample)
    found = report_candidates(whole)
    theirs = analyzer(all_rows.lazy())
    without = theirs.aggregates.get_decisions_without_actions_data().rows()
    fell = {one.stage: one.entered - one.passed for one in found.total.stages}
    assert {ENTERED[stage]: n for stage, n in without} == {k: fell[k] for k in WITHOUT_ACTIONS}
    available, passing, _ = theirs.aggregates.get_funnel_data("Action")
    for frame, mine in ((available.collect(), "entered"), (passing, "passed")):
        told = {
            (row["Action"], ENTERED[row["Stage Group"]]): row["interaction_count_for_scope"]
            for row in frame.to_dicts()
            if row["Stage Group"] in ENTERED
        }
        ours = {
            (row.name, one.stage): getattr(one, mine)
            for row in found.rows
            for one in row.stages
            if one.stage in ENTERED.values() and getattr(one, mine)
        }
        assert ours == told

    rows = all_rows.filter(pl.col("Stage_pyStageGroup").is_in(SCORED)).with_columns(
        Priority=pl.col("FinalPropensity").cast(float)
        * pl.col("Value").cast(float)
        * pl.col("Weight").cast(float)
    )
    theirs = analyzer(rows.lazy())
    ours_by_name = wins(arbitrated)
    for name, (won, lost) in ours_by_name.items():
        counts = theirs.scoring.get_win_loss_counts(pl.col("Action") == name)
        assert (counts["wins"], counts["losses"]) == (won, lost), name
    ours = changed(arbitrated)
    again = theirs.scoring.re_rank().collect()
    for part, without in {"response_probability": "VCL", "value": "PCL", "lever": "PVC"}.items():
        best = pl.col(f"prio_{without}")
        beaten = again.with_columns(most=best.max().over("Interaction ID")).filter(
            (pl.col("Rank") == 1) & (pl.col("most") - best > 1e-9 * pl.col("most"))
        )
        assert ours[part] == len(beaten), part  # their own count has ties by name in it
    influence = dict(theirs.scoring.get_sensitivity().collect().rows())
    assert ours["response_probability"] <= influence["Propensity"]
    assert ours["value"] <= influence["Value"]
    assert ours["lever"] <= influence["Levers"]
