"""A snapshot: one policy and one model, bound to each other and to the store, ready to decide.

It is built off the request path and swapped in between two decisions; it never changes afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from decision.core.arbitration import Arithmetic
from decision.core.business_rules import PlainMatcher
from decision.core.clock import to_micros
from decision.core.definition import PolicyDefinition
from decision.core.event_names import EventNames
from decision.core.events import Measure
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.core.ports import RuleMatcher, Scorer, Store
from decision.core.schema import Moment
from decision.core.texts import Contents
from decision.core.values import Value
from decision.engine.cautions import lasting_cautions, passing_cautions
from decision.engine.models_at import scoring_by_placement
from decision.engine.names import names_of
from decision.engine.takings import note_budgets
from decision.engine.worker import run_in_worker
from decision.rulebook.checking import PolicyRefused
from decision.rulebook.content import compile_contents
from decision.rulebook.durable_engine import DurableMatcher, RuleEngineError
from decision.rulebook.rule_trial import try_rules
from decision.scoring.by_scope import MixedScorer
from decision.scoring.choice import arithmetic_of
from decision.scoring.features import Feature
from decision.scoring.model import Model
from decision.scoring.scope import EVERYWHERE, Scope
from decision.scoring.scorers import MINIMAL_FEATURES, fields_read

__all__ = ["PolicyRefused", "Snapshot", "build_snapshot", "policy_blob"]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a decision needs but the customer.

    `plain` asks the rules without the rule engine, for look-backs, which neither keep the engine
    busy nor count in its metrics. `kinds` is by candidate. `degraded` is what every decision does
    without, such as `model`; `cautions` are warnings about the policy when it was put in force,
    `lasting_cautions` those that hold until the next. `exploration` is γ of
    inverse-gap weighting, `unproven` the mask of candidates whose message has little evidence yet;
    `history_needed` is how long (microseconds) contacts must be kept. `shadow` is a challenger: it
    scores the same survivors for the log, and never chooses. `pools` are the policy's coupon pools,
    and others from which customers still have codes. `event_names` knows the types that are read.
    `lacking` is the mask of candidates that are scored without their model, where that is not all.
    `mixed` is the scorer, where it is of several models.
    `own` has what differs at placements where other models decide, see `at`; `models` and
    `challengers` are the versions by scope.
    """

    policy: Policy
    matcher: RuleMatcher
    plain: RuleMatcher
    scorer: Scorer
    arithmetic: Arithmetic
    measures: dict[str, Measure]
    kinds: list[int]
    contents: Contents
    exploration: float | None
    unproven: int
    history_needed: int
    policy_version: str
    model_version: str | None
    loaded_at: Moment
    event_names: EventNames
    shadow: Scorer | None = None
    pools: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    lasting_cautions: tuple[str, ...] = ()
    lacking: int = 0
    mixed: MixedScorer | None = None
    own: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    models: Mapping[Scope, Model] = MappingProxyType({})
    challengers: Mapping[Scope, Model] = MappingProxyType({})

    def at(self, placement: str) -> Snapshot:
        """This, with the models that decide at a placement."""
        own = self.own.get(placement)
        return self if own is None else msgspec.structs.replace(self, own={}, **own)

    @property
    def scores_all(self) -> bool:
        """Whether each candidate is scored by the model of its scope, at every placement."""
        others = (bool(own["degraded"] or own["lacking"]) for own in self.own.values())
        return not (self.degraded or self.lacking or any(others))


class GuardedMatcher:
    """Asks the rule engine, and the plain evaluator wherever the engine fails.

    `failures` counts those times: each is worth a look, none costs a decision.
    """

    def __init__(self, engine: DurableMatcher, plain: RuleMatcher) -> None:
        self.failures = 0
        self._engine = engine
        self._plain = plain

    def match(self, stratum: int, values: Sequence[Value]) -> int:
        """A bit mask of the stratum's rules that hold."""
        try:
            return self._engine.match(stratum, values)
        except RuleEngineError:
            self.failures += 1
            return self._plain.match(stratum, values)


def policy_blob(version: str) -> str:
    """The name under which the store keeps a policy's files."""
    return f"policy:{version}"


