"""One decision, step by step: microseconds of CPU of the process that decides.

    python -m benchmarks.decision_cost

Two policies: the sample's, and a made-up one with 100 candidates that are all asked. Both with a
customer of 20 contacts, the sample model and the rule engine. The CPU is that of this process
(`time.process_time`), Redis's own left out; the best of several rounds counts, because whatever
else the machine does can only add to it. `masks` is what is left of the pure decision without
the steps that are measured by themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import msgspec

from decision.core import business_rules, calendar, records
from decision.core.arbitration import arbitrate, prioritise
from decision.core.clock import DAY, from_micros, to_micros
from decision.core.decide import Question, Verdict, decide
from decision.core.definition import PolicyDefinition
from decision.core.document import Contact, ContactState, Document
from decision.core.fields import Situation
from decision.core.masks import mask_of, positions
from decision.core.ports import Commit, Committed, Conflict, ReadResult
from decision.core.schema import DecisionRequest, TriggerEvent
from decision.engine import Engine, EngineSettings, Snapshot, build_snapshot
from decision.engine.loading import CustomerRow, Loading, PastEvent
from decision.rulebook.reader import load_files, load_folder
from decision.scoring.loading import load_model
from decision.scoring.model import Model
from decision.simulation.people import as_line, draw_customer
from decision.store import EmbeddedRedis, MemoryStore, RedisStore

ROOT = Path(__file__).resolve().parents[1]
NOW = to_micros(datetime(2026, 11, 21, 2, 0, tzinfo=UTC))
CUSTOMERS = 1000
BATCH = 200
COMMITS = 2_000
CONTACTS = 20
AT_ONCE = 16
SECONDS = 0.15
ROUNDS = 5

PURE = "the pure decision, all of it"
ENCODE = "encode the log record"

Store = MemoryStore | RedisStore
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


MORE = """
budgets: {spent: {of: {channel: [push, email]}, spend: 100000, per: calendar month, pace: even}}
scores: {interest: {adds: {cart_add: 1, e1: 5, purchase: {property: amount}}, half_life: 30d}}
"""
MORE_PURPOSES = ", tips: {consent: not_required, tier: 6}"
MORE_CLAUSES = (
    "customer.a21: {lte: {field: customer.age}}",
    "customer.signed_up.days_since: {gte: 1}",
    "score.interest: {gte: 1}",
)
MORE_CAPS = """
  chosen: {of: {}, at_most: {field: customer.age, default: 30}, within: 7d}
  gone-quiet: {of: {category: k1}, when: {customer.a2: {gte: 1}}, at_most: 30, within: 30d}
