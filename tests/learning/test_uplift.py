"""Uplift: what a message adds over silence, learned, served, logged; and what cannot be learned."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from decision.archive.decision_rows import candidate_lists
from decision.core.business_rules import PlainMatcher
from decision.core.decide import Question, decide
from decision.core.definition import PolicyDefinition
from decision.core.document import Document
from decision.core.explanation import explain
from decision.core.logged_scores import long_scores, shorten, unpack_uplift
from decision.core.policy_builder import compile_policy
from decision.core.records import DecisionRecord, line_of
from decision.evaluation.gate import evidence_for, judge_gate
from decision.evaluation.gate_by_log import LIFT
from decision.evaluation.promotion import promote
from decision.evaluation.report import EvaluationOptions
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate
from decision.learning.examples import Examples
from decision.learning.goals import goals_of
from decision.learning.spec import SpecError, parse_spec
from decision.learning.table import TrainingError
from decision.learning.train import train_on_log
from decision.learning.training_table import examples_of_log
from decision.learning.uplift import pairs_of
from decision.scoring.loading import load_model, load_scoped_models
from decision.scoring.manifest import ModelError
from decision.scoring.model import Model
from decision.scoring.scope import Scope
from decision.scoring.scorers import bind, fields_read
from decision.scoring.witness import witnesses_of
from decision.simulation.side import Simulated
from tests.evaluation.mailing import RULES, earns, rules, write_mailing
from tests.learning.logs import definition_of, write_policy

HEAD = "name: vote\nobjective: uplift\ntarget: {event: vote, within: 7d}\n"
REST = """\
features: {customer.interest: numeric, customer.age: numeric, message.name: categorical}
rounds: 60
missing: 0%
lightgbm: {num_threads: 1, num_leaves: 4, min_data_in_leaf: 100, learning_rate: 0.1}
promotion: {lift_at_least: 0%}
"""
SPEC = HEAD + REST


@pytest.fixture(scope="module")
def mailing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mailing(tmp_path_factory.mktemp("log"), 9_000)


@pytest.fixture(scope="module", params=["s", "r"])
def version(request: Any, mailing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version of each learner."""
    models = tmp_path_factory.mktemp("models")
    text = f"{HEAD}learner: {request.param}\n{REST}"
    (models / "vote.yaml").write_text(text)
    return train(text, mailing, models)


def train(text: str, log: Path, models: Path) -> Path:
    goals = goals_of(rules(), None)
    return train_on_log(parse_spec("vote.yaml", text), log, goals, models, report=False)


def examples_in(log: Path, text: str = SPEC) -> Examples:
    with examples_of_log(log, parse_spec("vote", text), goals_of(rules(), None)) as found:
        return msgspec.structs.replace(found, matrix=np.array(found.matrix))


# ---------------------------------------------------------------- learned


def test_only_those_are_told_who_are_moved_and_the_gate_lets_it_pass(
    mailing: Path, version: Path
) -> None:
    """The mailing to people who convert anyway: 0.33 a decision, where telling all earns 0.29."""
    model = load_model(version)
    witnesses = tuple(witnesses_of(version, model.manifest))
    candidate = Candidate(model=model, witnesses=witnesses)
    request = EvaluationRequest(options=EvaluationOptions(bootstrap=0))
    report = evaluate(mailing, candidate, request)
    found = report.policies[-1].metrics["value"]["sndr"].estimate
    assert abs(found.value - earns((0, 1))) < 3 * found.standard_error
    assert found.confidence_interval[0] > earns((1, 1))
    told = {row.message: row.target_share for row in report.messages}
    assert told["neighbours"] == pytest.approx(0.5, abs=0.1) and told["plain"] < 0.02
    figures = {one.name: one for one in judge_gate(_evidence(version, mailing))}
    assert figures[LIFT].passed and (figures[LIFT].found or 0) > 0.1


def _evidence(version: Path, log: Path) -> Any:
    return evidence_for(version.parent.parent, version, archive=log)


