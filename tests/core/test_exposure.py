"""An experiment is logged with a decision where the customer's variant had a say in it."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.clock import DAY
from decision.core.conditions import ALWAYS, All, AnyOf, Clause, Condition, Not
from decision.core.decide import Verdict
from decision.core.definition import (
    Cap,
    Experiment,
    Message,
    PolicyDefinition,
    QuietHours,
    Rule,
    Selector,
    State,
)
from decision.core.document import Consent, ContactState
from decision.core.policy import Policy, in_holdout
from decision.core.policy_builder import compile_policy
from decision.core.reasons import Reason
from tests.core.small import NOON, ask, contact, customer, definition

VARIANTS = {"control": 0.5, "short": 0.5}
COPY = Experiment(name="copy", seed="copy", variants=VARIANTS)
SHORT = Clause("experiment.copy", "eq", "short")


def with_copy(**changes: Any) -> Policy:
    return compile_policy(definition(experiments=(COPY,), **changes))


def message(name: str, **changes: Any) -> tuple[Message, ...]:
    return tuple(
        msgspec.structs.replace(old, **changes) if old.name == name else old
        for old in definition().messages
    )


def logged(policy: Policy, **asked: Any) -> set[str]:
    return set(ask(policy, customer(), **asked).experiments)


def test_what_nobody_names_is_not_logged() -> None:
    assert logged(with_copy()) == set()


def test_the_variant_is_logged_where_a_message_offered_here_names_it_whichever_it_is() -> None:
    policy = with_copy(messages=message("offer", when=SHORT))
    for variant in VARIANTS:
        with patch.object(Policy, "variant", lambda *_, variant=variant: variant):
            assert ask(policy, customer()).experiments == {"copy": variant}


@pytest.mark.parametrize(
    "why",
    [
        {"placement": "inbox"},
        {"channels": ()},
    ],
)
def test_a_message_that_is_not_offered_here_exposes_nobody(why: dict[str, Any]) -> None:
    policy = with_copy(
        messages=message("offer", when=SHORT, channels=("push",), placements=("outbound",))
    )
    assert logged(policy) == {"copy"}
    assert logged(policy, **why) == set()


def test_a_message_that_falls_for_another_reason_exposes_nobody() -> None:
    other = Clause("customer.city", "eq", "上海")
    policy = with_copy(messages=message("offer", when=All((SHORT, other))))
    assert ask(policy, customer()).experiments == {}
    assert set(ask(policy, customer(attributes={"city": "上海"})).experiments) == {"copy"}
    denied = {"marketing": {"*": Consent(granted=False)}}
    assert ask(policy, customer(attributes={"city": "上海"}, consents=denied)).experiments == {}
    away = customer(attributes={"city": "上海"}, reachable=[])
    assert ask(policy, away).experiments == {}


def test_quiet_hours_expose_nobody_and_a_cap_does() -> None:
    """A cap may be full because of the variant; a comparison without those would be biased."""
    channels = tuple(
        msgspec.structs.replace(channel, quiet_hours=(QuietHours(start=0, end=23 * 60),))
        for channel in definition().channels
    )
    offer = message("offer", when=SHORT)
    assert logged(with_copy(messages=offer, channels=channels)) == set()
    caps = (Cap(name="one", of=Selector(), at_most=1, within=DAY),)
    full = customer(contacts=[contact(0, NOON - 1, ContactState.CONFIRMED)])
    verdict = ask(with_copy(messages=offer, caps=caps), full)
    assert (verdict.outcome, set(verdict.experiments)) == ("none", {"copy"})


def test_a_rule_exposes_only_whom_it_touches() -> None:
    rule = Rule(name="r", when=SHORT, exclude=Selector(messages=("off*",)))
    assert logged(with_copy(rules=(rule,))) == {"copy"}
    receipts = Rule(name="r", when=SHORT, boost=Selector(messages=("receipt",)), by=2.0)
    policy = with_copy(rules=(receipts,))
    assert logged(policy) == set()
    assert logged(policy, placement="inbox") == {"copy"}
    no_boost = msgspec.structs.replace(receipts, by=1.0)
    assert logged(with_copy(rules=(no_boost,)), placement="inbox") == set()
    others = Rule(name="r", when=SHORT, allow_only=Selector(messages=("receipt",)))
    assert logged(with_copy(rules=(others,))) == {"copy"}


def test_the_variant_is_followed_through_what_rules_set() -> None:
    chain = (
        Rule(name="a", when=SHORT, set={"customer.tone": "brief"}),
        Rule(name="b", when=Clause("customer.tone", "eq", "brief"), set={"customer.x": True}),
        Rule(name="c", when=Clause("customer.x", "eq", True), exclude=Selector(tags=("coupon",))),
    )
    assert logged(with_copy(rules=chain)) == {"copy"}
    assert logged(with_copy(rules=chain), channels=("email",)) == {"copy"}
    assert logged(with_copy(rules=chain[:2])) == set()
    upside_down = with_copy(rules=(chain[2], chain[1], chain[0]))
    assert logged(upside_down) == set(), "a rule sees only what rules before it set"
    by_message = with_copy(
        rules=chain[:2], messages=message("news", when=Clause("customer.x", "exists", False))
    )
    assert logged(by_message) == {"copy"}


def test_the_variant_is_followed_through_states_content_and_the_model() -> None:
    states = (State(name="tested", when=SHORT), State(name="rest"))
    by_state = message("offer", when=Clause("customer.state", "eq", "tested"))
    assert logged(with_copy(states=states, messages=by_state)) == {"copy"}
    assert logged(with_copy(states=states)) == set()
    rules = (Rule(name="a", when=SHORT, set={"customer.greeting": "Hey"}),)
    printing = message("offer", content={"parts": [{"title": "{{ customer.greeting }}"}]})
    assert logged(with_copy(rules=rules, messages=printing)) == {"copy"}
    plain = message("offer", content={"title": "greeting"})
    assert logged(with_copy(rules=rules, messages=plain)) == set()
    base = definition(experiments=(COPY,))
    assert set(ask(compile_policy(base, ["experiment.copy"]), customer()).experiments) == {"copy"}
    assert ask(compile_policy(base, ["customer.age"]), customer()).experiments == {}


def test_a_holdout_is_logged_for_all_whom_it_holds_and_its_reason_only_where_it_removed() -> None:
    """Arms must be comparable: who is in one does not depend on what could have been said."""
    everyone = Experiment(name="hold", seed="h", share=1.0, keeps=("service",))
    policy = compile_policy(definition(experiments=(everyone,)))
    for changes, removed in (({}, True), ({"consents": {}}, False), ({"reachable": []}, False)):
        verdict = ask(policy, customer(**changes))
        assert verdict.holdout
        assert (Reason.HOLDOUT in verdict.fallen) is removed
    nobody = msgspec.structs.replace(everyone, share=0.0)
    assert not ask(compile_policy(definition(experiments=(nobody,))), customer()).holdout


def test_of_several_holdouts_a_customer_gets_only_what_each_of_theirs_keeps() -> None:
    groups = (
        Experiment(name="a", seed="a", share=0.5, keeps=("service", "marketing")),
        Experiment(name="b", seed="b", share=0.5, keeps=("service",)),
        Experiment(name="c", seed="c", share=0.2, keeps=()),
    )
    policy = compile_policy(definition(experiments=groups))
    seen = set()
    for number in range(200):
        held = [group for group in groups if in_holdout(group, f"c-{number}")]
        verdict = ask(policy, customer(customer_id=f"c-{number}"), placement="inbox")
        kept = {"service", "marketing"}.intersection(*(group.keeps for group in held))
        purposes = {policy.candidates[row.candidate].purpose for row in verdict.scores.rows()}
        assert purposes == kept
        assert verdict.holdout is bool(held)
        seen.add(tuple(group.name for group in held))
    assert len(seen) == 8


# ------------------------------------------------------------------ whatever the policy

fields = st.sampled_from(
    ["customer.a", "customer.b", "experiment.one", "experiment.two", "customer.state"]
)
clauses = st.builds(Clause, fields, st.sampled_from(["eq", "ne"]), st.sampled_from(["x", "y"]))
conditions: st.SearchStrategy[Condition] = st.recursive(
    clauses,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: All(tuple(parts))),
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: AnyOf(tuple(parts))),
    ),
    max_leaves=3,
)
whens = st.one_of(st.just(ALWAYS), conditions)
selectors = st.sampled_from(
    [
        Selector(messages=("offer",)),
        Selector(channel=("email",)),
        Selector(purpose=("service",)),
        Selector(tags=("coupon",)),
    ]
)
rules = st.one_of(
    st.builds(
        Rule,
        name=st.just("r"),
        when=whens,
        set=st.dictionaries(
            st.sampled_from(["customer.a", "customer.b"]), st.sampled_from(["x", "y"]), min_size=1
        ),
    ),
    st.builds(Rule, name=st.just("r"), when=whens, exclude=selectors),
    st.builds(Rule, name=st.just("r"), when=whens, allow_only=selectors),
    st.builds(
        Rule, name=st.just("r"), when=whens, boost=selectors, by=st.sampled_from([0.5, 1.0, 3.0])
    ),
)


@st.composite
def policies(draw: st.DrawFn) -> PolicyDefinition:
    halves = {"x": 0.5, "y": 0.5}
    return definition(
        messages=tuple(
            msgspec.structs.replace(old, when=draw(whens)) for old in definition().messages
        ),
        states=(State(name="x", when=draw(conditions.filter(_stateless))), State(name="y")),
        rules=tuple(draw(st.lists(rules, max_size=4))),
        experiments=tuple(Experiment(name=name, seed=name, variants=halves) for name in NAMES),
    )


NAMES = ("one", "two")


def _stateless(condition: Condition) -> bool:
    return "customer.state" not in repr(condition)


def fate(verdict: Verdict) -> Any:
    """What the caller and the learner get to see."""
    rows = [(row.candidate, row.lever, row.priority) for row in verdict.scores.rows()]
    return verdict.outcome, [row.candidate for row in verdict.chosen], rows


@settings(deadline=None, max_examples=300)
@given(
    policies(),
    st.fixed_dictionaries({name: st.sampled_from("xy") for name in NAMES}),
    st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy")),
    st.sampled_from(["outbound", "inbox"]),
    st.sampled_from([None, ["email"], []]),
    st.booleans(),
)
def test_where_it_is_not_logged_the_other_variant_decides_the_very_same(
    built: PolicyDefinition,
    variants: dict[str, str],
    attributes: dict[str, str],
    placement: str,
    reachable: list[str] | None,
    consent: bool,
) -> None:
    policy = compile_policy(built)
    who = customer(
        attributes=attributes,
        reachable=reachable,
        consents={"marketing": {"*": Consent(granted=consent)}},
    )

    def decided(chosen: dict[str, str]) -> Verdict:
        with patch.object(Policy, "variant", lambda self, name, _: chosen[name]):
            return ask(policy, who, placement=placement)

    found = decided(variants)
    assert found.experiments.items() <= variants.items()
    for name in NAMES:
        other = decided({**variants, name: "y" if variants[name] == "x" else "x"})
        assert (name in other.experiments) is (name in found.experiments)
        if name not in found.experiments:
            assert fate(other) == fate(found)
