"""Runs scenarios: each on an empty store of its own, by the engine that serves, always choosing
the best candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from decision.cli.scenarios.compare import differences, table
from decision.cli.scenarios.files import Placed
from decision.cli.scenarios.schema import Customer, PastEvent, Scenario, Step
from decision.core import recording
from decision.core.clock import to_micros
from decision.core.definition import PolicyDefinition
from decision.core.document import Consent, Contact, ContactKind, ContactState, Document
from decision.core.policy import Policy, in_holdout, variant_of
from decision.core.ports import Commit, Conflict, ReadResult, Section
from decision.core.recording import Occurrence
from decision.core.schema import DecisionRequest
from decision.engine import Engine, EngineSettings, InputError, Snapshot, build_snapshot
from decision.store.memory_store import MemoryStore

_ALL: tuple[Section, ...] = ("profile", "contacts", "events")
_MOST_CUSTOMERS = 100_000
_PATIENCE = 60.0
"""Seconds that one decision may take: a busy machine must not make a scenario fail."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one scenario: `problems` says what was expected and what came.

    `explanation` is the explanation of the decision that failed, or of the last one, as text.
    """

    name: str
    source: str
    problems: list[str]
    explanation: str = ""

    @property
    def passed(self) -> bool:
        """Whether everything came out as expected."""
        return not self.problems

    def render(self) -> str:
        """The result in words: a line where it passed, else all of it."""
        if self.passed:
            return f"ok      {self.name}"
        lines = [f"FAILED  {self.name} ({self.source})"]
        lines += [f"  {problem}" for problem in self.problems]
        lines += [f"    {line}" for line in self.explanation.splitlines()]
        return "\n".join(lines)


class NoSuchCustomer(ValueError):
    """No customer falls on the sides of the experiments that a scenario asks for."""


async def run_scenarios(
    definition: PolicyDefinition,
    scenarios: Sequence[Placed],
    on_result: Callable[[Result], None] | None = None,
    *,
    durable: bool = True,
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
    results = []
    for placed in scenarios:
        result = await _Run(snapshot, placed).run()
        results.append(result)
        if on_result is not None:
            on_result(result)
    return results


class _Store(MemoryStore):
    """A store in whose budgets so much was spent before (counter → times)."""

    def __init__(self, before: dict[str, int]) -> None:
        super().__init__()
        self._before = before

    async def read(
        self,
        customer_id: str,
        *,
        request_id: str | None = None,
        budgets: Sequence[str] = (),
        event_ids: Sequence[str] = (),
        timeout: float | None = None,
    ) -> ReadResult:
        found = await super().read(
            customer_id, request_id=request_id, budgets=budgets, event_ids=event_ids
        )
        spent = {name: count + self._before.get(name, 0) for name, count in found.budgets.items()}
        return msgspec.structs.replace(found, budgets=spent)

    async def take_budgets(
        self, limits: Mapping[str, int], token: str, *, timeout: float | None = None
    ) -> str | None:
        left = {name: limit - self._before.get(name, 0) for name, limit in limits.items()}
        return await super().take_budgets(left, token)


def _spent(policy: Policy, scenario: Scenario) -> dict[str, int]:
    found = {}
    for counter in policy.budget_limits(to_micros(scenario.now)):
        message, _, span = counter.rpartition(":")
        given = scenario.spent.get(message)
        if given is not None:
            found[counter] = given.total if span == "total" else given.per_day
    return found


class _Run:
    """One scenario: its store, its customer, its questions."""

    def __init__(self, snapshot: Snapshot, placed: Placed) -> None:
        self.snapshot = snapshot
        self.policy = snapshot.policy
        self.source, self.scenario = placed
        self.store = _Store(_spent(self.policy, placed.scenario))
        self.engine = Engine(self.store, EngineSettings(timeout=_PATIENCE))
        self.engine.use(snapshot)
        self.written = 0
        self.decided: dict[str, str] = {}  # message → the latest decision that gave it

    async def run(self) -> Result:
        scenario = self.scenario
        try:
            customer_id = choose_customer(self.policy, scenario.customer)
        except NoSuchCustomer as error:
            return self.result([str(error)])
        await self.store.start()
        await self._register()
        now = to_micros(scenario.now)
        document = _document(self.snapshot, scenario.customer, customer_id)
        self._apply(document, scenario.customer.events)
        await self._write(document)
        explanation = ""
        for number, step in enumerate(scenario.in_steps(), 1):
            now = to_micros(step.now) if step.now else now
            problems, explanation = await self._step(step, customer_id, now)
            if problems:
                before = f"step {number}: " if scenario.steps else ""
                return self.result([before + problem for problem in problems], explanation)
        return self.result([], explanation)

    def result(self, problems: list[str], explanation: str = "") -> Result:
        return Result(
            name=self.scenario.name,
            source=self.source,
            problems=problems,
            explanation=explanation,
        )

    async def _step(self, step: Step, customer_id: str, now: int) -> tuple[list[str], str]:
        if step.events:
            found = await self.store.read(customer_id)
            self._apply(found.document, step.events)
            await self._write(found.document)
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
            decision = await self.engine.decide(request, now=now)
        except InputError as error:
            return [f"the question was refused: ask.{error}"], ""
        if decision.outcome == "selected" and not ask.dry_run:
            for selection in decision.selections:
                self.decided[selection.message] = decision.decision_id
        return differences(step.expect, decision), table(decision)

    async def _register(self) -> None:
        kinds = await self.store.register_kinds(
            [
                ContactKind(one.message, one.channel, one.purpose, one.category, one.tags)
                for one in self.policy.candidates
            ]
        )
        self.snapshot = msgspec.structs.replace(self.snapshot, kinds=kinds)
        self.engine.use(self.snapshot)

    def _apply(self, document: Document, past: Iterable[PastEvent]) -> None:
        """Records events as the server does, the earliest first."""
        moments = [(to_micros(at), event) for event in past for at in event.moments()]
        for number, (at, event) in enumerate(sorted(moments, key=lambda moment: moment[0])):
            properties = dict(event.properties)
            if event.channel is not None:
                properties["channel"] = event.channel
            occurrence = Occurrence(
                id=f"event-{number}",
                type=event.type,
                at=at,
                properties=properties,
                decision_id=self.decided.get(event.message or ""),
                message=event.message,
            )
            recording.apply(document, occurrence, self.policy, self.snapshot.measures, at)

    async def _write(self, document: Document) -> None:
        found = await self.store.read(document.customer_id)
        self.written += 1
        answer = await self.store.commit(
            Commit(
                id=f"scenario-{self.written}",
                customer_id=document.customer_id,
                document=document,
                version=found.version,
                expect=_ALL,
                write=_ALL,
            )
        )
        assert not isinstance(answer, Conflict), "nobody else writes to this store"


def _document(snapshot: Snapshot, customer: Customer, customer_id: str) -> Document:
    """The customer as the store would hold them; events aside."""
    candidates = {(one.message, one.channel): i for i, one in enumerate(snapshot.policy.candidates)}
    contacts = [
        Contact(
            kind=snapshot.kinds[candidates[contact.message, contact.channel]],
            at=to_micros(contact.at),
            state=(
                ContactState.RELEASED if contact.state == "released" else ContactState.CONFIRMED
            ),
            mark=0,
            tag=0,
        )
        for contact in customer.contacts
    ]
    return Document(
        customer_id=customer_id,
        attributes={
            name: value for name, value in customer.attributes.items() if value is not None
        },
        timezone=customer.timezone,
        consents={
            purpose: {
                channel: Consent(granted=state == "granted")
                for channel, state in channels.items()
                if state is not None
            }
            for purpose, channels in customer.consents.items()
        },
        reachable=customer.reachable,
        unreachable=customer.unreachable,
        contacts=sorted(contacts, key=lambda contact: contact.at),
    )


def choose_customer(policy: Policy, customer: Customer) -> str:
    """The customer's id, or one that falls on the sides of the experiments asked for.

    Raises:
        NoSuchCustomer: none of them does, or the given one does not.
    """

    def wrong(customer_id: str) -> str | None:
        for experiment in policy.definition.experiments:
            side = customer.experiments.get(experiment.name)
            if side is None and (customer.customer_id or experiment.share is None):
                continue
            found = (
                in_holdout(experiment, customer_id)
                if experiment.share is not None
                else variant_of(experiment, customer_id)
            )
            if found != (side or False):
                return f"is on the side {found} of {experiment.name}, not {side or False}"
        return None

    if customer.customer_id is not None:
        problem = wrong(customer.customer_id)
        if problem:
            raise NoSuchCustomer(f"customer {customer.customer_id} {problem}")
        return customer.customer_id
    for number in range(_MOST_CUSTOMERS):
        if wrong(f"customer-{number}") is None:
            return f"customer-{number}"
    sides = ", ".join(f"{name}: {side}" for name, side in customer.experiments.items())
    raise NoSuchCustomer(f"no customer falls on these sides: {sides or 'no control group'}")
