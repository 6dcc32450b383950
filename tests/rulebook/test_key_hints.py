"""Hints for keys and names where the nearest valid one is not what is meant."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import ModuleType

import pytest

from decision.rulebook import doubtful, key_hints, misplaced, namesakes, readings
from decision.rulebook.reader import load_folder

SHOP = """
purposes: {marketing: {consent: opt_in}}
channels: {push: {cost: 1}}
placements: {outbound: {channels: [push]}}
calendars: {cny: {dates: [2027-02-05]}}
"""


@pytest.mark.parametrize(
    ("rules", "hint"),
    [
        ("caps: {a: {of: {customer.vip: true}, at_most: 1, within: 7d}}", "when: {customer.vip: …}"),
        ("caps: {a: {of: {}, at_most: 1, within: 7d, unless: {customer.vip: true}}}", "when: {not:"),
        ("budgets: {a: {of: {}, spend: 9, within: 30d}}", "write per: calendar month"),
        ("budgets: {a: {of: {event.type: buy}, spend: 9}}", "in when of messages"),
        ("calendars: {a: {from: 2027-02-05, until: 2027-02-06}}", "write dates: [2027-02-05.."),
        ("scores: {a: {visit: 1, half_life: 30d}}", "write adds: {visit: 1}"),
        ("scores: {a: {adds: {visit: 1}, halflife: 30d}}", 'did you mean "half_life"?'),
        ("messages: {a: {purpose: marketing, channels: [push], tier: 1}}", "belongs to the purpose"),
        ("messages: {a: {purpose: marketing, channels: [push], body: Hi}}", "content: {body: …}"),
        ("messages: {a: {purpose: marketing, channels: [push], chanels: 1}}", '"channels"'),
        ("rules: {a: {unless: {customer.a: 1}, exclude: {channel: push}}}", "when: {not: {customer.a: 1}}"),
        ("rules: {a: {when: {time.date: {in: cny}}, exclude: {channel: push}}}", "time.in.cny: true"),
        ("rules: {a: {when: {time.date: {not_in: cny}}, exclude: {channel: push}}}", "time.in.cny: false"),
        ("rules: {a: {when: {customer.x: {starts_with: e.n}}, exclude: {channel: push}}}", r"{matches: ^e\.n}"),
        ("rules: {a: {when: {context.app_version: {lt: '3.2'}}, exclude: {channel: push}}}", '{vlt: "3.2"}'),
        ("rules: {a: {when: {context.size: {lt: '3.2'}}, exclude: {channel: push}}}", "write 3.2"),
        ("events: {a: {of: buy, each: items, when: {item.kind: tea}}}", "write event.kind"),
    ],
)  # fmt: skip
def test_what_people_mean_is_offered(tmp_path: Path, rules: str, hint: str) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP, encoding="utf-8")
    (tmp_path / "more.yaml").write_text(rules, encoding="utf-8")
    found = [one.hint for one in load_folder(tmp_path).diagnostics]
    assert any(hint in one for one in found), found


@pytest.mark.parametrize("module", [doubtful, key_hints, misplaced, namesakes, readings])
def test_its_examples_run(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