def test_the_learner_with_the_lower_loss_is_served_and_all_losses_are_told(
    mailing: Path, tmp_path: Path
) -> None:
    uplift = load_model(train(SPEC, mailing, tmp_path)).manifest.uplift
    silent = examples_in(mailing).given
    assert uplift is not None and silent is not None
    assert uplift.control == np.isnan(silent).sum() > 2_000
    assert uplift.learner == min("sr", key=lambda name: uplift.losses[name])
    assert max(uplift.losses["s"], uplift.losses["r"]) < uplift.losses["none"]
    assert uplift.mean == pytest.approx(0.16 / 6, abs=0.02)


def test_the_same_log_gives_the_same_version(mailing: Path, version: Path, tmp_path: Path) -> None:
    again = train((version.parent.parent / "vote.yaml").read_text(), mailing, tmp_path)
    assert again.name == version.name


HELD = "experiments: {hold: {share: 25%, seed: h-1}}\n"


def held_back(mailing: Path, log: Path, held: PolicyDefinition) -> Path:
    """The same mailing, in which a control group was told nothing, and nobody else."""

    def as_held(row: dict[str, Any]) -> dict[str, Any]:
        row = {**row, "policy_version": held.version}
        for one in row["candidates"]:
            one["selection_probability"] = 1 / 3 if row["message"] else None
            one["reason"] = None if row["message"] else "holdout"
        if row["message"] is None:
            return {**row, "selection_probability": None, "reason": "holdout", "holdout": True}
        return {**row, "selection_probability": 1 / 3}

    shutil.copytree(mailing, log)
    for name, change in (
        ("decisions", as_held),
        ("replays", lambda row: {**row, "policy_version": held.version}),
    ):
        for path in (log / name).glob("date=*/*.parquet"):
            table = pq.ParquetFile(path).read()
            rows = [change(row) for row in table.to_pylist()]
            pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    write_policy(log, held)
    return log


def test_a_control_group_is_a_control_arm_with_the_share_that_the_rules_give_it(
    mailing: Path, tmp_path: Path
) -> None:
    """What nobody logs of silence is read from what the decision saw; else nothing differs."""
    log = held_back(mailing, tmp_path / "log", definition_of(RULES + HELD))
    one, other = examples_in(mailing), examples_in(log)
    assert one.matrix.tobytes() == other.matrix.tobytes()
    assert one.label.tobytes() == other.label.tobytes()
    assert one.silence is not None and other.silence is not None
    assert one.given is not None and other.given is not None
    assert one.silence == pytest.approx(other.silence) and set(one.silence) == {0.25}
    assert one.given == pytest.approx(other.given, nan_ok=True)
    assert one.offered.keys() == other.offered.keys()
    silent = one.message == one.messages.index("")
    assert (
        not np.isnan(one.matrix[silent][:, :2]).any() and np.isnan(one.matrix[silent][:, 2]).all()
    )
    learned = [load_model(train(SPEC, each, tmp_path / each.name)) for each in (mailing, log)]
    first, second = (one.manifest.uplift for one in learned)
    assert first is not None and second is not None and first.learner == second.learner
    assert first.losses == pytest.approx(second.losses, rel=0.01)


TWO = RULES.replace("purposes: {", "purposes: {service: {consent: not_required}, ", 1)
for _message in ("civic", "neighbours"):
    TWO = TWO.replace(f"{_message}: {{purpose: marketing", f"{_message}: {{purpose: service")


