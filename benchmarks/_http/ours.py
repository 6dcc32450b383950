"""Parts of a decision of nextbest by themselves, as peers do them: µs of CPU of this process."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import msgspec

from benchmarks._http.cases import Site
from benchmarks._http.load import body_of
from benchmarks._http.timing import AT_ONCE, cost
from decision.core import business_rules
from decision.core.arbitration import arbitrate, prioritise
from decision.core.clock import from_micros
from decision.core.decide import Question, decide
from decision.core.document import Document
from decision.core.masks import Indices, indices, mask_of
from decision.core.schema import DecisionRequest
from decision.core.values import Value
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.engine.runtime import wall_clock
from decision.rulebook.reader import load_folder
from decision.scoring.model import Model
from decision.store import RedisStore

_READS: Final = 50
"""Reads of each of those under way, in one run of the loop."""


class Scored(NamedTuple):
    """What is scored for one customer: survivors, the values of the fields, and the rest asked."""

    document: Document
    values: list[Value]
    candidates: Indices
    fired: int
    question: Question
    now: int


def request_of(customer: str) -> DecisionRequest:
    """The request for a customer."""
    return msgspec.convert(body_of(customer), DecisionRequest)


@asynccontextmanager
async def engine_of(site: Site, model: Model | None = None) -> AsyncIterator[Engine]:
    """An engine with the rules of a site, over its Redis."""
    store = RedisStore(site.url, prefix=site.prefix)
    await store.start()
    engine = Engine(store, EngineSettings(timeout=60.0))
    read = load_folder(site.folder / "rules")
    assert read.definition is not None, read.errors
    engine.use(await build_snapshot(read.definition, model, store, from_micros(wall_clock())))
    try:
        yield engine
    finally:
        await store.close()


async def question_of(engine: Engine, customer: str) -> Scored:
    """What is scored for a customer now."""
    snapshot, request, now = engine.snapshot, request_of(customer), wall_clock()
    document = (await engine.runtime.store.read(customer)).document
    question = Question(placement=request.placement, event=request.event, context=request.context)
    verdict = decide(
        snapshot.policy, snapshot.matcher, snapshot.scorer, document, question, now, lambda: 0.5
    )
    rows = verdict.scores.candidates
    return Scored(document, verdict.values, rows, verdict.fired, question, now)


def rules_cost(engine: Engine, scored: Scored) -> float:
    """All business rules, for one customer."""
    snapshot, policy = engine.snapshot, engine.snapshot.policy

    def run() -> int:
        given, slot = list(scored.values), policy.fields.slot
        return business_rules.run(policy.rule_strata, policy.rules, snapshot.matcher, given, slot)

    return cost(run)


def draw_cost(engine: Engine, scored: Scored) -> float:
    """Scores of all survivors, priorities, and the draw."""
    snapshot, policy, now = engine.snapshot, engine.snapshot.policy, scored.now
    document, values, candidates = scored.document, scored.values, scored.candidates
    zone = policy.zone_of(document)
    alive = mask_of(candidates.tolist())

    def run() -> object:
        found = snapshot.scorer.score(candidates, values, document, now)
        scores = prioritise(snapshot.arithmetic, alive, candidates, found, scored.fired)
        standing = policy.contact_policy.standing(document, now, zone, values)
        rest = (standing, {}, lambda: 0.5, snapshot.exploration, snapshot.arithmetic)
        return arbitrate(policy, document, now, 1, scores, alive, *rest)

    return cost(run)


def read_cost(url: str, prefix: str, customers: list[str]) -> float:
    """A read of a customer from Redis, decoded, `AT_ONCE` under way, in the loop that servers have."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        store = RedisStore(url, prefix=prefix)
        runner.run(store.start())
        turn = itertools.cycle(customers)

        async def reads() -> None:
            for _ in range(_READS):
                await store.read(next(turn))

        async def at_once() -> None:
            await asyncio.gather(*(reads() for _ in range(AT_ONCE)))

        found = cost(lambda: runner.run(at_once())) / _READS / AT_ONCE
        runner.run(store.close())
        return found


def fired_rules(scored: Scored) -> list[str]:
    """The numbers of the rules that hold, in their order."""
    return [str(number) for number in indices(scored.fired)]


def values_of(engine: Engine, scored: Scored) -> dict[str, Any]:
    """Field → value, of the fields that have one which JSON can say."""
    fields = engine.snapshot.policy.fields
    found = {name: scored.values[fields.slot(name)] for name in fields.names()}
    return {name: value for name, value in found.items() if isinstance(value, int | float | str)}
