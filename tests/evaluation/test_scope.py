"""Several models in force: one may decide at a placement alone, and comes and goes by itself."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from decision.archive.replays import ArchivedReplay
from decision.core import records
from decision.core.clock import from_micros
from decision.core.decide import Question
from decision.core.schema import CustomerUpdate, DecisionRequest
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.evaluation.gate import evidence_for
from decision.evaluation.log import open_log
from decision.evaluation.model_views import models_view
from decision.evaluation.promotion import ScopeTaken, promote
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.said import judge_what_was_said
from decision.evaluation.targets import BoundPolicy, Candidate, TargetPolicies, decide_bound
from decision.evaluation.whole_log import Rivals, judge_whole_log
from decision.learning.spec import SpecError, parse_spec
from decision.learning.train import train_on_log
from decision.releases.rollback import CannotRollBack, roll_back_model
from decision.scoring.loading import load_model, load_scoped_models
from decision.scoring.manifest import Responses
from decision.scoring.model import Model
from decision.scoring.reach import Reach
from decision.scoring.scope import EVERYWHERE, Scope
from decision.scoring.versions import current_version, own_scopes, serving_version
from decision.server.models import Models, load_models, models_fingerprint
from decision.simulation.shop import DEFAULT_NOW
from decision.store.keys import PARTITIONS
from decision.store.memory_store import MemoryStore
from tests.learning.logs import RULES, SPEC, Deciding, World, definition_of, write_archive

PLACES = (
    RULES.replace("placements: {", "placements: {home: {channels: [email, push]}, ", 1)
    .replace("purposes: {", "purposes: {service: {consent: not_required}, ", 1)
    .replace("points: {purpose: marketing", "points: {purpose: service")
    .replace("vip: {purpose: marketing", "vip: {purpose: service")
)
AT_HOME = Scope(placement="home")
SERVICE = Scope(purpose="service")
HOME = SPEC.replace("name: tea", "name: home\nscope: {placement: home}")


@pytest.fixture(scope="module")
def world() -> World:
    """Every other decision is at home."""
    found = World(800)
    found.definition = definition_of(PLACES)
    found.moments = [
        moment._replace(question=Question(placement=("outbound", "home")[moment.index % 2]))
        for moment in found.moments
    ]
    return found


@pytest.fixture(scope="module")
def archive(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("log"), world, Deciding(world.definition, 4.0), 1)


@pytest.fixture(scope="module")
def trained(
    world: World, archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Path, Path]:
    """A folder with a model for all, and two versions of one for home."""
    models = tmp_path_factory.mktemp("models")
    goals = {message.name: message.goal for message in world.definition.messages if message.goal}
    found = [
        train_on_log(parse_spec("a.yaml", text), archive, goals, models, report=False)
        for text in (SPEC, HOME, HOME.replace("rounds: 12", "rounds: 9"))
    ]
    return models, found[0], found[1], found[2]


@pytest.fixture
def models(trained: tuple[Path, Path, Path, Path]) -> Path:
    for name in ("current", "history", "promotions.ndjson"):
        (trained[0] / name).unlink(missing_ok=True)
    for spec in trained[0].glob("*.yaml"):
        spec.unlink()
    return trained[0]


def test_a_scope_is_read_and_what_it_cannot_be_is_an_error_at_its_place() -> None:
    assert parse_spec("a.yaml", HOME).scope == Scope(placement="home")
    for text in ("{purpose: service}", "{placement: home, purpose: service}"):
        scope = parse_spec("a.yaml", HOME.replace("{placement: home}", text)).scope
        assert scope.purpose == "service" and (scope.placement == "home") == ("home" in text)
    for text, wrong in (("home", "scope"), ("{}", "placement"), ("{place: home}", "placement")):
        with pytest.raises(SpecError, match=wrong):
            parse_spec("a.yaml", HOME.replace("{placement: home}", text))


def test_a_model_learns_from_its_placement_and_is_judged_there(
    world: World, archive: Path, trained: tuple[Path, Path, Path, Path]
) -> None:
    _, everywhere, home, _ = trained
    own, whole = load_model(home).manifest.training, load_model(everywhere).manifest.training
    counted = own.rows + own.validation_rows
    assert own.left_out["of other scopes"] + counted == whole.rows + whole.validation_rows
    with open_log(archive, None) as log:
        both = {one.decision_id for one, _ in log.read()}
    with open_log(archive, None, reach=Reach(AT_HOME)) as log:
        there = {one.decision_id for one, _ in log.read()}
    odd = {f"01J{index:023d}" for index in range(1, len(world.moments), 2)}
    assert there == both & odd and len(both) > len(there) > 300
    request = EvaluationRequest(reward_model=False)
    report = evaluate(archive, Candidate(model=load_model(home)), request)
    assert report.log.judged == len(there)
    assert any("only decisions there" in note for note in report.notes)


def test_the_gate_judges_what_was_said_at_the_placement(
    world: World, archive: Path, trained: tuple[Path, Path, Path, Path]
) -> None:
    """Whichever way it is judged: by skill alone, or with a lift as well."""
    rivals, own = Rivals([load_model(trained[2])], []), Responses()
    said = judge_what_was_said(archive, rivals, own, reach=Reach(AT_HOME))
    whole = judge_whole_log(archive, rivals, own, 1.0, reach=Reach(AT_HOME))
    assert len(said.reached) == len(whole.reached)
    assert len(said.reached) < len(judge_what_was_said(archive, rivals, own).reached)


def test_what_a_narrower_model_decides_is_not_judged_by_the_wider_one(
    world: World, archive: Path
) -> None:
    """Together they judge every decision, and where they part by placement, none twice."""

    def judged(reach: Reach) -> dict[str, ArchivedReplay]:
        with open_log(archive, None, reach=reach) as log:
            return {one.decision_id: replay for one, replay in log.read()}

    whole = judged(Reach())
    narrow, wide = judged(Reach(AT_HOME)), judged(Reach(EVERYWHERE, frozenset({AT_HOME})))
    assert narrow and wide and not narrow.keys() & wide.keys()
    assert narrow.keys() | wide.keys() == whole.keys()
    bound = BoundPolicy(world.definition, Candidate(), None, ())
    purpose = {message.name: message.purpose for message in world.definition.messages}
    for own in (Reach(SERVICE), Reach(EVERYWHERE, frozenset({SERVICE}))):
        expected = {
            decision_id
            for decision_id, replay in whole.items()
            if any(
                own.decides(
                    replay.question.placement, purpose[bound.policy.candidates[one].message]
                )
                for one in decide_bound(bound, replay).scores.candidates.tolist()
            )
        }
        assert judged(own).keys() == expected and expected
    assert judged(Reach(SERVICE)).keys() < whole.keys()


def test_a_model_of_a_purpose_learns_from_its_messages_and_decides_beside_the_others(
    world: World, archive: Path, models: Path, trained: tuple[Path, Path, Path, Path]
) -> None:
    _, everywhere, home, _ = trained
    text = SPEC.replace("name: tea", "name: service\nscope: {purpose: service}")
    goals = {message.name: message.goal for message in world.definition.messages if message.goal}
    spec = parse_spec("service.yaml", text)
    service = train_on_log(spec, archive, goals, models, report=False)
    manifest = load_model(service).manifest
    assert {row.message for row in manifest.evidence} <= {"points", "vip"} and manifest.evidence
    of_all = load_model(everywhere).manifest.training
    own = manifest.training
    rows = own.rows + own.validation_rows + own.left_out["of other scopes"]
    assert rows == of_all.rows + of_all.validation_rows

    promote(models, everywhere, ())
    promote(models, home, ())
    evidence = evidence_for(models, service)
    assert evidence.champion == everywhere
    assert {scope: one.version for scope, one in evidence.beside.items()} == {
        EVERYWHERE: everywhere.name,
        AT_HOME: home.name,
    }
    assert str(evidence.reach) == "purpose=service but placement=home"
    candidate = Candidate(model=load_model(service), beside=evidence.beside)
    by = {"points": service, "vip": service, "tea": everywhere, "cups": everywhere}
    with open_log(archive, None, reach=evidence.reach) as log:
        targets = TargetPolicies(candidate, log.policies)
        alone = {
            one: TargetPolicies(Candidate(model=load_model(one)), log.policies)
            for one in (service, everywhere)
        }
        count = 0
        for _, replay in itertools.islice(log.read(), 40):
            found = targets.decide_again(replay)
            others = {one: each.decide_again(replay) for one, each in alone.items()}
            for place, candidate_of in enumerate(found.candidates.tolist()):
                message = found.bound.policy.candidates[candidate_of].message
                bound = targets.bound(replay.policy_version, 0, replay.question.placement)
                assert replay.question.placement == "outbound" and bound is found.bound
                if by[message] is everywhere:
                    same = others[everywhere]
                    assert found.responses[place] == same.responses[place]
                count += 1
    assert count > 60
    rivals = Rivals([load_model(service)], [load_model(everywhere)], evidence.beside)
    judged = judge_whole_log(archive, rivals, Responses(), 1.0, reach=evidence.reach)
    said = judge_what_was_said(archive, rivals, Responses(), reach=evidence.reach)
    assert 0 < len(said.reached) < len(judged.gain)
    report = evaluate(archive, candidate, EvaluationRequest(reward_model=False))
    assert report.log.judged == len(judged.gain)
    promote(models, service, ())
    found_in_force = load_scoped_models(str(models))
    assert {*found_in_force} == {AT_HOME, SERVICE}
    assert roll_back_model(models, None, SERVICE) is None


def test_each_is_promoted_and_rolled_back_by_itself(
    models: Path, trained: tuple[Path, Path, Path, Path]
) -> None:
    _, everywhere, home, later = trained
    promote(models, everywhere, ())
    assert (models / "current").read_text("utf-8") == f"tea/{everywhere.name}\n"
    assert evidence_for(models, home).champion == everywhere
    promote(models, home, ())
    assert current_version(models) == everywhere and current_version(models, AT_HOME) == home
    assert evidence_for(models, later).champion == home
    promote(models, later, ())
    assert (
        serving_version(models, AT_HOME) == later
        and serving_version(models, Scope(placement="x")) == everywhere
    )
    shown = {one.path: (one.current, one.scope) for one in models_view(models).versions}
    assert shown[f"home/{later.name}"] == (True, AT_HOME)
    assert shown[f"tea/{everywhere.name}"] == (True, EVERYWHERE)
    assert shown[f"home/{home.name}"] == (False, AT_HOME)
    with pytest.raises(CannotRollBack):
        roll_back_model(models, None)
    assert roll_back_model(models, None, AT_HOME) == f"home/{home.name}"
    assert current_version(models, AT_HOME) == home
    assert roll_back_model(models, None, AT_HOME) is None
    assert own_scopes(models) == [] and serving_version(models, AT_HOME) == everywhere
    with pytest.raises(CannotRollBack):
        roll_back_model(models, None, AT_HOME)
    promote(models, later, ())  # what ended is not returned to
    assert roll_back_model(models, None, AT_HOME) is None


def test_two_specs_of_one_scope_are_refused_with_both_names(
    models: Path, trained: tuple[Path, Path, Path, Path]
) -> None:
    _, everywhere, home, _ = trained
    (models / "tea.yaml").write_text(
        SPEC.replace("name: tea", "name: tea\nscope: {placement: home}")
    )
    (models / "home.yaml").write_text(HOME)
    (models / "current").write_text(f"tea/{everywhere.name}\tplacement=home\n")
    with pytest.raises(ScopeTaken, match="tea and home are both for placement=home"):
        promote(models, home, ())
    (models / "tea.yaml").write_text(SPEC)
    promote(models, home, ())
    assert current_version(models, AT_HOME) == home


def test_servers_follow_each(models: Path, trained: tuple[Path, Path, Path, Path]) -> None:
    """One that must not serve leaves the one before it, and the others, in force."""
    _, everywhere, home, later = trained
    promote(models, everywhere, ())
    before = models_fingerprint(str(models))
    promote(models, home, ())
    assert models_fingerprint(str(models)) != before
    found = load_models(str(models), Models())
    assert found.model is not None and found.model.version == everywhere.name
    assert {name: one.version for name, one in found.scoped.items()} == {AT_HOME: home.name}
    again = load_models(str(models), found)
    assert again.model is found.model and again.scoped[AT_HOME] is found.scoped[AT_HOME]
    broken = models / "current"
    broken.write_text(broken.read_text("utf-8").replace(home.name, "nothing"))
    kept = load_models(str(models), found)
    assert kept.scoped[AT_HOME] is found.scoped[AT_HOME] and kept.model is found.model
    assert kept.problem is not None and "home" in kept.problem
    promote(models, later, ())
    assert load_models(str(models), kept).scoped[AT_HOME].version == later.name


def test_a_damaged_line_takes_nothing_out_of_force_and_is_said(
    models: Path, trained: tuple[Path, Path, Path, Path]
) -> None:
    """It may be the line of a model that decides; once it is taken out, that has ended."""
    _, everywhere, home, _ = trained
    promote(models, everywhere, ())
    promote(models, home, ())
    before = load_models(str(models), Models())
    pointer = models / "current"
    whole = pointer.read_text("utf-8")
    seen = models_fingerprint(str(models))
    pointer.write_text(whole.replace("placement=", "place="), "utf-8")
    assert models_fingerprint(str(models)) != seen
    kept = load_models(str(models), before)
    assert kept.served == before.served
    assert "line 2" in (kept.problem or "") and "placement=NAME" in (kept.problem or "")
    fresh = load_models(str(models), Models())  # a server that starts now
    assert {*fresh.served} == {EVERYWHERE} and fresh.problem == kept.problem
    promote(models, everywhere, ())
    assert "place=home" in pointer.read_text("utf-8")
    pointer.write_text(whole.splitlines()[0] + "\n", "utf-8")
    ended = load_models(str(models), kept)
    assert {*ended.served} == {EVERYWHERE} and ended.problem is None
    assert ended.model is not None and ended.model.version == everywhere.name
    pointer.write_bytes(b"\xff")
    unread = load_models(str(models), before)
    assert unread.served == before.served and "take it away" in (unread.problem or "")


def test_a_version_that_cannot_serve_is_missing_and_the_wider_one_stands_in(
    models: Path, trained: tuple[Path, Path, Path, Path]
) -> None:
    _, everywhere, home, _ = trained
    promote(models, everywhere, ())
    promote(models, home, ())
    pointer = models / "current"
    pointer.write_text(pointer.read_text("utf-8").replace(home.name, "gone"), "utf-8")
    found = load_models(str(models), Models())
    assert {*found.served} == {EVERYWHERE} and found.missing == (AT_HOME,)
    assert "gone" in (found.problem or "") and "placement=home" in (found.problem or "")


def test_each_decides_in_its_scope_and_the_log_says_which(
    world: World, models: Path, trained: tuple[Path, Path, Path, Path]
) -> None:
    """As each would decide alone: the same probabilities, the same choice, its own version."""
    _, everywhere, home, _ = trained
    promote(models, everywhere, ())
    promote(models, home, ())
    scoped = load_scoped_models(str(models))
    both = asyncio.run(decided(world, everywhere, scoped))
    alone = {each: asyncio.run(decided(world, each, {})) for each in (everywhere, home)}
    for number, record in enumerate(both):
        which = home if record.placement == "home" else everywhere
        other = alone[which][number]
        assert record.model_version == which.name == other.model_version
        assert (record.selections, record.candidates) == (other.selections, other.candidates)
    assert {one.placement for one in both} == {"home", "outbound"}


async def decided(
    world: World, model: Path, scoped: dict[Scope, Model]
) -> list[records.DecisionRecord]:
    """What is logged of a decision at each placement for some customers, always drawn alike."""
    store = MemoryStore(clock=lambda: DEFAULT_NOW / 1_000_000)
    engine = Engine(store, EngineSettings(seed="the same"), clock=lambda: DEFAULT_NOW)
    at = from_micros(DEFAULT_NOW)
    snapshot = await build_snapshot(
        world.definition, load_model(model), store, at, durable=False, scoped=scoped
    )
    engine.use(snapshot)
    for customer in world.shop.customers[:30]:
        facts = {name: value for name, value in customer.attributes.items() if name != "segment"}
        await engine.customers.update(customer.customer_id, CustomerUpdate(attributes=facts))
        for placement in ("outbound", "home"):
            who = customer.customer_id
            await engine.decide(DecisionRequest(placement=placement, customer_id=who))
    found = [
        records.decode_decision(record.body)
        for partition in range(PARTITIONS)
        for record in await store.log_records(partition)
        if record.kind == "decision"
    ]
    return sorted(found, key=lambda one: (one.customer_id, one.placement))
