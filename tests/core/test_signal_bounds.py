"""Signals of a customer are bounded, and the pauses that they cause stay the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from decision.core.clock import DAY, HOUR
from decision.core.document import Document, Signal
from decision.core.event_effects import MOST_SIGNALS, Occurrence, apply
from decision.core.policy_builder import compile_policy
from decision.rulebook.reader import load_files

NOW = 1_795_000_000_000_000
RULES = """
purposes: {m: {consent: not_required}}
channels: {push: {}}
placements: {o: {channels: [push]}}
messages: {a: {purpose: m, channels: [push], value: 1}, b: {purpose: m, channels: [push], value: 1}}
suppressions:
  each: {event: click, times: 3, within: 12h, per: message, pause: 6d}
  all: {event: click, times: 5, within: 1d, pause: 3d}
"""
DEFINITION = load_files({"a.yaml": RULES}).definition
assert DEFINITION is not None
POLICY = compile_policy(DEFINITION)


@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from("ab")), max_size=30))
def test_forgetting_signals_changes_no_pause_now_or_after_what_comes_later(
    drawn: list[tuple[int, str]],
) -> None:
    signals = [Signal("click", NOW + hour * HOUR, name, "", "") for hour, name in drawn]
    every: list[Signal] = []
    kept: list[Signal] = []
    rules = POLICY.contact_policy
    for one in signals:
        every = sorted([*every, one], key=lambda two: two.at)
        kept = rules.signals_that_pause(sorted([*kept, one], key=lambda two: two.at))
        for day in range(20):
            at = NOW + day * DAY
            assert set(rules.pauses(kept, at)) == set(rules.pauses(every, at))


def test_however_many_signals_there_are_those_that_are_kept_are_few() -> None:
    document = Document(customer_id="anna")
    for number in range(2 * MOST_SIGNALS):
        at = NOW + number * 7_000_000
        click = Occurrence(id=str(number), type="click", at=at, message="a")
        apply(document, click, POLICY, POLICY.measures(), at)
        assert len(document.signals) <= MOST_SIGNALS
    assert len(POLICY.contact_policy.pauses(document.signals, at)) == 2
