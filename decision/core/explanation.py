"""Why each candidate was chosen or not, in words, from the verdict that decided it.

Only the words are made here: the reason in every row is the stage at which the decision itself
filtered the candidate out.
"""

from __future__ import annotations

import msgspec

from decision.core import calendar, consent
from decision.core.caps import number_of
from decision.core.clock import format_duration, from_micros, time_in_zone
from decision.core.condition_words import facts_of, failures, shown
from decision.core.conditions import ALWAYS, Condition
from decision.core.contact_policy import EVER
from decision.core.decide import Verdict
from decision.core.definition import Cap, FieldLimit, PolicyDefinition
from decision.core.fields import WEEKDAYS
from decision.core.masks import indices
from decision.core.policy import Policy, in_holdout
from decision.core.quiet_hours import in_words as window_in_words
from decision.core.reasons import Reason
from decision.core.schema import ExplanationRow

Detail = tuple[str | None, str | None]
"""(detail, source) of a row."""


def explain(policy: Policy, verdict: Verdict) -> list[ExplanationRow]:
    """One row per candidate of the policy, in the order of the rule files."""
    reasons = {
        index: reason
        for reason, mask in verdict.fallen.items()
        for index in indices(mask & policy.everything)
    }
    explainer = _Explainer(policy, verdict)
    return [explainer.row(index, reasons.get(index)) for index in range(len(policy.candidates))]


def why(policy: Policy, verdict: Verdict, candidate: int) -> ExplanationRow:
    """The row of one candidate alone."""
    reason = next(
        (reason for reason, mask in verdict.fallen.items() if mask >> candidate & 1), None
    )
    return _Explainer(policy, verdict).row(candidate, reason)


