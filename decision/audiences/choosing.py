"""Whom an audience is made of, as it is asked for by name: a condition, a segment, a purpose."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from decision.core.audience import Reach
from decision.core.clock import DAY
from decision.core.conditions import Clause, Condition, fields_read
from decision.core.definition import PolicyDefinition
from decision.core.errors import InputError, unknown
from decision.core.policy_builder import compile_policy
from decision.rulebook.audiences import Kept
from decision.rulebook.diagnostics import nearest
from decision.scoring.features import fields_of
from decision.scoring.manifest import read_version
from decision.scoring.scorers import MINIMAL_FEATURES
from decision.scoring.versions import current_version, own_scopes

SEGMENT = "customer.segment."

_CONTACTS_KEPT = 30 * DAY  # of `EngineSettings`


def kept_by(definition: PolicyDefinition, models: str | None) -> Kept:
    """What servers keep with these rules, and the model in force of a folder.

    Raises:
        ModelError: the model's manifest cannot be read.
    """
    folder = None if models is None else Path(models)
    place = None if folder is None else current_version(folder)
    features = list(MINIMAL_FEATURES if place is None else read_version(place)[0].features)
    if folder is not None:
        owns = [current_version(folder, scope) for scope in own_scopes(folder)]
        features += [each for own in owns if own for each in read_version(own)[0].features]
    policy = compile_policy(definition, reads=fields_of(features))
    return Kept(policy.measures(), max(policy.history_needed(), _CONTACTS_KEPT))


def segment_condition(name: str) -> Condition:
    """That a customer is in a segment, as rules ask for it.

    >>> segment_condition("vip")
    Clause(field='customer.segment.vip', op='eq', value=True)
    """
    return Clause(SEGMENT + name, "eq", True)


def segments_named(definition: PolicyDefinition) -> set[str]:
    """The segments that rules read or set."""
    return {
        field.removeprefix(SEGMENT)
        for field in _fields_named(definition)
        if field.startswith(SEGMENT)
    }


def unknown_segment(name: str, definition: PolicyDefinition, seen: list[str]) -> str:
    """What to say of a segment that neither rules nor customers have."""
    near = nearest(name, sorted({*segments_named(definition), *seen}))
    said = f'there is no segment "{name}": no rule names it, and no customer has it'
    if near is not None:
        return f'{said}; did you mean "{near}"?'
    if name in {one.name for one in definition.states}:
        return f"{said}; it is a state: write {{customer.state: {name}}} in a file for --when"
    return said


def reach_of(
    definition: PolicyDefinition, purpose: str | None, channel: str | None
) -> Reach | None:
    """The purpose and channel of a policy by their names; None without a purpose.

    Raises:
        InputError: the policy does not have one of them, or there is a channel alone.
    """
    if purpose is None:
        if channel is not None:
            raise InputError("--channel", "say for which purpose as well, with --purpose")
        return None
    purposes = {one.name: one for one in definition.purposes}
    if purpose not in purposes:
        raise unknown("--purpose", "purpose", purpose, purposes)
    channels = [one.name for one in definition.channels]
    if channel is not None and channel not in channels:
        raise unknown("--channel", "channel", channel, channels)
    return Reach(purposes[purpose], channel)


def _fields_named(definition: PolicyDefinition) -> Iterator[str]:
    for one in chain(definition.messages, definition.states, definition.rules, definition.caps):
        yield from fields_read(one.when)
    for rule in definition.rules:
        yield from rule.set
