"""Compiles checked definitions into a policy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from decision.core import business_rules, calendar, caps
from decision.core.budget_builder import coupon_pools, message_budgets, shared_budgets
from decision.core.budgets import Budgets
from decision.core.candidates import CandidateInfo
from decision.core.conditions import Condition, compile_condition, conjuncts, fields_read
from decision.core.contact_policy import ContactPolicy
from decision.core.definition import Conditional, PolicyDefinition, Rule, Selector
from decision.core.derived import Derivations
from decision.core.exposure import Dependents
from decision.core.fields import STATE_FIELD, FieldTable
from decision.core.journeys.compiled import Journeys, fields_of
from decision.core.masks import indices, mask_where, masks_by, positions, union
from decision.core.narrowing import Reader, narrowed
from decision.core.own_fields import own_reads
from decision.core.policy import (
    ActivePeriod,
    AskedPurpose,
    ConsentRule,
    Exposure,
    Holdout,
    Policy,
    RuleEffect,
)
from decision.core.quiet_hours import QuietPolicy, obeyed
from decision.core.requirements import Requirements
from decision.core.scores import Scores
from decision.core.selectors import SelectorIndex
from decision.core.stages import stages_of


def compile_policy(
    definition: PolicyDefinition, scored_by: Iterable[str] = (), reads: Iterable[str] = ()
) -> Policy:
    """The policy of a rules folder whose definitions are checked.

    `scored_by` names the features of the model that will score: every candidate depends on an
    experiment that the model reads. `reads` names fields that are read besides those that the
    definitions name, such as a model's.

    Raises:
        UnknownField: one of the fields cannot exist.

    >>> policy = compile_policy(PolicyDefinition(version="1"), reads=["customer.city"])
    >>> policy.fields.names()
    ['customer.state', 'customer.city']
    """
    channels = {channel.name: channel for channel in definition.channels}
    purposes = {purpose.name: purpose for purpose in definition.purposes}
    pairs = tuple(
        (message, channels[name]) for message in definition.messages for name in message.channels
    )
    candidates = tuple(
        CandidateInfo(one.name, channel.name, one.category, one.purpose, one.tags, one.value)
        for one, channel in pairs
    )
    everything = (1 << len(candidates)) - 1
    message_masks = masks_by((candidate.message,) for candidate in candidates)
    channel_masks = masks_by((candidate.channel,) for candidate in candidates)
    numbers = {message.name: number for number, message in enumerate(definition.messages)}
    periods = masks_by(((message.active_from, message.active_until),) for message, _ in pairs)
    consents = masks_by(((candidate.purpose, candidate.channel),) for candidate in candidates)
    selectors = SelectorIndex(candidates)
    effects = tuple(_effect(rule, selectors, len(candidates)) for rule in definition.rules)

    tests = {each.name: each for each in definition.experiments if each.variants}
    dependents = [Dependents(name, definition) for name in tests]
    silenced = [(hours.unless, mask) for _, _, hours, mask in obeyed(definition, candidates)]
    touched = [effect.touches for effect in effects]
    scored = frozenset(scored_by)
    tested = {
        each.name: everything
        if not scored.isdisjoint(each.fields)
        else each.mask(definition.messages, message_masks, touched, silenced)
        | union(
            selectors.mask(cap.of)
            for cap in definition.caps
            if not each.fields.isdisjoint(caps.fields_of(cap))
        )
        for each in dependents
    }
    exposing = {f"experiment.{name}": mask for name, mask in tested.items() if mask}

    zone = calendar.zone(definition.settings.timezone)
    scores = Scores(definition.scores)
    own = own_reads(definition, scores)
    fields = FieldTable((STATE_FIELD, *_named(definition), *exposing, *reads), own)
    parts = {repr(part): part for each in definition.messages for part in conjuncts(each.when)}
    required = masks_by(map(repr, conjuncts(message.when)) for message, _ in pairs)
    demanded: tuple[list[tuple[Condition, int]], list[tuple[Condition, int]]] = ([], [])
    for key, mask in required.items():
        varies = any(each.mentioned(parts[key]) for each in dependents)
        demanded[varies].append((parts[key], mask))
    consent_rules = tuple(
        ConsentRule(purposes[purpose], channel, mask)
        for (purpose, channel), mask in consents.items()
        if purposes[purpose].consent != "not_required"
    )
    asking: dict[str, list[ConsentRule]] = {}
    for agreed in consent_rules:
        asking.setdefault(agreed.purpose.name, []).append(agreed)
    policy = Policy(
        definition=definition,
        version=definition.version,
        settings=definition.settings,
        rules=definition.rules,
        zone=zone,
        messages={message.name: message for message in definition.messages},
        channels=channels,
        purposes=purposes,
        placements={placement.name: placement for placement in definition.placements},
        pairs=pairs,
        candidates=candidates,
        everything=everything,
        selectors=selectors,
        message_values=_constants([candidate.value for candidate in candidates]),
        costs=_constants([channel.cost for _, channel in pairs]),
        fields=fields,
        printed=FieldTable(
            (name for message in definition.messages for name in message.printed), own
        ),
        state_slot=fields.slot(STATE_FIELD),
        message_masks=message_masks,
        channel_masks=channel_masks,
        message_index=tuple(numbers[candidate.message] for candidate in candidates),
        unexplored=mask_where(not purposes[message.purpose].explore for message, _ in pairs),
        tiers=_tiers([purposes[message.purpose].tier for message, _ in pairs]),
        placement_masks={
            placement.name: mask_where(
                channel.name in placement.channels
                and (message.placements is None or placement.name in message.placements)
                for message, channel in pairs
            )
            for placement in definition.placements
        },
        fallbacks={
            placement.name: tuple(
                candidate
                for channel in placement.channels
                for candidate in indices(
                    message_masks.get(placement.fallback or "", 0) & channel_masks.get(channel, 0)
                )
                if purposes[candidates[candidate].purpose].consent == "not_required"
                and not channels[channel].what_holds(candidates[candidate].purpose)
            )
            for placement in definition.placements
        },
        active_periods=tuple(
            ActivePeriod(start, end, mask)
            for (start, end), mask in periods.items()
            if (start, end) != (None, None)
        ),
        requirements=Requirements(demanded[False], fields.slot),
        tested_requirements=Requirements(demanded[True], fields.slot),
        consent_rules=consent_rules,
        asking=tuple(
            AskedPurpose(rules[0].purpose, union(rule.mask for rule in rules), tuple(rules))
            for rules in asking.values()
        ),
        contact_policy=ContactPolicy(definition, candidates, fields.slot),
        quiet=QuietPolicy(
            definition,
            candidates,
            fields.slot,
            lambda unless: any(each.mentioned(unless) for each in dependents),
        ),
        states=tuple(
            (state.name, compile_condition(state.when, fields.slot)) for state in definition.states
        ),
        rule_strata=business_rules.strata_of(definition.rules, fields.slot),
        effects=effects,
        holdouts=tuple(
            Holdout(experiment, selectors.mask(Selector(purpose=experiment.keeps)))
            for experiment in definition.experiments
            if experiment.share is not None
        ),
        tests=tests,
        exposures=tuple(
            Exposure(field.removeprefix("experiment."), fields.slot(field), mask)
            for field, mask in exposing.items()
        ),
        budgets=Budgets(
            [
                *message_budgets(definition, message_masks),
                *shared_budgets(definition, selectors.mask, channel_masks),
                *coupon_pools(definition, message_masks),
            ],
            zone,
            definition.settings.week_starts,
        ),
        coupons={pool.name: pool for pool in definition.coupons},
        derivations=Derivations(definition.events),
        scores=scores,
        journeys=_journeys(definition),
    )
    return msgspec.structs.replace(policy, stages=stages_of(policy))


def _journeys(definition: PolicyDefinition) -> Journeys | None:
    if not (definition.journeys or definition.moments):
        return None
    fields = tuple(fields_of(definition))
    return Journeys(definition, Reader(compile_policy(narrowed(definition, fields), reads=fields)))


def _tiers(numbers: Sequence[int]) -> tuple[int, ...]:
    """The mask of each tier, by the tier of each candidate; none where there is one tier only."""
    masks = masks_by((number,) for number in numbers)
    return tuple(masks[number] for number in sorted(masks)) if len(masks) > 1 else ()


def _named(definition: PolicyDefinition) -> Iterable[str]:
    """Every field that a condition names or a rule sets."""
    owners: Iterable[Conditional]
    owners = chain(definition.messages, definition.states, definition.rules)
    yield from (field for owner in owners for field in fields_read(owner.when))
    for cap in definition.caps:
        yield from caps.fields_of(cap)
    for rule in definition.rules:
        yield from rule.set
    for channel in definition.channels:
        for hours in channel.quiet_hours:
            yield from fields_read(hours.unless)


def _constants(numbers: ArrayLike) -> NDArray[np.float64]:
    array = np.array(numbers, dtype=np.float64)
    array.setflags(write=False)
    return array


def _effect(rule: Rule, selectors: SelectorIndex, count: int) -> RuleEffect:
    removes = boosts = 0
    levers = None
    if rule.exclude is not None:
        removes |= selectors.mask(rule.exclude)
    if rule.allow_only is not None:
        removes |= ~selectors.mask(rule.allow_only) & (1 << count) - 1
    if rule.boost is not None:
        boosts = selectors.mask(rule.boost)
        factors = np.ones(count)
        factors[positions(boosts)] = rule.by
        levers = _constants(factors)
    return RuleEffect(removes, levers, removes | (boosts if rule.by != 1.0 else 0))
