"""A policy: the definitions of one rules folder compiled for deciding.

Every message × channel is a candidate with an index; sets of candidates are bit masks, so that a
thousand candidates cost little more than ten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from datetime import tzinfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.core import business_rules, calendar
from decision.core.bucketing import hash_v2
from decision.core.business_rules import Plan
from decision.core.candidates import CandidateInfo
from decision.core.clock import from_micros
from decision.core.conditions import Condition, Test, clauses, compile_condition, conjuncts
from decision.core.contact_policy import ContactPolicy
from decision.core.definition import (
    Channel,
    Experiment,
    Message,
    Placement,
    PolicyDefinition,
    Purpose,
    Rule,
    Selector,
)
from decision.core.document import Document
from decision.core.events import Measure
from decision.core.exposure import Hanging
from decision.core.fields import STATE_FIELD, FieldTable
from decision.core.masks import mask_where, positions
from decision.core.selectors import SelectorIndex
from decision.core.values import MISSING, Value


class Requirement(msgspec.Struct, frozen=True):
    """A condition that some messages' `when` demands, and the candidates that demand it."""

    test: Test
    mask: int
    condition: Condition


class ActivePeriod(msgspec.Struct, frozen=True):
    """Candidates that are active only from a time (inclusive) until a time (exclusive)."""

    start: int | None
    end: int | None
    mask: int


class ConsentRule(msgspec.Struct, frozen=True):
    """The candidates of one purpose on one channel."""

    purpose: Purpose
    channel: str
    mask: int


class RuleEffect(msgspec.Struct, frozen=True):
    """What a business rule does when it holds: the candidates it removes, and what it boosts.

    `levers` has a factor for each candidate of the policy, 1 where it is not boosted; None where
    the rule boosts nothing.
    """

    removes: int
    levers: NDArray[np.float64] | None


class Holdout(msgspec.Struct, frozen=True):
    """A control group: for its customers, only candidates in `keeps` stay."""

    experiment: Experiment
    keeps: int


class Exposing(msgspec.Struct, frozen=True):
    """A test with variants, the slot of its field, and the candidates that hang on it."""

    experiment: str
    slot: int
    mask: int


