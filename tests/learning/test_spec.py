"""Specs: a valid spec is read completely, and each error has its place and a fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from decision.core.clock import DAY
from decision.core.definition import Goal
from decision.learning.exploration_spec import ExplorationSchedule
from decision.learning.spec import (
    PromotionGate,
    PropensityWeights,
    SpecError,
    load_spec,
    parse_spec,
)
from decision.scoring.features import Feature
from decision.scoring.manifest import Smoothing
from decision.simulation.sample_model import sample_spec

GOOD = """\
name: 响应
target: {event: purchase, within: 7d}
features:
  customer.country: categorical
  events.app_open.count_7d: numeric
lightgbm: {learning_rate: 0.1, num_leaves: 9}
rounds: 50
early_stopping: 5
seed: 0
validation: 25%
smoothing: {by: message_channel, starting_probability: 0.1, starting_evidence: 40}
calibration: platt
exploration: 30
start: linear
"""


def test_a_spec_is_read_whole() -> None:
    spec = parse_spec("m.yaml", GOOD)
    assert spec.name == "响应"
    assert spec.target == Goal(event="purchase", within=7 * DAY)
    assert spec.features == (
        Feature("customer.country", "categorical"),
        Feature("events.app_open.count_7d", "numeric"),
    )
    assert spec.lightgbm == {"learning_rate": 0.1, "num_leaves": 9}
    assert (spec.rounds, spec.early_stopping, spec.seed, spec.validation) == (50, 5, 0, 0.25)
    assert spec.smoothing == Smoothing(
        by="message_channel", starting_probability=0.1, starting_evidence=40
    )
    assert (spec.calibration, spec.exploration, spec.start) == ("platt", 30, "linear")
    assert spec.responses.in_words() == "purchase within 7d"


def test_a_spec_may_leave_out_all_but_name_and_features() -> None:
    spec = parse_spec("m.yaml", "name: a\nfeatures: {time.hour: numeric}\n")
    assert spec.target is None and spec.without_goal is None
    assert spec.responses.in_words() == "the goal of each message"
    assert spec.smoothing == Smoothing()


RICH = """\
name: rich
features: {message.count_30d: numeric, customer.country: categorical}
weights: {by: inverse_propensity, clip: 12.5}
monotone: {message.count_30d: decreasing}
calibration: auto
exploration: {from: 30, to: 1000, over: 100000}
promotion:
  lift_at_least: -1%
  effective_sample_at_least: 1000
  calibration_error_at_most: 2%
  latency_at_most: 5ms
  parity_at_most: 1e-9
  drift_at_most: 0.25
