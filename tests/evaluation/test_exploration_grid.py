"""What exploration costs and brings, and the γ that is proposed: against policies whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.clock import DAY, from_micros
from decision.evaluation.exploration_grid import (
    ExplorationReport,
    ExplorationResult,
    learned_from,
    proposal,
    weigh,
)
from decision.evaluation.gather import GatheredLog
from decision.evaluation.report import EvaluationOptions
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import GRID, RANDOM, WHOLE, Candidate
from decision.learning.spec import parse_spec
from decision.learning.table import table_of_rows
from decision.learning.train import train
from decision.scoring.loading import load_model
from tests.learning.logs import RULES, Deciding, World, definition_of, write_archive

# ------------------------------------------------- a bandit in closed form

PRIORITY = np.array([1.0, 0.9, 0.5, 0.2])
TRUE = np.array([0.5, 0.4, 0.45, 0.1])
"""The model is wrong about the third: exploration costs less there than it believes."""
LOGGED_AT = 10.0


def weights(gamma: float | None) -> np.ndarray:
    """Inverse-gap weighting of PRIORITY, written out."""
    if gamma is None:
        return np.array([1.0, 0, 0, 0])
    rest = 1 / (4 + gamma * (1.0 - PRIORITY[1:]))
    return np.array([1 - rest.sum(), *rest])


def loss(gamma: float | None) -> float:
    return float(1 - weights(gamma) @ TRUE / TRUE[0])


def log_of(decisions: int, generator: np.random.Generator) -> GatheredLog:
    """As it is gathered from a log at γ = 10, of as many customers."""
    names = ["a/push", "b/push", "c/push", "d/push"]
    found = GatheredLog((WHOLE, *GRID), ())
    drawn = generator.choice(4, decisions, p=weights(LOGGED_AT))
    expected = PRIORITY / 2
    found.reached.extend((generator.random(decisions) < TRUE[drawn]).astype(float).tolist())
    found.worth.extend([1.0] * decisions)
    found.cost.extend([0.0] * decisions)
    found.logged.extend(weights(LOGGED_AT)[drawn].tolist())
    found.expected.extend(expected[drawn].tolist())
    found.customer.extend(range(decisions))
    found.open = decisions
    places = found.numbers_of(names)
    for name, target in found.targets.items():
        share = weights(LOGGED_AT if name == WHOLE else GRID[name])
        target.probability.extend(share[drawn].tolist())
        target.response.extend([float(share @ expected)] * decisions)
        target.value.extend([float(share @ expected)] * decisions)
        target.unsupported.extend([0.0] * decisions)
        target.given[places] = share * decisions
        with np.errstate(divide="ignore"):
            target.squares = float((weights(GRID[RANDOM]) ** 2 / share).sum()) * decisions
    return found


def weighed(found: GatheredLog, most: float, rows: int | None = None) -> ExplorationReport:
    cluster = np.arange(len(found))
    return weigh(found, cluster, most, 0.95, days=10, learned_from=rows)


def test_intervals_hold_the_loss_and_what_is_proposed_seldom_loses_more() -> None:
    """120 logs of 1,500 decisions: the loss of each γ in closed form."""
    generator = np.random.default_rng(4)
    runs, most = 120, 0.06
    held = dict.fromkeys(GRID, 0)
    proposed: list[float] = []
    for _ in range(runs):
        report = weighed(log_of(1_500, generator), most)
        for one in report.grid:
            low, high = one.loss_interval or (1.0, 0.0)
            held[one.name] += low - 1e-12 <= loss(one.gamma) <= high + 1e-12
        if report.proposed is not None:
            proposed.append(report.proposed)
    assert min(held.values()) >= 0.9 * runs, held
    assert sum(loss(gamma) > most for gamma in proposed) <= 0.05 * runs
    # And it is of use: in most logs one is proposed that explores some ten times as much as the last.
    assert np.median([loss(gamma) for gamma in proposed]) > most / 4
    assert len(proposed) > 0.95 * runs


def test_evidence_is_in_closed_form() -> None:
    """The least chosen message is the last one; what a random policy's log is worth is 1,000."""
    report = weighed(log_of(1_000, np.random.default_rng(1)), 0.05)
    for one in report.grid:
        share = weights(one.gamma)
        assert one.least_message == "d" or one.gamma in (0.0, None)  # there, several are equal
        assert one.least_a_day == pytest.approx(share[1:].min() * 1_000 / 10)
        worth = 0.0 if one.gamma is None else 1_000 / float((1 / 16 / share).sum())
        assert one.next_effective_sample == pytest.approx(worth)
    assert report.grid[0].next_effective_sample == pytest.approx(1_000)
    assert report.grid[-1].loss == 0 and report.grid[-1].loss_interval == (0, 0)


