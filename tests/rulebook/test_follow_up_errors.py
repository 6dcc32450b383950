"""A mistake has one error: nothing is concluded from what was written wrongly."""

from __future__ import annotations

import pytest

from decision.rulebook.reader import load_files

SHOP = """\
settings: {timezone: UTC, currency: CNY}
purposes: {service: {consent: not_required}, marketing: {consent: opt_in}}
channels: {in_app: {cost: 0.0000001}, push: {cost: 0.01}}
placements:
  home: {channels: [in_app], fallback: hello}
messages:
  hello: {purpose: service, channels: [in_app], content: {title: Hi}}
  news: {purpose: marketing, channels: [push, in_app], value: 3, content: {title: Hi}}
"""


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("messages:", "budgets: {b: {of: {messages: [news]}, at_most: 2}}\nmessages:", "unknown-key"),
        ("messages:", "budgets: {b: {of: {purposes: news}, spend: 2}}\nmessages:", "unknown-key"),
        ("messages:", "budgets: {b: {at_most: 2}}\nmessages:", "missing-key"),
        ("messages:", "budgets: {b: {of: push, at_most: 2}}\nmessages:", "wrong-type"),
        ("messages:", "budgets: {b: {of: {purpose: markting}, spend: 2}}\nmessages:", "unknown-name"),
        ("consent: not_required", "consent: not_requird", "bad-value"),
        ("service: {consent: not_required}", "service: {consnt: not_required}", "unknown-key"),
        (
            "in_app: {cost: 0.0000001}",
            'in_app: {quiet_hours: {from: "21:00", to: "08:00", exept: [service]}}',
            "unknown-key",
        ),
        (
            "in_app: {cost: 0.0000001}",
            'in_app: {quiet_hours: {from: "21:00", to: "08:00", except: [servce]}}',
            "unknown-name",
        ),
    ],
)  # fmt: skip
def test_a_fallback_and_a_cost_have_no_error_that_follows_from_another(
    old: str, new: str, code: str
) -> None:
    assert old in SHOP
    found = load_files({"a.yaml": SHOP.replace(old, new, 1)}).errors
    assert [one.code for one in found] == [code]


def test_an_error_elsewhere_hides_no_fallback_that_is_unfit() -> None:
    text = SHOP.replace("fallback: hello", "fallback: news").replace("[in_app],", "[in_app, push],")
    text += "  other: {purpos: service, channels: [push], content: {title: Hi}}\n"
    codes = {one.code for one in load_files({"a.yaml": text}).errors}
    assert "unfit-fallback" in codes
