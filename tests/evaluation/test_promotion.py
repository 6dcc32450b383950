"""A version is put in force only by a gate it passes; a challenger is heard and never obeyed."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from decision.core import records
from decision.core.clock import DAY, from_micros
from decision.core.definition import Goal
from decision.core.errors import NotFound
from decision.core.schema import CustomerUpdate, DecisionRequest
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.evaluation.gate import evidence_for, judge_gate
from decision.evaluation.gate_figures import GateEvidence, GateFigure
from decision.evaluation.log import open_log
from decision.evaluation.promotion import PROMOTIONS, challenge, clear_shadow, promote
from decision.evaluation.report import EvaluationOptions
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate
from decision.learning.gate_spec import PromotionGate
from decision.learning.spec import SPEC as SPEC_FILE
from decision.learning.spec import Spec, parse_spec
from decision.scoring.loading import load_model
from decision.scoring.manifest import ModelError, Responses, read_version
from decision.scoring.scope import EVERYWHERE
from decision.scoring.scorers import bind
from decision.scoring.versions import (
    current_version,
    earlier_versions,
    find_version,
    shadow_version,
    versions,
)
from decision.simulation.shop import DEFAULT_NOW
from decision.store.keys import PARTITIONS
from decision.store.memory_store import MemoryStore
from tests.learning.logs import (
    RULES,
    SPEC,
    Deciding,
    World,
    definition_of,
    train_model,
    write_archive,
)


@pytest.fixture(scope="module")
def world() -> World:
    return World(800)


@pytest.fixture(scope="module")
def archive(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("log"), world, Deciding(world.definition, 4.0), 1)


@pytest.fixture(scope="module")
def made(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two versions, of two samples of the world."""
    home = tmp_path_factory.mktemp("models")
    return train_model(world, home, 3), train_model(world, home, 4)


@pytest.fixture
def models(made: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[0].parents[1], tmp_path / "models"))


def spec(**gate: Any) -> Spec:
    return msgspec.structs.replace(parse_spec("tea.yaml", SPEC), promotion=PromotionGate(**gate))


def evidence(folder: Path, archive: Path | None, **gate: Any) -> GateEvidence:
    return GateEvidence(folder=folder, model=load_model(folder), spec=spec(**gate), archive=archive)


GENEROUS: dict[str, Any] = {
    "lift_at_least": -1.0,
    "effective_sample_at_least": 1.0,
    "calibration_error_at_most": 1.0,
    "latency_at_most": 10_000_000,
    "parity_at_most": 1.0,
    "drift_at_most": 100.0,
}
STRICT: dict[str, Any] = {
    "lift_at_least": 10.0,
    "effective_sample_at_least": 1e9,
    "calibration_error_at_most": 1e-9,
    "latency_at_most": 0,
    "parity_at_most": -1.0,
    "drift_at_most": 1e-12,
}


def test_every_figure_of_the_gate_can_be_passed_and_failed(
    made: tuple[Path, Path], archive: Path
) -> None:
    """Only required figures are there; each figure that fails says by how much."""
    given = evidence(made[1], archive, **GENEROUS)
    given = msgspec.structs.replace(given, champion=made[0])
    passed = judge_gate(given)
    assert [figure.passed for figure in passed] == [True] * len(GENEROUS)
    assert all(figure.found is not None for figure in passed)
    training = given.model.manifest.training
    training = msgspec.structs.replace(training, metrics={"calibration_error": 0.9})
    given.model.manifest = msgspec.structs.replace(given.model.manifest, training=training)
    failed = judge_gate(msgspec.structs.replace(given, spec=spec(**STRICT)))
    assert [figure.name for figure in failed] == [figure.name for figure in passed]
    assert [figure.passed for figure in failed] == [False] * len(STRICT)
    assert all(figure.detail for figure in failed)
    assert judge_gate(msgspec.structs.replace(given, spec=spec())) == []


def test_a_figure_that_is_asked_for_and_unknown_fails(made: tuple[Path, Path]) -> None:
    """No log, no lift; only drift, which needs a version in force, has nothing to say at first."""
    figures = {figure.name: figure for figure in judge_gate(evidence(made[0], None, **GENEROUS))}
    lift = figures["lift of value, lower bound"]
    assert lift.found is None and not lift.passed and "--log" in lift.detail
    assert not figures["effective sample"].passed
    assert not figures["latency, µs"].passed and "--rules" in figures["latency, µs"].detail
    assert figures["drift (PSI)"].found is None and figures["drift (PSI)"].passed
    assert figures["calibration error"].passed


