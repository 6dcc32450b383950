"""Runs scenarios: each on an empty store of its own, by the engine that serves, always choosing
the best candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from decision.core import event_effects
from decision.core.clock import to_micros
from decision.core.decide import Verdict
from decision.core.definition import PolicyDefinition
from decision.core.document import Contact, KeptScore
from decision.core.event_effects import Occurrence
from decision.core.policy import Policy
from decision.core.ports import Conflict, ReadResult
from decision.core.schema import Decision, DecisionRequest, Event
from decision.engine import Engine, EngineSettings, InputError, Snapshot, build_snapshot
from decision.engine.crediting import customer_named
from decision.engine.settling import redeem
from decision.engine.takings import note_budgets
from decision.engine.transaction import commit_of
from decision.scenarios.compare import differences
from decision.scenarios.files import Placed
from decision.scenarios.schema import PastEvent, Step
from decision.scenarios.staging import (
    GivenProbabilities,
    NoSuchCustomer,
    choose_customer,
    contact_of,
    document_of,
    given_probabilities,
    journeys_of,
    kind_then,
    spent_before,
)
from decision.scenarios.trace import Paint, Trace, trace_of
from decision.store.codec import SECTIONS
from decision.store.memory_store import MemoryStore

_PATIENCE = 60.0
"""Seconds that one decision may take: a busy machine must not make a scenario fail."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one scenario: `problems` says what was expected and what came instead.

    `trace` tells how the decision that failed came about; None where all was as expected,
    and where there was no decision.
    """

    name: str
    source: str
    problems: list[str]
    trace: Trace | None = None

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.problems

    def render(self, *, everything: bool = False, paint: Paint | None = None) -> str:
        """The result in words: a line where it passed, else all of it.

        With `everything` every candidate is shown, not only those that matter.
        """
        if self.passed:
            return f"ok      {self.name}"
        paint = paint or (lambda text, _: text)
        lines = [f"{paint('FAILED', 'red')}  {paint(self.name, 'bold')} ({self.source})"]
        lines += [f"  {paint(problem, 'red')}" for problem in self.problems]
        if self.trace is not None:
            told = self.trace.lines(everything=everything, paint=paint)
            lines += ["", *(f"    {line}".rstrip() for line in told)]
        return "\n".join(lines)


class Watcher(Protocol):
    """Is told of every decision that scenarios make; coverage listens here."""

    def see(self, policy: Policy, verdict: Verdict, decision: Decision) -> None:
        """A decision was made."""
        ...

    def happened(self, event_type: str, properties: Mapping[str, Any]) -> None:
        """An event was recorded, from which others may be derived."""
        ...


async def run_scenarios(
    definition: PolicyDefinition,
    scenarios: Sequence[Placed],
    on_result: Callable[[Result], None] | None = None,
    *,
    durable: bool = True,
    watcher: Watcher | None = None,
) -> list[Result]:
    """Runs every scenario, in order; `on_result` is called after each.

    `durable` false evaluates the business rules with the plain evaluator instead of the rule
    engine: for trying many small changes of a policy quickly.

    Raises:
        PolicyRefused: the rule engine does not hold the policy's rules.
    """
    if not scenarios:
        return []
    settings = msgspec.structs.replace(definition.settings, exploration=None)
    definition = msgspec.structs.replace(definition, settings=settings)
    first = scenarios[0].scenario
    snapshot = await build_snapshot(definition, None, MemoryStore(), first.now, durable=durable)
    snapshot = _with_fields(snapshot, scenarios)
    results = []
    for placed in scenarios:
        result = await _Run(snapshot, placed, watcher).run()
        results.append(result)
        if on_result is not None:
            on_result(result)
    return results


def _with_fields(snapshot: Snapshot, scenarios: Sequence[Placed]) -> Snapshot:
    """The snapshot, which also reads the fields that scenarios expect something of."""
    policy = snapshot.policy.reading(
        name
        for placed in scenarios
        for step in placed.scenario.in_steps()
        for name in step.expect.fields
    )
    return msgspec.structs.replace(snapshot, policy=policy, measures=policy.measures())


class _Run:
    """One scenario: its store, its customer, its questions."""

    def __init__(self, snapshot: Snapshot, placed: Placed, watcher: Watcher | None) -> None:
        given = dict(given_probabilities(snapshot.policy, placed.scenario.probabilities))
        if given:
            scorer = GivenProbabilities(snapshot.scorer, given)
            snapshot = msgspec.structs.replace(snapshot, scorer=scorer)
        self.snapshot = snapshot
        self.watcher = watcher
        self.policy = snapshot.policy
        self.source, self.scenario = placed
        self.store = MemoryStore(spent=spent_before(self.policy, placed.scenario))
        self.store.make_up_codes(placed.scenario.coupons)
        self.engine = Engine(self.store, EngineSettings(timeout=_PATIENCE, delivers=False))
        self.written = 0
        self.happened = 0
        self.decided: dict[str, str] = {}  # message → the latest decision that gave it

    async def run(self) -> Result:
        scenario = self.scenario
        try:
            customer_id = choose_customer(self.policy, scenario.customer)
        except NoSuchCustomer as error:
            return self.result([str(error)])
        await self.store.start()
        contacts = await self._register()
        now = to_micros(scenario.now)
        document = document_of(scenario.customer, customer_id, contacts)
        document.journeys = journeys_of(self.policy, scenario.customer, now)
        found = await self.store.read(customer_id)
        found = msgspec.structs.replace(found, document=document)
        derive = scenario.customer.derive
        scores, given = self.policy.scores, scenario.customer.scores
        kept = {name: scores.kept(name, value, now) for name, value in given.items()}
        await self._record(found, scenario.customer.events, derive=derive, scores=kept)
        for number, step in enumerate(scenario.in_steps(), 1):
            now = to_micros(step.now) if step.now else now
            problems, trace = await self._step(step, customer_id, now)
            if problems:
                before = f"step {number}: " if scenario.steps else ""
                return self.result([before + problem for problem in problems], trace)
        return self.result([])

    def result(self, problems: list[str], trace: Trace | None = None) -> Result:
        return Result(name=self.scenario.name, source=self.source, problems=problems, trace=trace)

    async def _step(self, step: Step, customer_id: str, now: int) -> tuple[list[str], Trace | None]:
        if step.events:
            try:
                refused = await self._happen(step.events, customer_id, now)
            except InputError as error:
                refused = [str(error)]
            if refused:
                return [f"an event was refused: {refused[0]}"], None
        ask = step.ask
        request = DecisionRequest(
            placement=ask.placement,
            customer_id=customer_id,
            channels=ask.channels,
            event=ask.event,
            context=ask.context,
            limit=ask.limit,
            dry_run=ask.dry_run,
            explain=True,
        )
        try:
            decided = await self.engine.decide_with_verdict(request, now=now)
        except InputError as error:
            return [f"the question was refused: ask.{error}"], None
        decision, verdict = decided.decision, decided.verdict
        if decision.outcome == "selected" and not ask.dry_run:
            for selection in decision.selections:
                self.decided[selection.message] = decision.decision_id
        assert verdict is not None, "a store in memory always answers"
        if self.watcher is not None:
            self.watcher.see(self.policy, verdict, decision)
        if ask.event is not None and ask.event.id is not None:
            self._tell_of(ask.event.type, ask.event.properties)
        slot = self.policy.fields.slot
        problems = differences(step.expect, decision, lambda name: verdict.values[slot(name)])
        if not problems:
            return [], None
        return problems, trace_of(self.policy, verdict, decision, step.expect)

    def _tell_of(self, event_type: str, properties: Mapping[str, Any]) -> None:
        if self.watcher is not None:
            self.watcher.happened(event_type, properties)

    async def _register(self) -> list[Contact]:
        """Tells the store what the policy has; returns the contacts that the customer has had."""
        if self.policy.budgets:
            await note_budgets(self.store)
        kinds = await self.store.register_kinds([one.kind for one in self.policy.candidates])
        self.snapshot = msgspec.structs.replace(self.snapshot, kinds=kinds)
        self.engine.use(self.snapshot)
        past = self.scenario.customer.contacts
        known = {(one.message, one.channel): one.kind for one in self.policy.candidates}
        were = await self.store.register_kinds([kind_then(one, known) for one in past])
        contacts = [contact_of(one, kind) for one, kind in zip(past, were, strict=True)]
        return sorted(contacts, key=lambda contact: contact.at)

    async def _happen(self, past: Sequence[PastEvent], customer_id: str, now: int) -> list[str]:
        """Writes what happened since the step before; returns why something was refused.

        What is about a message of an earlier step goes the server's way: it also gives back, or
        keeps, what that message took of budgets.
        """
        own = [one for one in past if one.message not in self.decided]
        if own:
            await self._record(await self.store.read(customer_id), own)
        told = [
            Event(
                type=one.type,
                customer_id=customer_id,
                at=at,
                properties={**one.properties, **({"channel": one.channel} if one.channel else {})},
                decision_id=decision_id,
                message=one.message,
            )
            for one in past
            if (decision_id := self.decided.get(one.message or ""))
            for at in one.moments()
        ]
        for one in told:
            self._tell_of(one.type, one.properties)
        answer = await self.engine.events.record(told, now=now)
        return [one.detail for one in answer.rejected]

    async def _record(
        self,
        found: ReadResult,
        past: Iterable[PastEvent],
        *,
        derive: bool = True,
        scores: Mapping[str, KeptScore] | None = None,
    ) -> None:
        """Writes a customer with more events, applied as the server does, the earliest first.

        Events of derived types count as if they had been derived. `scores` are set afterwards.
        """
        document, policy, measures = found.document, self.policy, self.snapshot.measures
        moments = [(to_micros(at), event) for event in past for at in event.moments()]
        for at, event in sorted(moments, key=lambda moment: moment[0]):
            self.happened += 1  # of events at one time the one that is written last is the latest
            properties = dict(event.properties)
            if event.channel is not None:
                properties["channel"] = event.channel
            occurrence = Occurrence(
                id=f"event-{self.happened}",
                type=event.type,
                at=at,
                properties=properties,
                message=event.message,
                given_rank=self.happened,
            )
            if derive:
                self._tell_of(occurrence.type, occurrence.measured)
            event_effects.apply(document, occurrence, policy, measures, at, derive=derive)
            for name, derived in (
                event_effects.for_others(occurrence, policy, document.customer_id) if derive else ()
            ):
                if customer_named(name) == document.customer_id:
                    event_effects.count(document, derived, policy, measures, at)
            await redeem(self.engine.runtime, [occurrence], at, set())
        document.scores = {**document.scores, **(scores or {})}
        self.written += 1
        commit = commit_of(found, f"scenario-{self.written}", SECTIONS)
        answer = await self.store.commit(commit)
        assert not isinstance(answer, Conflict), "nobody else writes to this store"
