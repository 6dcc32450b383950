"""How a decision of a scenario came about: everything that counted, as data and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from decision.core import consent
from decision.core.caps import UNLIMITED
from decision.core.clock import from_micros
from decision.core.condition_words import facts_of
from decision.core.decide import Verdict
from decision.core.explanation import within
from decision.core.masks import indices, union
from decision.core.policy import Policy
from decision.core.reasons import Reason
from decision.core.schema import Decision, ExplanationRow
from decision.core.values import in_words
from decision.scenarios.schema import Expect
from decision.scenarios.staging import side_of

Paint = Callable[[str, str], str]
"""Gives a text a look, such as `bold` or `red`."""

_STAGES: Final[dict[str | None, int]] = {reason.value: i for i, reason in enumerate(Reason)}
_CHOSEN: Final = len(Reason)
_NEAREST: Final = 3
_SIDES: Final[dict[str | bool, str]] = {True: "yes", False: "no"}


class FiredRule(msgspec.Struct, frozen=True, kw_only=True):
    """A business rule that held: the values that made it hold, and what it did."""

    name: str
    source: str
    because: str
    did: str


class CountedCap(msgspec.Struct, frozen=True, kw_only=True):
    """A cap that some contact counts for, among those about the candidates asked for."""

    name: str
    source: str
    about: str
    count: int
    at_most: int
    within: str


class SpentBudget(msgspec.Struct, frozen=True, kw_only=True):
    """One of `budgets:` of which something is spent, with what the decision itself takes.

    The amounts are in words, such as `9999.95 CNY`; `freed` is what may be spent by now.
    """

    name: str
    source: str
    spent: str
    freed: str
    full: bool


class SuppressionInForce(msgspec.Struct, frozen=True, kw_only=True):
    """A suppression in force."""

    name: str
    source: str
    until: datetime
    candidates: list[str]


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One decision with what made it so.

    `given` are the message/channel chosen, `named` those that the scenario expects something of;
    `candidates` is the explanation, the chosen first, then those that came furthest.
    """

    at: datetime
    timezone: str
    placement: str
    outcome: str
    reason: str | None
    not_before: datetime | None
    given: list[str]
    state: str | None
    experiments: dict[str, str | bool]
    rules: list[FiredRule]
    consents: dict[str, str]
    caps: list[CountedCap]
    budgets: list[SpentBudget]
    pauses: list[SuppressionInForce]
    named: list[str]
    candidates: list[ExplanationRow]

    def lines(self, *, everything: bool = False, paint: Paint | None = None) -> Iterator[str]:
        """The trace in words; of candidates those that matter, or all of them."""
        yield from _Words(self, paint or (lambda text, _: text)).lines(everything)


def trace_of(policy: Policy, verdict: Verdict, decision: Decision, expect: Expect) -> Trace:
    """What made a decision so. The verdict's document may hold its new contact already."""
    state = verdict.values[policy.state_slot]
    rows = sorted(decision.explanation or (), key=furthest)
    return Trace(
        at=from_micros(verdict.now).astimezone(verdict.zone),
        timezone=str(verdict.zone),
        placement=verdict.question.placement,
        outcome=decision.outcome,
        reason=decision.reason,
        not_before=decision.not_before and decision.not_before.astimezone(verdict.zone),
        given=[f"{one.message}/{one.channel}" for one in decision.selections],
        state=state if isinstance(state, str) else None,
        experiments={
            one.name: side_of(one, verdict.document.customer_id)
            for one in policy.definition.experiments
        },
        rules=[_fired(policy, verdict, index) for index in indices(verdict.fired)],
        consents=_consents(policy, verdict),
        caps=list(_caps(policy, verdict)),
        budgets=list(_budgets(policy, verdict)),
        pauses=[_pause(policy, *pause) for pause in verdict.pauses],
        named=[_name(row) for row in rows if _is_named(row, expect, rows)],
        candidates=rows,
    )


def furthest(row: ExplanationRow) -> tuple[int, float]:
    """Orders candidates: the chosen first, then those that came nearest to it."""
    return -_STAGES.get(row.reason, _CHOSEN), -(row.priority or 0.0)


