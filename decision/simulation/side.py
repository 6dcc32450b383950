"""One policy of a simulation: a world of its own, and what it made of each request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from decision.core.clock import DAY
from decision.core.decide import Verdict
from decision.core.definition import PolicyDefinition, Reservation, Selector
from decision.core.document import Document
from decision.core.explanation import why
from decision.core.records import JourneyRecord
from decision.core.said import as_it_is
from decision.core.schema import Decision, DecisionRequest, Event, EventsAnswer
from decision.core.values import MISSING, Value, in_words
from decision.engine.transaction import commit_of
from decision.scoring.model import Model
from decision.scoring.scope import Scope
from decision.simulation.acting import Ask, JourneyTally
from decision.simulation.tally import Cause, Choice, Side
from decision.simulation.world import World
from decision.store.codec import SECTIONS

_ABOUT_A_CONTACT = "message."

REFUSED = "refused"
"""The outcome of a request that one of the two policies cannot decide."""


def as_seen(definition: PolicyDefinition) -> PolicyDefinition:
    """The policy with every contact counting as if the customer had seen it."""
    seen = Reservation(expires_after=90 * DAY, then="count")
    channels = tuple(
        msgspec.structs.replace(channel, reservation=seen) for channel in definition.channels
    )
    return msgspec.structs.replace(definition, channels=channels)


class Simulated:
    """A policy deciding in a store of its own; contacts evolve as it makes them.

    Decisions are counted by the values of `groups`, which are fields.
    """

    def __init__(
        self,
        definition: PolicyDefinition,
        model: Model | None,
        seed: str,
        groups: Sequence[str] = (),
        *,
        lowercase_emails: bool = False,
        scoped: Mapping[Scope, Model] = MappingProxyType({}),
    ) -> None:
        self.world = World(
            as_seen(definition), model, seed, lowercase_emails=lowercase_emails, scoped=scoped
        )
        self.groups = groups
        self._verdict: Verdict | None = None
        self._refusal = ""
        self._slots: dict[str, int] = {}
        self._places: dict[tuple[str, str], int] = {}
        self._acting, self._is_old = JourneyTally(), False

    async def prepare(self) -> None:
        """Compiles the policy.

        Raises:
            PolicyRefused: the rule engine does not hold its rules.
            UnknownField: one of `groups` is no field.
        """
        await self.world.prepare()
        snapshot = self.world.engine.snapshot
        policy = snapshot.policy.reading(self.groups)
        self.world.engine.use(msgspec.structs.replace(snapshot, policy=policy))
        self._slots = {name: policy.fields.slot(name) for name in self.groups}
        self._places = {
            (candidate.message, candidate.channel): place
            for place, candidate in enumerate(policy.candidates)
        }

    def act(self, tally: JourneyTally, *, old: bool) -> None:
        """Lets journeys act while time goes by, and counts what they do."""
        self._acting, self._is_old = tally, old
        self.world.acts = self

    async def elapse(self, until: int) -> None:
        """Lets time go by until the end, a time in microseconds; counts the runs under way then."""
        await self.world.elapse(until)
        self._acting.under_way(await self.world.store.tallies(), old=self._is_old)

    def went(self, record: JourneyRecord) -> None:
        """Something was done to a run of a journey."""
        self._acting.went(record, old=self._is_old)

    def moment(self, name: str) -> None:
        """A moment happened."""
        self._acting.happened(name, old=self._is_old)

    def asked(self, decision: Decision, verdict: Verdict) -> None:
        """A step of a journey asked."""
        choices, context = self._choices(verdict), verdict.question.context
        ask = Ask(
            decision.decided_at,
            decision.customer_id,
            str(context["journey"]),
            str(context["step"]),
            decision.outcome,
            decision.reason,
            tuple(f"{one.message}/{one.channel}" for one in decision.selections),
        )
        self._acting.asked(ask, choices, old=self._is_old)

    def _choices(self, verdict: Verdict) -> list[Choice]:
        policy = self.world.engine.snapshot.policy
        return [
            Choice(
                policy.candidates[row.candidate].message,
                policy.candidates[row.candidate].channel,
                row.effect * policy.candidates[row.candidate].value
                - float(policy.costs[row.candidate]),
            )
            for row in verdict.chosen
        ]

    async def ask(
        self,
        request: DecisionRequest,
        name: str,
        of: Selector | msgspec.UnsetType = msgspec.UNSET,
        logged: bool = False,
    ) -> Side | None:
        """What this policy makes of a request; None where its id was answered before.

        `name` tells requests without an id apart. `of` is what a step of a journey asked for,
        `logged` whether the request was decided before.

        Raises:
            InputError: it cannot be decided.
        """
        self._verdict, self._refusal = None, ""
        decided = await self.world.decide(request, draw_name=name, of=of, logged=logged)
        decision, verdict = decided.decision, decided.verdict
        self._verdict = verdict
        if verdict is None:
            return None
        choices = self._choices(verdict)
        groups = {name: _shown(verdict.values[slot]) for name, slot in self._slots.items()}
        return Side(decision.customer_id, decision.outcome, decision.reason, choices, groups)

    def refuse(self, request: DecisionRequest, problem: str) -> Side:
        """The side of a request that this policy cannot decide, such as of a new placement."""
        self._verdict, self._refusal = None, problem
        who = request.customer_id or (request.alias.value if request.alias else "")
        return Side(who, REFUSED, None, (), {})

    def cause(self, choice: Choice) -> Cause:
        """Why the last decision did not make this choice."""
        if self._refusal:
            return Cause(REFUSED, "", self._refusal)
        place = self._places.get((choice.message, choice.channel))
        if place is None:
            return Cause("not in the policy", "")
        assert self._verdict is not None
        row = why(self.world.engine.snapshot.policy, self._verdict, place, as_it_is)
        return Cause(row.reason or "selected", row.source or "", row.detail or "")

    async def tell(self, event: Event) -> EventsAnswer:
        """Records an event.

        An event about a contact names a decision that this world never made: it counts as an
        event, and changes consents and reachability, but settles no contact.
        """
        if event.type.startswith(_ABOUT_A_CONTACT) and event.decision_id is not None:
            event = msgspec.structs.replace(event, decision_id=None)
        return await self.world.record(event)

    async def become(self, document: Document) -> None:
        """Takes over a customer as logged; from the second time on, with the own contacts."""
        store = self.world.engine.runtime.store
        found = await store.read(document.customer_id)
        own = found.document
        contacts, earlier = own.contacts, own.earlier
        if not own.exists:
            numbers = await store.register_kinds(list(document.kinds))
            contacts = [
                contact._replace(kind=numbers[contact.kind]) for contact in document.contacts
            ]
            earlier = {numbers[kind]: count for kind, count in document.earlier.items()}
        now = msgspec.structs.replace(
            document, contacts=contacts, earlier=earlier, kinds=own.kinds, exists=True
        )
        commit_id = self.world.engine.runtime.new_id(document.customer_id)
        found = msgspec.structs.replace(found, document=now)
        await store.commit(commit_of(found, commit_id, SECTIONS))


def _shown(value: Value) -> str:
    return "(none)" if value is MISSING else value if isinstance(value, str) else in_words(value)


def changed(old: Side, new: Side) -> tuple[list[Choice], list[Choice]]:
    """(lost, gained): choices of the old side that the new one has not, and the reverse."""
    before, after = old.names, new.names
    return (
        [choice for choice in old.choices if choice.name not in after],
        [choice for choice in new.choices if choice.name not in before],
    )
