"""Tiers: what is of a lower tier goes first, whatever priorities and exploration say."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.definition import (
    Cap,
    Channel,
    Message,
    Placement,
    Purpose,
    Selector,
    Settings,
)
from decision.core.explanation import explain
from decision.core.masks import indices
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.core.reasons import Reason
from tests.core.small import ask, customer, definition, reasons

priorities = st.sampled_from([-2.0, 0.0, 0.1, 1.0, 5.0, 1e6]) | st.floats(-10, 100)


@st.composite
def policies(draw: st.DrawFn, *, capped: bool) -> tuple[Policy, dict[str, float]]:
    """A policy of purposes in random tiers, and a response probability for each message."""
    purposes = tuple(
        Purpose(
            name=f"p{number}",
            consent="not_required",
            explore=draw(st.booleans()),
            tier=draw(st.integers(1, 9) | st.sampled_from([1, 5])),
        )
        for number in range(draw(st.integers(1, 4)))
    )
    channels = (Channel(name="push"), Channel(name="email", cost=draw(st.sampled_from([0.0, 0.3]))))
    messages = tuple(
        Message(
            name=f"m{number}",
            purpose=draw(st.sampled_from(purposes)).name,
            channels=draw(st.sampled_from([("push",), ("email",), ("push", "email")])),
            value=1.0,
        )
        for number in range(draw(st.integers(1, 7)))
    )
    cap = Cap(name="one", of=Selector(channel=("push",)), at_most=1, within=1)
    policy = compile_policy(
        definition(
            settings=Settings(
                exploration=draw(st.none() | st.sampled_from([0.0, 1.0, 100.0])),
                exploration_floor=draw(st.sampled_from([0.0, 0.05, 0.4])),
            ),
            purposes=purposes,
            channels=channels,
            placements=(
                Placement(
                    name="outbound",
                    channels=("push", "email"),
                    threshold=draw(st.sampled_from([0.0, 0.5, -100.0])),
                ),
            ),
            messages=messages,
            caps=(cap,) if capped and draw(st.booleans()) else (),
        )
    )
    return policy, {message.name: draw(priorities) for message in messages}


def tier_of(policy: Policy, candidate: int) -> int:
    return policy.purposes[policy.candidates[candidate].purpose].tier


@given(policies(capped=True), st.data())
def test_no_candidate_is_selected_while_one_of_a_lower_tier_survives(
    found: tuple[Policy, dict[str, float]], data: st.DataObject
) -> None:
    """Of every decision, whatever is drawn, explored, capped, or not above the threshold."""
    policy, probabilities = found
    verdict = ask(
        policy,
        customer(),
        draws=data.draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4)),
        probabilities=probabilities,
        unproven=data.draw(st.integers(0, policy.everything)),
        limit=data.draw(st.integers(1, 4)),
    )
    above = [row for row in verdict.scores.rows() if row.priority > verdict.threshold]
    assert bool(above) == bool(verdict.chosen)
    tiers = [tier_of(policy, row.candidate) for row in verdict.chosen]
    assert tiers == sorted(tiers)
    if above:
        assert tiers[0] == min(tier_of(policy, row.candidate) for row in above)
    waiting = verdict.fallen.get(Reason.OUTRANKED, 0)
    given = [policy.candidates[row.candidate].message for row in verdict.chosen]
    for candidate in indices(waiting):
        assert tier_of(policy, candidate) >= max(tiers) or (
            policy.candidates[candidate].message in given  # on another channel
        )


@given(policies(capped=False), st.integers(0))
def test_probabilities_are_a_distribution_over_the_first_tier_alone(
    found: tuple[Policy, dict[str, float]], unproven: int
) -> None:
    policy, probabilities = found
    verdict = ask(
        policy, customer(), probabilities=probabilities, unproven=unproven & policy.everything
    )
    rows = verdict.scores.rows()
    first = min(
        (tier_of(policy, row.candidate) for row in rows if row.priority > verdict.threshold),
        default=0,
    )
    assert math.fsum(row.selection_probability for row in rows) == pytest.approx(
        1.0 if first else 0.0
    )
    for row in rows:
        if tier_of(policy, row.candidate) != first or row.priority <= verdict.threshold:
            assert row.selection_probability == 0


@given(policies(capped=False), st.integers(0))
def test_within_a_tier_the_probabilities_are_those_without_the_other_tiers(
    found: tuple[Policy, dict[str, float]], unproven: int
) -> None:
    policy, probabilities = found
    unproven &= policy.everything
    verdict = ask(policy, customer(), probabilities=probabilities, unproven=unproven)
    if not verdict.chosen:
        return
    first = tier_of(policy, verdict.chosen[0].candidate)
    others = sum(
        1 << index for index in range(len(policy.candidates)) if tier_of(policy, index) != first
    )
    alone = ask(policy, customer(), probabilities=probabilities, unproven=unproven, spent=others)
    left = {row.candidate: row.selection_probability for row in alone.scores.rows()}
    for row in verdict.scores.rows():
        assert row.selection_probability == left.get(row.candidate, 0.0)


def tiered(**changes: Any) -> Policy:
    """Receipts, of tier 1, beside offers and news of the usual tier."""
    receipt = Message(name="receipt", purpose="service", channels=("email",), value=1.0)
    base = definition()
    return compile_policy(
        definition(
            purposes=(
                Purpose(name="marketing", consent="opt_in"),
                Purpose(name="service", consent="not_required", tier=1),
            ),
            messages=(*base.messages[:2], receipt),
            **changes,
        )
    )


def test_the_explanation_names_the_tier_that_goes_first() -> None:
    policy = tiered()
    verdict = ask(policy, customer(), probabilities={"offer": 1.0, "receipt": 0.01})
    rows = {f"{row.message}/{row.channel}": row for row in explain(policy, verdict)}
    assert rows["receipt/email"].reason is None
    assert rows["offer/push"].reason == "outranked"
    assert rows["offer/push"].detail == "it is of tier 5, and a message of tier 1 goes first"
    assert rows["offer/push"].selection_probability == 0


def test_one_that_is_not_above_the_threshold_holds_no_other_back() -> None:
    """Silence would be no better for anybody: it did not survive."""
    policy = tiered()
    verdict = ask(policy, customer(), probabilities={"receipt": 0.0})
    assert reasons(policy, verdict)["receipt/email"] == "below_threshold"
    assert verdict.outcome == "selected"


def test_several_messages_are_taken_tier_by_tier() -> None:
    policy = tiered()
    verdict = ask(policy, customer(), probabilities={"receipt": 0.01}, limit=3)
    names = [policy.candidates[row.candidate].message for row in verdict.chosen]
    assert names == ["receipt", "offer", "news"]
    assert [row.selection_probability for row in verdict.chosen] == [1, 1, 1]


def test_a_policy_of_one_tier_compiles_none() -> None:
    assert compile_policy(definition()).tiers == ()
    assert len(tiered().tiers) == 2
