"""Several models score one decision, each its own candidates; the log says which scored what."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from decision.archive.decision_rows import decisions_table
from decision.core import logged_scores, records
from decision.core.clock import from_micros
from decision.core.schema import CustomerUpdate, Decision, DecisionRequest
from decision.engine import Engine, EngineSettings, Snapshot, build_snapshot
from decision.scoring.loading import load_model
from decision.scoring.model import Model
from decision.scoring.scope import EVERYWHERE, Scope
from decision.store.keys import PARTITIONS
from decision.store.memory_store import MemoryStore
from tests.learning.logs import definition_of
from tests.scoring.build import NOW, SPEC, small_model

RULES = """\
settings: {timezone: Asia/Shanghai, currency: CNY, exploration: 4}
purposes: {marketing: {consent: not_required}, service: {consent: not_required}}
channels: {email: {}, push: {}}
placements: {home: {channels: [email, push]}, inbox: {channels: [email, push]}}
messages:
  winback: {purpose: marketing, category: retention, tags: [coupon], channels: [email, push], value: 4, content: {title: t}}
  news: {purpose: service, category: care, channels: [email, push], value: 4, content: {title: t}}
"""
pytestmark = pytest.mark.anyio

HOME, SERVICE = Scope(placement="home"), Scope(purpose="service")
SERVICE_AT_HOME = Scope(placement="home", purpose="service")
PLACEMENTS = ("home", "inbox")
PURPOSES = {"winback": "marketing", "news": "service"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Model]:
    """Four that differ."""
    folder = tmp_path_factory.mktemp("models")
    specs = [SPEC.replace("rounds: 15", f"rounds: {rounds}") for rounds in (3, 6, 9, 12)]
    found = [load_model(small_model(folder, spec, rows=400)) for spec in specs]
    assert len({one.version for one in found}) == 4
    return found


async def decided(
    served: Mapping[Scope, Model],
    challengers: Mapping[Scope, Model] | None = None,
    missing: Sequence[Scope] = (),
    limit: int = 1,
) -> tuple[Engine, list[Decision], list[records.DecisionRecord]]:
    """Decisions for some customers at both placements, always drawn alike: answers and records."""
    store = MemoryStore(clock=lambda: NOW / 1_000_000)
    engine = Engine(store, EngineSettings(seed="the same"), clock=lambda: NOW)
    scoped = {scope: one for scope, one in served.items() if scope != EVERYWHERE}
    snapshot = await build_snapshot(
        definition_of(RULES),
        served.get(EVERYWHERE),
        store,
        from_micros(NOW),
        durable=False,
        scoped=scoped,
        challengers=challengers or {},
        missing=missing,
    )
    engine.use(snapshot)
    answers = []
    for number in range(12):
        facts = {"country": ("中国", "DE", "US")[number % 3], "age": 20 + 3 * number}
        await engine.customers.update(f"c{number}", CustomerUpdate(attributes=facts))
        for placement in PLACEMENTS:
            asked = DecisionRequest(placement=placement, customer_id=f"c{number}", limit=limit)
            answers.append(await engine.decide(asked))
    found = [
        records.decode_decision(record.body)
        for partition in range(PARTITIONS)
        for record in await store.log_records(partition)
        if record.kind == "decision"
    ]
    return engine, answers, sorted(found, key=_order)


def archived(engine: Engine, found: Sequence[records.DecisionRecord]) -> list[dict[str, Any]]:
    """The rows of some records in an archive."""
    lines = [records.line_of(one) for one in found]
    rows: list[dict[str, Any]] = decisions_table(
        lines, engine.snapshot.policy.candidates, {}
    ).to_pylist()
    return rows


def _order(record: records.DecisionRecord) -> tuple[str, str]:
    return record.customer_id, record.placement


def said(engine: Engine, record: records.DecisionRecord) -> dict[str, tuple[float, str]]:
    """Candidate → its probability, by message/channel, and the purpose of its message."""
    names = engine.snapshot.policy.candidates
    return {
        f"{names[row[0]].message}/{names[row[0]].channel}": (row[1], names[row[0]].purpose)
        for row in logged_scores.unpack_scores(record.candidates)
    }


@pytest.mark.parametrize(
    "scopes",
    [
        (EVERYWHERE, SERVICE),
        (EVERYWHERE, HOME, SERVICE),
        (EVERYWHERE, HOME, SERVICE, SERVICE_AT_HOME),
        (SERVICE_AT_HOME, EVERYWHERE),
    ],
)
async def test_each_candidate_is_scored_by_the_model_of_its_narrowest_scope(
    models: list[Model], scopes: tuple[Scope, ...]
) -> None:
    """Bit for bit as that model alone scores it."""
    served = dict(zip(scopes, models, strict=False))
    alone = {}
    for scope, model in served.items():
        engine, _, found = await decided({EVERYWHERE: model})
        alone[scope] = {_order(one): said(engine, one) for one in found}
    engine, _, found = await decided(served)
    seen = set()
    for record in found:
        names = engine.snapshot.policy.candidates
        versions = {}
        if record.models is not None:
            places = np.frombuffer(record.candidates.candidates, "<u2").tolist()
            by = record.models.by_survivor()
            versions = {names[place].purpose: one for place, one in zip(places, by, strict=True)}
        for name, (probability, purpose) in said(engine, record).items():
            wider = Scope(placement=record.placement, purpose=purpose).wider()
            scope = next(one for one in wider if one in served)
            seen.add(scope)
            if name in alone[scope][_order(record)]:  # caps and draws before may differ
                assert probability == alone[scope][_order(record)][name][0]
            assert versions.get(purpose, record.model_version) == served[scope].version
    assert len(found) == 24 and seen == set(scopes)


async def test_the_log_the_answer_and_a_look_back_say_which_version_scored_what(
    models: list[Model],
) -> None:
    served = {EVERYWHERE: models[0], SERVICE: models[1]}
    engine, answers, found = await decided(served, limit=2)
    by_purpose = {"marketing": models[0].version, "service": models[1].version}
    assert any(len(one.selections) == 2 for one in answers)
    for answer in answers:
        given = [by_purpose[PURPOSES[one.message]] for one in answer.selections]
        assert [one.model_version for one in answer.selections] == given
        assert answer.model_version == given[0]
        again = await engine.replay.find(answer.decision_id)
        assert again is not None
        assert again.model_version == answer.model_version
        assert again.selections == [
            msgspec.structs.replace(one, reserved_until=two.reserved_until)
            for one, two in zip(answer.selections, again.selections, strict=True)
        ]
    rows = archived(engine, found)
    for row in rows:
        assert row["model_version"] == by_purpose[PURPOSES[row["message"]]]
        for one in row["candidates"]:
            assert one["model_version"] == by_purpose[PURPOSES[one["message"]]]
    engine, answers, found = await decided({EVERYWHERE: models[0]})
    assert all(one.models is None for one in found)
    assert b"model_version" not in msgspec.json.encode(answers[0].selections)
    rows = archived(engine, found)
    assert {one["model_version"] for row in rows for one in row["candidates"]} == {None}


async def test_what_is_scored_without_its_model_is_degraded(models: list[Model]) -> None:
    """The wider one stands in, or a prior; a decision without such a candidate says nothing."""
    everywhere, service = models[:2]

    async def degraded(
        served: Mapping[Scope, Model], missing: Sequence[Scope] = ()
    ) -> tuple[Snapshot, dict[str, set[bool]]]:
        engine, _, found = await decided(served, missing=missing)
        by = {
            one: {"model" in r.degraded for r in found if r.placement == one} for one in PLACEMENTS
        }
        return engine.snapshot, by

    whole = {"home": {False}, "inbox": {False}}
    snapshot, found = await degraded({EVERYWHERE: everywhere, SERVICE: service})
    assert found == whole and snapshot.scores_all
    for missing in ([SERVICE], [SERVICE_AT_HOME], [HOME]):
        snapshot, found = await degraded({EVERYWHERE: everywhere}, missing)
        at_home = missing[0].placement is not None
        assert found == {"home": {True}, "inbox": {not at_home}} and not snapshot.scores_all
    snapshot, found = await degraded({SERVICE: service})
    assert found == {"home": {True}, "inbox": {True}} and not snapshot.scores_all
    snapshot, found = await degraded({SERVICE: service, Scope(purpose="marketing"): everywhere})
    assert found == whole and snapshot.scores_all


async def test_each_scope_has_a_challenger_of_its_own(models: list[Model]) -> None:
    """It is heard about what it would score if it were in force, and changes nothing."""
    everywhere, at_home, service, other = models
    served = {EVERYWHERE: everywhere, HOME: at_home}
    plain = (await decided(served))[2]
    cases: list[dict[Scope, Model]] = [
        {SERVICE: service},
        {HOME: service, EVERYWHERE: other},
        {SERVICE_AT_HOME: service, SERVICE: other, EVERYWHERE: at_home},
    ]
    for challengers in cases:
        engine, _, found = await decided(served, challengers)
        rows = archived(engine, found)
        assert [(one.candidates, one.draws, one.selections) for one in found] == [
            (one.candidates, one.draws, one.selections) for one in plain
        ]
        heard = set()
        for row in rows:
            for one in row["candidates"]:
                if one["response_probability"] is None:
                    continue
                wider = Scope(placement=row["placement"], purpose=PURPOSES[one["message"]]).wider()
                own = next(scope for scope in wider if scope in {*served, *challengers})
                assert (one["shadow_probability"] is not None) == (own in challengers)
                heard |= {own} & {*challengers}
                if one["message"] == row["message"] and one["channel"] == row["channel"]:
                    version = challengers[own].version if own in challengers else None
                    assert row["shadow_version"] == version
        assert heard == {*challengers}


async def test_scopes_that_the_policy_does_not_have_change_nothing(models: list[Model]) -> None:
    plain = (await decided({EVERYWHERE: models[0]}))[2]
    strange = Scope(placement="elsewhere"), Scope(purpose="none"), Scope(placement="x", purpose="y")
    served = {EVERYWHERE: models[0], **dict.fromkeys(strange, models[1])}
    engine, _, found = await decided(served)
    assert engine.snapshot.mixed is None and engine.snapshot.own == {}
    for one, other in itertools.zip_longest(plain, found):
        assert (one.candidates, one.selections, one.model_version) == (
            other.candidates,
            other.selections,
            other.model_version,
        )
