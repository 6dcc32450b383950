"""The checker warns of circles that ask a customer all day long, and names connected circles."""

from __future__ import annotations

import pytest

from decision.rulebook.reader import load_files
from tests.rulebook.test_endless import SHOP


def said(steps: str) -> list[str]:
    rules = f"journeys: {{j: {{start: {{event: x}}, steps: {{{steps}}}}}}}\n"
    found = load_files({"rules.yaml": SHOP + rules})
    assert found.definition is not None, found.diagnostics
    return [one.message for one in found.diagnostics if one.code == "possible-loop"]


@pytest.mark.parametrize(
    ("steps", "warned"),
    [
        ("a: {ask: crm}, w: {wait: 1s, go: a}", True),
        ("a: {ask: crm}, w: {wait: 4m}, v: {wait: 5m, go: a}", True),
        ("a: {ask: crm}, w: {wait_for: {event: y, within: 5s}, then: a, else: a}", True),
        ("a: {ask: crm}, w: {wait: 10m, go: a}", False),
        ("a: {ask: crm}, w: {wait: 5m}, v: {wait: 5m, go: a}", False),
        ("a: {ask: crm}, w: {wait: 1s}", False),
        ('a: {ask: crm}, w: {wait: {until: "09:00"}, go: a}', False),
        ("a: {set: {customer.on: true}}, w: {wait: 1s, go: a}", False),
    ],
)
def test_a_circle_that_asks_waits_for_some_minutes(steps: str, warned: bool) -> None:
    found = said(steps)
    assert bool(found) == warned
    assert not found or "in a circle that waits for" in found[0]


def test_steps_of_other_circles_are_named_with_their_places() -> None:
    rules = """\
journeys:
  one: {start: {event: message.sent}, again: always, steps: {a: {ask: crm}}}
  two: {start: {event: message.sent}, again: always, steps: {b: {ask: crm}}}
  three: {start: {event: message.sent}, again: always, steps: {c: {ask: crm}}}
"""
    found = load_files({"rules.yaml": SHOP + rules}).diagnostics
    told = " ".join(f"{one.message} {one.hint}" for one in found if one.code == "possible-loop")
    for place in ("one.a", "two.b (rules/rules.yaml:8)", "three.c (rules/rules.yaml:9)"):
        assert place in told
