"""Runs scenarios: each on an empty store of its own, by the engine that serves, always choosing
the best candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, cast

import msgspec
from msgspec import UNSET, UnsetType

from decision.core import event_effects
from decision.core.clock import SECOND, from_micros, to_micros
from decision.core.decide import Verdict
from decision.core.definition import PolicyDefinition
from decision.core.document import Contact, Document
from decision.core.errors import NextbestError
from decision.core.event_effects import Occurrence
from decision.core.journeys.definition import MOMENT
from decision.core.narrowing import Reader
from decision.core.policy import Policy
from decision.core.ports import Conflict, ReadResult
from decision.core.records import JourneyRecord
from decision.core.schema import ConsentUpdate, CustomerUpdate, Decision, DecisionRequest, Event
from decision.engine import Engine, EngineSettings, InputError, Snapshot, build_snapshot
from decision.engine.crediting import customer_named
from decision.engine.journeys.elapsing import elapse
from decision.engine.journeys.work import JourneyWork, begin
from decision.engine.settling import redeem
from decision.engine.takings import note_budgets
from decision.engine.transaction import commit_of
from decision.scenarios.acting import Asked, ScenarioStore, ask_differences, standing_of
from decision.scenarios.compare import differences, differences_of_fields, differs
from decision.scenarios.files import Placed
from decision.scenarios.schema import Change, Expect, NewEvent, Step
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

_MOST_DUE = 10_000
"""How often journeys may go on before a scenario is given up: somebody waits for it."""


class TooMuchDue(NextbestError):
    """Journeys go on so often that a scenario does not come to an end."""


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

    def went(self, done: Sequence[JourneyRecord]) -> None:
        """All that was done to runs of journeys in one scenario."""
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
        for name in step.expected.fields
    )
    return msgspec.structs.replace(snapshot, policy=policy, measures=policy.measures())


class _Run:
    """One scenario: its store, its clock, its customer, its questions."""

    def __init__(self, snapshot: Snapshot, placed: Placed, watcher: Watcher | None) -> None:
        given = dict(given_probabilities(snapshot.policy, placed.scenario.probabilities))
        if given:
            scorer = GivenProbabilities(snapshot.scorer, given)
            snapshot = msgspec.structs.replace(snapshot, scorer=scorer)
        self.snapshot = snapshot
        self.watcher = watcher
        self.policy = snapshot.policy
        self.source, self.scenario = placed
        self.now = to_micros(placed.scenario.now)
        self.shown_in = placed.scenario.now.tzinfo
        spent = spent_before(self.policy, placed.scenario)
        self.store = ScenarioStore(lambda: self.now / SECOND, spent)
        self.store.make_up_codes(placed.scenario.coupons)
        settings = EngineSettings(timeout=_PATIENCE, delivers=False)
        self.engine = Engine(self.store, settings, lambda: self.now)
        self.engine.observe(self)
        self.customer_id = ""
        self.asked: list[Asked] = []
        self.written = 0
        self.happened = 0
        self.given: dict[str, str] = {}  # message → the latest decision that gave it

    async def run(self) -> Result:
        """Runs it, and tells the watcher what came of it."""
        result = await self._run()
        if self.watcher is not None:
            self.watcher.went(self.store.done)
        return result

    async def _run(self) -> Result:
        scenario = self.scenario
        try:
            self.customer_id = choose_customer(self.policy, scenario.customer)
        except NoSuchCustomer as error:
            return self.result([str(error)])
        await self.store.start()
        contacts = await self._register()
        document = document_of(scenario.customer, self.customer_id, contacts)
        past = _in_order(scenario.customer.events, scenario.now)
        await self._apply(document, past, derive=scenario.customer.derive)
        scores, given = self.policy.scores, scenario.customer.scores
        kept = {name: scores.kept(name, value, self.now) for name, value in given.items()}
        document.scores = {**document.scores, **kept}
        document.journeys = journeys_of(self.policy, document, scenario.customer, self.now)
        found = await self.store.read(self.customer_id)
        await self._write(msgspec.structs.replace(found, document=document), changed=True)
        now = scenario.now
        for number, step in enumerate(scenario.in_steps(), 1):
            now = step.ends(now)
            try:
                problems, trace = await self._step(step, now)
            except TooMuchDue as error:
                problems, trace = [str(error)], None
            if problems:
                before = f"step {number}: " if scenario.steps else ""
                return self.result([before + problem for problem in problems], trace)
        return self.result([])

    def result(self, problems: list[str], trace: Trace | None = None) -> Result:
        return Result(name=self.scenario.name, source=self.source, problems=problems, trace=trace)

    async def _step(self, step: Step, now: datetime) -> tuple[list[str], Trace | None]:
        self.asked.clear()
        self.store.moments.clear()
        try:
            refused = await self._happen(step.events, now)
        except InputError as error:
            refused = [str(error)]
        if refused:
            return [f"an event was refused: {refused[0]}"], None
        await self._elapse(to_micros(now))
        try:
            await self._change(step.customer)
        except InputError as error:
            return [f"the change of the customer was refused: customer.{error}"], None
        problems, trace = await self._ask(step)
        if problems:
            return problems, trace
        await self._elapse(to_micros(now))
        return await self._acted(step.expected)

    async def _elapse(self, until: int) -> None:
        """Lets time go by; what is due is done at its time.

        Raises:
            TooMuchDue: it never comes to an end.
        """
        if not await elapse(self.engine, self.store, until, self._set_clock, _MOST_DUE):
            at = from_micros(self.now).astimezone(self.shown_in).isoformat()
            raise TooMuchDue(
                f"journeys went on more than {_MOST_DUE:,} times by {at}; let less time go by, or "
                "let them wait longer"
            )

    def _set_clock(self, now: int) -> None:
        self.now = now

    async def _change(self, change: Change | UnsetType) -> None:
        if change is UNSET:
            return
        update = CustomerUpdate(
            attributes=change.attributes, timezone=change.timezone, reachable=change.reachable
        )
        if update != CustomerUpdate():
            await self.engine.customers.update(self.customer_id, update)
        if change.consents:
            consents = cast(ConsentUpdate, change.consents)
            await self.engine.customers.set_consents(self.customer_id, consents)

    async def _ask(self, step: Step) -> tuple[list[str], Trace | None]:
        """Asks, and compares the answer with what is expected of it."""
        ask, expect = step.ask, step.expected
        if ask is UNSET:
            return await self._fields(expect.fields), None
        request = DecisionRequest(
            placement=ask.placement,
            customer_id=self.customer_id,
            channels=ask.channels,
            event=ask.event,
            context=ask.context,
            limit=ask.limit,
            dry_run=ask.dry_run,
            explain=True,
            ask_again=ask.ask_again,
        )
        try:
            decided = await self.engine.decide_with_verdict(request, now=self.now)
        except InputError as error:
            return [f"the question was refused: ask.{error}"], None
        decision, verdict = decided.decision, decided.verdict
        assert verdict is not None, "a store in memory always answers"
        if ask.event is not None and ask.event.id is not None:
            self._tell_of(ask.event.type, ask.event.properties)
        slot = self.policy.fields.slot
        problems = differences(expect, decision, lambda name: verdict.values[slot(name)])
        if not problems:
            return [], None
        return problems, trace_of(self.policy, verdict, decision, expect)

    async def _fields(self, wanted: Mapping[str, Any]) -> list[str]:
        """What differs of the values of fields now, as the business rules leave them."""
        if not wanted:
            return []
        document = (await self.store.read(self.customer_id)).document
        values = Reader(self.policy).read(document, self.now)
        slot = self.policy.fields.slot
        return differences_of_fields(wanted, lambda name: values[slot(name)])

    async def _acted(self, expect: Expect) -> tuple[list[str], Trace | None]:
        """Compares what was done by itself with what is expected of it."""
        for moment in self.store.moments:
            self._tell_of(moment.type, moment.properties)
        if expect.asks is not UNSET:
            problems, trace = ask_differences(self.policy, expect.asks, self.asked, self.shown_in)
            if problems:
                return problems, trace
        found = []
        document = (await self.store.read(self.customer_id)).document
        for name, wanted in expect.journeys.items():
            came = standing_of(document, self.store.done, name)
            if wanted != came:
                found.append(differs(f"journey {name}", wanted, came))
        moments = [one.type.removeprefix(MOMENT) for one in self.store.moments]
        if expect.moments is not UNSET and expect.moments != moments:
            found.append(differs("moments", expect.moments, moments))
        return found, None

    def decided(
        self, decision: Decision, verdict: Verdict | None, steps: Mapping[str, float], written: bool
    ) -> None:
        """A decision was made, of a question of the scenario or of a journey."""
        assert verdict is not None, "a store in memory always answers"
        if decision.outcome == "selected" and written:
            for selection in decision.selections:
                self.given[selection.message] = decision.decision_id
        if self.watcher is not None:
            self.watcher.see(self.policy, verdict, decision)
        if (decision.request_id or "").startswith("j."):
            self.asked.append(Asked(decision, verdict))

    def recorded(self, event_type: str, result: str) -> None:
        """Needs no notice."""

    def followed(self, result: str) -> None:
        """Needs no notice."""

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

    async def _happen(self, events: Sequence[NewEvent], now: datetime) -> list[str]:
        """Writes what happened since the step before, the earliest first, each at its own time and
        before what is due then; returns why something was refused.

        What is about a message of an earlier step goes the server's way: it also gives back, or
        keeps, what that message took of budgets.
        """
        own: list[_Timed] = []
        acting = self.policy.journeys is not None
        for at, event in _in_order(events, now):
            if acting:
                await self._elapse(at - 1)
                self.now = max(at, self.now)
            decision_id = self.given.get(event.message or "")
            if decision_id is None:
                own.append((at, event))
                if not acting:  # written with those that follow
                    continue
            await self._record(own)
            own.clear()
            if decision_id is None:
                continue
            told = Event(
                type=event.type,
                customer_id=self.customer_id,
                at=from_micros(at),
                properties=_properties(event),
                decision_id=decision_id,
                message=event.message,
            )
            self._tell_of(told.type, told.properties)
            answer = await self.engine.events.record([told], now=to_micros(now))
            if answer.rejected:
                return [answer.rejected[0].detail]
        await self._record(own)
        return []

    async def _record(self, events: Sequence[_Timed]) -> None:
        """Writes more events of the customer."""
        if events:
            found = await self.store.read(self.customer_id)
            work = begin(self.snapshot, found.document, self.now)
            await self._apply(found.document, events, work=work)
            await self._write(found, work)

    async def _apply(
        self,
        document: Document,
        events: Iterable[_Timed],
        *,
        derive: bool = True,
        work: JourneyWork | None = None,
    ) -> None:
        """Applies events as the server does, in the order given.

        Events of derived types count as if they had been derived.
        """
        policy, measures = self.policy, self.snapshot.measures
        for at, event in events:
            self.happened += 1  # of events at one time the one that is written last is the latest
            occurrence = Occurrence(
                id=f"event-{self.happened}",
                type=event.type,
                at=at,
                properties=_properties(event),
                message=event.message,
                given_rank=self.happened,
            )
            event_effects.apply(document, occurrence, policy, measures, at, derive=derive)
            if work is not None:
                work.applied(occurrence)
            if derive:
                self._tell_of(occurrence.type, occurrence.measured)
                for one in (occurrence, *(work.moments if work is not None else ())):
                    self._credit(document, one, work)
            await redeem(self.engine.runtime, [occurrence], at, set())

    def _credit(self, document: Document, one: Occurrence, work: JourneyWork | None) -> None:
        """Counts what an event counts as for the customer whom it names, where that is this one."""
        for name, derived in event_effects.for_others(one, self.policy, document.customer_id):
            if customer_named(name) == document.customer_id:
                measures = self.snapshot.measures
                event_effects.count(document, derived, self.policy, measures, one.at)
                if work is not None:
                    work.applied(derived, derive=False)

    async def _write(
        self, found: ReadResult, work: JourneyWork | None = None, *, changed: bool = False
    ) -> None:
        """Writes the customer; where they have `changed`, with a timer for what is to come."""
        self.written += 1
        commit = commit_of(found, f"scenario-{self.written}", SECTIONS)
        if changed and (work := begin(self.snapshot, found.document, self.now)) is not None:
            work.changed()
        if work is not None:
            work.write(commit, self.engine.runtime.settings.event_ids_last, self.now)
        answer = await self.store.commit(commit)
        assert not isinstance(answer, Conflict), "nobody else writes to this store"


_Timed = tuple[int, NewEvent]


def _in_order(events: Iterable[NewEvent], now: datetime) -> list[_Timed]:
    """Events with their times in microseconds, the earliest first."""
    timed = [(to_micros(at), event) for event in events for at in event.moments(now)]
    return sorted(timed, key=lambda each: each[0])


def _properties(event: NewEvent) -> dict[str, Any]:
    return {**event.properties, **({"channel": event.channel} if event.channel else {})}
