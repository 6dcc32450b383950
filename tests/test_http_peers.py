"""The peers of `benchmarks.http` decide as nextbest does, so that their cost can be compared."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest

from benchmarks._http.cases import Site
from benchmarks._http.load import body_of
from benchmarks._standard import (
    CHANNELS,
    EVENT_TYPES,
    NOW,
    fill,
    made_up,
    rules_text,
    train_standard,
)
from decision.core.clock import HOUR, SECOND, from_micros
from decision.core.decide import Question, Verdict, decide
from decision.core.document import Document
from decision.core.schema import TriggerEvent
from decision.engine import Engine, EngineSettings, Snapshot, build_snapshot
from decision.scoring.loading import load_model
from decision.scoring.model import Model
from decision.scoring.versions import point_to
from decision.store import MemoryStore

CUSTOMERS = 40


def test_a_straightforward_service_decides_the_same(tmp_path):
    """Survivors, probabilities, priorities, and who is chosen, whatever is drawn."""
    pytest.importorskip("fastapi", reason="`make bench` installs fastapi, in a folder of its own")
    from benchmarks._http.peers import export, service

    for name in ("rules", "models"):
        (tmp_path / name).mkdir()
    (tmp_path / "rules" / "rules.yaml").write_text(rules_text(), "utf-8")
    version = train_standard(tmp_path / "models")
    point_to(tmp_path / "models", version)
    data, trees = export.write(Site(tmp_path, "", "", []))
    theirs = service.Policy(json.loads(data.read_text()), trees.read_text())

    snapshot, documents = asyncio.run(loaded(load_model(version)))
    chosen, capped = set(), 0
    for place, document in enumerate(documents):
        name, draw = document.customer_id, place / CUSTOMERS
        if place % 3 == 0:
            only_lately(document)
        customer = service.Customer(**export.customer_of(document))
        pick, record = theirs.decide(customer, service.Request(**body_of(name)), NOW / SECOND, draw)
        ours = verdict_of(snapshot, document, draw)
        rows = [
            (
                info.message,
                info.channel,
                row.response_probability,
                row.priority,
                row.selection_probability,
            )
            for row in ours.scores.rows()
            for info in (snapshot.policy.candidates[row.candidate],)
        ]
        assert [row[:2] for row in record["candidates"]] == [row[:2] for row in rows]
        for got, wanted in zip(record["candidates"], rows, strict=True):
            assert got[2:] == pytest.approx(wanted[2:], rel=1e-9, abs=1e-12)
        given = snapshot.policy.candidates[ours.chosen[0].candidate]
        assert pick is not None and (pick[0]["name"], pick[1]) == (given.message, given.channel)
        chosen.add(given.message)
        capped += bool(ours.standing.capped)
    assert len(chosen) > 5 and capped > 5  # else little is compared


async def loaded(model: Model) -> tuple[Snapshot, list[Document]]:
    """The standard and its customers."""
    store = MemoryStore()
    await store.start()
    engine = Engine(store, EngineSettings(), clock=lambda: NOW)
    definition = made_up(CHANNELS, rules=50, event_types=EVENT_TYPES)
    engine.use(await build_snapshot(definition, model, store, from_micros(NOW)))
    names = await fill(engine, store, CUSTOMERS, 24, event_types=EVENT_TYPES)
    return engine.snapshot, [(await store.read(name)).document for name in names]


def only_lately(document: Document) -> None:
    """All contacts of a customer are of one kind, and of the last hours: some caps are full."""
    kind = document.contacts[0].kind
    document.contacts = [
        contact._replace(kind=kind, at=NOW - (20 - place) * HOUR)
        for place, contact in enumerate(document.contacts)
    ]


def verdict_of(snapshot: Snapshot, document: Document, draw: float) -> Verdict:
    """What nextbest decides, by the number drawn."""
    asked = body_of(document.customer_id)
    return decide(
        snapshot.policy,
        snapshot.matcher,
        snapshot.scorer,
        document,
        Question(
            placement=asked["placement"],
            event=msgspec.convert(asked["event"], TriggerEvent),
            context=asked["context"],
        ),
        NOW,
        lambda: draw,
        exploration=snapshot.exploration,
        contents=snapshot.contents,
    )