def test_a_version_is_judged_by_what_it_was_trained_to_predict(
    made: tuple[Path, Path], archive: Path
) -> None:
    """A spec that is given says otherwise; a version of an earlier release says nothing."""
    model = load_model(made[0])
    assert model.manifest.responses == Responses(attribution="last_touch")
    request = EvaluationRequest(reward_model=False, options=EvaluationOptions(bootstrap=0))

    def earned(responses: Responses | None, **more: Any) -> tuple[float, str]:
        model.manifest = msgspec.structs.replace(model.manifest, responses=responses)
        asked = msgspec.structs.replace(request, **more)
        report = evaluate(archive, Candidate(model=model), asked)
        return report.logged["responses"].value, report.notes[0]

    goals, said = earned(Responses())
    assert goals > 0 and said == "a response is the goal of each message"
    opened = Responses(target=Goal(event="app_open", within=DAY))
    assert earned(opened) == (0, "a response is app_open within 1d")
    assert earned(opened, spec=spec())[0] == goals
    found, said = earned(None)
    assert found == goals and said.startswith("the version does not say")


def test_the_lift_is_judged_by_what_the_model_has_not_learned_from(
    made: tuple[Path, Path], archive: Path, world: World
) -> None:
    """Half of the rows are held out, and half of those are for calibration: a quarter is left."""
    candidate = Candidate(model=load_model(made[0]))
    options = EvaluationOptions(bootstrap=0)
    fair = evaluate(
        archive, candidate, EvaluationRequest(since="held-out", reward_model=False, options=options)
    )
    assert fair.log.judged == pytest.approx(len(world.moments) / 4, rel=0.1)
    assert not any("too good" in note for note in fair.notes)
    whole = evaluate(archive, candidate, EvaluationRequest(reward_model=False, options=options))
    assert any("too good" in note for note in whole.notes)


def test_held_out_begins_after_the_latest_row_that_was_learned_from(
    made: tuple[Path, Path], archive: Path, world: World, tmp_path: Path
) -> None:
    """Also where the log's early contacts did not count in training (not delivered, say): a share
    of all contacts would then point to a time before it."""
    model = load_model(made[0])
    training = model.manifest.training
    times = sorted(moment.at for moment in world.moments)
    assert training.from_time is not None and training.learned_until is not None
    late = msgspec.structs.replace(training, learned_until=times[-40], test_rows=400)
    unknown = msgspec.structs.replace(training, learned_until=None)
    with open_log(archive, None) as log:
        assert log.held_out_since(late) == times[-40] + 1
        assert log.held_out_since(training) == training.learned_until + 1
        assert log.held_out_since(unknown) == (training.to_time or 0) + 1


FIGURES = [GateFigure(name="latency", wanted="≤ 5", found=3.0, passed=True)]


def test_a_promotion_is_one_step_and_a_line(models: Path, made: tuple[Path, Path]) -> None:
    first, second = (models / each.parent.name / each.name for each in made)
    promote(models, first, FIGURES)
    assert current_version(models) == first and earlier_versions(models) == []
    promote(models, second, FIGURES, reason="it is Friday")
    assert current_version(models) == second
    assert earlier_versions(models) == [f"tea/{first.name}"]
    lines = [json.loads(line) for line in (models / PROMOTIONS).read_text("utf-8").splitlines()]
    assert [line["version"] for line in lines] == [f"tea/{first.name}", f"tea/{second.name}"]
    assert [line["forced"] for line in lines] == [False, True]
    assert lines[1]["reason"] == "it is Friday" and lines[0]["figures"][0]["found"] == 3.0
    with pytest.raises(ModelError):
        promote(models, models / "tea" / "nothing", FIGURES)
    assert current_version(models) == second
    assert not [path for path in models.iterdir() if path.name.startswith(".")]


def test_a_challenger_is_named_cleared_and_ends_when_it_wins(
    models: Path, made: tuple[Path, Path]
) -> None:
    first, second = (models / each.parent.name / each.name for each in made)
    promote(models, first, ())
    challenge(models, second)
    assert shadow_version(models) == second and current_version(models) == first
    assert clear_shadow(models) and shadow_version(models) is None
    assert not clear_shadow(models)
    challenge(models, second)
    promote(models, first, ())
    assert shadow_version(models) == second
    promote(models, second, ())
    assert shadow_version(models) is None


def test_a_challenger_is_logged_and_changes_no_decision(
    world: World, made: tuple[Path, Path]
) -> None:
    """The same requests with and without: answers agree, but for what the log says of it."""
    model = load_model(made[0])
    alone = asyncio.run(_decide(world, None))
    beside = asyncio.run(_decide(world, model))
    assert len(alone) == len(beside) == 60
    heard = 0
    for one, other in zip(alone, beside, strict=True):
        assert one.shadow is None
        assert (one.selections, one.candidates, one.fallen, one.draws) == (
            other.selections,
            other.candidates,
            other.fallen,
            other.draws,
        )
        assert one.model_version is None and other.model_version is None
        count = len(np.frombuffer(one.candidates.candidates, "<u2"))
        if not count:
            assert other.shadow is None
            continue
        heard += 1
        assert other.shadow is not None and other.shadow.version == model.version
        said = np.frombuffer(other.shadow.probability)
        assert len(said) == count and ((said > 0) & (said < 1)).all()
    assert heard > 30


