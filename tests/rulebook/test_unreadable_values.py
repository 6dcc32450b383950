"""Values that cannot be read, or are very long, give an error at their place and nothing worse."""

from __future__ import annotations

import pytest

from decision.rulebook.reader import load_files

POLICY = """
purposes: {m: {consent: not_required}}
channels: {push: {}}
placements: {o: {channels: [push]}}
"""


@pytest.mark.parametrize("operator", ["in", "not_in", "eq", "ne", "gt", "matches", "exists", "vgt"])
@pytest.mark.parametrize("operand", ["*vips", "*.com", "{a: 1}"])
def test_an_operand_that_cannot_be_read_is_an_error_at_its_place(
    operator: str, operand: str
) -> None:
    when = f"customer.tier: {{{operator}: {operand}}}"
    text = f"messages: {{a: {{purpose: m, channels: [push], value: 1, when: {{{when}}}}}}}"
    assert load_files({"a.yaml": POLICY + text}).errors


def test_a_time_is_no_number_that_a_cap_could_have_as_its_limit() -> None:
    cap = "caps: {c: {of: all, within: 1d, at_most: {field: events.x.last_at, default: 3}}}"
    messages = [one.message for one in load_files({"a.yaml": POLICY + cap}).errors]
    assert any("needs a number; events.x.last_at is a time" in one for one in messages)


def test_an_error_after_a_very_long_word_looks_only_at_what_is_near(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from decision.rulebook import yaml_errors

    looked: list[int] = []

    class Pattern:
        def search(self, text: str) -> None:
            looked.append(len(text))

    monkeypatch.setattr(yaml_errors, "_TWO_PAIRS", Pattern())
    load_files({"a.yaml": "a: {b: 1 " + "x" * 10_000 + ": 2}\n"})
    assert looked
    assert max(looked) <= 201
