"""Which parts of a policy scenarios have touched, and which they never have.

Everything that a policy can do is a *sight* to be seen at least once in some decision:

- message: `given` (selected, or as a fallback); `not eligible`, if it has a `when`; `inactive`,
  if it has a period.
- candidate (message × channel that some placement offers): `given`.
- rule: `fired` and `did not fire`.
- clause: `true` and `false`, in a decision that reached it: of a message, one in which it was
  active and asked for; of a state, one in which no state above held; and within a condition, one
  in which the clauses before it had not settled the matter. Of a derived event: for an event that
  it could have been made of.
- state: `was the state`. placement: `gave something`, `gave nothing`.
- derived event that is counted: `was counted`.
- cap, suppression: `held something back`. budget: `was spent`. coupon pool: `was empty`. quiet
  hours (each window), reply window, consent (of a channel, of a purpose): `held something back`; a
  reply window also `was open`, a window of quiet hours with `unless` also `was lifted`.
- experiment: of a control group, `held something back` and `let through` what it would hold back;
  of a test, each variant, where a clause asked for it (anywhere, where none asks).
- journey, step, moment: see `journey_sights`.
- reason: each code that the policy can give.

Percentages count sights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from decision.core import business_rules
from decision.core.clock import from_micros
from decision.core.conditions import ALWAYS, Test
from decision.core.contact_policy import ReplyChannel
from decision.core.coupons import pool_of
from decision.core.decide import Verdict
from decision.core.definition import DerivedEvent, PolicyDefinition
from decision.core.derived import Derivations
from decision.core.fields import Situation
from decision.core.journeys.definition import Ask
from decision.core.masks import indices
from decision.core.policy import Policy, in_holdout
from decision.core.policy_builder import compile_policy
from decision.core.quiet_hours import QuietWindow, in_words
from decision.core.reasons import Reason
from decision.core.records import JourneyRecord
from decision.core.schema import Decision
from decision.core.values import MISSING, Value
from decision.rulebook.content import compile_contents
from decision.scenarios.journey_sights import journey_sights, moment_seen, runs_seen
from decision.scenarios.sights import Sight
from decision.scenarios.trace import offered
from decision.scenarios.watching import (
    PlacedClause,
    Tell,
    placed_clauses,
    placed_conditions,
    watched,
)

HELD = "held something back"
LIFTED = "was lifted"
NO_FILE = "(whole policy)"


class Unseen(msgspec.Struct, frozen=True, kw_only=True):
    """Something that no scenario ever touched, and where it is written."""

    kind: str
    name: str
    never: str
    source: str


class Count(msgspec.Struct):
    """How much there is to see of a kind, or in a file, and how much was seen."""

    name: str
    seen: int = 0
    total: int = 0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The coverage of a policy. `percent` is rounded down to a tenth."""

    percent: float
    seen: int
    total: int
    kinds: list[Count]
    files: list[Count]
    unseen: list[Unseen]