def _is_named(row: ExplanationRow, expect: Expect, rows: Sequence[ExplanationRow]) -> bool:
    """Whether something is expected of a candidate, or of its message: where that was asked for, or
    else nowhere."""
    names = {*expect.reasons, *expect.forbidden, *(expect.messages or ())}
    if _name(row) in names:
        return True
    if row.message == expect.message and expect.channel is not None:
        return row.channel == expect.channel
    if row.message not in (*names, expect.message):
        return False
    asked = {one.channel for one in rows if one.message == row.message and _is_asked(one)}
    return not asked or row.channel in asked


def _is_asked(row: ExplanationRow) -> bool:
    return row.reason != Reason.NOT_IN_PLACEMENT


def _fired(policy: Policy, verdict: Verdict, index: int) -> FiredRule:
    rule, effect = policy.rules[index], policy.effects[index]
    did = [f"sets {name}: {in_words(value)}" for name, value in rule.set.items()]
    if effect.removes:
        gone = verdict.fallen.get(Reason.RULE_EXCLUDED, 0) & effect.removes
        did.append(f"removes {gone.bit_count()} that were left")
    if effect.levers is not None:
        did.append(f"boosts by {rule.by:g}")
    attributes = verdict.document.attributes
    facts = facts_of(rule.when, verdict.values, policy.fields.slot, verdict.zone, attributes)
    return FiredRule(
        name=rule.name,
        source=rule.source,
        because="; ".join(facts) or "always",
        did=", ".join(did),
    )


def offered(policy: Policy, verdict: Verdict) -> int:
    """The mask of candidates that were asked for and active: what all stages after look at."""
    fallen = verdict.fallen
    return policy.everything & ~(
        fallen.get(Reason.INACTIVE, 0) | fallen.get(Reason.NOT_IN_PLACEMENT, 0)
    )


def _consents(policy: Policy, verdict: Verdict) -> dict[str, str]:
    found: dict[str, dict[str, list[str]]] = {}
    asked = offered(policy, verdict)
    for rule in policy.consent_rules:
        if rule.mask & asked:
            said = consent.stated(verdict.document.consents, rule.purpose.name, rule.channel)
            word = "not stated" if said is None else "granted" if said else "denied"
            found.setdefault(rule.purpose.name, {}).setdefault(word, []).append(rule.channel)
    return {
        purpose: "; ".join(f"{word} on {', '.join(channels)}" for word, channels in words.items())
        for purpose, words in found.items()
    }


def _caps(policy: Policy, verdict: Verdict) -> Iterator[CountedCap]:
    asked = offered(policy, verdict)
    contact_policy = policy.contact_policy
    for number, count in sorted(verdict.standing.counts.items()):
        group = contact_policy.groups[number]
        applies = verdict.standing.limits[number] != UNLIMITED
        if count and applies and group.mask & asked:
            cap = contact_policy.caps[group.cap]
            yield CountedCap(
                name=cap.name,
                source=cap.source,
                about=f"{cap.per} {group.key}" if cap.per else "",
                count=count,
                at_most=verdict.standing.limits[number],
                within=str(within(cap)),
            )


def _budgets(policy: Policy, verdict: Verdict) -> Iterator[SpentBudget]:
    asked, spending = offered(policy, verdict), verdict.spending
    if spending is None:
        return
    for limit in spending.shared:
        budget, taken = limit.budget, spending.taken(limit)
        if not budget.pool and taken and asked & union(mask for _, mask in budget.takes):
            yield SpentBudget(
                name=budget.name,
                source=budget.source,
                spent=budget.in_words(taken),
                freed=budget.in_words(limit.amount),
                full=bool(limit.blocked(taken) & asked),
            )


def _pause(policy: Policy, number: int, mask: int, end: int) -> SuppressionInForce:
    rule = policy.contact_policy.suppressions[number]
    held = [policy.candidates[index] for index in indices(mask & policy.everything)]
    return SuppressionInForce(
        name=rule.name,
        source=rule.source,
        until=from_micros(end),
        candidates=[f"{one.message}/{one.channel}" for one in held],
    )