def test_a_model_of_a_purpose_compares_its_messages_alone_with_silence_and_is_judged(
    tmp_path: Path,
) -> None:
    """Both with silence that was drawn, and with a control group, of whom nothing is known."""
    text = SPEC.replace("name: vote", "name: care\nscope: {purpose: service}")
    both = definition_of(TWO)
    log = write_mailing(tmp_path / "drawn", 4_500, definition=both)
    held = held_back(log, tmp_path / "held", definition_of(TWO + HELD))
    for folder in (log, held):
        examples = examples_in(folder, text)
        assert examples.messages == ["", "civic", "neighbours"]
        silent = examples.message == 0
        assert examples.silence is not None and examples.given is not None
        assert examples.silence == pytest.approx(1 / 3, abs=0.01)
        assert examples.given[~silent] == pytest.approx(1 / 3, abs=0.01)
        assert pairs_of(parse_spec("care", text), examples).share == pytest.approx(0.5, abs=0.02)
        assert {frozenset(one) for one in examples.offered.values()} == {
            frozenset({"civic/email", "neighbours/letter"})
        }
    models = tmp_path / "models"
    models.mkdir()
    (models / "care.yaml").write_text(text)
    version = train(text, log, models)
    manifest = load_model(version).manifest
    assert manifest.scope == Scope(purpose="service") and manifest.uplift is not None
    assert manifest.uplift.control == (silent := int((examples_in(log, text).message == 0).sum()))
    assert silent > 1_000 and "silence_not_random" not in {
        one.kind for one in manifest.training.notes
    }
    figures = {one.name: one for one in judge_gate(_evidence(version, log))}
    assert figures[LIFT].found == pytest.approx(0, abs=0.2)
    promote(models, version, list(figures.values()))
    (scope, served), *others = load_scoped_models(str(models)).items()
    assert scope == manifest.scope and not others
    _, moved = decided(served, both, interest=0.9, age=40)
    _, unmoved = decided(served, both, interest=0.1, age=40)
    assert moved.scores.uplift.max() > max(0.05, unmoved.scores.uplift.max())


# ---------------------------------------------------------------- served


def decided(model: Model, definition: PolicyDefinition, **attributes: Any) -> Any:
    policy = compile_policy(definition, reads=fields_read(model))
    scorer = bind(model, policy.candidates, policy.fields, policy.settings)
    matcher = PlainMatcher(policy.rules, policy.rule_strata, policy.fields.slot)
    document = Document(customer_id="c", attributes=attributes)
    question = Question(placement="outbound")
    return policy, decide(policy, matcher, scorer, document, question, 0, lambda: 0.0)


def test_priority_is_of_the_uplift_and_the_probability_stays_one(version: Path) -> None:
    model = load_model(version)
    for interest in (0.1, 0.9):
        policy, verdict = decided(model, rules(), interest=interest, age=40)
        scores = verdict.scores
        assert scores.uplift is not None
        assert ((scores.probability > 0.15) & (scores.probability < 0.6)).all()
        wanted = scores.uplift * policy.message_values - policy.costs
        assert scores.priority == pytest.approx(wanted)
        named = {one.message: place for place, one in enumerate(policy.candidates)}
        added = 0.16 if interest > 0.5 else 0.0
        assert scores.uplift[named["neighbours"]] == pytest.approx(added, abs=0.06)
        assert scores.uplift[named["plain"]] == pytest.approx(0, abs=0.06)
        assert verdict.outcome == ("selected" if interest > 0.5 else "none")
        rows = {row.message: row for row in explain(policy, verdict)}
        shown = rows["neighbours"]
        assert shown.uplift == scores.uplift[named["neighbours"]]
        assert shown.response_probability == scores.probability[named["neighbours"]]


def test_the_uplift_is_logged_and_archived_beside_the_probability(version: Path) -> None:
    policy, verdict = decided(load_model(version), rules(), interest=0.9, age=40)
    logged = long_scores(*shorten(verdict.scores))
    assert list(unpack_uplift(logged).values()) == verdict.scores.uplift.tolist()
    record = DecisionRecord(
        decision_id="d",
        decided_at=0,
        customer_id="c",
        placement="outbound",
        outcome="selected",
        question=verdict.question,
        document=b"",
        draws=[],
        policy_version="1",
        candidates=logged,
    )
    (rows,) = candidate_lists([line_of(record)], policy.candidates).to_pylist()
    assert [row["uplift"] for row in rows] == verdict.scores.uplift.tolist()
    plain = msgspec.structs.replace(logged, uplift=b"")
    without = msgspec.structs.replace(record, candidates=plain)
    lines = [line_of(without), line_of(record)]
    both = candidate_lists(lines, policy.candidates).to_pylist()
    assert [[row["uplift"] for row in part] for part in both] == [[None] * 3, [*_uplifts(rows)]]


def _uplifts(rows: list[dict[str, Any]]) -> list[float]:
    return [row["uplift"] for row in rows]


def test_a_message_without_evidence_has_the_starting_uplift(mailing: Path, tmp_path: Path) -> None:
    folder = train(f"{HEAD}starting_uplift: 0.02\n{REST}", mailing, tmp_path)
    model = load_model(folder)
    assert starts(model, "d", 0.3) == starts(model, "c", 0.9) == pytest.approx(0.02)