"""


def test_weights_constraints_exploration_and_the_gate_are_read() -> None:
    spec = parse_spec("m.yaml", RICH)
    assert spec.weights == PropensityWeights(clip=12.5)
    assert parse_spec(
        "m", "name: a\nfeatures: {time.hour: numeric}\nweights: inverse_propensity\n"
    ).weights == PropensityWeights(clip=20)
    assert spec.monotone == {"message.count_30d": "decreasing"}
    assert spec.calibration == "auto"
    assert spec.exploration == ExplorationSchedule(start=30, end=1000, over=100_000)
    assert spec.promotion == PromotionGate(
        lift_at_least=-0.01,
        effective_sample_at_least=1000,
        calibration_error_at_most=0.02,
        latency_at_most=5_000,
        parity_at_most=1e-9,
        drift_at_most=0.25,
    )
    assert parse_spec("m.yaml", GOOD).promotion == PromotionGate()


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ("inverse_propensity", "inverse_propensty", "m.yaml:3:15", "did you mean"),
        ("clip: 12.5", "clip: 0.5", "m.yaml:3:41", "at least 1"),
        ("by: inverse_propensity, ", "", "m.yaml:3:1", '"by"'),
        ("{message.count_30d: d", "{message.count_3d: d", "m.yaml:4:12", "message.count_30d"),
        ("{message.count_30d: d", "{customer.country: d", "m.yaml:4:12", "no order"),
        ("decreasing", "downwards", "m.yaml:4:31", '"downwards"'),
        ("to: 1000", "to: 10", "m.yaml:6:29", "γ can only grow"),
        ("over: 100000", "over: 0", "m.yaml:6:41", "at least 1"),
        (", over: 100000", "", "m.yaml:6:1", '"over"'),
        ("lift_at_least", "lift_at_last", "m.yaml:8:3", 'did you mean "lift_at_least"?'),
        ("-1%", "much", "m.yaml:8:18", "a share such as"),
        ("5ms", "5", "m.yaml:11:20", "a time such as 800us or 5ms"),
        ("5ms", "0ms", "m.yaml:11:20", "a time such as 800us or 5ms"),
        ("drift_at_most: 0.25", "drift_at_most: 0", "m.yaml:13:18", "more than 0"),
    ],
)
def test_errors_in_these_have_their_place(old: str, new: str, place: str, says: str) -> None:
    assert old in RICH
    with pytest.raises(SpecError) as caught:
        parse_spec("m.yaml", RICH.replace(old, new, 1))
    assert place in str(caught.value) and says in str(caught.value)


def test_the_sample_spec_is_valid() -> None:
    spec = sample_spec()
    assert spec.name == "engagement"
    assert len(spec.features) > 20


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ("rounds: 50", "round: 50", "m.yaml:7:1", 'key "round"'),
        ("rounds: 50", "round: 50", "m.yaml:7:1", 'did you mean "rounds"?'),
        ("rounds: 50", "rounds: 0", "m.yaml:7:9", "rounds"),
        ("rounds: 50", "rounds: 5.5", "m.yaml:7:9", "whole number"),
        ("customer.country", "custmer.country", "m.yaml:4:3", "did you mean customer"),
        ("count_7d", "count_91d", "m.yaml:5:3", "90d at most"),
        ("country: categorical", "country: text", "m.yaml:4:21", '"text"'),
        ("learning_rate", "learning_rat", "m.yaml:6:12", 'did you mean "learning_rate"?'),
        ("num_leaves: 9", "num_leaves: 9.5", "m.yaml:6:44", "whole number"),
        ("num_leaves: 9", "num_leaves: 1", "m.yaml:6:44", "num_leaves"),
        ("num_leaves: 9", "objective: l2", "m.yaml:6:32", '"objective"'),
        ("validation: 25%", "validation: 120%", "m.yaml:10:13", "100%"),
        ("validation: 25%", "validation: 95%", "m.yaml:10:13", "too few rows"),
        ("validation: 25%", "validation: 0", "m.yaml:10:13", "there are none"),
        ("calibration: platt", "calibration: plat", "m.yaml:12:14", 'did you mean "platt"?'),
        ("by: message_channel", "by: channel", "m.yaml:11:17", '"channel"'),
        ("exploration: 30", "exploration: -1", "m.yaml:13:14", "at least 0"),
        ("{event: purchase, within: 7d}", "{event: purchase}", "m.yaml:2:1", '"within"'),
        ("{event: purchase, within: 7d}", "purchase", "m.yaml:2:9", "{event: purchase, within"),
        ("name: 响应", "name: a/b", "m.yaml:1:7", '"/"'),
        ("name: 响应\n", "", "m.yaml", 'needs the key "name"'),
    ],
)
def test_an_error_has_its_place_and_a_hint(old: str, new: str, place: str, says: str) -> None:
    assert old in GOOD
    with pytest.raises(SpecError) as caught:
        parse_spec("m.yaml", GOOD.replace(old, new))
    assert place in str(caught.value) and says in str(caught.value)


def test_all_errors_are_named_at_once() -> None:
    text = GOOD.replace("rounds", "round").replace("seed: 0", "seed: x").replace("platt", "pl")
    with pytest.raises(SpecError) as caught:
        parse_spec("m.yaml", text)
    assert len(caught.value.diagnostics) == 3


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a list\n", "name: [\n", "name: a\n"])
def test_what_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_spec("m.yaml", text)


def test_a_spec_is_loaded_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert load_spec(path) == parse_spec("m.yaml", GOOD)
    with pytest.raises(FileNotFoundError):
        load_spec(tmp_path / "nowhere.yaml")
