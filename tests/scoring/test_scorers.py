"""Scorers: one behaviour for all, smoothing by hand, and a prior wherever a model has no number."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from decision.core.candidates import CandidateInfo
from decision.core.clock import DAY, HOUR
from decision.core.definition import Settings
from decision.core.fields import FieldTable, Situation
from decision.core.ports import Scorer
from decision.core.values import MISSING
from decision.scoring.features import Feature, FeatureEncoder
from decision.scoring.loading import load_model
from decision.scoring.manifest import Evidence, Smoothing, evidence_of
from decision.scoring.model import Model, to_probability
from decision.scoring.scorers import MINIMAL_FEATURES, PriorScorer, bind, fields_read
from tests.scoring.build import CANDIDATES, NOW, contact, document

SETTINGS = Settings(starting_probability=0.02, starting_evidence=200.0)
ALL = np.arange(len(CANDIDATES))


@pytest.fixture(scope="module")
def model(trained: Path) -> Model:
    return load_model(trained)


def scored_by(
    model: Model | None, settings: Settings = SETTINGS, candidates: list[CandidateInfo] = CANDIDATES
) -> tuple[Scorer, FieldTable]:
    fields = FieldTable(["customer.first_name", *fields_read(model)])
    return bind(model, candidates, fields, settings), fields


def read(fields: FieldTable, **attributes: object) -> list[object]:
    from datetime import UTC

    customer = document(**attributes)
    return fields.read(Situation(customer, "outbound", NOW, UTC))


@pytest.fixture(params=["model", "prior"])
def scorer(
    request: pytest.FixtureRequest, trained: Path
) -> tuple[Scorer, Callable[..., list[object]]]:
    made, fields = scored_by(load_model(trained) if request.param == "model" else None)
    return made, lambda **attributes: read(fields, **attributes)


def test_every_scorer_gives_a_probability_for_each_candidate_asked(
    scorer: tuple[Scorer, Callable[..., list[object]]],
) -> None:
    made, values_of = scorer
    for attributes in (
        {},
        {"country": "中国", "age": 33, "vip": True},
        {"country": ["odd"], "age": "33", "vip": 10**400},
        {"age": math.inf, "country": "\ud800"},
    ):
        values = values_of(**attributes)
        for asked in ([], [0], [5, 2], [0, 1, 2, 3, 4, 5], [3, 3]):
            scores = made.score(np.array(asked, dtype=np.intp), values, document(), NOW)
            assert scores.dtype == np.float64 and scores.shape == (len(asked),)
            assert ((scores >= 0) & (scores <= 1)).all()


def test_every_scorer_scores_a_candidate_alike_alone_and_among_others(
    scorer: tuple[Scorer, Callable[..., list[object]]],
) -> None:
    made, values_of = scorer
    values = values_of(country="中国", age=40)
    customer = document([contact(0, HOUR), contact(4, 2 * DAY)])
    together = made.score(ALL, values, customer, NOW)
    alone = [made.score(np.array([index]), values, customer, NOW)[0] for index in ALL]
    assert together == pytest.approx(alone, abs=1e-15)
    assert np.array_equal(made.score(ALL, values, customer, NOW), together)


def test_every_scorer_logs_features_that_json_can_hold(
    scorer: tuple[Scorer, Callable[..., list[object]]],
) -> None:
    made, values_of = scorer
    values = values_of(country="中国")
    for index in ALL:
        row = made.features(index, values, document(), NOW)
        assert row["message.name"] == CANDIDATES[index].message
        assert MISSING not in row.values()
        assert msgspec.json.decode(msgspec.json.encode(row)) == row


def test_a_model_adds_the_fields_it_reads_and_keeps_those_that_were_there(model: Model) -> None:
    scorer, fields = scored_by(model)
    assert fields.names()[0] == "customer.first_name"
    assert {"customer.age", "events.app_open.count_7d", "time.hour"} <= set(fields.names())
    assert "message.name" not in fields.names()
    assert fields.measures()["app_open"].window == 7 * DAY
    assert scorer.version == model.version


def test_smoothing_is_a_weighted_mean_of_start_and_model(model: Model) -> None:
    """SP · SE / (SE + E) + p · E / (SE + E), with E the shows of the message on all channels."""
    scorer, fields = scored_by(model)
    values = read(fields, country="中国", age=40)
    customer = document()
    found = scorer.score(ALL, values, customer, NOW)
    manifest = model.manifest
    encoder = FeatureEncoder(manifest.features, manifest.categories, CANDIDATES, fields.slot)
    raw = model.probabilities(encoder.encode(ALL, values, customer, NOW))
    evidence = evidence_of(manifest)
    for index, info in enumerate(CANDIDATES):
        shows, _ = evidence[info.message, ""]
        assert shows == sum(row.shows for row in manifest.evidence if row.message == info.message)
        expected = 0.02 * 200 / (200 + shows) + raw[index] * shows / (200 + shows)
        assert found[index] == pytest.approx(expected, rel=1e-12)


def changed(model: Model, **changes: object) -> Model:
    manifest = msgspec.structs.replace(model.manifest, **changes)
    return Model(manifest, model.log_odds, model.engine)


def test_smoothing_may_go_by_message_and_channel_and_set_its_own_start(model: Model) -> None:
    rows = tuple(
        Evidence(message=info.message, channel=info.channel, shows=number * 10, responses=number)
        for number, info in enumerate(CANDIDATES)
    )
    smoothing = Smoothing(by="message_channel", starting_probability=0.5, starting_evidence=10)
    scorer, fields = scored_by(changed(model, evidence=rows, smoothing=smoothing))
    values = read(fields)
    found = scorer.score(np.array([0, 5]), values, document(), NOW)
    assert found[0] == 0.5  # no evidence of it at all: the start
    fully = changed(model, smoothing=Smoothing(starting_evidence=0))
    unsmoothed, _ = scored_by(fully)
    p = unsmoothed.score(np.array([5]), values, document(), NOW)[0]
    assert found[1] == pytest.approx(0.5 * 10 / 60 + p * 50 / 60)


def test_a_message_that_training_never_saw_starts_where_everybody_starts(model: Model) -> None:
    new = [*CANDIDATES, CandidateInfo("brand-new", "sms", "x", "tips", (), 1.0)]
    scorer, fields = scored_by(model, candidates=new)
    values = read(fields, country="DE")
    assert scorer.score(np.array([6]), values, document(), NOW)[0] == pytest.approx(0.02)


def test_without_any_evidence_and_weight_the_start_is_the_answer(model: Model) -> None:
    """0 / 0 in the formula is no NaN in the score."""
    bare = changed(model, evidence=(), smoothing=Smoothing(starting_evidence=0.0))
    scorer, fields = scored_by(bare)
    assert scorer.score(ALL, read(fields), document(), NOW).tolist() == [0.02] * len(CANDIDATES)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_where_the_trees_give_no_number_the_prior_stands_in(model: Model, bad: float) -> None:
    def trees(matrix: np.ndarray) -> np.ndarray:
        found = model.log_odds(matrix)
        found[1] = bad
        return found

    broken, fields = scored_by(Model(model.manifest, trees, "compiled"))
    sound, _ = scored_by(model)
    values = read(fields, country="US")
    found = broken.score(ALL, values, document(), NOW)
    expected = sound.score(ALL, values, document(), NOW)
    shows, responses = evidence_of(model.manifest)[CANDIDATES[1].message, ""]
    expected[1] = (0.02 * 200 + responses) / (200 + shows)
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_prior_is_the_start_moved_by_evidence() -> None:
    fields = FieldTable()
    encoder = FeatureEncoder(MINIMAL_FEATURES, {}, CANDIDATES, fields.slot)
    plain = PriorScorer(CANDIDATES, SETTINGS, encoder)
    assert plain.score(ALL, [], document(), NOW).tolist() == [0.02] * len(CANDIDATES)
    seen = PriorScorer(CANDIDATES, SETTINGS, encoder, {("winback", ""): (800, 96)})
    scores = seen.score(np.array([0, 1, 2]), [], document(), NOW)
    assert scores == pytest.approx([0.1, 0.1, 0.02])
    assert seen.version is None


def test_a_prior_logs_the_features_a_first_model_will_want() -> None:
    wanted = [Feature("customer.country", "categorical"), Feature("message.name", "categorical")]
    fields = FieldTable(fields_read(None, wanted))
    scorer = bind(None, CANDIDATES, fields, SETTINGS, wanted)
    row = scorer.features(0, read(fields, country="中国"), document(), NOW)
    assert row == {"customer.country": "中国", "message.name": "winback"}


def test_a_thousand_candidates_are_scored_in_one_matrix(model: Model) -> None:
    many = [
        CandidateInfo(f"m-{number}", "push", "内容", "marketing", (), 1.0)
        for number in range(1_500)
    ] + CANDIDATES
    calls = []

    def trees(matrix: np.ndarray) -> np.ndarray:
        calls.append(len(matrix))
        return model.log_odds(matrix)

    scorer, fields = scored_by(Model(model.manifest, trees, "compiled"), candidates=many)
    values = read(fields, country="中国")
    scores = scorer.score(np.arange(len(many)), values, document(), NOW)
    assert calls == [len(many)]
    few, few_fields = scored_by(model)
    expected = few.score(ALL, read(few_fields, country="中国"), document(), NOW)
    assert scores[-len(CANDIDATES) :] == pytest.approx(expected)


def test_what_training_learned_is_what_scores_say(model: Model) -> None:
    """Birthdays please Chinese customers, in the log of `build.table`; and contacts tire."""
    scorer, fields = scored_by(model, Settings(starting_evidence=0.0))
    birthday, winback = 4, 0
    chinese, others = read(fields, country="中国"), read(fields, country="DE")
    score = lambda values: scorer.score(np.array([birthday, winback]), values, document(), NOW)  # noqa: E731
    assert score(chinese)[0] > 2 * score(others)[0]
    assert score(chinese)[0] > 2 * score(chinese)[1]


def test_probabilities_never_overflow() -> None:
    odds = np.array([-1e308, -800.0, 0.0, 800.0, 1e308, math.nan, math.inf])
    with np.errstate(all="raise"):
        found = to_probability(odds)
    assert found[:5].tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert np.isnan(found[5:]).all()
