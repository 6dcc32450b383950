"""Business rules that have no effect."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from itertools import combinations
from typing import Final, NamedTuple

from decision.core.conditions import conjuncts
from decision.core.definition import Rule, Selector
from decision.rulebook.review.context import ReviewContext, fields_of, listed, size_of
from decision.rulebook.review.cycles import review_cycles

_MOST_CONJUNCTS: Final = 6
_MOST_PROOFS: Final = 48
"""For one rule, how many others are tried for a proof that they always hold with it."""


class _RuleView(NamedTuple):
    """What matters about a rule for the others."""

    at: int
    rule: Rule
    conjuncts: frozenset[str]
    fields: frozenset[str]
    removes: int


def review_rules(context: ReviewContext) -> None:
    """Reviews what each rule does, and the rules together."""
    for rule in context.definition.rules:
        _review_selectors(context, rule)
        if rule.boost is not None and rule.by == 1:
            place = context.places.value("rules", rule.name, "by")
            message = f'rule "{rule.name}" boosts by 1, which changes nothing'
            hint = "write 1.5 to raise the priority by half, or 0.5 to halve it"
            context.report.warn(place, message, hint, "neutral-boost")
    _Exclusions(context).review()
    review_cycles(context)


def _review_selectors(context: ReviewContext, rule: Rule) -> None:
    candidates = context.candidates
    for action in ("exclude", "allow_only", "boost"):
        selector = getattr(rule, action)
        if selector is None:
            continue
        mask = candidates.selected(selector)
        place = context.places.key("rules", rule.name, action)
        if action == "allow_only" and mask == candidates.everything and selector != Selector():
            hint = "write what is allowed, such as {purpose: [service]}"
            context.report.warn(place, f'allow_only of rule "{rule.name}" allows everything', hint)
        if mask or not candidates.everything:
            continue
        if selector.messages and not candidates.selected(Selector(messages=selector.messages)):
            continue  # the names have a diagnostic already
        does = "allows nothing" if action == "allow_only" else "has no effect"
        message = f'rule "{rule.name}" {does}: no message matches everything in "{action}"'
        hint = "all keys must match the same message and channel; for alternatives, write two rules"
        context.report.warn(place, message, hint, "empty-selector")


class _Exclusions:
    """Which rules remove what, and which of them hold whenever another does."""

    def __init__(self, context: ReviewContext) -> None:
        self.context = context
        self.seen = [self._look(index, rule) for index, rule in enumerate(context.definition.rules)]
        self.setters: dict[str, list[int]] = defaultdict(list)
        for one in self.seen:
            for field in one.rule.set:
                self.setters[field].append(one.at)
        self.always = [one for one in self.seen if one.removes and self._always(one.rule)]
        self.by_conjuncts: dict[frozenset[str], list[_RuleView]] = defaultdict(list)
        self.by_fields: dict[frozenset[str], list[_RuleView]] = defaultdict(list)
        for one in self.seen:
            if one.removes:
                self.by_conjuncts[one.conjuncts].append(one)
                self.by_fields[one.fields].append(one)

    def _look(self, index: int, rule: Rule) -> _RuleView:
        candidates = self.context.candidates
        removes = 0
        if rule.exclude is not None:
            removes |= candidates.selected(rule.exclude)
        if rule.allow_only is not None:
            removes |= candidates.everything & ~candidates.selected(rule.allow_only)
        if ("rules", rule.name) in self.context.impossible:
            removes = 0
        fields = frozenset(fields_of(rule.when))
        return _RuleView(index, rule, frozenset(map(repr, conjuncts(rule.when))), fields, removes)

    def _always(self, rule: Rule) -> bool:
        self.context.solver.allow(size_of(rule.when))
        return self.context.solver.always(rule.when)

    def review(self) -> None:
        """Warns of rules that remove what others remove, and of boosts of what is removed."""
        for one in self.seen:
            if ("rules", one.rule.name) in self.context.impossible:
                continue
            if one.rule.boost is not None:
                boosted = self.context.candidates.selected(one.rule.boost)
                if boosted and (found := self._cover(one, boosted, boost=True)):
                    self._warn_boost(one, found)
            does_more = one.rule.set or one.rule.boost is not None
            if one.removes and not does_more and (found := self._cover(one, one.removes)):
                self._warn_shadowed(one, found)

    def _cover(self, one: _RuleView, mask: int, *, boost: bool = False) -> list[_RuleView]:
        """Rules that, whenever this one holds, remove all of a mask; empty if they do not.

        A rule that excludes is compared only with rules above it, so that of two that are the same
        the later one gets the warning.
        """
        left, found = mask, []
        for other in self.always:
            if (boost or other.at < one.at) and other.removes & left:
                left &= ~other.removes
                found.append(other)
                if not left:
                    return found
        self.context.solver.allow(size_of(one.rule.when))
        tried: set[int] = set()
        for other, alike in self._weaker(one):
            if other.at in tried or left & ~other.removes or not (boost or other.at < one.at):
                continue
            if self._changed_between(one, other):
                continue
            if not alike:
                tried.add(other.at)
                if len(tried) > _MOST_PROOFS:
                    return []
                if not self.context.solver.implies(one.rule.when, other.rule.when):
                    continue
            return [*found, other]
        return []

    def _weaker(self, one: _RuleView) -> list[tuple[_RuleView, bool]]:
        """Rules that may hold whenever this one does; with true, those that certainly do."""
        found: list[tuple[_RuleView, bool]] = []
        for index, parts in ((self.by_conjuncts, one.conjuncts), (self.by_fields, one.fields)):
            alike = index is self.by_conjuncts
            subsets = [parts]
            if len(parts) <= _MOST_CONJUNCTS:
                sizes = range(1, len(parts))
                subsets += [frozenset(some) for size in sizes for some in combinations(parts, size)]
            found += [(other, alike) for some in subsets if some for other in index.get(some, ())]
        return found

    def _changed_between(self, one: _RuleView, other: _RuleView) -> bool:
        """Whether a rule between the two sets a field on which the other depends."""
        first, last = sorted((one.at, other.at))
        for field in other.fields:
            setters = self.setters.get(field, [])
            place = bisect_left(setters, first)
            if place < len(setters) and setters[place] < last:
                return True
        return False

    def _warn_shadowed(self, one: _RuleView, found: list[_RuleView]) -> None:
        name = one.rule.name
        message = (
            f'rule "{name}" has no effect: {_named(found)} already '
            f"{'removes' if len(found) == 1 else 'remove'} everything that this rule removes"
        )
        hint = f"delete it, or make {_named(found)} narrower"
        place = self.context.places.key("rules", name)
        self.context.report.warn(place, message, hint, "shadowed-rule")

    def _warn_boost(self, one: _RuleView, found: list[_RuleView]) -> None:
        name = one.rule.name
        message = (
            f'rule "{name}" has no effect: whenever it applies, everything that it boosts '
            f"is removed by {_named(found)}"
        )
        hint = "a boost does not bring back what is removed; change one of the rules"
        place = self.context.places.key("rules", name, "boost")
        self.context.report.warn(place, message, hint, "boost-of-excluded")


def _named(found: list[_RuleView]) -> str:
    return listed([f'rule "{one.rule.name}" ({one.rule.source})' for one in found])
