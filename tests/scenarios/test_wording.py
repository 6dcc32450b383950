"""What is wrong with the form of a scenario is said in words, with an example that can be pasted."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from decision.scenarios import wording
from tests.scenarios.test_scenarios import HEAD, TAIL, errors_of, rules

__all__ = ["rules"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- name: a\n  now: 2026-11-21\n" + TAIL, "must be a time|+08:00"),
        ("- name: a\n  now: 2026-11-21T10:00:00\n" + TAIL, "its offset|+08:00"),
        (HEAD + "  customer: {first_name: Mei}\n" + TAIL, "write attributes: {first_name: …}"),
        (HEAD + "  customer: {timezon: UTC}\n" + TAIL, '"timezone"'),
        (HEAD + "  customer: {events: [visit]}\n" + TAIL, "not text|[{type: purchase, at:"),
        (HEAD + "  customer: {events: {visit: 3}}\n" + TAIL, "must be a list|[{type: purchase"),
        (HEAD + "  customer: {consents: {marketing: granted}}\n" + TAIL, 'marketing: {"*": granted}'),
        (HEAD + "  customer: {consents: {marketing: {push: yes}}}\n" + TAIL, "granted or denied"),
        (HEAD + "  customer: {score.interest: 5}\n" + TAIL, "write scores: {interest: …}"),
        (HEAD + "  ask: outbound\n  expect: {outcome: none}\n", "write ask: {placement: outbound}"),
        (HEAD + "  ask: {placement: home}\n  expect: none\n", "write expect: {outcome: none}"),
        (HEAD + "  ask: {placement: home}\n  expect: {messages: news}\n", "must be a list, not text"),
        (HEAD + "  ask: {placement: home}\n  expect: {customer.x: 1}\n", "fields: {customer.x: …}"),
        (HEAD + "  ask: {placement: home, event: visit}\n  expect: {}\n", "event: {type: purchase}"),
        (HEAD + "  customer: {events: [{type: visit, at: 2026-11-20T10:00:00Z, amount: 3}]}\n" + TAIL,
         "write properties: {amount: …}"),
        (HEAD + "  spent: {mail: 1 EUR}\n" + TAIL, "must be a number|total: 3"),
    ],
)  # fmt: skip
def test_an_error_of_form_is_said_in_words_with_an_example(
    rules: Path, text: str, words: str
) -> None:
    [found] = errors_of(rules, text)
    for word in words.split("|"):
        assert word in found.render(), found.render()


def test_its_examples_run() -> None:
    assert doctest.testmod(wording).failed == 0