class _Words:
    """Puts a trace into words."""

    def __init__(self, trace: Trace, paint: Paint) -> None:
        self.trace = trace
        self.paint = paint

    def lines(self, everything: bool) -> Iterator[str]:
        for name, text in self.facts():
            yield f"{self.paint(name.ljust(11), 'bold')} {text}"
        yield ""
        yield from self.table(everything)

    def facts(self) -> Iterator[tuple[str, str]]:
        trace = self.trace
        given = f" {', '.join(trace.given)}" if trace.given else ""
        reason = f", as {trace.reason}" if trace.reason else ""
        later = f", not before {trace.not_before.isoformat()}" if trace.not_before else ""
        yield "decided", f"{trace.outcome}{given}{reason}{later}"
        at = f"{trace.at:%Y-%m-%d %H:%M:%S} in {trace.timezone}"
        yield "asked", f"{trace.placement}, {at}"
        if trace.state is not None:
            yield "state", trace.state
        if trace.experiments:
            sides = (f"{name} {_SIDES.get(side, side)}" for name, side in trace.experiments.items())
            yield "experiments", ", ".join(sides)
        for name, text in trace.consents.items():
            yield "consent", f"{name}: {text}"
        for rule in trace.rules:
            yield "rule", f"{rule.name} ({rule.because}): {rule.did}  {self.dim(rule.source)}"
        for cap in trace.caps:
            about = f" for {cap.about}" if cap.about else ""
            full = self.paint(" full", "red") if cap.count >= cap.at_most else ""
            count = f"{cap.count} of {cap.at_most} {cap.within}"
            yield "cap", f"{cap.name}{about}: {count}{full}  {self.dim(cap.source)}"
        for budget in trace.budgets:
            full = self.paint(" full", "red") if budget.full else ""
            text = f"{budget.name}: {budget.spent} of {budget.freed} spent{full}"
            yield "budget", f"{text}  {self.dim(budget.source)}"
        for pause in trace.pauses:
            text = f"{pause.name} until {pause.until.isoformat()}: {', '.join(pause.candidates)}"
            yield "pause", f"{text}  {self.dim(pause.source)}"

    def dim(self, text: str) -> str:
        return self.paint(text, "dim")

    def table(self, everything: bool) -> Iterator[str]:
        """The candidates that matter, else those that came furthest; of others, how many fell."""
        rows = self.trace.candidates
        shown = [row for row in rows if everything or self.matters(row)] or rows[:_NEAREST]
        cells = [(_name(row), row.reason or "selected", _sum(row)) for row in shown]
        heads = ("candidate", "reason", "probability × value × lever − cost = priority")
        if not any(sums for _, _, sums in cells):
            heads = (*heads[:2], "")
        widths = [max(len(line[column]) for line in (heads, *cells)) for column in range(3)]
        if shown:
            yield self.paint(_padded(heads, widths), "bold")
        for row, line in zip(shown, cells, strict=True):
            text = _padded(line, widths)
            if self.matters(row):
                text = self.paint(text, "green" if row.reason is None else "yellow")
            yield text.rstrip()
            if row.detail:
                yield f"    {row.detail}  {self.dim(row.source or '')}".rstrip()
        rest = Counter(row.reason for row in rows if row not in shown)
        if rest:
            counts = ", ".join(f"{count} {reason}" for reason, count in rest.items())
            yield f"and {rest.total()} more: {counts}"

    def matters(self, row: ExplanationRow) -> bool:
        return row.reason is None or _name(row) in self.trace.named


def _name(row: ExplanationRow) -> str:
    return f"{row.message}/{row.channel}"


def _sum(row: ExplanationRow) -> str:
    if row.priority is None:
        return ""
    effect = row.response_probability if row.uplift is None else row.uplift
    return f"{effect:.4g} × {row.value:g} × {row.lever:g} − {row.cost:g} = {row.priority:.4g}"


def _padded(line: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
