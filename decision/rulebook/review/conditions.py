"""Conditions that can never be true, and parts of them that have no effect."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from decision.core.conditions import ALWAYS, All, AnyOf, Clause, Condition, Not, clauses, conjuncts
from decision.core.values import in_words
from decision.rulebook.checker import NOUNS
from decision.rulebook.review.context import (
    ReviewContext,
    conditions_of,
    fields_of,
    listed,
    size_of,
)
from decision.rulebook.review.intervals import BOTTOM, values_of
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
    "contains": "something that contains {}",
    "matches": "a match of {}",
    "vgt": "a version after {}",
    "vgte": "version {} or later",
    "vlt": "a version before {}",
    "vlte": "version {} or earlier",
    "veq": "version {}",
    "vne": "a version other than {}",
}
_EITHER: Final = "if one of them is enough, write any: [{…}, {…}]"
_MOST_ALTERNATIVES: Final = 200
_EXPLAINED: Final = 10
"""How much more work may go into explaining a contradiction than into finding it."""


def review_conditions(
    context: ReviewContext, flawed: Collection[tuple[str, str]] = frozenset()
) -> None:
    """Reviews every condition, except those of definitions in `flawed`."""
    events = (("events", one.name, "when", one.when) for one in context.definition.events)
    for section, name, key, condition in (*conditions_of(context.definition), *events):
        if condition != ALWAYS and (section, name) not in flawed:
            what = f'{key} of {NOUNS[section]} "{name}"'
            review_condition(context, section, name, what, condition)


def review_condition(
    context: ReviewContext, section: str, name: str, what: str, condition: Condition
) -> None:
    """Reviews one condition, which messages call `what`."""
    _ConditionReviewer(context, section, name, what).whole(condition)


class _ConditionReviewer:
    """Reviews one condition of a definition."""

    def __init__(self, context: ReviewContext, section: str, name: str, what: str) -> None:
        self.context = context
        self.solver = context.solver
        self.section = section
        self.name = name
        self.what = what

    def whole(self, when: Condition) -> None:
        self.solver.allow(size_of(when))
        if self.solver.never(when):
            culprit, reason, hint = self.culprit(when)
            message = f"{self.what} can never be true: {reason}"
            hint = hint or f"all parts of a mapping must be true together; {_EITHER}"
            self.context.impossible.add((self.section, self.name))
            self.context.report.error("never-holds", self.place(culprit), message, hint)
        elif self.solver.always(when):
            self.empty(when, f"{self.what} is always true: {self.why_always(when)}")
        else:
            self.parts(when, ())
            self.selves(when)

    def selves(self, when: Condition) -> None:
        """Finds fields compared with themselves, where that says only that they are there."""
        for clause in clauses(when):
            if clause.operand != clause.field or self.solver.never(clause):
                continue
            if not self.solver.always(clause):
                message = f"{clause.field} is compared with itself, so only a missing one matters"
                hint = "compare it with another field, or write {exists: true}"
                self.context.report.warn(self.place(clause), message, hint, "no-effect")

    def parts(self, condition: Condition, beside: tuple[Condition, ...]) -> None:
        """Finds parts without effect in a condition that must be true together with others."""
        match condition:
            case All(parts):
                for index, part in enumerate(parts):
                    if part != ALWAYS and self.solver.always(part):
                        self.empty(part, f"this part is always true: {self.why_always(part)}")
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
        hint = "delete it, or correct it"
        self.context.report.warn(self.place(part), message, hint, "always-holds")

    def dead(self, part: Condition, beside: tuple[Condition, ...]) -> None:
        culprit, reason, hint = self.culprit(All((*beside, part)))
        message = f"this alternative can never be true: {reason}"
        place = self.place(culprit if self.within(culprit, part) else part)
        hint = hint or "delete it, or correct it; the conditions around it must be true as well"
        self.context.report.warn(place, message, hint, "dead-part")

    def culprit(self, condition: Condition) -> tuple[Condition, str, str]:
        """The part that makes a condition impossible, why, and a hint."""
        self.solver.allow(_EXPLAINED * size_of(condition))
        parts = list(conjuncts(condition))
        ends = range(1, len(parts) + 1)
        end = next((end for end in ends if not self.solver.can_hold(*parts[:end])), 0)
        if not end:
            return condition, "its parts contradict each other", ""
        part, before = parts[end - 1], parts[: end - 1]
        if self.solver.never(part):
            if isinstance(part, AnyOf) and part.parts:
                return part, "none of its alternatives can be true", "correct one, or delete all"
            return part, *self.impossible(part)
        for other in before:
            if not self.solver.can_hold(other, part):
                return part, self.contradiction(other, part), self.fix(other, part)
        earlier = [one for one in before if fields_of(one) & fields_of(part)] or before
        told = listed([_told(one) for one in earlier])
        return part, f"{_told(part)} is not possible if {told}", ""

    def impossible(self, part: Condition) -> tuple[str, str]:
        """Why a part alone can never be true, and what its field can be."""
        if isinstance(part, Clause):
            hint = self.range(part.field)
            if part.operand == part.field:
                hint = "compare it with another field"
            return f"{part.field} can never be {_value(part)}", hint
        if isinstance(part, Not):
            return f"the part under not is always true ({self.why_always(part.part)})", ""
        return "its parts contradict each other", ""

    def contradiction(self, one: Condition, other: Condition) -> str:
        if isinstance(one, Clause) and isinstance(other, Clause):
            if one.field != other.field and (one.operand or other.operand):
                return f"where {_told(one)}, {other.field} cannot be {_value(other)}"
            if one.field != other.field:
                return (
                    f"nobody has both {_told(one)} and {_told(other)}, because the two "
                    "experiments have the same seed"
                )
            return f"{one.field} cannot be both {_value(one)} and {_value(other)}"
        return f"these parts contradict each other: {_told(one)}; {_told(other)}"

    def fix(self, one: Condition, other: Condition) -> str:
        if isinstance(one, Clause) and isinstance(other, Clause):
            if one.operand is not None or other.operand is not None:
                return _EITHER
            if one.field != other.field:
                return "give each experiment a seed of its own, so that all combinations occur"
            if {one.op, other.op} <= {"eq", "in"}:
                return "if one of them is enough, write {in: […]} or any: [{…}, {…}]"
            return _EITHER
        return ""

    def why_always(self, part: Condition) -> str:
        match part:
            case Clause():
                return f"{part.field} is always {_value(part)}"
            case Not(inner):
                return f"{_told(inner)} can never be true"
            case All(parts) if len(parts) == 1:
                return self.why_always(parts[0])
            case AnyOf():
                return "its alternatives cover every case"
        return "each of its parts is always true"

    def range(self, field: str) -> str:
        """`time.hour is from 0 to 23`."""
        domain = self.solver.fields.domain(field)
        numbers, texts = values_of(domain.numbers), values_of(domain.texts)
        if domain.numbers and not domain.texts:
            if numbers:
                return f"{field} is a whole number from {numbers[0]} to {numbers[-1]}"
            least = ", 0 or more" if domain.numbers[0][0] != BOTTOM else ""
            return f"{field} is {'a whole number' if domain.whole else 'a number'}{least}"
        if texts and not domain.numbers:
            return f"{field} is one of {listed([str(text) for text in texts], 12)}"
        return ""

    def place(self, part: Condition) -> Place:
        return self.context.places.condition(part, self.section, self.name)

    def within(self, culprit: Condition, part: Condition) -> bool:
        return any(one is culprit for one in _all_parts(part))


def _all_parts(condition: Condition) -> Iterator[Condition]:
    yield condition
    match condition:
        case Not(part):
            yield from _all_parts(part)
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from _all_parts(part)


def _value(clause: Clause) -> str:
    """`more than 5`, to follow `the field is`."""
    if clause.op == "exists":
        return "present" if clause.value else "missing"
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