class Policy:
    """A compiled policy. Immutable once made, but for `fields`, to which a model adds its own.

    `everything` is the mask of all candidates; `placement_masks` are those of each placement;
    `unexplored` is that of purposes with which nothing is tried out. Of `requirements`, those
    that hang on an experiment are `tested_requirements`. `scored_by` names the model's features:
    every candidate hangs on an experiment that the model reads.
    """

    def __init__(self, definition: PolicyDefinition, scored_by: Iterable[str] = ()) -> None:
        scored = frozenset(scored_by)
        self.definition = definition
        self.version = definition.version
        self.settings = definition.settings
        self.zone = calendar.zone(definition.settings.timezone)
        self.messages = {message.name: message for message in definition.messages}
        self.channels = {channel.name: channel for channel in definition.channels}
        self.purposes = {purpose.name: purpose for purpose in definition.purposes}
        self.placements = {placement.name: placement for placement in definition.placements}
        self.pairs: list[tuple[Message, Channel]] = [
            (message, self.channels[channel])
            for message in definition.messages
            for channel in message.channels
        ]
        self.candidates = [
            CandidateInfo(
                message=message.name,
                channel=channel.name,
                category=message.category,
                purpose=message.purpose,
                tags=message.tags,
                value=message.value,
            )
            for message, channel in self.pairs
        ]
        self.everything = (1 << len(self.candidates)) - 1
        self._selectors = SelectorIndex(self.candidates)
        self.values = np.array([candidate.value for candidate in self.candidates], dtype=np.float64)
        self.costs = np.array([channel.cost for _, channel in self.pairs], dtype=np.float64)
        self.fields = FieldTable()
        self.state_slot = self.fields.slot(STATE_FIELD)
        self.message_masks = self._masks(lambda candidate: [candidate.message])
        self.channel_masks = self._masks(lambda candidate: [candidate.channel])
        names = {message.name: index for index, message in enumerate(definition.messages)}
        self.message_index = [names[message.name] for message, _ in self.pairs]
        self.unexplored = mask_where(
            not self.purposes[message.purpose].explore for message, _ in self.pairs
        )
        self.placement_masks = {
            placement.name: self._placement_mask(placement) for placement in definition.placements
        }
        self.active_periods = self._active_periods()
        self.hanging = [
            Hanging(experiment.name, definition)
            for experiment in definition.experiments
            if experiment.variants
        ]
        self.requirements, self.tested_requirements = self._requirements()
        self.consent_rules = self._consent_rules()
        self.contact_policy = ContactPolicy(definition, self.candidates, self.zone)
        self.states = [
            (state.name, compile_condition(state.when, self.fields.slot))
            for state in definition.states
        ]
        self.rules = definition.rules
        for rule in self.rules:
            for clause in clauses(rule.when):
                self.fields.slot(clause.field)
            for name in rule.set:
                self.fields.slot(name)
        self.rule_plan: Plan = business_rules.plan(self.rules, self.fields.slot)
        self.effects = [self._effect(rule) for rule in self.rules]
        self.holdouts = [
            Holdout(
                experiment=experiment,
                keeps=self._selected(Selector(purpose=experiment.keeps)),
            )
            for experiment in definition.experiments
            if experiment.share is not None
        ]
        self.tests = {
            experiment.name: experiment
            for experiment in definition.experiments
            if experiment.variants
        }
        self.exposing = list(self._exposing(scored))
        self.budget_masks = [
            (message.name, message.budget, self.message_masks[message.name])
            for message in definition.messages
            if message.budget is not None
        ]

    def measures(self) -> dict[str, Measure]:
        """What must be kept of each event type: for every field and every reply window."""
        found = self.fields.measures()
        for channel in self.definition.channels:
            for window in channel.reply_windows:
                found.setdefault(window.opened_by, Measure())
        return found

    def history_needed(self) -> int:
        """How long contacts must be kept for every window and field in force, in microseconds."""
        fields = max((field.contacts_window for field in self.fields.fields), default=0)
        return max(fields, self.contact_policy.history_needed())

    def budget_limits(self, now: int) -> dict[str, tuple[int, int]]:
        """Counter name → (limit, mask of candidates): of all time, and of today's local day."""
        found: dict[str, tuple[int, int]] = {}
        if not self.budget_masks:
            return found
        today = from_micros(now).astimezone(self.zone).date().isoformat()
        for message, budget, mask in self.budget_masks:
            if budget.total is not None:
                found[f"{message}:total"] = (budget.total, mask)
            if budget.per_day is not None:
                found[f"{message}:{today}"] = (budget.per_day, mask)
        return found

    def budget_source(self, counter: str) -> str:
        """The place in the rule files of the budget that a counter belongs to."""
        message = self.messages[counter.rpartition(":")[0]]
        return (message.budget and message.budget.source) or message.source

    def zone_of(self, document: Document) -> tzinfo:
        """The customer's own time zone, else that of the settings."""
        return calendar.zone(document.timezone) if document.timezone else self.zone

    def variant(self, name: str, customer_id: str) -> Value:
        """The customer's variant in an experiment; the same for ever for one seed."""
        experiment = self.tests.get(name)
        if experiment is None:
            return MISSING
        return variant_of(experiment, customer_id)

    def _selected(self, selector: Selector) -> int:
        return self._selectors.mask(selector)

    def _masks(self, keys: Callable[[CandidateInfo], Iterable[str]]) -> dict[str, int]:
        masks: dict[str, int] = {}
        for index, candidate in enumerate(self.candidates):
            for key in keys(candidate):
                masks[key] = masks.get(key, 0) | 1 << index
        return masks

    def _placement_mask(self, placement: Placement) -> int:
        return mask_where(
            channel.name in placement.channels
            and (message.placements is None or placement.name in message.placements)
            for message, channel in self.pairs
        )

    def _active_periods(self) -> list[ActivePeriod]:
        masks: dict[tuple[int | None, int | None], int] = {}
        for message in self.definition.messages:
            period = (message.active_from, message.active_until)
            if period != (None, None):
                masks[period] = masks.get(period, 0) | self.message_masks[message.name]
        return [ActivePeriod(start, end, mask) for (start, end), mask in masks.items()]

    def _exposing(self, scored: Set[str]) -> Iterator[Exposing]:
        for hanging in self.hanging:
            mask = hanging.mask(self.definition.messages, self.message_masks, self._touched)
            if not scored.isdisjoint(hanging.fields):
                mask = self.everything
            if mask:
                slot = self.fields.slot(f"experiment.{hanging.name}")
                yield Exposing(hanging.name, slot, mask)

    def _touched(self, rule: int) -> int:
        """The candidates that a business rule removes or boosts."""
        effect = self.effects[rule]
        boosted = 0 if effect.levers is None else mask_where((effect.levers != 1.0).tolist())
        return effect.removes | boosted

    def _requirements(self) -> tuple[list[Requirement], list[Requirement]]:
        """Distinct conjuncts of all messages' `when`, each with the candidates that need it.

        Those that hang on no experiment, and those that do.
        """
        masks: dict[str, int] = {}
        conditions: dict[str, Condition] = {}
        for message in self.definition.messages:
            for part in conjuncts(message.when):
                key = repr(part)
                conditions[key] = part
                masks[key] = masks.get(key, 0) | self.message_masks[message.name]
        found: tuple[list[Requirement], list[Requirement]] = ([], [])
        for key, part in conditions.items():
            tested = any(hanging.mentioned(part) for hanging in self.hanging)
            test = compile_condition(part, self.fields.slot)
            found[tested].append(Requirement(test, masks[key], part))
        return found

    def _consent_rules(self) -> list[ConsentRule]:
        masks: dict[tuple[str, str], int] = {}
        for index, candidate in enumerate(self.candidates):
            key = (candidate.purpose, candidate.channel)
            masks[key] = masks.get(key, 0) | 1 << index
        return [
            ConsentRule(self.purposes[purpose], channel, mask)
            for (purpose, channel), mask in masks.items()
            if self.purposes[purpose].consent != "not_required"
        ]

    def _effect(self, rule: Rule) -> RuleEffect:
        removes = 0
        levers = None
        if rule.exclude is not None:
            removes |= self._selected(rule.exclude)
        if rule.allow_only is not None:
            removes |= self.everything & ~self._selected(rule.allow_only)
        if rule.boost is not None:
            levers = np.ones(len(self.candidates))
            levers[positions(self._selected(rule.boost))] = rule.by
        return RuleEffect(removes=removes, levers=levers)


def variant_of(experiment: Experiment, customer_id: str) -> Value:
    """The variant whose share of [0, 1) holds the customer's bucket."""
    place = hash_v2(experiment.seed, customer_id)
    total = 0.0
    name: Value = MISSING
    for name, share in experiment.variants.items():
        total += share
        if place < total:
            return name
    return name


def in_holdout(experiment: Experiment, customer_id: str) -> bool:
    """Whether the customer belongs to the control group; growing the share only adds people."""
    return experiment.share is not None and hash_v2(experiment.seed, customer_id) < experiment.share