def test_the_schedule_that_is_said_has_the_proposed_gamma_at_the_rows_of_the_model() -> None:
    report = weighed(log_of(3_000, np.random.default_rng(2)), 0.05, rows=2_345)
    assert report.proposed is not None and report.rows == 2_345
    for part in report.said.split(" exploration: ")[1:]:
        said = part.partition("; ")[0].partition(", which")[0]
        spec = parse_spec(
            "x.yaml", f"name: x\nfeatures: {{customer.a: numeric}}\nexploration: {said}\n"
        )
        assert spec.exploration_at(2_345) == pytest.approx(report.proposed), said
    assert report.said.count(" exploration: ") == 2


def test_a_log_that_says_nothing_of_a_loss_gets_no_proposal_but_the_reason() -> None:
    """Nobody responds; too few decisions; never logged; a loss smaller than can be shown."""
    nobody = log_of(500, np.random.default_rng(3))
    for place in range(500):
        nobody.reached[place] = nobody.expected[place] = 0.0
    for target in nobody.targets.values():
        target.value[:] = type(target.value)("d", [0.0] * 500)
    assert "earns no value above 0" in weighed(nobody, 0.05).said
    few = weighed(log_of(90, np.random.default_rng(3)), 0.05)
    assert few.proposed is None and "100 are needed" in few.said
    unseen = log_of(2_000, np.random.default_rng(3))
    for place in range(2_000):
        unseen.targets["γ 5000"].unsupported[place] = 0.2
    never = weighed(unseen, 0.05)
    assert never.proposed is None and "20.0% are choices that could not have happened" in never.said
    tiny = weighed(log_of(2_000, np.random.default_rng(3)), 1e-6)
    assert tiny.proposed is None and "more decisions would tell" in tiny.said


@given(
    st.lists(st.floats(-0.1, 0.3), min_size=12, max_size=12),
    st.floats(0.001, 0.2),
    st.sets(st.integers(0, 11)),
)
def test_what_is_proposed_and_all_that_explores_less_is_shown(
    highs: list[float], most: float, unknown: set[int]
) -> None:
    grid = [
        ExplorationResult(
            name=name,
            gamma=gamma,
            loss=high,
            loss_interval=(high, high),
            least_message=None,
            least_a_day=None,
            effective_sample=1_000.0,
            next_effective_sample=0.0,
            unsupported=0.5 if place in unknown else 0.0,
        )
        for place, ((name, gamma), high) in enumerate(zip(GRID.items(), highs, strict=True))
    ]
    found = proposal(grid, most)
    shown = [one.shows(most) for one in grid if one.gamma is not None]
    from_here = len(shown) if found is None else grid.index(found)
    assert all(shown[from_here:]) and not any(shown[max(0, from_here - 1) : from_here])


# ------------------------------------------------- from an archive


@pytest.fixture(scope="module")
def world() -> World:
    return World(500)


def judged(archive: Path, exploration: float | None = None, most: float = 0.1) -> ExplorationReport:
    candidate = Candidate(exploration=exploration)
    request = EvaluationRequest(exploration_loss=0.1, options=EvaluationOptions(bootstrap=0))
    report = evaluate(archive, candidate, request)
    assert [policy.name for policy in report.policies] == [WHOLE]
    assert report.exploration is not None
    return report.exploration


