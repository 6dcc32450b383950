"""A name that is read once is held against those that are read often."""

from __future__ import annotations

import pytest

from decision.rulebook.reader import load_files
from decision.rulebook.review.spelling import OFTEN

SHOP = """\
settings: {exploration: off}
purposes: {marketing: {consent: opt_in}}
channels: {push: {}}
placements: {outbound: {channels: [push]}}
messages:
"""
MESSAGE = "  m{n}: {{purpose: marketing, channels: [push], value: 1, {rest}}}\n"


def told(once: str, often: str, *, times: int = OFTEN, more: str = "") -> list[tuple[str, str]]:
    """(code, message) of what the checker finds where one name is read once, another often."""
    reads = [f'content: {{title: "{{{{ {often} }}}}"}}'] * times
    reads.append(f'content: {{push: {{title: ["{{{{ {once} }}}}"]}}}}')
    text = "".join(MESSAGE.format(n=n, rest=rest) for n, rest in enumerate(reads))
    found = load_files({"shop.yaml": SHOP + text + more}, "rules")
    assert found.definition is not None, found.diagnostics
    return [
        (one.code, one.message) for one in found.diagnostics if "read here alone" in one.message
    ]


@pytest.mark.parametrize(
    ("once", "often"),
    [
        ("customer.first_nam", "customer.first_name"),
        ("customer.frist_name", "customer.first_name"),
        ("event.cart_vallue", "event.cart_value"),
        ("context.languege", "context.language"),
    ],
)
def test_a_slip_in_a_text_is_told_with_the_name_that_was_meant(once: str, often: str) -> None:
    ((code, message),) = told(once, often)
    assert code == "doubtful-template"
    assert message == f"{once} is read here alone; {often} is read in {OFTEN} places"


@pytest.mark.parametrize(
    ("once", "often"),
    [
        ("customer.last_name", "customer.first_name"),
        ("customer.stage", "customer.stato"),  # short words are other words
        ("customer.address1", "customer.address2"),
        ("event.first_nam", "customer.first_name"),  # of another family
    ],
)
def test_another_name_is_none(once: str, often: str) -> None:
    assert told(once, often) == []


def test_a_name_that_is_read_seldom_or_set_by_a_rule_tells_nothing_of_others() -> None:
    names = ("customer.first_nam", "customer.first_name")
    assert told(*names, times=OFTEN - 1) == []
    rule = "rules:\n  r: {when: {customer.vip: true}, set: {customer.first_nam: x}}\n"
    assert told(*names, more=rule) == []


def test_a_slip_in_a_condition_is_told_too() -> None:
    rule = "rules:\n  r: {when: {customer.first_nam: Li}, exclude: {channel: push}}\n"
    ((code, _),) = [
        one
        for one in told("customer.first_name", "customer.first_name", more=rule)
        if one[0] == "doubtful-comparison"
    ]
    assert code == "doubtful-comparison"