NEW = (
    "  new: {{purpose: marketing, category: {}, channels: [email], value: 1,"
    " goal: {{event: vote, within: 7d}}, content: {{title: t}}}}\n"
)


def starts(model: Model, category: str, interest: float) -> float:
    """The uplift that a new message of this category starts with, for such a customer."""
    definition = definition_of(RULES + NEW.format(category))
    policy, verdict = decided(model, definition, interest=interest, age=40)
    names = [one.message for one in policy.candidates]
    return float(verdict.scores.uplift[names.index("new")])


def test_a_new_message_starts_with_what_its_kin_adds(mailing: Path, tmp_path: Path) -> None:
    """The neighbours' letter moves half of the people by 0.16, and all messages 0.027 on average."""
    with_category = REST.replace("message.name", "message.category: categorical, message.name")
    model = load_model(train(HEAD + with_category, mailing, tmp_path))
    uplift = model.manifest.uplift
    assert uplift is not None and set(uplift.kin) == {"a", "b", "c"}
    assert starts(model, "c", 0.9) == uplift.kin["c"] == pytest.approx(0.08, abs=0.03)
    assert abs(starts(model, "a", 0.9)) < 0.03 and abs(starts(model, "b", 0.9)) < 0.03
    assert starts(model, "d", 0.9) == uplift.mean == pytest.approx(0.16 / 6, abs=0.02)


def test_with_a_linear_start_kin_says_it_of_each_customer_and_only_the_moved_are_told(
    mailing: Path, tmp_path: Path
) -> None:
    text = f"{HEAD}learner: s\nstart: linear\n{REST}".replace(
        "message.name", "message.category: categorical, message.name"
    )
    model = load_model(train(text, mailing, tmp_path))
    assert starts(model, "c", 0.95) > 0.08 > starts(model, "c", 0.05)
    assert abs(starts(model, "a", 0.95)) < 0.06
    new = write_mailing(tmp_path / "new", 1_500, seed=2)
    request = EvaluationRequest(options=EvaluationOptions(bootstrap=0))
    report = evaluate(new, Candidate(model=model), request)
    found = report.policies[-1].metrics["value"]["sndr"].estimate
    assert abs(found.value - earns((0, 1))) < 3 * found.standard_error
    told = {row.message: row.target_share for row in report.messages}
    assert told["neighbours"] == pytest.approx(0.5, abs=0.1) and told["plain"] < 0.05


def test_a_simulation_counts_what_a_message_adds(version: Path) -> None:
    """Not how probably the customer responds, which many do anyway."""
    simulated = Simulated(rules(), load_model(version), "seed")
    asyncio.run(simulated.prepare())
    policy, verdict = decided(load_model(version), rules(), interest=0.9, age=40)
    (choice,) = simulated._choices(verdict)
    (row,) = verdict.chosen
    assert row.uplift is not None and row.uplift < row.response_probability
    value, cost = policy.candidates[row.candidate].value, policy.costs[row.candidate]
    assert choice.value == pytest.approx(row.uplift * value - cost)


def test_a_damaged_uplift_is_refused(version: Path, tmp_path: Path) -> None:
    if not (version / "uplift.txt").exists():
        pytest.skip("an S-learner has no trees of its own")
    copy = tmp_path / "vote" / version.name
    shutil.copytree(version, copy)
    text = (copy / "uplift.txt").read_text()
    (copy / "uplift.txt").write_text(text.replace("leaf_value=", "leaf_value=9", 1))
    with pytest.raises(ModelError, match=r"uplift\.txt: its SHA-256"):
        load_model(copy)