def test_an_archive_says_what_each_gamma_would_truly_lose_and_bring(
    world: World, tmp_path: Path
) -> None:
    """Decided again under each γ by the test itself, and weighed with what responds in truth."""
    archive = write_archive(tmp_path, world, Deciding(world.definition, 4.0), 1)
    report = judged(archive, 60.0)
    policy = Deciding(world.definition, 4.0).policy
    worth = np.array([world.truth(policy, moment) for moment in world.moments])
    worth = worth * policy.message_values - policy.costs
    chances = {
        gamma: np.array(list(map(Deciding(world.definition, gamma).chances, world.moments)))
        for gamma in (*GRID.values(), 60.0)
    }
    random = chances[0.0]
    earned = {gamma: float((share * worth).sum()) for gamma, share in chances.items()}
    days = (world.moments[-1].at + 3 * DAY - world.moments[0].at) / DAY
    by_message: dict[str, list[int]] = {}
    for place, info in enumerate(policy.candidates):
        by_message.setdefault(info.message, []).append(place)
    for one in [*report.grid, report.as_it_is]:
        gamma = 60.0 if one is report.as_it_is else one.gamma
        assert one.loss is not None and one.loss_interval is not None
        error = (one.loss_interval[1] - one.loss_interval[0]) / 3.92
        assert abs(one.loss - (1 - earned[gamma] / earned[None])) <= 3.5 * error + 1e-12, one.name
        share = chances[gamma]
        assert one.least_message is not None and one.least_a_day is not None
        given = share[:, by_message[one.least_message]].sum()
        assert one.least_a_day == pytest.approx(given / days, rel=1e-6)
        drawn = random > 0
        with np.errstate(divide="ignore"):
            squares = (random[drawn] ** 2 / share[drawn]).sum()
        assert one.next_effective_sample == pytest.approx(1_000 * drawn.any(axis=1).sum() / squares)
    assert report.proposed in GRID.values()


def test_what_a_log_without_exploration_never_chose_counts_as_lost(
    world: World, tmp_path: Path
) -> None:
    """So exploring can begin: at a γ that loses little even if what it tries earns nothing."""
    definition = definition_of(RULES.replace("exploration: 4", "exploration: off"))
    archive = write_archive(tmp_path, world, Deciding(definition, None), 1)
    report = judged(archive)
    for one in report.grid[::5]:
        chances = list(map(Deciding(definition, one.gamma).chances, world.moments))
        tried = float(np.mean([share.sum() - share.max() for share in chances]))
        assert one.unsupported == pytest.approx(tried, rel=1e-6)
        assert one.loss_at_most is not None and one.loss_at_most >= one.unsupported
    assert report.proposed is not None and report.proposed > 100


def test_the_rows_that_a_schedule_saw_are_known_of_a_version(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    rows = [
        {"customer.a": value, "message.name": "m", "message.channel": "c"}
        for value in generator.random(600).tolist()
    ]
    labels = [float(row["customer.a"] > 0.5) for row in rows]
    customers = [f"c{place}" for place in range(600)]
    for cross_fit in ("", "cross_fit: 2\n"):
        spec = parse_spec(
            "x.yaml",
            "name: x\nfeatures: {customer.a: numeric}\nrounds: 3\nlightgbm: {num_threads: 1}\n"
            f"exploration: {{from: 20, to: 1000, over: 30000}}\n{cross_fit}",
        )
        table = table_of_rows(rows, labels, time=list(range(600)), customer=customers)
        created = from_micros(0)
        folder = train(spec, table, tmp_path, created_at=created, report=False)
        model = load_model(folder)
        seen = learned_from(model, cross_fitted=bool(cross_fit))
        assert seen is not None and model.manifest.exploration == spec.exploration_at(seen)
