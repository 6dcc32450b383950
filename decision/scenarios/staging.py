"""What a scenario sets up before it asks: the customer, what was spent, what the model says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from decision.core.clock import DAY, SECOND, to_micros
from decision.core.definition import Experiment
from decision.core.document import Consent, Contact, ContactKind, ContactState, Document
from decision.core.errors import NextbestError
from decision.core.journeys.state import JourneyState, Run
from decision.core.journeys.waits import due
from decision.core.policy import Policy, in_holdout, variant_of
from decision.core.ports import Scorer
from decision.core.values import Value
from decision.scenarios.schema import Customer, PastContact, Scenario, Spent

_LONG = 3_660 * DAY
_MOST_CUSTOMERS = 100_000


class NoSuchCustomer(NextbestError, ValueError):
    """No customer falls on the sides of the experiments that a scenario asks for."""


class GivenProbabilities:
    """A scorer that says what a scenario says, and asks another one for the rest."""

    def __init__(self, scorer: Scorer, given: Mapping[int, float]) -> None:
        self.version = scorer.version
        self._scorer = scorer
        self._given = given

    def score(
        self,
        candidates: NDArray[np.intp],
        values: Sequence[Value],
        document: Document,
        now: int,
    ) -> NDArray[np.float64]:
        """The probability of each candidate."""
        found = np.array(self._scorer.score(candidates, values, document, now), dtype=np.float64)
        for place, index in enumerate(candidates.tolist()):
            if index in self._given:
                found[place] = self._given[index]
        return found

    def features(
        self, candidate: int, values: Sequence[Value], document: Document, now: int
    ) -> dict[str, Value]:
        """Those of the other scorer."""
        return self._scorer.features(candidate, values, document, now)


def spent_before(policy: Policy, scenario: Scenario) -> dict[str, int]:
    """Counter of a budget → how much the scenario says that was taken of it before."""
    found = {}
    for counter, limit in policy.budgets.at(to_micros(scenario.now)).items():
        budget, given = limit.budget, scenario.spent.get(limit.budget.name)
        if isinstance(given, Spent):
            if not budget.shared:
                found[counter] = given.total if budget.per is None else given.per_day
        elif given is not None and budget.shared:
            found[counter] = budget.counted(given) or 0
    return found


def kind_then(contact: PastContact, known: Mapping[tuple[str, str], ContactKind]) -> ContactKind:
    """What a contact was when it was made: as its message is now, except for what is given."""
    name = (contact.message, contact.channel)
    kind = known.get(name, ContactKind(*name, "", "", ()))
    return ContactKind(
        kind.message,
        kind.channel,
        kind.purpose if contact.purpose is None else contact.purpose,
        kind.category if contact.category is None else contact.category,
        kind.tags if contact.tags is None else tuple(contact.tags),
    )


def contact_of(contact: PastContact, kind: int) -> Contact:
    """A contact as the store would hold it; `kind` is the register's number."""
    at, mark, state = to_micros(contact.at), 0, ContactState.CONFIRMED
    if contact.state == "released":
        state = ContactState.RELEASED
    elif contact.counts_until is not None:
        state = ContactState.RESERVED_THEN_RELEASE
        mark = -((at - to_micros(contact.counts_until)) // SECOND)
    return Contact(kind=kind, at=at, state=state, mark=mark, tag=0)


def given_probabilities(
    policy: Policy, probabilities: Mapping[str, float]
) -> Iterator[tuple[int, float]]:
    """(candidate, probability) of those given; message/channel goes before its message."""
    for index, one in enumerate(policy.candidates):
        for name in (f"{one.message}/{one.channel}", one.message):
            if name in probabilities:
                yield index, probabilities[name]
                break


def document_of(customer: Customer, customer_id: str, contacts: list[Contact]) -> Document:
    """The customer as the store would hold them; without events."""
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
        contacts=contacts,
    )


def journeys_of(
    policy: Policy, document: Document, customer: Customer, now: int
) -> JourneyState | None:
    """The runs that a customer has: each waits as its step says, or for long."""
    journeys, runs = policy.journeys, {}
    for name, place in customer.journeys.items():
        assert journeys is not None, "checked: the policy has this journey"
        journey = journeys.by_name[name]
        since = now if place.since is None else to_micros(place.since)
        step = place.step or journey.first
        run = Run(f"scenario-{name}", "", since, step, since, since + _LONG, visit=1)
        until = due(journeys, journey, document, run, journey.steps[step], since)
        if until is not None and until > now:
            run.wake = until
        runs[name] = [run]
    return JourneyState(runs=runs) if runs else None


def side_of(experiment: Experiment, customer_id: str) -> str | bool:
    """Whether a customer is in a control group, or which variant of a test they have."""
    if experiment.share is not None:
        return in_holdout(experiment, customer_id)
    return str(variant_of(experiment, customer_id))


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
            found = side_of(experiment, customer_id)
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