# ---------------------------------------------------------------- what cannot be learned


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nobjective: uplift\n", r"write target: \{event: purchase, within: 7d\}"),
        ("name: a\nobjective: uplift\ntarget: goal\n", "can be reached without a message"),
        (
            "name: a\nobjective: uplift\ntarget: {event: message.clicked, within: 1d}\n",
            "can be reached without a message",
        ),
        (HEAD + "attribution: last_touch\n", "silence would have more"),
        ("name: a\nlearner: r\n", "write objective: uplift"),
        (HEAD + "learner: t\n", '"s"|s, r|one of'),
    ],
)
def test_a_spec_that_makes_no_sense_says_what_to_write(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        parse_spec("a.yaml", text + "features: {time.hour: numeric}\n")


def test_uplift_is_cross_fitted_whatever_the_spec_says_of_folds() -> None:
    assert parse_spec("a", SPEC).cross_fit == 3
    assert parse_spec("a", SPEC + "cross_fit: 5\n").cross_fit == 5
    assert parse_spec("a", SPEC).attribution == "each"


@pytest.mark.parametrize(
    ("arms", "people", "target", "said"),
    [
        ((1, 2, 3), 900, "vote", r"has no decision in which nothing was said by chance.*holdout"),
        ((0,), 900, "vote", "nothing was said in any row"),
        ((0, 1, 2, 3), 900, "march", "rows with and without a response are needed"),
        ((0, 1, 2, 3), 10, "vote", "are not enough|are needed"),
    ],
)
def test_a_log_that_says_nothing_about_uplift_is_refused(
    tmp_path: Path, arms: tuple[int, ...], people: int, target: str, said: str
) -> None:
    log = write_mailing(tmp_path / "log", people, arms=arms)
    with pytest.raises(TrainingError, match=said):
        train(SPEC.replace("vote, within", f"{target}, within"), log, tmp_path / "models")


def test_silence_that_was_not_random_is_told(mailing: Path, tmp_path: Path) -> None:
    def kinds(log: Path) -> list[Any]:
        notes = load_model(train(SPEC, log, tmp_path / log.name)).manifest.training.notes
        return [one for one in notes if getattr(one, "kind", "") == "silence_not_random"]

    assert not kinds(mailing)
    skewed = write_mailing(tmp_path / "skewed", 9_000, skewed=True)
    assert "customer.interest" in {one.values["feature"] for one in kinds(skewed)}


def test_a_log_without_what_could_have_been_said_is_refused(mailing: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    shutil.copytree(mailing, log)
    for path in (log / "decisions").glob("date=*/*.parquet"):
        pq.write_table(pq.ParquetFile(path).read().drop_columns(["candidates"]), path)
    with pytest.raises(TrainingError, match="the column candidates is missing"):
        examples_in(log)
    shutil.rmtree(log / "decisions")
    shutil.copytree(mailing / "decisions", log / "decisions")
    shutil.rmtree(log / "replays")
    with pytest.raises(TrainingError, match="replays is missing"):
        examples_in(log)


# ---------------------------------------------------------------- in order


def test_the_report_says_how_well_uplifts_are_in_order(mailing: Path, version: Path) -> None:
    """By witnesses that have not seen the customer: what moves half of them is ordered, the rest not."""
    model = load_model(version)
    candidate = Candidate(model=model, witnesses=tuple(witnesses_of(version, model.manifest)))
    options = EvaluationOptions(bootstrap=60)
    report = evaluate(mailing, candidate, EvaluationRequest(reward_model=False, options=options))
    found = {row.message: row for row in report.uplifts}
    assert set(found) == {"plain", "civic", "neighbours"}
    best = found["neighbours"]
    assert best.qini_interval is not None and best.qini_interval[0] > 0.02
    assert best.auuc_interval is not None and best.auuc_interval[0] > 0.02
    assert abs(best.uplift - 0.08) < 4 * best.standard_error < 0.1
    assert abs(best.predicted - 0.08) < 0.04
    plain = found["plain"]
    assert plain.qini_interval is not None and plain.qini_interval[0] < 0.05
    silent = {row.silent for row in report.uplifts}
    assert len(silent) == 1 and sum(row.told for row in report.uplifts) + silent.pop() == 9_000


def test_a_model_of_responses_has_no_such_figures(mailing: Path, tmp_path: Path) -> None:
    text = SPEC.replace("objective: uplift\n", "").replace(
        "name: vote", "name: vote\nvalidation: 20%"
    )
    model = load_model(train(text, mailing, tmp_path))
    options = EvaluationOptions(bootstrap=0)
    request = EvaluationRequest(reward_model=False, options=options)
    assert evaluate(mailing, Candidate(model=model), request).uplifts == []
