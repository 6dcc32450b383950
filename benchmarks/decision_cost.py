"""One decision, step by step: microseconds of CPU of the process that decides.

    python -m benchmarks.decision_cost
    python -m benchmarks.decision_cost --growth

Two policies: the sample's, and a made-up one with 100 candidates that are all asked. Both with a
customer of 20 contacts, the sample model and the rule engine. The CPU is that of this process
(`time.process_time`), Redis's own left out; the best of several rounds counts, because whatever
else the machine does can only add to it. `masks` is what is left of the pure decision without
the steps that are measured by themselves.

`--growth` measures whole decisions of the standard with 10 to 1,000 candidates, half of which
survive, and with 10 to 1,000 rules, all with the store in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks._standard import (
    AT_ONCE,
    ATTRIBUTES,
    EVENT_TYPES,
    NOW,
    Store,
    fill,
    made_up,
    rules_text,
    train_standard,
)
from decision.core import business_rules, calendar, records
from decision.core.arbitration import arbitrate, prioritise
from decision.core.decide import Question, Verdict, decide
from decision.core.definition import PolicyDefinition
from decision.core.document import Document
from decision.core.fields import Situation
from decision.core.masks import mask_of, positions
from decision.core.ports import Commit, Committed, Conflict
from decision.core.schema import DecisionRequest, TriggerEvent
from decision.engine import Engine, EngineSettings, Snapshot, build_snapshot
from decision.rulebook.reader import load_files, load_folder
from decision.scoring.loading import load_model
from decision.scoring.model import Model
from decision.store import EmbeddedRedis, MemoryStore, RedisStore

ROOT = Path(__file__).resolve().parents[1]
CUSTOMERS = 1000
BATCH = 200
COMMITS = 2_000
SECONDS = 0.15
ROUNDS = 5

GROWING = 60
"""Customers that decide while something else grows."""
GROWTH = {"candidates": (10, 100, 1000), "rules": (10, 100, 1000)}
MOST_GROWTH = {"candidates": 5.0, "rules": 4.0}
"""How many times the cost of the fewest the most may cost."""

PURE = "the pure decision, all of it"
ENCODE = "encode the log record"

Step = tuple[str, float]


class Listening(MemoryStore):
    """A store that remembers the last commit."""

    last: Commit | None = None

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Committed | Conflict:
        self.last = commit
        return await super().commit(commit, timeout=timeout)


def cost(call: Callable[[], object]) -> float:
    """Microseconds of CPU of one call."""
    call()
    calls = 1
    while _spent(call, calls) < SECONDS / 10:
        calls *= 2
    calls = max(1, calls * 10 // 2)
    return min(_spent(call, calls) for _ in range(ROUNDS)) / calls * 1e6


def _spent(call: Callable[[], object], calls: int) -> float:
    began = time.process_time()
    for _ in range(calls):
        call()
    return time.process_time() - began


async def cost_at_once(
    call: Callable[[int], Awaitable[object]], calls: int, start: int = 0
) -> float:
    """Microseconds of CPU of one call, with so many at a time."""
    numbers = iter(range(start, start + calls))

    async def work() -> None:
        for number in numbers:
            await call(number)

    began = time.process_time()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return (time.process_time() - began) / calls * 1e6


def sample() -> PolicyDefinition:
    definition = load_folder(ROOT / "rules").definition
    assert definition is not None, "the sample's rules have errors: nextbest check rules"
    return definition


def request_for(customer_id: str) -> DecisionRequest:
    return DecisionRequest(
        customer_id=customer_id,
        placement="outbound",
        event=TriggerEvent(type="cart_add", properties={"cart_value": 320}),
        context={"device": "ios"},
    )


async def make_engine(definition: PolicyDefinition, model: Model | None, store: Store) -> Engine:
    await store.start()
    engine = Engine(store, EngineSettings(timeout=60.0), clock=lambda: NOW)
    engine.use(await build_snapshot(definition, model, store, datetime.now(UTC)))
    return engine


def verdict_of(snapshot: Snapshot, document: Document, request: DecisionRequest) -> Verdict:
    """The pure decision alone."""
    return decide(
        snapshot.policy,
        snapshot.matcher,
        snapshot.scorer,
        document,
        Question(placement=request.placement, event=request.event, context=request.context),
        NOW,
        lambda: 0.3,
        exploration=snapshot.exploration,
        contents=snapshot.contents,
        arithmetic=snapshot.arithmetic,
    )


async def measure(
    definition: PolicyDefinition, model: Model | None, url: str, prefix: str
) -> list[Step]:
    """The steps and their cost, then whole decisions."""
    store = Listening()
    engine = await make_engine(definition, model, store)
    names = await fill(engine, store)
    steps = await _pure_steps(engine, store, names)
    assert store.last is not None
    steps += [(ENCODE, _encode_cost(store.last))]

    redis = RedisStore(url, prefix=prefix)
    on_redis = await make_engine(definition, model, redis)
    await fill(on_redis, redis)
    for where, commits in (("memory", store), ("Redis", redis)):
        steps.append((f"commit ({where})", await _commit_cost(commits, store.last)))
    for where, whole in (("memory", engine), ("Redis", on_redis)):

        async def one(number: int, whole: Engine = whole) -> None:
            await whole.decide(request_for(names[number]))

        costs = [await cost_at_once(one, BATCH, start) for start in range(0, CUSTOMERS, BATCH)]
        steps.append((f"all of Engine.decide ({where})", min(costs)))
    await redis.close()
    known = dict(steps)
    parts = ("decode the document", PURE, ENCODE, "commit (memory)")
    rest = known["all of Engine.decide (memory)"] - sum(known[part] for part in parts)
    return [*steps[:-2], ("the rest: answer, content, features to log", rest), *steps[-2:]]


async def _pure_steps(engine: Engine, store: Listening, names: list[str]) -> list[Step]:
    """The steps of the pure decision, for the customer with the median number of survivors."""
    snapshot = engine.snapshot
    policy = snapshot.policy
    request = request_for("")
    survivors = []
    for name in names:
        found = await store.read(name)
        survivors.append(
            (len(verdict_of(snapshot, found.document, request).scores.candidates), name)
        )
    survivors.sort()
    median = next(entry for entry in survivors[len(survivors) // 2 :] if entry[0])
    document = (await store.read(median[1])).document
    raw = store.pack(document)
    zone = calendar.zone("Asia/Shanghai")
    situation = Situation(
        document, "outbound", NOW, zone, request.event, request.context, policy.variant
    )
    values = policy.fields.read(situation)
    candidates = verdict_of(snapshot, document, request).scores.candidates
    probabilities = snapshot.scorer.score(candidates, values, document, NOW)
    standing = policy.contact_policy.standing(document, NOW, zone, values)
    alive = mask_of(candidates.tolist())

    def run_rules() -> None:
        business_rules.run(
            policy.rule_strata, policy.rules, snapshot.matcher, list(values), policy.fields.slot
        )

    def draw() -> None:
        scores = prioritise(snapshot.arithmetic, alive, candidates, probabilities, 0)
        rest = (standing, {}, lambda: 0.3, snapshot.exploration, snapshot.arithmetic)
        arbitrate(policy, document, NOW, 1, scores, alive, *rest)

    steps = [
        ("decode the document", cost(lambda: store.unpack(document.customer_id, raw))),
        ("read the fields", cost(lambda: policy.fields.read(situation))),
        (f"business rules ({len(policy.rules)}, durable-rules)", cost(run_rules)),
    ]
    scoring = cost(lambda: snapshot.scorer.score(positions(alive), values, document, NOW))
    drawing = cost(draw)
    whole = cost(lambda: verdict_of(snapshot, document, request))
    masks = whole - steps[1][1] - steps[2][1] - scoring - drawing
    await engine.decide(request_for(document.customer_id))
    return [
        *steps,
        (f"masks, consent, contact policy ({len(policy.candidates)} candidates)", masks),
        (f"score ({len(candidates)} survivors)", scoring),
        ("arbitrate and draw", drawing),
        (PURE, whole),
    ]


def _encode_cost(commit: Commit) -> float:
    body = next(record.body for record in commit.records if record.kind == "decision")
    record = records.decode_decision(body)
    return cost(lambda: records.encode_decision(record))


async def _commit_cost(store: Store, commit: Commit) -> float:
    """A commit like that of a decision, of a new id each, to customers of their own."""
    kinds = commit.document.kinds
    documents = [
        msgspec.structs.replace(commit.document, customer_id=f"commit-{number}", kinds=kinds)
        for number in range(AT_ONCE)
    ]
    best = float("inf")
    for turn in range(ROUNDS):

        async def one(number: int, turn: int = turn) -> None:
            document = documents[number % AT_ONCE]
            copied = msgspec.structs.replace(
                commit,
                id=f"{turn}-{number}",
                customer_id=document.customer_id,
                document=document,
                expect=(),
            )
            assert isinstance(await store.commit(copied, timeout=60.0), Committed)

        best = min(best, await cost_at_once(one, COMMITS))
    return best


def model_of(definition: PolicyDefinition) -> Model:
    """The sample model: the demo's where there is one, else trained for this run."""
    from decision.scoring.versions import current_version

    kept = current_version(Path(".nextbest/models"))
    if kept is not None:
        return load_model(kept)
    with tempfile.TemporaryDirectory() as folder:
        return load_model(train_model(definition, Path(folder)))