"""


def made_up(
    channels: Sequence[str] = ("push", "email"),
    rules: int = 30,
    event_types: int = 0,
    more: bool = False,
) -> PolicyDefinition:
    """50 messages on two channels each, 60 distinct clauses, rules, 10 caps: 100 candidates.

    With `event_types`, each message asks for an event that half of the customers have had lately,
    so that about half of the candidates survive. With `more`, messages compare fields, measure
    dates and ask for a score, and there are two tiers, two caps that vary and a budget of money.
    """
    draw = Random(1).random
    clauses = [f"customer.a{n % 20}: {{gte: {-1 - n}}}" for n in range(60)]
    lines = ["settings: {timezone: Asia/Shanghai}"]
    lines += [f"purposes: {{marketing: {{consent: opt_in}}{MORE_PURPOSES if more else ''}}}"]
    lines += [
        "channels:",
        *(f"  {name}: {{cost: {0.01 / (n + 1)}}}" for n, name in enumerate(channels)),
    ]
    lines += [f"placements: {{outbound: {{channels: [{', '.join(channels)}]}}}}", "messages:"]
    for n in range(50):
        asked = [clauses[(n * 3 + k * 7) % 60] for k in range(3)]
        if event_types:
            asked.append(f"events.e{n % event_types}.count_7d: {{gte: 1}}")
        if more:
            asked.append(MORE_CLAUSES[n % len(MORE_CLAUSES)])
        purpose = "tips" if more and n % 5 == 0 else "marketing"
        when = ", ".join(dict.fromkeys(asked))
        pair = ", ".join(channels[(n + k) % len(channels)] for k in range(2))
        lines += [
            f"  m{n}: {{purpose: {purpose}, category: k{n % 8}, tags: [t{n % 5}],",
            f"    channels: [{pair}], value: {1 + 10 * draw():.2f}, when: {{{when}}},",
            f'    content: {{title: "Hello {{{{ customer.first_name }}}} {n}"}}}}',
        ]
    lines += ["caps:"]
    for n in range(10):
        lines += [f"  c{n}: {{of: {{category: k{n % 8}}}, at_most: {9 + n}, within: {n + 1}d}}"]
    lines += [MORE_CAPS, MORE] if more else []
    lines += ["rules:"]
    for n in range(rules):
        lines += [
            f"  r{n}: {{when: {{customer.a{n % 20}: {{gt: {n}}}, context.device: ios}},"
            f" boost: {{tags: [t{n % 5}]}}, by: 1.{1 + n % 9}}}"
        ]
    read = load_files({"made_up.yaml": "\n".join(lines)})
    assert read.definition is not None, read
    definition = read.definition
    return definition


def sample() -> PolicyDefinition:
    definition = load_folder(ROOT / "rules").definition
    assert definition is not None, "the sample's rules have errors: nextbest check rules"
    return definition


async def fill(
    engine: Engine, store: Store, customers: int = 0, attributes: int = 20, event_types: int = 0
) -> list[str]:
    """Customers of the simulated shop, with consents, a history, and old contacts.

    `attributes` is the number of made-up attributes beside the shop's. `event_types` is that of
    made-up event types: each customer has one event of each, half of them in the last week.
    """
    loading = Loading(engine.runtime)
    names = []
    kinds = len(engine.snapshot.policy.candidates)
    for number in range(customers or CUSTOMERS):
        row = msgspec.json.decode(as_line(draw_customer(7, number, NOW)), type=CustomerRow)
        extra = {f"a{n}": number % (n + 7) for n in range(attributes)}
        further = [
            PastEvent(type=f"e{n}", at=from_micros(NOW - (1 + (number + n) % 2 * 10) * DAY))
            for n in range(event_types)
        ]
        row = msgspec.structs.replace(
            row,
            attributes={**row.attributes, **extra},
            consents={"marketing": {"*": "granted"}},
            timezone="Asia/Shanghai",
            reachable=msgspec.UNSET,
            aliases={},
            events=[*row.events, *further],
        )
        await loading.put(row, now=NOW)
        found = await store.read(row.customer_id)
        found.document.contacts = _contacts(Random(number), engine.snapshot, kinds)
        await _write(store, found, number)
        names.append(row.customer_id)
    return names


def _contacts(rng: Random, snapshot: Snapshot, kinds: int) -> list[Contact]:
    return sorted(
        (
            Contact(
                kind=snapshot.kinds[rng.randrange(kinds)],
                at=NOW - 15 * DAY - rng.randrange(60 * DAY),
                state=ContactState.CONFIRMED,
                mark=60,
                tag=rng.getrandbits(32),
            )
            for _ in range(CONTACTS)
        ),
        key=lambda contact: contact.at,
    )


async def _write(store: Store, found: ReadResult, number: int) -> None:
    commit = Commit(
        id=f"fill-{number}",
        customer_id=found.document.customer_id,
        document=found.document,
        version=found.version,
        expect=("contacts",),
        write=("contacts",),
    )
    assert isinstance(await store.commit(commit), Committed)


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
        document, "outbound", NOW, zone, request.event, request.context, lambda name: None
    )
    values = policy.fields.read(situation)
    candidates = verdict_of(snapshot, document, request).scores.candidates
    probabilities = snapshot.scorer.score(candidates, values, document, NOW)
    standing = policy.contact_policy.standing(document, NOW, zone)
    alive = mask_of(candidates.tolist())

    def run_rules() -> None:
        business_rules.run(
            policy.rule_strata, policy.rules, snapshot.matcher, list(values), policy.fields.slot
        )

    def draw() -> None:
        scores = prioritise(policy, candidates, probabilities, 0)
        rest = (standing, {}, lambda: 0.3, snapshot.exploration)
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
    return cost(lambda: records.encode(record))


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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decision_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
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