class _Explainer:
    """Puts one verdict into words."""

    def __init__(self, policy: Policy, verdict: Verdict) -> None:
        self.policy = policy
        self.verdict = verdict
        self.scored = {row.candidate: row for row in verdict.scores.rows()}

    def row(self, index: int, reason: Reason | None) -> ExplanationRow:
        candidate = self.policy.candidates[index]
        detail, source = self.detail_of(index, reason)
        row = self.scored.get(index)
        return ExplanationRow(
            message=candidate.message,
            channel=candidate.channel,
            reason=reason.value if reason else None,
            detail=detail,
            source=source,
            response_probability=row.response_probability if row else None,
            value=candidate.value if row else None,
            lever=row.lever if row else None,
            cost=float(self.policy.costs[index]) if row else None,
            priority=row.priority if row else None,
            selection_probability=row.selection_probability if row else None,
        )

    def detail_of(self, index: int, reason: Reason | None) -> Detail:
        message, channel = self.policy.pairs[index]
        match reason:
            case None:
                return self._chosen(index), message.source
            case Reason.INACTIVE:
                return self._inactive(index), message.source
            case Reason.NOT_IN_PLACEMENT:
                return self._not_in_placement(index)
            case Reason.NOT_ELIGIBLE:
                return "; ".join(self._failures(message.when)), message.source
            case Reason.NO_CONSENT:
                purpose = self.policy.purposes[message.purpose]
                consents = self.verdict.document.consents
                return consent.in_words(purpose, consents, channel.name), purpose.source
            case Reason.SUPPRESSED:
                return self._suppressed(index)
            case Reason.UNREACHABLE:
                return self._unreachable(channel.name), channel.source
            case Reason.QUIET_HOURS:
                return self._quiet(index)
            case Reason.REPLY_WINDOW_CLOSED:
                return self._reply(channel.name), channel.source
            case Reason.RULE_EXCLUDED:
                return self._rule(index)
            case Reason.CAPPED:
                return self._capped(index)
            case Reason.BUDGET_SPENT:
                return self._budget(index)
            case Reason.TOO_LONG:
                return self.verdict.texts.excess(index), message.content_source
            case Reason.HOLDOUT:
                return self._holdout(index)
            case Reason.BELOW_THRESHOLD:
                return self._below(index)
            case Reason.OUTRANKED:
                return self._outranked(index), message.source

    def _failures(self, condition: Condition) -> list[str]:
        """In words, the clauses that keep a condition from holding."""
        verdict, slot_of = self.verdict, self.policy.fields.slot
        attributes = verdict.document.attributes
        return failures(condition, verdict.values, slot_of, False, verdict.zone, attributes)

    def _facts(self, condition: Condition) -> list[str]:
        """In words, the values of the fields that a condition names."""
        verdict, slot_of = self.verdict, self.policy.fields.slot
        attributes = verdict.document.attributes
        return facts_of(condition, verdict.values, slot_of, verdict.zone, attributes)

    def _chosen(self, index: int) -> str:
        row = self.scored[index]
        return (
            f"chosen with priority {row.priority:.6g}, by a probability of "
            f"{row.selection_probability:.6g}"
        )

    def _inactive(self, index: int) -> str:
        message, _ = self.policy.pairs[index]
        zone = calendar.zone(self.policy.settings.timezone)  # that of bare dates in rule files
        parts = []
        if message.active_from is not None:
            parts.append(f"from {time_in_zone(message.active_from, zone)}")
        if message.active_until is not None:
            parts.append(f"until {time_in_zone(message.active_until, zone)} (exclusive)")
        return f"it is {time_in_zone(self.verdict.now, zone)}, active {' '.join(parts)}"

    def _not_in_placement(self, index: int) -> Detail:
        message, channel = self.policy.pairs[index]
        placement = self.policy.placements[self.verdict.question.placement]
        if channel.name not in placement.channels:
            names = ", ".join(placement.channels)
            return f"placement {placement.name} has {names}, not {channel.name}", placement.source
        if message.placements is not None and placement.name not in message.placements:
            names = ", ".join(message.placements)
            return f"{message.name} is for {names}, not {placement.name}", message.source
        question = self.verdict.question
        if not self.policy.asked_for(question.of) >> index & 1:
            return self._not_asked_for(message.name)
        names = ", ".join(question.channels or ())
        return f"the request asks for {names or 'no channel'}, not {channel.name}", None

    def _not_asked_for(self, message: str) -> Detail:
        """What the journey's step asks for instead."""
        question = self.verdict.question
        name, step = question.context.get("journey"), question.context.get("step")
        source = step_source(self.policy.definition, name, step)
        assert question.of is not msgspec.UNSET
        wanted = [
            f"{key} {' or '.join(values)}"
            for key, values in msgspec.structs.asdict(question.of).items()
            if values is not None
        ]
        asked = f"messages of {', '.join(wanted)}" if wanted else "messages"
        return f"journey {name} asks in step {step} for {asked}, not {message}", source

    def _suppressed(self, index: int) -> Detail:
        for pause in self.verdict.pauses:
            if pause.mask >> index & 1:
                rule = self.policy.contact_policy.suppressions[pause.suppression]
                end = time_in_zone(pause.end, self.verdict.zone)
                return (
                    f"{rule.name}: {rule.times} × {rule.event} within "
                    f"{format_duration(rule.within)}, paused until {end}",
                    rule.source,
                )
        return None, None

    def _unreachable(self, channel: str) -> str:
        document = self.verdict.document
        if channel in document.unreachable:
            return f"{channel} permanently bounced"
        names = ", ".join(document.reachable or ())
        return f"reachable on {names or 'no channel'}, not {channel}"

    def _quiet(self, index: int) -> Detail:
        verdict = self.verdict
        held = self.policy.quiet.holding(index, verdict.now, verdict.zone, verdict.values)
        window = held[0]
        local = from_micros(verdict.now).astimezone(verdict.zone)
        said = f"{window.channel} is quiet from {window_in_words(window.hours)}"
        day = f" on {local:%Y-%m-%d}, {WEEKDAYS[local.weekday()]}" if window.dated else ""
        lines = self._failures(window.hours.unless)
        unless = f"; unless {'; '.join(lines)}" if window.lifted else ""
        return f"it is {local:%H:%M}{day} in {verdict.zone}, {said}{unless}", window.hours.source

    def _reply(self, name: str) -> str:
        contact_policy = self.policy.contact_policy
        reply = next(r for r in contact_policy.reply_channels if r.channel == name)
        found = contact_policy.open_window(reply, self.verdict.document, self.verdict.now)
        if found is None:
            opened_by = " or ".join(
                f"{window.opened_by} within {format_duration(window.lasts)}"
                for window in reply.windows
            )
            return f"no reply window of {name} is open: needs {opened_by}"
        window, since = found
        return (
            f"the reply window opened by {window.opened_by} at "
            f"{time_in_zone(since, self.verdict.zone)} allows {window.allows} and they are used"
        )

    def _rule(self, index: int) -> Detail:
        for number in indices(self.verdict.fired):
            if self.policy.effects[number].removes >> index & 1:
                rule = self.policy.rules[number]
                facts = "; ".join(self._facts(rule.when))
                return f"rule {rule.name} holds: {facts or 'always'}", rule.source
        return None, None

    def _capped(self, index: int) -> Detail:
        contact_policy = self.policy.contact_policy
        for group in contact_policy.full_groups(self.verdict.standing, index):
            cap = contact_policy.caps[group.cap]
            count = self.verdict.standing.counts.get(group.number, 0)
            about = f" for {cap.per} {group.key}" if cap.per else ""
            contacts = "1 contact" if count == 1 else f"{count} contacts"
            limit = self._limit(cap, self.verdict.standing.limits[group.number])
            return f"{cap.name}: {contacts}{about} {within(cap)}, {limit}", cap.source
        return "too many decisions at once for this customer", None

    def _limit(self, cap: Cap, limit: int) -> str:
        """What a cap that applies allows, where the number comes from, and why it applies."""
        text = f"at most {limit}"
        if isinstance(cap.at_most, FieldLimit):
            field = cap.at_most.field
            value = self.verdict.values[self.policy.fields.slot(field)]
            text += f" by {field}"
            if number_of(value) is None:
                text = f"at most {limit} by default, as {field} is {shown(field, value)}"
        if cap.when != ALWAYS:
            text += f"; it applies where {'; '.join(self._facts(cap.when))}"
        return text

    def _budget(self, index: int) -> Detail:
        """The budget without room; of a message's own budget, the record keeps no amount."""
        spending, budgets = self.verdict.spending, self.policy.budgets
        if spending is not None:
            for limit in spending.holding(index):
                if limit.budget.own:
                    return budgets.explain(limit, spending, index), limit.budget.source
        message, _ = self.policy.pairs[index]
        return f"the budget of {message.name} is spent", self.policy.budget_source(message)

    def _holdout(self, index: int) -> Detail:
        for group in self.policy.holdouts:
            experiment = group.experiment
            held = in_holdout(experiment, self.verdict.document.customer_id)
            if held and not group.keeps >> index & 1:
                kept = ", ".join(experiment.keeps) or "nothing"
                return f"in the control group {experiment.name}, which keeps {kept}", (
                    experiment.source
                )
        return None, None

    def _below(self, index: int) -> Detail:
        row = self.scored[index]
        placement = self.policy.placements[self.verdict.question.placement]
        return (
            f"priority is {row.priority:.6g}, must be more than {placement.threshold:.6g}",
            placement.source,
        )

    def _outranked(self, index: int) -> str:
        row = self.scored[index]
        tier = self._tier(index)
        tiers = [self._tier(winner.candidate) for winner in self.verdict.chosen]
        if tiers and tier > max(tiers):
            return f"it is of tier {tier}, and a message of tier {max(tiers)} goes first"
        winners = [
            f"{self.policy.candidates[winner.candidate].message}/"
            f"{self.policy.candidates[winner.candidate].channel} ({winner.priority:.6g})"
            for winner in self.verdict.chosen
        ]
        return f"priority is {row.priority:.6g}, chosen was {', '.join(winners)}"

    def _tier(self, index: int) -> int:
        return self.policy.purposes[self.policy.candidates[index].purpose].tier


def step_source(definition: PolicyDefinition, journey: object, step: object) -> str | None:
    """The line of a journey's step; None where the policy has none such."""
    for one in definition.journeys:
        if one.name == journey:
            return next((each.source for each in one.steps if each.name == step), None)
    return None


def within(cap: Cap) -> str:
    """A cap's window in words."""
    if isinstance(cap.within, int):
        return f"within {format_duration(cap.within)}"
    return cap.within if cap.within == EVER else f"within the calendar {cap.within}"
