"""Caps with conditions, numbers from fields, and ever: what the review can prove of two of them."""

from __future__ import annotations

import pytest

from decision.rulebook.reader import load_files
from tests.rulebook.sample import SMALL

GOLD = "when: {customer.tier: gold}"
OWN = "at_most: {field: customer.limit, default: 3}"


def warned(first: str, second: str) -> list[tuple[str, str]]:
    """(code, the cap that has no effect) of the two caps `a` and `b`."""
    text = f"caps:\n  a: {{{first}}}\n  b: {{{second}}}\n"
    result = load_files({"a.yaml": SMALL, "b.yaml": text})
    assert result.definition is not None, result.diagnostics
    return [
        (one.code, one.message.split('"')[1])
        for one in result.diagnostics
        if one.code.startswith("redundant")
    ]


@pytest.mark.parametrize(
    ("first", "second", "useless"),
    [
        # A stricter one without a condition makes the other useless; not the reverse.
        ("of: {}, at_most: 1, within: 7d", f"of: {{}}, {GOLD}, at_most: 2, within: 7d", "b"),
        ("of: {}, at_most: 2, within: 7d", f"of: {{}}, {GOLD}, at_most: 1, within: 7d", ""),
        # One that applies wherever the other does.
        (
            "of: {}, when: {customer.n: {gt: 3}}, at_most: 1, within: 7d",
            "of: {}, when: {customer.n: {gt: 5}}, at_most: 1, within: 3d",
            "b",
        ),
        (
            "of: {}, when: {customer.n: {gt: 5}}, at_most: 1, within: 7d",
            "of: {}, when: {customer.n: {gt: 3}}, at_most: 1, within: 3d",
            "",
        ),
        (
            f"of: {{}}, {GOLD}, at_most: 1, within: 7d",
            "of: {}, when: {customer.tier: silver}, at_most: 1, within: 7d",
            "",
        ),
        # Equal ones: the later is useless.
        (*[f"of: {{}}, {GOLD}, at_most: 1, within: ever"] * 2, "b"),
        (f"of: {{}}, {OWN}, within: 7d", f"of: {{}}, {OWN}, within: 7d", "b"),
        (f"of: {{}}, {OWN}, within: 7d", f"of: {{}}, {OWN}, {GOLD}, within: 3d", "b"),
        # Of two numbers that are not known nothing is known.
        (f"of: {{}}, {OWN}, within: 7d", "of: {}, at_most: 9, within: 7d", ""),
        (
            f"of: {{}}, {OWN}, within: 7d",
            "of: {}, at_most: {field: customer.other, default: 3}, within: 7d",
            "",
        ),
        # Ever is longer than everything.
        ("of: {}, at_most: 1, within: ever", "of: {}, at_most: 1, within: 90d", "b"),
        ("of: {}, at_most: 2, within: calendar month", "of: {}, at_most: 2, within: ever", "a"),
        ("of: {}, at_most: 3, within: ever", "of: {}, at_most: 1, within: 90d", ""),
    ],
)
def test_a_cap_without_effect_is_proved(first: str, second: str, useless: str) -> None:
    assert warned(first, second) == ([("redundant-cap", useless)] if useless else [])
