"""A server looks for sample-ratio mismatch and drift in a child process, and tells of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from decision.analytics.sample_ratio import ratio_of
from decision.core.schema import DecisionRequest
from decision.evaluation.serving_drift import ServingDrift
from decision.rulebook.checking import write_checked
from decision.scoring.scope import EVERYWHERE
from decision.scoring.versions import point_to
from decision.server.looking import look
from decision.server.looks import KEPT, Found, Looking, LookRequest, Looks, last_looks
from decision.server.notices import looked
from decision.store import MemoryStore
from tests.api.conftest import Api, running
from tests.learning.logs import SPEC, Deciding, World, train_model, write_archive

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 16, 12, tzinfo=UTC)
TEST = """
experiments:
  colour: {variants: {red: 50%, blue: 50%}, seed: colour}
rules:
  louder: {when: {experiment.colour: red}, boost: {messages: offer}, by: 2}
"""


def with_test(rules: Path) -> Path:
    file = rules / "policy.yaml"
    file.write_text(file.read_text("utf-8") + TEST, "utf-8")
    return rules


async def decide(api: Api, customers: int, variant: str | None = None) -> None:
    """Decisions for customers; with a variant for those of it alone."""
    engine = api.engine
    for number in range(customers):
        customer = f"c-{number}"
        if variant in (None, engine.snapshot.policy.variant("colour", customer)):
            await api.consent(customer)
            await engine.decide(DecisionRequest(placement="outbound", customer_id=customer))


async def test_without_an_archive_the_log_is_looked_at(rules: Path) -> None:
    async with running(with_test(rules), MemoryStore(), console=True) as api:
        await decide(api, 60, "red")
        engine = api.engine
        place = rules.parent / "place"
        place.mkdir()
        write_checked(place, engine.snapshot.policy.definition)
        looking = Looking(engine.runtime.store, engine.runtime.clock)
        found = await looking.look(engine.snapshot, place)
        (ratio,) = found.found.sample_ratios
        assert found.source == "log" and ratio.customers > 15 and ratio.mismatch
        assert found.found.problem == "" and found.found.drifts == []
        assert await last_looks(engine.runtime.store) == found
        (notice,) = looked(found, engine.snapshot)
        assert (notice.subject, notice.about) == ("experiments", "colour")
        assert "red 100.00% instead of 50.00%" in notice.text
        page = await api.client.get("/console", headers={"accept": "text/html"})
        assert "sample-ratio mismatch" in page.text and "/console/experiments" in page.text


async def test_it_is_looked_again_after_an_hour_or_when_something_else_is_in_force(
    rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[datetime] = []

    async def child(request: object) -> Found:
        made.append(NOW)
        return Found()

    monkeypatch.setattr("decision.server.looks._child", child)
    async with running(rules, MemoryStore(), console=True) as api:
        moment = api.engine.runtime.clock()
        looking = Looking(api.engine.runtime.store, lambda: moment)
        snapshot = api.engine.snapshot
        other = msgspec.structs.replace(snapshot, policy_version="other")
        for minutes, used, times in (
            (0, snapshot, 1),
            (59, snapshot, 1),
            (61, snapshot, 2),
            (64, other, 2),
            (67, other, 3),
            (-90, other, 4),  # the clock was set back
        ):
            moment = api.engine.runtime.clock() + minutes * 60_000_000
            await looking.check(used, rules)
            assert len(made) == times, minutes


async def test_an_archive_and_the_model_in_force_are_looked_at(rules: Path, tmp_path: Path) -> None:
    world, models, place = World(300), tmp_path / "models", tmp_path / "place"
    archive = write_archive(tmp_path / "log", world, Deciding(world.definition, 4.0), 1)
    version = train_model(world, models, seed=3)
    (models / "tea.yaml").write_text(SPEC + "promotion: {drift_at_most: 0.11}\n")
    point_to(models, version)
    place.mkdir()
    write_checked(place, world.definition)
    request = LookRequest(
        place=str(place),
        version=world.definition.version,
        archive=str(archive),
        models=str(models),
        served=[version.name],
    )
    found = look(request)
    [drift] = found.drifts
    assert found.problem == ""
    assert (drift.path, drift.bound) == (f"tea/{version.name}", 0.11)
    assert "too few" in drift.problem and drift.rows > 100
    (held,) = found.sample_ratios
    assert held.experiment == "holdout" and held.customers == 300
    assert look(msgspec.structs.replace(request, served=["another"])).drifts == []
    # Each model is looked at in what it scores, and no other.
    home = train_model(world, models, seed=4, spec=SPEC + "scope: {placement: nowhere}\n")
    point_to(models, home)
    both = look(msgspec.structs.replace(request, served=[version.name, home.name]))
    assert [(one.path, one.rows > 100) for one in both.drifts] == [
        (f"tea/{version.name}", True),
        (f"tea/{home.name}", False),
    ]


async def test_what_cannot_be_looked_at_is_said(rules: Path, tmp_path: Path) -> None:
    async with running(rules, MemoryStore(), console=True) as api:
        runtime = api.engine.runtime
        looking = Looking(runtime.store, runtime.clock, archive=str(tmp_path / "none"))
        found = await looking.look(api.engine.snapshot, tmp_path)
        assert "No such file" in found.found.problem
        assert looked(found, api.engine.snapshot) == []
        await runtime.store.put_blob(KEPT, b"{}")
        assert await last_looks(runtime.store) is None


def looks(**found: Any) -> Looks:
    return Looks(at=NOW, policy="p", served=["m1"], source="archive", found=Found(**found))


async def test_notices_are_of_what_is_in_force(rules: Path) -> None:
    drifted = ServingDrift(
        name="click",
        version="m1",
        rows=5_000,
        since=NOW - timedelta(days=7),
        until=NOW,
        indexes={"customer.tier": 0.41, "time.hour": 0.26, "customer.age": 0.25},
    )
    ratio = ratio_of("gone", [("a", 0.5, 100), ("b", 0.5, 0)])
    found = looks(drifts=[drifted], sample_ratios=[ratio])
    async with running(rules, MemoryStore(), console=True) as api:
        snapshot = api.engine.snapshot
        assert looked(found, snapshot) == []  # another model, and no such experiment
        in_force: Any = SimpleNamespace(version="m1")
        served = msgspec.structs.replace(snapshot, models={EVERYWHERE: in_force})
        (notice,) = looked(found, served)
        assert (notice.subject, notice.about) == ("models", "click/m1")
        assert "customer.tier 0.41, time.hour 0.26 (at most 0.25)" in notice.text
        assert looked(None, served) == []
