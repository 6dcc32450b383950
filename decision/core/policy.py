"""A policy: the definitions of one rules folder compiled for deciding.

Every message × channel is a candidate with an index; sets of candidates are bit masks, so that a
thousand candidates cost little more than ten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.core import calendar
from decision.core.bucketing import hash_v2
from decision.core.budgets import Budgets
from decision.core.business_rules import RuleStrata
from decision.core.candidates import CandidateInfo
from decision.core.conditions import Test
from decision.core.contact_policy import ContactPolicy
from decision.core.definition import (
    Channel,
    CouponPool,
    Experiment,
    Message,
    Placement,
    PolicyDefinition,
    Purpose,
    Rule,
    Selector,
    Settings,
)
from decision.core.derived import Derivations
from decision.core.document import Document
from decision.core.events import Measure
from decision.core.fields import FieldTable, Situation
from decision.core.quiet_hours import QuietPolicy
from decision.core.requirements import Requirements
from decision.core.scores import Scores
from decision.core.selectors import SelectorIndex
from decision.core.values import MISSING, Value

if TYPE_CHECKING:  # their conditions are compiled as a policy of their own
    from decision.core.journeys.compiled import Journeys
    from decision.core.stages import Stage


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


class AskedPurpose(NamedTuple):
    """A purpose that must be agreed to, its candidates, and these on each channel."""

    purpose: Purpose
    mask: int
    rules: tuple[ConsentRule, ...]


class RuleEffect(msgspec.Struct, frozen=True):
    """What a business rule does when it holds: the candidates it removes, and what it boosts.

    `levers` has a factor for each candidate of the policy, 1 where it is not boosted; None where
    the rule boosts nothing. `touches` are the candidates that it removes or gives another priority.
    """

    removes: int
    levers: NDArray[np.float64] | None
    touches: int


class Holdout(msgspec.Struct, frozen=True):
    """A control group: for its customers, only candidates in `keeps` stay."""

    experiment: Experiment
    keeps: int


class Exposure(msgspec.Struct, frozen=True):
    """An experiment with variants, its field's slot, and the candidates that depend on it."""

    experiment: str
    slot: int
    mask: int


class Policy(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A compiled policy, as `policy_builder.compile_policy` makes it. Immutable.

    Candidates are numbered in the order of the rule files; `pairs`, `candidates`, `message_index`,
    `message_values` and `costs` (both in `settings.currency`) are by that number. `everything` is
    the mask of all candidates, `unexplored` of those of purposes that are not explored. `tiers` has
    the mask of each tier, the first one first; it is empty where all are of one.
    `fallbacks` has the candidates that each placement may fall back on, in its order of channels.
    `tested_requirements` are those that depend on an experiment, `requirements` all others.
    `asking` has its `consent_rules` by purpose, `stages` those at which something can fall.
    `states` are tried in order; `tests` are the experiments with variants. `journeys` is None where
    there are neither journeys nor moments.
    """

    definition: PolicyDefinition
    version: str
    settings: Settings
    rules: tuple[Rule, ...]
    zone: tzinfo
    messages: Mapping[str, Message]
    channels: Mapping[str, Channel]
    purposes: Mapping[str, Purpose]
    placements: Mapping[str, Placement]
    pairs: tuple[tuple[Message, Channel], ...]
    candidates: tuple[CandidateInfo, ...]
    everything: int
    selectors: SelectorIndex
    message_values: NDArray[np.float64]
    costs: NDArray[np.float64]
    fields: FieldTable
    printed: FieldTable
    state_slot: int
    message_masks: Mapping[str, int]
    channel_masks: Mapping[str, int]
    message_index: tuple[int, ...]
    unexplored: int
    tiers: tuple[int, ...]
    placement_masks: Mapping[str, int]
    fallbacks: Mapping[str, tuple[int, ...]]
    active_periods: tuple[ActivePeriod, ...]
    requirements: Requirements
    tested_requirements: Requirements
    consent_rules: tuple[ConsentRule, ...]
    asking: tuple[AskedPurpose, ...]
    contact_policy: ContactPolicy
    quiet: QuietPolicy
    states: tuple[tuple[str, Test], ...]
    rule_strata: RuleStrata
    effects: tuple[RuleEffect, ...]
    holdouts: tuple[Holdout, ...]
    tests: Mapping[str, Experiment]
    exposures: tuple[Exposure, ...]
    budgets: Budgets
    coupons: Mapping[str, CouponPool]
    derivations: Derivations
    scores: Scores
    journeys: Journeys | None = None
    stages: tuple[Stage, ...] = ()

    def reading(self, names: Iterable[str]) -> Policy:
        """The same policy, whose decisions also read the fields named; slots stay as they are.

        Raises:
            UnknownField: one of them cannot exist.
        """
        return msgspec.structs.replace(self, fields=self.fields.including(names))

    def read(self, situation: Situation) -> list[Value]:
        """The slot values; `customer.state` is the first state that holds."""
        values = self.fields.read(situation)
        for state, test in self.states:
            if test(values):
                values[self.state_slot] = state
                break
        return values

    def asked_for(self, of: Selector | msgspec.UnsetType) -> int:
        """The mask of the candidates that a journey asks for; UNSET: all."""
        return self.everything if of is msgspec.UNSET else self.selectors.mask(of)

    def foremost(self, survivors: int) -> int:
        """Those of the survivors that are of the first tier that has any: the only ones to go."""
        return next((found for tier in self.tiers if (found := tier & survivors)), survivors)

    def measures(self) -> dict[str, Measure]:
        """What must be kept of each event type: for every field, text and reply window."""
        found = self.fields.measures()
        for table in self._besides():
            for kind, measure in table.measures().items():
                found[kind] = found.get(kind, Measure()) | measure
        for channel in self.definition.channels:
            for window in channel.reply_windows:
                found.setdefault(window.opened_by, Measure())
        return found

    def history_needed(self) -> int:
        """How long contacts must be kept for every window and field in force, in microseconds."""
        tables = (self.fields, *self._besides())
        fields = max((one.contacts_window for each in tables for one in each.fields), default=0)
        return max(fields, self.contact_policy.history_needed())

    def _besides(self) -> tuple[FieldTable, ...]:
        """The tables of what decisions do not read: texts, and journeys."""
        own = self.journeys.reader.policy.fields if self.journeys else FieldTable()
        return self.printed, own

    def delivered_channels(self) -> list[str]:
        """The channels of placements with `delivery: gateway`, each once, in alphabetical order."""
        placements = self.placements.values()
        own = (one.channels for one in placements if one.delivery == "gateway")
        return sorted({channel for channels in own for channel in channels})

    def budget_source(self, message: Message) -> str:
        """The place in the rule files of a message's budget."""
        return (message.budget and message.budget.source) or message.source

    def zone_of(self, document: Document) -> tzinfo:
        """The customer's own time zone; that of the settings where it is not given or unknown."""
        own = calendar.known_zone(document.timezone) if document.timezone else None
        return own or self.zone

    def variant(self, name: str, customer_id: str) -> Value:
        """The customer's variant in an experiment; it never changes for one seed."""
        experiment = self.tests.get(name)
        return MISSING if experiment is None else variant_of(experiment, customer_id)


def variant_of(experiment: Experiment, customer_id: str) -> Value:
    """The variant of a customer: the one with the share of [0, 1) that holds their bucket."""
    return variant_at(experiment, hash_v2(experiment.seed, customer_id))


def variant_at(experiment: Experiment, place: float) -> Value:
    """The variant with the share of [0, 1) that holds a place."""
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