async def build_snapshot(
    definition: PolicyDefinition,
    model: Model | None,
    store: Store,
    loaded_at: Moment,
    *,
    try_first: bool = True,
    durable: bool = True,
    contacts_kept: int = 0,
    features: Sequence[Feature] = MINIMAL_FEATURES,
    scoped: Mapping[Scope, Model] = MappingProxyType({}),
    challengers: Mapping[Scope, Model] = MappingProxyType({}),
    missing: Collection[Scope] = (),
    in_thread: bool = False,
) -> Snapshot:
    """Compiles a checked policy, binds the model to it and registers its contacts in the store.

    `try_first` runs the business rules in a child process before they run here; `durable` false
    evaluates them with the plain evaluator, for one-off uses.

    Without a model, `features` (those of a spec) are logged, so that one can be learned.

    `scoped` are the models that decide in one scope alone, `challengers` those that are scored
    beside what decides in theirs, `missing` the scopes whose model cannot be had; one whose
    placement or purpose the policy does not have is not used.

    With `contacts_kept`, the least time for which contacts are kept, it adds `cautions`.
    `in_thread` is for servers that answer requests meanwhile.

    Raises:
        PolicyRefused: the rule engine does not hold these rules.
        StoreUnavailable: the store could not be reached.
    """

    def compiled() -> Snapshot:
        if durable and try_first:
            problem = try_rules(definition.rules)
            if problem is not None:
                raise PolicyRefused(problem)
        return compile_snapshot(
            definition,
            model,
            loaded_at,
            durable=durable,
            features=features,
            scoped=scoped,
            challengers=challengers,
            missing=missing,
        )

    snapshot = await run_in_worker(compiled) if in_thread else compiled()
    policy = snapshot.policy
    store.allow_names(names_of(policy))
    numbers = await store.register_kinds([each.kind for each in policy.candidates])
    files = msgspec.msgpack.encode(dict(definition.files))
    await store.put_blob(policy_blob(policy.version), files)
    lasting: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    if contacts_kept:
        now = to_micros(loaded_at)
        lasting = await lasting_cautions(policy, store, now, contacts_kept)
        told = (*lasting, *await passing_cautions(policy, store, now))
    if policy.budgets:  # noted before a decision can take from one
        await note_budgets(store)
    pools = dict.fromkeys([*policy.coupons, *await store.coupon_pools()])
    return msgspec.structs.replace(
        snapshot,
        kinds=numbers,
        cautions=told,
        lasting_cautions=lasting,
        pools=tuple(pools),
    )


def compile_snapshot(
    definition: PolicyDefinition,
    model: Model | None,
    loaded_at: Moment,
    *,
    durable: bool = True,
    features: Sequence[Feature] = MINIMAL_FEATURES,
    scoped: Mapping[Scope, Model] = MappingProxyType({}),
    challengers: Mapping[Scope, Model] = MappingProxyType({}),
    missing: Collection[Scope] = (),
) -> Snapshot:
    """A snapshot without a store: it can look back and reserves nothing, as `kinds` is empty.

    Raises:
        PolicyRefused: the rule engine does not hold these rules.
    """
    models = dict(scoped) if model is None else {EVERYWHERE: model, **scoped}
    scored_by = dict.fromkeys(
        each.name for one in models.values() for each in one.manifest.features
    )
    reads = fields_read(model, features)
    for other in (*scoped.values(), *challengers.values()):
        reads += fields_read(other)
    policy = compile_policy(definition, tuple(scored_by), reads)
    plain = PlainMatcher(policy.rules, policy.rule_strata, policy.fields.slot)
    matcher: RuleMatcher = plain
    if durable and policy.rules:
        try:
            engine = DurableMatcher(policy.rules, policy.rule_strata, policy.fields.slot)
        except RuleEngineError as error:
            raise PolicyRefused(str(error)) from error
        matcher = GuardedMatcher(engine, plain)
    return Snapshot(
        policy=policy,
        matcher=matcher,
        plain=plain,
        arithmetic=arithmetic_of(policy, models.values()),
        measures=policy.measures(),
        kinds=[],
        contents=compile_contents(policy),
        history_needed=policy.history_needed(),
        policy_version=policy.version,
        loaded_at=loaded_at,
        event_names=EventNames(policy),
        models=models,
        challengers=challengers,
        **scoring_by_placement(policy, models, challengers, missing, features),
    )
