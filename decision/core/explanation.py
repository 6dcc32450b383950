"""Why each candidate was chosen or not, in words, from the verdict that decided it.

Only the words are made here: the reason in every row is the stage at which the decision itself
filtered the candidate out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from decision.core import calendar, consent
from decision.core.caps import number_of
from decision.core.clock import from_micros, time_in_zone
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
from decision.core.said import SELECTED, Counted, Joined, Said, Say, lasting, marked
from decision.core.schema import ExplanationRow

Detail = tuple[str | None, str | None]
"""(detail, source) of a row."""


def explain(policy: Policy, verdict: Verdict, say: Say = str) -> list[ExplanationRow]:
    """One row per candidate of the policy, in the order of the rule files.

    `say` says a text, which is a `Said`, in another language.
    """
    return list(explanation_rows(policy, verdict, say))


def explanation_rows(policy: Policy, verdict: Verdict, say: Say = str) -> Iterator[ExplanationRow]:
    """The rows of `explain`, each made when it is asked for: a caller can do other work between."""
    reasons = {
        index: reason
        for reason, mask in verdict.fallen.items()
        for index in indices(mask & policy.everything)
    }
    explainer = _Explainer(policy, verdict, say)
    for index in range(len(policy.candidates)):
        yield explainer.row(index, reasons.get(index))


def why(policy: Policy, verdict: Verdict, candidate: int, say: Say = str) -> ExplanationRow:
    """The row of one candidate alone, see `explain`."""
    reason = next(
        (reason for reason, mask in verdict.fallen.items() if mask >> candidate & 1), None
    )
    return _Explainer(policy, verdict, say).row(candidate, reason)


class _Explainer:
    """Puts one verdict into words."""

    def __init__(self, policy: Policy, verdict: Verdict, say: Say) -> None:
        self.say = say
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
            detail=None if detail is None else self.say(detail),
            source=source,
            response_probability=row.response_probability if row else None,
            value=candidate.value if row else None,
            uplift=row.uplift if row else None,
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
                return Joined("; ", self._failures(message.when)), message.source
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
        return Said(
            "chosen with priority %(priority)s, by a probability of %(probability)s",
            priority=f"{row.priority:.6g}",
            probability=f"{row.selection_probability:.6g}",
        )

    def _inactive(self, index: int) -> str:
        message, _ = self.policy.pairs[index]
        zone = calendar.zone(self.policy.settings.timezone)  # that of bare dates in rule files
        parts = []
        if message.active_from is not None:
            parts.append(Said("from %(time)s", time=time_in_zone(message.active_from, zone)))
        if message.active_until is not None:
            end = time_in_zone(message.active_until, zone)
            parts.append(Said("until %(time)s (exclusive)", time=end))
        return Said(
            "it is %(now)s, active %(when)s",
            now=time_in_zone(self.verdict.now, zone),
            when=Joined(" ", parts),
        )

    def _not_in_placement(self, index: int) -> Detail:
        message, channel = self.policy.pairs[index]
        placement = self.policy.placements[self.verdict.question.placement]
        if channel.name not in placement.channels:
            text = Said(
                "placement %(name)s has %(names)s, not %(channel)s",
                name=placement.name,
                names=Joined(", ", placement.channels),
                channel=channel.name,
            )
            return text, placement.source
        if message.placements is not None and placement.name not in message.placements:
            text = Said(
                "%(message)s is for %(names)s, not %(placement)s",
                message=message.name,
                names=Joined(", ", message.placements),
                placement=placement.name,
            )
            return text, message.source
        question = self.verdict.question
        if not self.policy.asked_for(question.of) >> index & 1:
            return self._not_asked_for(message.name)
        text = Said(
            "the request asks for %(names)s, not %(channel)s",
            names=Joined(", ", question.channels or ()) or Said("no channel"),
            channel=channel.name,
        )
        return text, None

    def _not_asked_for(self, message: str) -> Detail:
        """What the journey's step asks for instead."""
        question = self.verdict.question
        name, step = question.context.get("journey"), question.context.get("step")
        source = step_source(self.policy.definition, name, step)
        assert question.of is not msgspec.UNSET
        wanted = [
            Said("%(key)s %(values)s", key=Said(SELECTED[key]), values=Joined(" or ", values))
            for key, values in msgspec.structs.asdict(question.of).items()
            if values is not None
        ]
        asked = Said("messages")
        if wanted:
            asked = Said("messages of %(wanted)s", wanted=Joined(", ", wanted))
        text = Said(
            "journey %(journey)s asks in step %(step)s for %(asked)s, not %(message)s",
            journey=name,
            step=step,
            asked=asked,
            message=message,
        )
        return text, source

    def _suppressed(self, index: int) -> Detail:
        for pause in self.verdict.pauses:
            if pause.mask >> index & 1:
                rule = self.policy.contact_policy.suppressions[pause.suppression]
                end = time_in_zone(pause.end, self.verdict.zone)
                text = Said(
                    "%(name)s: %(times)s × %(event)s within %(lasts)s, paused until %(time)s",
                    name=rule.name,
                    times=rule.times,
                    event=rule.event,
                    lasts=lasting(rule.within),
                    time=end,
                )
                return text, rule.source
        return None, None

    def _unreachable(self, channel: str) -> str:
        document = self.verdict.document
        if channel in document.unreachable:
            return Said("%(channel)s permanently bounced", channel=channel)
        return Said(
            "reachable on %(names)s, not %(channel)s",
            names=Joined(", ", document.reachable or ()) or Said("no channel"),
            channel=channel,
        )

    def _quiet(self, index: int) -> Detail:
        verdict = self.verdict
        held = self.policy.quiet.holding(index, verdict.now, verdict.zone, verdict.values)
        window = held[0]
        local = from_micros(verdict.now).astimezone(verdict.zone)
        said = Said(
            "%(channel)s is quiet from %(hours)s",
            channel=window.channel,
            hours=window_in_words(window.hours),
        )
        time: str = f"{local:%H:%M}"
        if window.dated:
            day = Said(WEEKDAYS[local.weekday()])
            time = Said(
                "%(time)s on %(date)s, %(day)s", time=time, date=f"{local:%Y-%m-%d}", day=day
            )
        unless = ""
        if window.lifted:
            lines = Joined("; ", self._failures(window.hours.unless))
            unless = Said("; unless %(lines)s", lines=lines)
        text = Said(
            "it is %(time)s in %(zone)s, %(said)s%(unless)s",
            time=time,
            zone=verdict.zone,
            said=said,
            unless=unless,
        )
        return text, window.hours.source

    def _reply(self, name: str) -> str:
        contact_policy = self.policy.contact_policy
        reply = next(r for r in contact_policy.reply_channels if r.channel == name)
        found = contact_policy.open_window(reply, self.verdict.document, self.verdict.now)
        if found is None:
            opened_by = Joined(
                " or ",
                [
                    Said(
                        "%(event)s within %(lasts)s",
                        event=window.opened_by,
                        lasts=lasting(window.lasts),
                    )
                    for window in reply.windows
                ],
            )
            return Said(
                "no reply window of %(channel)s is open: needs %(events)s",
                channel=name,
                events=opened_by,
            )
        window, since = found
        return Said(
            "the reply window opened by %(event)s at %(time)s allows %(n)s and they are used",
            event=window.opened_by,
            time=time_in_zone(since, self.verdict.zone),
            n=window.allows,
        )

    def _rule(self, index: int) -> Detail:
        for number in indices(self.verdict.fired):
            if self.policy.effects[number].removes >> index & 1:
                rule = self.policy.rules[number]
                facts = Joined("; ", self._facts(rule.when)) or Said("always")
                return Said("rule %(name)s holds: %(facts)s", name=rule.name, facts=facts), (
                    rule.source
                )
        return None, None

    def _capped(self, index: int) -> Detail:
        contact_policy = self.policy.contact_policy
        for group in contact_policy.full_groups(self.verdict.standing, index):
            cap = contact_policy.caps[group.cap]
            count = self.verdict.standing.counts.get(group.number, 0)
            about = ""
            if cap.per:
                per = Said(SELECTED.get(cap.per, cap.per))
                about = Said(" for %(per)s %(key)s", per=per, key=group.key)
            text = Said(
                "%(name)s: %(contacts)s%(about)s %(within)s, %(limit)s",
                name=cap.name,
                contacts=Counted("%(n)s contact", "%(n)s contacts", count),
                about=about,
                within=within(cap),
                limit=self._limit(cap, self.verdict.standing.limits[group.number]),
            )
            return text, cap.source
        return Said("too many decisions at once for this customer"), None

    def _limit(self, cap: Cap, limit: int) -> str:
        """What a cap that applies allows, where the number comes from, and why it applies."""
        text = Said("at most %(n)s", n=limit)
        if isinstance(cap.at_most, FieldLimit):
            field = cap.at_most.field
            value = self.verdict.values[self.policy.fields.slot(field)]
            text = Said("at most %(n)s by %(field)s", n=limit, field=field)
            if number_of(value) is None:
                text = Said(
                    "at most %(n)s by default, as %(field)s is %(value)s",
                    n=limit,
                    field=field,
                    value=shown(field, value),
                )
        if cap.when != ALWAYS:
            facts = Joined("; ", self._facts(cap.when))
            text = Said("%(limit)s; it applies where %(facts)s", limit=text, facts=facts)
        return text

    def _budget(self, index: int) -> Detail:
        """The budget without room; of a message's own budget, the record keeps no amount."""
        spending, budgets = self.verdict.spending, self.policy.budgets
        if spending is not None:
            for limit in spending.holding(index):
                if limit.budget.own:
                    return budgets.explain(limit, spending, index), limit.budget.source
        message, _ = self.policy.pairs[index]
        text = Said("the budget of %(message)s is spent", message=message.name)
        return text, self.policy.budget_source(message)

    def _holdout(self, index: int) -> Detail:
        for group in self.policy.holdouts:
            experiment = group.experiment
            held = in_holdout(experiment, self.verdict.document.customer_id)
            if held and not group.keeps >> index & 1:
                text = Said(
                    "in the control group %(name)s, which keeps %(kept)s",
                    name=experiment.name,
                    kept=Joined(", ", experiment.keeps) or Said("nothing"),
                )
                return text, experiment.source
        return None, None

    def _below(self, index: int) -> Detail:
        row = self.scored[index]
        placement = self.policy.placements[self.verdict.question.placement]
        text = Said(
            "priority is %(priority)s, must be more than %(least)s",
            priority=f"{row.priority:.6g}",
            least=f"{placement.threshold:.6g}",
        )
        return text, placement.source

    def _outranked(self, index: int) -> str:
        row = self.scored[index]
        tier = self._tier(index)
        tiers = [self._tier(winner.candidate) for winner in self.verdict.chosen]
        if tiers and tier > max(tiers):
            return Said(
                "it is of tier %(tier)s, and a message of tier %(first)s goes first",
                tier=tier,
                first=max(tiers),
            )
        winners = [
            f"{self.policy.candidates[winner.candidate].message}/"
            f"{self.policy.candidates[winner.candidate].channel} ({winner.priority:.6g})"
            for winner in self.verdict.chosen
        ]
        return Said(
            "priority is %(priority)s, chosen was %(winners)s",
            priority=f"{row.priority:.6g}",
            winners=Joined(", ", winners),
        )

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
        return Said("within %(lasts)s", lasts=lasting(cap.within))
    return Said(WINDOWS[cap.within])


WINDOWS: Final = {
    EVER: marked("ever"),
    "day": marked("within the calendar day"),
    "week": marked("within the calendar week"),
    "month": marked("within the calendar month"),
}
"""Windows that are no duration, as they follow a count."""