class Coverage:
    """Watches decisions of one policy; afterwards `report` tells."""

    def __init__(self, definition: PolicyDefinition) -> None:
        clauses = placed_clauses(definition)
        self.sights: dict[Sight, str] = dict(_sights(compile_policy(definition), clauses))
        self.sights |= dict(journey_sights(definition))
        self.seen: set[Sight] = set()
        self._by_owner = {(one.section, one.owner, one.number): one for one in clauses}
        self._asked = {one.clause.field for one in clauses}
        self._tests: dict[tuple[str, str], Test] = {}
        self._derivations = Derivations(definition.events, self._derived)

    def see(self, policy: Policy, verdict: Verdict, decision: Decision) -> None:
        """Takes in one decision; its document may hold its new contact already."""
        found = [
            *(Sight("derived event", kind, "was counted") for kind in verdict.document.events),
            *_given(decision),
            *_fallen(policy, verdict),
            *_held_back(policy, verdict),
            *_reply_windows(policy, verdict),
            *self._sides(policy, verdict),
        ]
        self.seen.update(sight for sight in found if sight in self.sights)
        self._conditions(policy, verdict)

    def happened(self, event_type: str, properties: Mapping[str, Any]) -> None:
        """Takes in an event from which others are derived, with its properties as measured."""
        for _ in self._derivations.of(event_type, properties):
            pass
        for sight in moment_seen(event_type):
            self._add(sight)

    def went(self, done: Sequence[JourneyRecord]) -> None:
        """Takes in all that was done to runs of journeys in one scenario."""
        for sight in runs_seen(done):
            self._add(sight)

    def report(self) -> Report:
        """What was seen so far, and what was not."""
        kinds: dict[str, Count] = {}
        files: dict[str, Count] = {}
        unseen = []
        for sight, source in self.sights.items():
            hit = sight in self.seen
            file = source.rpartition(":")[0] or NO_FILE
            for counts, name in ((kinds, sight.kind), (files, file)):
                count = counts.setdefault(name, Count(name))
                count.seen += hit
                count.total += 1
            if not hit:
                unseen.append(
                    Unseen(kind=sight.kind, name=sight.name, never=sight.what, source=source)
                )
        seen, total = len(self.sights) - len(unseen), len(self.sights)
        return Report(
            percent=(1000 * seen // total) / 10 if total else 100.0,
            seen=seen,
            total=total,
            kinds=list(kinds.values()),
            files=sorted(files.values(), key=lambda count: count.name),
            unseen=sorted(unseen, key=lambda one: _place(one.source)),
        )

    def _sides(self, policy: Policy, verdict: Verdict) -> Iterator[Sight]:
        """Control groups, and the variants of tests that no clause asks for."""
        customer_id = verdict.document.customer_id
        held = verdict.fallen.get(Reason.HOLDOUT, 0)
        for group in policy.holdouts:
            name = group.experiment.name
            if not in_holdout(group.experiment, customer_id):
                if any(not group.keeps >> one.candidate & 1 for one in verdict.chosen):
                    yield Sight("experiment", name, "let something through")
            elif held & ~group.keeps:
                yield Sight("experiment", name, HELD)
        for name in policy.tests:
            if f"experiment.{name}" not in self._asked:
                yield Sight("experiment", name, f"was {policy.variant(name, customer_id)}")

    def _conditions(self, policy: Policy, verdict: Verdict) -> None:
        """Asks every condition again that this decision reached, with the plain evaluator."""
        values = _as_read(policy, verdict)
        for state in policy.definition.states:
            if self.holds(policy, "states", state.name, values):
                values[policy.state_slot] = state.name
                self._add(Sight("state", state.name, "was the state"))
                break
        fired = business_rules.run(
            policy.rule_strata, policy.rules, _Matcher(self, policy), values, policy.fields.slot
        )
        for index, rule in enumerate(policy.rules):
            what = "fired" if fired >> index & 1 else "did not fire"
            self._add(Sight("rule", rule.name, what))
        asked = offered(policy, verdict)
        self._quiet(policy, verdict, asked)
        for message in policy.definition.messages:
            if policy.message_masks[message.name] & asked:
                self.holds(policy, "messages", message.name, verdict.values)
        for number, cap in enumerate(policy.contact_policy.caps):
            if cap.when != ALWAYS and policy.contact_policy.mask_of_cap(number) & asked:
                self.holds(policy, "caps", cap.name, verdict.values)

    def _quiet(self, policy: Policy, verdict: Verdict, asked: int) -> None:
        """Asks what lifts the quiet hours in which the decision was made."""
        local = from_micros(verdict.now).astimezone(verdict.zone)
        for window in policy.quiet.windows:
            if window.lifted and window.mask & asked and window.covers(local):
                name = f"{window.channel} {window.number}"
                if self.holds(policy, "quiet hours", name, verdict.values):
                    self._add(Sight("quiet hours", _window(policy, window), LIFTED))

    def _derived(self, event: DerivedEvent, slot_of: Callable[[str], int]) -> Test:
        """The test of a derived event, telling of its clauses."""
        return watched(event.when, slot_of, self._tell("events", event.name))

    def _tell(self, section: str, name: str) -> Tell:
        def tell(number: int, held: bool, value: Value) -> None:
            self._clause(self._by_owner[section, name, number], held, value)

        return tell

    def holds(self, policy: Policy, section: str, name: str, values: Sequence[Value]) -> bool:
        """Whether the condition of one thing holds, telling of the clauses asked for it."""
        test = self._tests.get((section, name))
        if test is None:
            condition = next(
                found
                for of, owner, found, _ in placed_conditions(policy.definition)
                if (of, owner) == (section, name)
            )
            tell = self._tell(section, name)
            test = self._tests[section, name] = watched(condition, policy.fields.slot, tell)
        return test(values)

    def _clause(self, told: PlacedClause, held: bool, value: Value) -> None:
        self._add(_clause_sight(told, held))
        family, _, experiment = told.clause.field.partition(".")
        if family == "experiment":
            self._add(Sight("experiment", experiment, f"was {value}"))

    def _add(self, sight: Sight) -> None:
        if sight in self.sights:
            self.seen.add(sight)


class _Matcher:
    """Asks the rules of a stratum, telling of their clauses."""

    def __init__(self, coverage: Coverage, policy: Policy) -> None:
        self.coverage = coverage
        self.policy = policy

    def match(self, stratum: int, values: Sequence[Value]) -> int:
        """A bit mask of the stratum's rules that hold."""
        found = 0
        for index in self.policy.rule_strata.strata[stratum]:
            name = self.policy.rules[index].name
            if self.coverage.holds(self.policy, "rules", name, values):
                found |= 1 << index
        return found


def _as_read(policy: Policy, verdict: Verdict) -> list[Value]:
    """The slot values before states and rules: what rules have set is read again."""
    question = verdict.question
    situation = Situation(
        verdict.document,
        question.placement,
        verdict.now,
        verdict.zone,
        question.event,
        question.context,
    )
    values = list(verdict.values)
    for override in verdict.overrides:
        values[override.slot] = policy.fields.fields[override.slot].read(situation)
    values[policy.state_slot] = MISSING
    return values


def _clause_sight(told: PlacedClause, held: bool) -> Sight:
    number = f" (no. {told.number + 1})" if told.number else ""
    return Sight("clause", f"{told.words}{number}", "true" if held else "false")


def _window(policy: Policy, window: QuietWindow) -> str:
    """What a window is called: its channel, and its hours where the channel has several."""
    if len(policy.channels[window.channel].quiet_hours) == 1:
        return window.channel
    return f"{window.channel}: {in_words(window.hours)}"


def _place(source: str) -> tuple[str, int]:
    file, _, line = source.rpartition(":")
    return file, int(line) if line.isdigit() else 0


# What there is to see


def _sights(policy: Policy, told: list[PlacedClause]) -> Iterator[tuple[Sight, str]]:
    yield from _sights_of_messages(policy)
    definition = policy.definition
    for rule in definition.rules:
        yield Sight("rule", rule.name, "fired"), rule.source
        yield Sight("rule", rule.name, "did not fire"), rule.source
    for clause in told:
        for held in (True, False):
            yield _clause_sight(clause, held), clause.source
    for state in definition.states:
        yield Sight("state", state.name, "was the state"), state.source
    for placement in definition.placements:
        yield Sight("placement", placement.name, "gave something"), placement.source
        yield Sight("placement", placement.name, "gave nothing"), placement.source
    counted = policy.measures()
    for event in definition.events:
        if event.name in counted:
            yield Sight("derived event", event.name, "was counted"), event.source
    for cap in definition.caps:
        yield Sight("cap", cap.name, HELD), cap.source
    for budget in definition.budgets:
        yield Sight("budget", budget.name, "was spent"), budget.source
    for pool in definition.coupons:
        if any(message.coupon == pool.name for message in definition.messages):
            yield Sight("coupon pool", pool.name, "was empty"), pool.source
    for suppression in definition.suppressions:
        yield Sight("suppression", suppression.name, HELD), suppression.source
    for agreed in policy.consent_rules:
        yield Sight("consent", agreed.purpose.name, HELD), agreed.purpose.source
    for quiet in policy.quiet.windows:
        source = quiet.hours.source or policy.channels[quiet.channel].source
        yield Sight("quiet hours", _window(policy, quiet), HELD), source
        if quiet.lifted:
            yield Sight("quiet hours", _window(policy, quiet), LIFTED), source
    for reply in policy.contact_policy.reply_channels:
        for window in reply.windows:
            source = window.source or policy.channels[reply.channel].source
            yield Sight("reply window", f"{reply.channel}: {window.opened_by}", "was open"), source
        yield Sight("reply window", reply.channel, HELD), policy.channels[reply.channel].source
    for experiment in definition.experiments:
        whats = [f"was {variant}" for variant in experiment.variants]
        if experiment.share is not None:
            whats = [HELD, "let something through"]
        for what in whats:
            yield Sight("experiment", experiment.name, what), experiment.source
    for reason in _possible(policy):
        yield Sight("reason", reason.value, "was the reason"), ""


def _sights_of_messages(policy: Policy) -> Iterator[tuple[Sight, str]]:
    for message in policy.definition.messages:
        yield Sight("message", message.name, "given"), message.source
        if message.when != ALWAYS:
            yield Sight("message", message.name, "not eligible"), message.source
        if (message.active_from, message.active_until) != (None, None):
            yield Sight("message", message.name, "inactive"), message.source
        if message.budget is not None:
            yield Sight("budget", message.name, "was spent"), message.source
    offered_somewhere = 0
    for mask in policy.placement_masks.values():
        offered_somewhere |= mask
    for index, one in enumerate(policy.candidates):
        if offered_somewhere >> index & 1:
            sight = Sight("candidate", f"{one.message}/{one.channel}", "given")
            yield sight, policy.messages[one.message].source


def _possible(policy: Policy) -> Iterator[Reason]:
    """The reason codes that the policy can give."""
    contact_policy = policy.contact_policy
    needs = {
        Reason.INACTIVE: policy.active_periods,
        Reason.NOT_IN_PLACEMENT: any(
            mask != policy.everything for mask in policy.placement_masks.values()
        )
        or any(
            isinstance(step, Ask) and step.of is not None
            for journey in policy.definition.journeys
            for step in journey.steps
        ),
        Reason.NOT_ELIGIBLE: any(one.when != ALWAYS for one in policy.definition.messages),
        Reason.NO_CONSENT: policy.consent_rules,
        Reason.SUPPRESSED: policy.definition.suppressions,
        Reason.QUIET_HOURS: policy.quiet.windows,
        Reason.REPLY_WINDOW_CLOSED: contact_policy.reply_channels,
        Reason.RULE_EXCLUDED: any(effect.removes for effect in policy.effects),
        Reason.CAPPED: contact_policy.groups,
        Reason.BUDGET_SPENT: policy.budgets,
        Reason.TOO_LONG: compile_contents(policy).bounded,
        Reason.HOLDOUT: policy.holdouts,
        Reason.OUTRANKED: len(policy.candidates) > 1,
    }
    for reason in Reason:
        if policy.candidates and needs.get(reason, True):
            yield reason


# What one decision shows


def _given(decision: Decision) -> Iterator[Sight]:
    for one in decision.selections:
        yield Sight("message", one.message, "given")
        yield Sight("candidate", f"{one.message}/{one.channel}", "given")
    gave = "gave something" if decision.outcome == "selected" else "gave nothing"
    yield Sight("placement", decision.placement, gave)


def _fallen(policy: Policy, verdict: Verdict) -> Iterator[Sight]:
    by_message = {
        Reason.NOT_ELIGIBLE: ("message", "not eligible"),
        Reason.INACTIVE: ("message", "inactive"),
    }
    for reason, mask in verdict.fallen.items():
        yield Sight("reason", reason.value, "was the reason")
        for index in indices(mask & policy.everything):
            one = policy.candidates[index]
            if reason is Reason.BUDGET_SPENT and verdict.spending is not None:
                for limit in verdict.spending.holding(index):
                    pool = pool_of(limit.budget.name) if limit.budget.pool else None
                    if pool is not None:
                        yield Sight("coupon pool", pool, "was empty")
                    else:
                        yield Sight("budget", limit.budget.name, "was spent")
            elif reason in by_message:
                kind, what = by_message[reason]
                yield Sight(kind, one.message, what)
            elif reason is Reason.NO_CONSENT:
                yield Sight("consent", one.purpose, HELD)
            elif reason is Reason.QUIET_HOURS:
                for window in policy.quiet.holding(
                    index, verdict.now, verdict.zone, verdict.values
                ):
                    yield Sight("quiet hours", _window(policy, window), HELD)
            elif reason is Reason.REPLY_WINDOW_CLOSED:
                yield Sight("reply window", one.channel, HELD)


def _held_back(policy: Policy, verdict: Verdict) -> Iterator[Sight]:
    """The caps and suppressions that removed a candidate."""
    contact_policy = policy.contact_policy
    for index in indices(verdict.fallen.get(Reason.CAPPED, 0) & policy.everything):
        for group in contact_policy.full_groups(verdict.standing, index):
            yield Sight("cap", contact_policy.caps[group.cap].name, HELD)
    for number, mask, _ in verdict.pauses:
        if mask & verdict.fallen.get(Reason.SUPPRESSED, 0):
            yield Sight("suppression", contact_policy.suppressions[number].name, HELD)


def _reply_windows(policy: Policy, verdict: Verdict) -> Iterator[Sight]:
    asked = offered(policy, verdict)
    for reply in policy.contact_policy.reply_channels:
        opened = _opened_by(policy, reply, verdict) if reply.mask & asked else None
        if opened is not None:
            yield Sight("reply window", f"{reply.channel}: {opened}", "was open")


def _opened_by(policy: Policy, reply: ReplyChannel, verdict: Verdict) -> str | None:
    found = policy.contact_policy.open_window(reply, verdict.document, verdict.now)
    return found[0].opened_by if found is not None else None