async def _decide(world: World, shadow: Any) -> list[records.DecisionRecord]:
    now = DEFAULT_NOW
    store = MemoryStore(clock=lambda: now / 1_000_000)
    engine = Engine(store, EngineSettings(seed="the same"), clock=lambda: now)
    challengers = {} if shadow is None else {EVERYWHERE: shadow}
    engine.use(
        await build_snapshot(
            world.definition, None, store, from_micros(now), durable=False, challengers=challengers
        )
    )
    for customer in world.shop.customers[:60]:
        facts = {name: value for name, value in customer.attributes.items() if name != "segment"}
        await engine.customers.update(customer.customer_id, CustomerUpdate(attributes=facts))
        await engine.decide(DecisionRequest(placement="outbound", customer_id=customer.customer_id))
    found = [
        records.decode_decision(record.body)
        for partition in range(PARTITIONS)
        for record in await store.log_records(partition)
        if record.kind == "decision"
    ]
    return sorted(found, key=lambda record: record.customer_id)


def test_what_a_challenger_says_is_what_it_would_say_in_force(
    world: World, made: tuple[Path, Path]
) -> None:
    model = load_model(made[0])
    deciding = Deciding(world.definition, 4.0)
    policy = deciding.policy
    scorer = bind(model, policy.candidates, policy.fields, policy.settings)
    moment = next(each for each in world.moments if deciding.verdict(each).chosen)
    verdict = deciding.verdict(moment)
    candidates = verdict.scores.candidates
    beside = scorer.score(candidates, verdict.values, moment.document, moment.at)
    deciding.scorer = scorer
    assert deciding.verdict(moment).scores.probability.tolist() == beside.tolist()


def test_a_model_that_says_now_what_it_said_then_is_told_so(
    world: World, made: tuple[Path, Path], archive: Path, tmp_path: Path
) -> None:
    """By what it said as a challenger: to the last digit, or features are not what they were."""
    model = load_model(made[0])
    deciding = Deciding(world.definition, 4.0)
    policy = deciding.policy
    deciding.scorer = bind(model, policy.candidates, policy.fields, policy.settings)
    said = {}
    for number, moment in enumerate(world.moments):
        scores = deciding.verdict(moment).scores
        said[f"01J{number:023d}"] = {
            (policy.candidates[index].message, policy.candidates[index].channel): found
            for index, found in zip(
                scores.candidates.tolist(), scores.probability.tolist(), strict=True
            )
        }
    for name, off in (("same", 0.0), ("other", 0.01)):
        log = tmp_path / name
        shutil.copytree(archive, log)
        spoken = 0
        for path in sorted((log / "decisions").glob("date=*/*.parquet")):
            table = pq.ParquetFile(path).read()
            rows = table.to_pylist()
            for row in rows:
                row["shadow_version"] = model.version
                spoken += row["message"] is not None
                for each in row["candidates"]:
                    key = (each["message"], each["channel"])
                    each["shadow_probability"] = said[row["decision_id"]][key] + off
            pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
        report = evaluate(
            log,
            Candidate(model=model),
            EvaluationRequest(reward_model=False, options=EvaluationOptions(bootstrap=0)),
        )
        assert report.again.decisions == spoken
        assert report.again.most == pytest.approx(off, abs=1e-12)
        told = "agrees with itself" if not off else "does NOT agree"
        assert any(told in note for note in report.notes)


def test_what_the_log_could_not_have_done_earns_nothing_at_the_gate(
    made: tuple[Path, Path], archive: Path
) -> None:
    """A prediction for a message that was never given promotes no model."""
    text = RULES.replace(
        "states:",
        "  new: {purpose: marketing, channels: [email], value: 1000, "
        "goal: {event: purchase, within: 1d}, content: {title: t}}\nstates:",
    )
    given = evidence(made[0], archive, lift_at_least=-0.5)
    passed = judge_gate(given)[0]
    assert passed.passed and "could not" not in passed.detail
    refused = judge_gate(msgspec.structs.replace(given, rules=definition_of(text)))[0]
    assert not refused.passed and "could not have happened in the log" in refused.detail


def test_a_model_named_alone_is_its_version_made_last(models: Path) -> None:
    last = max(versions(models), key=lambda each: (read_version(each)[0].created_at, each))
    assert find_version(models, "tea") == last
    with pytest.raises(NotFound, match="did you mean tea\\?"):
        find_version(models, "tee")


def test_without_a_spec_beside_it_a_version_is_judged_by_the_one_it_was_trained_by(
    models: Path, made: tuple[Path, Path], tmp_path: Path
) -> None:
    """A spec beside the versions comes first, since it is the gate of now."""
    folder = models / "tea" / made[0].name
    assert evidence_for(models, folder).spec == parse_spec("tea.yaml", SPEC)
    (models / "tea.yaml").write_text(SPEC + "\npromotion: {skill_at_least: 9%}\n", "utf-8")
    assert evidence_for(models, folder).spec.promotion.skill_at_least == 0.09
    (models / "tea.yaml").unlink()
    (folder / SPEC_FILE).unlink()
    with pytest.raises(ModelError, match=SPEC_FILE):
        evidence_for(models, folder)
