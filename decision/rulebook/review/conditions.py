"""Conditions that nobody can meet, and parts of them that say nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from decision.core.conditions import ALWAYS, All, AnyOf, Clause, Condition, Not
from decision.core.values import in_words
from decision.rulebook.review.context import ReviewContext, listed, size_of
from decision.rulebook.review.intervals import values_of
from decision.rulebook.yaml_source import Place

_WORDS: Final = {
    "eq": "{}",
    "ne": "other than {}",
    "gt": "more than {}",
    "gte": "{} or more",
    "lt": "less than {}",
    "lte": "{} or less",
    "in": "one of {}",
    "not_in": "none of {}",
    "contains": "something that holds {}",
    "matches": "like {}",
}
_MOST_ALTERNATIVES: Final = 200
_EXPLAINED: Final = 10
"""How much more work the explanation of a contradiction is worth than finding it."""


def review_conditions(
    context: ReviewContext, flawed: Collection[tuple[str, str]] = frozenset()
) -> None:
    """Looks at every `when` of messages, states and rules; `flawed` are those to pass over."""
    definition = context.definition
    for section, found in (
        ("messages", definition.messages),
        ("states", definition.states),
        ("rules", definition.rules),
    ):
        for one in found:
            if one.when != ALWAYS and (section, one.name) not in flawed:
                _ConditionReviewer(context, section, one.name).whole(one.when)


class _ConditionReviewer:
    """Reviews the condition of one definition."""

    def __init__(self, context: ReviewContext, section: str, name: str) -> None:
        self.context = context
        self.solver = context.solver
        self.section = section
        self.name = name
        self.what = f'{section.removesuffix("s")} "{name}"'

    def whole(self, when: Condition) -> None:
        self.solver.allow(size_of(when))
        if self.solver.never(when):
            culprit, reason, hint = self.culprit(when)
            message = f"the when of {self.what} can never hold: {reason}"
            hint = (
                hint or "all parts of a mapping must hold at once; for either write any: [{…}, {…}]"
            )
            self.context.impossible.add((self.section, self.name))
            self.context.report.error("never-holds", self.place(culprit), message, hint)
        elif self.solver.always(when):
            self.empty(when, f"the when of {self.what} always holds: {self.why_always(when)}")
        else:
            self.parts(when, ())

    def parts(self, condition: Condition, beside: tuple[Condition, ...]) -> None:
        """What within a condition, beside which others must hold, can be left out."""
        match condition:
            case All(parts):
                for index, part in enumerate(parts):
                    if part != ALWAYS and self.solver.always(part):
                        self.empty(part, f"this part always holds: {self.why_always(part)}")
                    elif not isinstance(part, Clause):
                        others = (*parts[:index], *parts[index + 1 :])
                        self.parts(part, (*beside, *others))
            case AnyOf(parts) if len(parts) <= _MOST_ALTERNATIVES:
                for part in parts:
                    if self.solver.can_hold(part, *beside):
                        self.parts(part, beside)
                    else:
                        self.dead(part, beside)
            case Not(part) if not isinstance(part, Clause):
                self.parts(part, ())

    def empty(self, part: Condition, message: str) -> None:
        hint = "leave it out, or say what was meant"
        self.context.report.warn(self.place(part), message, hint, "always-holds")

    def dead(self, part: Condition, beside: tuple[Condition, ...]) -> None:
        culprit, reason, hint = self.culprit(All((*beside, part)))
        message = f"this alternative can never hold: {reason}"
        place = self.place(culprit if self.within(culprit, part) else part)
        hint = hint or "leave it out, or say what was meant; what stands around it must hold, too"
        self.context.report.warn(place, message, hint, "dead-part")

    def culprit(self, condition: Condition) -> tuple[Condition, str, str]:
        """The part with which a condition becomes impossible, why, and a hint."""
        self.solver.allow(_EXPLAINED * size_of(condition))
        parts = list(_conjuncts(condition))
        ends = range(1, len(parts) + 1)
        end = next((end for end in ends if not self.solver.can_hold(*parts[:end])), 0)
        if not end:
            return condition, "its parts contradict each other", ""
        part, before = parts[end - 1], parts[: end - 1]
        if self.solver.never(part):
            if isinstance(part, AnyOf) and part.parts:
                return part, "none of its alternatives can", "mend one of them, or leave it out"
            return part, *self.impossible(part)
        for other in before:
            if not self.solver.can_hold(other, part):
                return part, self.contradiction(other, part), self.mend(other, part)
        earlier = [one for one in before if _fields(one) & _fields(part)]
        told = listed([_told(one) for one in earlier])
        return part, f"it is not {_told(part)} where {told}", ""

    def impossible(self, part: Condition) -> tuple[str, str]:
        """Why a part by itself never holds, and what its field may be."""
        if isinstance(part, Clause):
            return f"{part.field} is never {_value(part)}", self.range(part.field)
        if isinstance(part, Not):
            return f"what it denies always holds ({self.why_always(part.part)})", ""
        return "its parts contradict each other", ""

    def contradiction(self, one: Condition, other: Condition) -> str:
        if isinstance(one, Clause) and isinstance(other, Clause):
            return f"{one.field} cannot be {_value(one)} and {_value(other)} at once"
        return f"{_told(one)} and {_told(other)} exclude each other"

    def mend(self, one: Condition, other: Condition) -> str:
        if isinstance(one, Clause) and isinstance(other, Clause):
            if {one.op, other.op} <= {"eq", "in"}:
                return "for one or the other write {in: […]}, or any: [{…}, {…}]"
            return "for one or the other write any: [{…}, {…}]"
        return ""

    def why_always(self, part: Condition) -> str:
        match part:
            case Clause():
                return f"{part.field} is always {_value(part)}"
            case Not(inner):
                return f"{_told(inner)} never holds"
            case All(parts) if len(parts) == 1:
                return self.why_always(parts[0])
            case AnyOf():
                return "its alternatives leave nothing out"
        return "each of its parts does"

    def range(self, field: str) -> str:
        """`time.hour is from 0 to 23`."""
        domain = self.solver.fields.domain(field)
        numbers, texts = values_of(domain.numbers), values_of(domain.texts)
        if domain.numbers and not domain.texts:
            if numbers:
                return f"{field} is a whole number from {numbers[0]} to {numbers[-1]}"
            return f"{field} is {'a whole number' if domain.whole else 'a number'}, 0 or more"
        if texts and not domain.numbers:
            return f"{field} is one of {listed([str(text) for text in texts], 12)}"
        return ""

    def place(self, part: Condition) -> Place:
        return self.context.places.condition(part, self.section, self.name)

    def within(self, culprit: Condition, part: Condition) -> bool:
        return any(one is culprit for one in _all_parts(part))


def _conjuncts(condition: Condition) -> Iterator[Condition]:
    if isinstance(condition, All) and condition.parts:
        for part in condition.parts:
            yield from _conjuncts(part)
    else:
        yield condition


def _all_parts(condition: Condition) -> Iterator[Condition]:
    yield condition
    match condition:
        case Not(part):
            yield from _all_parts(part)
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from _all_parts(part)


def _fields(condition: Condition) -> set[str]:
    return {one.field for one in _all_parts(condition) if isinstance(one, Clause)}


def _value(clause: Clause) -> str:
    """`more than 5`, as it follows on `the field is`."""
    if clause.op == "exists":
        return "there" if clause.value else "missing"
    return _WORDS[clause.op].format(in_words(clause.value))


def _told(condition: Condition) -> str:
    """A condition in few words."""
    match condition:
        case Clause():
            return f"{condition.field} is {_value(condition)}"
        case Not(part):
            return f"not ({_told(part)})"
        case AnyOf(parts):
            return f"any of {len(parts)} alternatives"
        case All(parts) if len(parts) == 1:
            return _told(parts[0])
    return f"all of {len(condition.parts)} parts"