def train_model(definition: PolicyDefinition, folder: Path) -> Path:
    """Trains the sample model; returns its version folder."""
    from decision.core.policy_builder import compile_policy
    from decision.simulation.sample_model import make_sample_model

    return make_sample_model(compile_policy(definition).candidates, folder)


async def measure_all() -> dict[str, dict[str, float]]:
    """Policy → step → microseconds of CPU."""
    model = model_of(sample())
    results = {}
    with tempfile.TemporaryDirectory(prefix="nextbest-") as folder, EmbeddedRedis(folder) as url:
        for name, definition in (("the sample", sample()), ("100 candidates", made_up())):
            prefix = f"b{len(results)}:"
            results[name] = dict(await measure(definition, model, url, prefix))
    return results


async def measure_growth() -> dict[str, dict[int, float]]:
    """What grows → how many there are → microseconds of CPU of a whole decision in memory."""
    with tempfile.TemporaryDirectory(prefix="nextbest-") as folder:
        model = load_model(train_standard(Path(folder)))
    return {
        what: {count: await _grown_cost(what, count, model) for count in counts}
        for what, counts in GROWTH.items()
    }


async def _grown_cost(what: str, count: int, model: Model) -> float:
    messages, rules = (count // 2, 50) if what == "candidates" else (50, count)
    read = load_files({"standard.yaml": rules_text(rules=rules, messages=messages)})
    assert read.definition is not None, read
    store = MemoryStore()
    engine = await make_engine(read.definition, model, store)
    names = await fill(engine, store, GROWING, ATTRIBUTES, EVENT_TYPES)

    async def one(number: int) -> None:
        await engine.decide(request_for(names[number]))

    return min([await cost_at_once(one, GROWING) for _ in range(3 * ROUNDS)])


def _print_growth(found: dict[str, dict[int, float]]) -> None:
    for what, costs in found.items():
        fewest, *_, most = costs.values()
        for count, micros in costs.items():
            print(f"{count:5,} {what.ljust(10)}  {micros:8.1f} µs of CPU")
        print(f"  × {most / fewest:.2f}, at most {MOST_GROWTH[what]:g} wanted\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decision_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--growth", action="store_true", help="candidates and rules × 100 alone")
    given = parser.parse_args(arguments)
    if given.growth:
        grown = asyncio.run(measure_growth())
        if given.json:
            print(json.dumps(grown, indent=2))
        else:
            _print_growth(grown)
        return 0
    results = asyncio.run(measure_all())
    if given.json:
        print(json.dumps(results, indent=2))
        return 0
    for name, steps in results.items():
        print(f"{name}, µs of CPU")
        width = max(map(len, steps))
        for step, micros in steps.items():
            print(f"  {step.ljust(width)}  {micros:8.1f}")
        print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
