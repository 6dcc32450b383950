"""A logged decision → a scenario with the same result.

It holds what the decision saw and the policy reads. Attributes, event properties and context that
no condition names are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import Any, Final

import msgspec
from msgspec import UNSET

from decision.core import calendar
from decision.core.business_rules import PlainMatcher
from decision.core.clock import DAY, from_micros
from decision.core.contact_policy import NEVER, counts_until
from decision.core.coupons import pool_of
from decision.core.decide import Question, Verdict, decide
from decision.core.document import Contact, ContactState, Document
from decision.core.events import Measure
from decision.core.explanation import explain
from decision.core.fields import JOURNEY_MEASURES, STATE_FIELD, measured_date
from decision.core.masks import indices, mask_where
from decision.core.policy import Policy
from decision.core.reasons import Reason
from decision.core.schema import ExplanationRow, TriggerEvent
from decision.rulebook.content import compile_contents
from decision.scenarios.histories import events_of
from decision.scenarios.schema import Ask, Customer, Expect, InJourney, PastContact, Scenario, Spent
from decision.scenarios.staging import GivenProbabilities, given_probabilities, side_of
from decision.scenarios.trace import furthest
from decision.scoring.scorers import bind

_RIVALS: Final = 5
_NEARLY_EMPTY: Final = 10
"""Fewer codes than one decision may take."""


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """What the log tells of a decision: what it saw, and what it gave.

    `probabilities` and `spent` are by `message/channel`, as `given` is; `budgets` is as in a
    record.
    """

    decision_id: str
    decided_at: int
    customer_id: str
    question: Question
    document: Document
    policy_version: str
    probabilities: dict[str, float] = {}
    spent: frozenset[str] = frozenset()
    budgets: dict[str, int] = {}
    given: tuple[str, ...] = ()
    outcome: str = ""
    contended: bool = False


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """The scenario of a decision; `notes` say what of it could not be kept."""

    scenario: Scenario
    notes: list[str]


def best_verdict(policy: Policy, logged: Logged) -> Verdict:
    """The decision made again on what it saw, always choosing the best, as scenarios do."""
    prior = bind(None, policy.candidates, policy.fields, policy.settings, features=())
    spent = (f"{one.message}/{one.channel}" in logged.spent for one in policy.candidates)
    return decide(
        policy,
        PlainMatcher(policy.rules, policy.rule_strata, policy.fields.slot),
        GivenProbabilities(prior, dict(given_probabilities(policy, logged.probabilities))),
        logged.document,
        logged.question,
        logged.decided_at,
        lambda: 0.0,
        spent=mask_where(spent),
        spending=policy.budgets.spending(logged.decided_at, logged.budgets),
        exploration=None,
        contents=compile_contents(policy),
        decision_id=logged.decision_id,
    )


def record(logged: Logged, then: Policy, now: Policy, *, anonymous: bool = False) -> Recorded:
    """The scenario of a decision made under one policy, to run under another, or the same.

    With `anonymous` it has neither the customer's id nor the decision's: instead it asks for a
    customer on the same sides of the experiments.
    """
    return _Recording(logged, then, now, anonymous).make()


class _Recording:
    def __init__(self, logged: Logged, then: Policy, now: Policy, anonymous: bool) -> None:
        self.logged = logged
        self.then = then
        self.now = now
        self.anonymous = anonymous
        # A customer known by an alias alone has it as id: email:mei@example.org.
        self.unnamed = anonymous or any(sign in logged.customer_id for sign in ":@")
        self.document = logged.document
        self.shown_in: tzinfo = now.zone
        self.notes: list[str] = []
        self.read = frozenset((*then.fields.names(), *now.fields.names()))

    def make(self) -> Recorded:
        logged = self.logged
        verdict = best_verdict(self.then, logged)
        expect = self.expect(verdict)
        given = self.names(verdict)
        if logged.contended:
            self.notes.append("the decision was silence, because too many were made at once")
        elif logged.given != given and logged.outcome == "selected":
            came = ", ".join(logged.given)
            best = ", ".join(given) or "nothing"
            self.notes.append(f"the decision explored: it gave {came}; the best is {best}")
        scenario = Scenario(
            name=self.name(expect),
            now=self.moment(logged.decided_at),
            customer=self.customer(),
            spent=self.spent(),
            coupons=self.coupons(),
            probabilities=self.probabilities(),
            ask=self.ask(),
            expect=expect,
        )
        return Recorded(scenario=scenario, notes=self.notes)

    def name(self, expect: Expect) -> str:
        what = expect.outcome if expect.message is None else f"{expect.message}/{expect.channel}"
        at = self.moment(self.logged.decided_at).isoformat()
        about = f"{self.logged.question.placement}: {what} at {at}"
        return f"recorded, {about}" if self.anonymous else f"{self.logged.decision_id}, {about}"

    def names(self, verdict: Verdict) -> tuple[str, ...]:
        found = [self.then.candidates[row.candidate] for row in verdict.chosen]
        return tuple(f"{one.message}/{one.channel}" for one in found)

    # What was asked, and what came

    def ask(self) -> Ask:
        question = self.logged.question
        event = question.event
        if event is not None:
            # Without its id: what it counts for is in the customer's events already.
            properties = _pruned(event.properties, self.paths("event"))
            event = TriggerEvent(type=event.type, properties=properties)
        return Ask(
            placement=question.placement,
            channels=list(question.channels) if question.channels is not None else None,
            event=event,
            context=_pruned(question.context, self.paths("context")),
            limit=question.limit,
        )

    def expect(self, verdict: Verdict) -> Expect:
        chosen = [name.rpartition("/") for name in self.names(verdict)]
        message, channel = (chosen[0][0], chosen[0][2]) if chosen else (None, None)
        if verdict.fallback is not None:
            given = self.then.candidates[verdict.fallback]
            message, channel = given.message, given.channel
        at = verdict.not_before
        return Expect(
            outcome=verdict.outcome,
            message=message,
            channel=channel,
            messages=[name for name, _, _ in chosen] if len(chosen) > 1 else None,
            reasons={f"{r.message}/{r.channel}": r.reason for r in self.rivals(verdict)},
            reason=verdict.reason.value if verdict.reason is not None else UNSET,
            not_before=UNSET if at is None else self.moment(at),
        )

    def rivals(self, verdict: Verdict) -> list[ExplanationRow]:
        """The candidates that came nearest to being chosen."""
        known = {(one.message, one.channel) for one in self.now.candidates}
        rows = [
            row
            for row in explain(self.then, verdict)
            if row.reason not in (None, Reason.NOT_IN_PLACEMENT, Reason.INACTIVE)
            and (row.message, row.channel) in known
        ]
        return sorted(rows, key=furthest)[:_RIVALS]

    def probabilities(self) -> dict[str, float]:
        start = self.now.settings.starting_probability
        known = {f"{one.message}/{one.channel}" for one in self.now.candidates}
        found = {name: p for name, p in self.logged.probabilities.items() if name in known}
        return {} if all(p == start for p in found.values()) else found

    def spent(self) -> dict[str, Spent | float]:
        logged, found = self.logged, dict[str, Spent | float]()
        shared = self.then.budgets.spending(logged.decided_at, logged.budgets)
        held = [self.then.candidates[index] for index in indices(shared.blocked())]
        for name in sorted(logged.spent - {f"{one.message}/{one.channel}" for one in held}):
            message = self.now.messages.get(name.rpartition("/")[0])
            if message is not None and (own := message.budget) is not None:
                per_day = own.per_day or 0 if own.total is None else 0
                found[message.name] = Spent(total=own.total or 0, per_day=per_day)
        units = {one.name: one.unit for one in self.now.budgets.all if one.shared}
        for budget in (limit.budget for limit in shared.shared if not limit.budget.pool):
            taken = logged.budgets.get(budget.name, 0)
            if taken and units.get(budget.name) == budget.unit:
                found[budget.name] = budget.amount_of(taken)
        return found

    def coupons(self) -> dict[str, int]:
        """How many codes were left in each pool that was nearly empty."""
        found = self.then.budgets.spending(self.logged.decided_at, self.logged.budgets)
        left = {
            limit.budget.name: -found.before[limit.counter]
            for limit in found.shared
            if limit.budget.pool
        }
        pools = {pool_of(name) or "": number for name, number in left.items()}
        return {
            pool: number
            for pool, number in pools.items()
            if number < _NEARLY_EMPTY and pool in self.now.coupons
        }

    # The customer

    def customer(self) -> Customer:
        document = self.document
        zone = self.now.zone_of(document)
        measures: dict[str, Measure] = self.then.measures()
        for kind, measure in self.now.measures().items():
            measures[kind] = measures.get(kind, Measure()) | measure
        events = events_of(document, measures, self.logged.decided_at, zone, self.shown_in)
        counted = self.now.contact_policy.counts_signals_of
        channels = self.now.channels
        reachable = document.reachable
        return Customer(
            customer_id=None if self.unnamed else self.logged.customer_id,
            attributes=_pruned(document.attributes, self.paths("customer")),
            timezone=own if (own := document.timezone) and calendar.known_zone(own) else None,
            consents=self.consents(),
            reachable=None if reachable is None else [one for one in reachable if one in channels],
            unreachable=[one for one in document.unreachable if one in channels],
            contacts=self.contacts(),
            events=[one for one in events if one.type in measures or counted(one.type)],
            derive=not self.now.derivations.definitions,
            scores=self.scores(),
            journeys=self.journeys(),
            experiments=self.sides() if self.unnamed else {},
        )

    def scores(self) -> dict[str, float]:
        """The scores that are read, as they were."""
        return {
            name: self.then.scores.value(self.document, name, self.logged.decided_at)
            for name in self.then.scores.definitions
            if f"score.{name}" in self.read and name in self.now.scores.definitions
        }

    def journeys(self) -> dict[str, InJourney]:
        """Where the customer was in the journeys that are read."""
        steps = {
            one.name: {each.name for each in one.steps} for one in self.now.definition.journeys
        }
        state, found = self.document.journeys, {}
        for name, (run, *_) in state.runs.items() if state else ():
            read = any(f"journey.{name}.{one}" in self.read for one in JOURNEY_MEASURES)
            if read and run.step in steps.get(name, ()):
                found[name] = InJourney(step=run.step, since=self.moment(run.entered or run.wake))
        return found

    def paths(self, family: str) -> list[str]:
        """What the policies read of a family of fields; of a date's measure also the date."""
        found = (name.partition(".") for name in self.read if name != STATE_FIELD)
        paths = [rest for first, _, rest in found if first == family]
        if family == "customer":
            paths += [one[0] for name in self.read if (one := measured_date(name))]
        return paths

    def consents(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for purpose, channels in self.document.consents.items():
            for channel, said in channels.items():
                if purpose in (*self.now.purposes, "*") and channel in (*self.now.channels, "*"):
                    word = "granted" if said.granted else "denied"
                    found.setdefault(purpose, {})[channel] = word
        return found

    def sides(self) -> dict[str, str | bool]:
        return {
            one.name: side_of(one, self.logged.customer_id)
            for one in self.now.definition.experiments
        }

    def contacts(self) -> list[PastContact]:
        """The contacts that still count, within the time that the policies look back."""
        at = self.logged.decided_at
        oldest = at - max(self.then.history_needed(), self.now.history_needed())
        kinds = {(one.message, one.channel): one.kind for one in self.now.candidates}
        found = []
        for_ever = any(one.contact_policy.counts_for_ever for one in (self.then, self.now))
        for contact in (*self.earlier(oldest - DAY if for_ever else None), *self.document.contacts):
            kind, until = self.document.kinds[contact.kind], counts_until(contact)
            if (contact.at <= oldest and not for_ever) or until <= at:
                continue
            if kind.channel not in self.now.channels or kind.purpose not in self.now.purposes:
                self.notes.append(f"a contact of {kind.message}/{kind.channel} cannot be kept")
                continue
            was = kinds.get((kind.message, kind.channel)) != kind
            found.append(
                PastContact(
                    message=kind.message,
                    channel=kind.channel,
                    at=self.moment(min(contact.at, at)),
                    counts_until=self.moment(until) if until < NEVER else None,
                    purpose=kind.purpose if was else None,
                    category=kind.category if was else None,
                    tags=list(kind.tags) if was else None,
                )
            )
        return found

    def earlier(self, at: int | None) -> list[Contact]:
        """The contacts that are not kept one by one, as made at that time; None: none is needed."""
        if at is None:
            return []
        return [
            Contact(kind, at, ContactState.CONFIRMED, 0, 0)
            for kind, count in self.document.earlier.items()
            for _ in range(count)
        ]

    def moment(self, at: int) -> datetime:
        return from_micros(at).astimezone(self.shown_in)


def _pruned(values: dict[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Of nested values, those that some path leads to."""
    found: dict[str, Any] = {}
    for path in sorted(paths):
        if path in values:
            found[path] = values[path]
            continue
        parts = path.split(".")
        node: Any = values
        for part in parts:
            node = node.get(part) if isinstance(node, dict) else None
        if node is not None and isinstance(values.get(parts[0]), dict):
            into = found
            for part in parts[:-1]:
                into = into.setdefault(part, {})
            into[parts[-1]] = node
    return found
