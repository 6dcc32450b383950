"""New rules are tried in a child process, so that a crash or a hang does not reach the server."""

from __future__ import annotations

import random
import sys

import pytest

from decision.core.conditions import All, AnyOf, Clause, Condition, Not
from decision.core.definition import Rule
from decision.core.values import Value
from decision.rulebook.rule_trial import try_rules

VIP = Rule(
    name="vip-no-coupon",
    source="rules/rules.yaml:7",
    when=Clause("customer.tier", "eq", "gold"),
    set={"customer.vip": True},
)


def child(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def test_rules_of_every_kind_pass() -> None:
    constants: list[Value] = [
        "金牌 😀",
        'a"b\\',
        "",
        "\0",
        5,
        -0.0,
        1e300,
        10**30,
        True,
        float("inf"),
    ]
    conditions: list[Condition] = [
        *(Clause("customer.x", op, c) for op in ("eq", "ne") for c in constants),
        *(Clause("customer.x", op, c) for op in ("gt", "gte", "lt", "lte") for c in ("a", 5, 0.1)),
        Clause("event.type", "in", ("cart_add", "purchase")),
        Clause("customer.tags", "contains", "vip"),
        Clause("customer.name", "matches", "^[A-Z]"),
        Clause("customer.name", "exists", False),
        All((AnyOf((VIP.when, Clause("placement", "eq", "home"))), Not(VIP.when))),
        All(()),
        AnyOf(()),
    ]
    rules = [Rule(name=f"r{i}", when=condition) for i, condition in enumerate(conditions)]
    assert try_rules([VIP, *rules]) is None


def test_no_rules_pass() -> None:
    assert try_rules([]) is None


def test_many_rules_pass() -> None:
    rng = random.Random(1)
    rules = [
        Rule(
            name=f"r{n}",
            when=All(
                tuple(
                    Clause(f"customer.{rng.randrange(20)}", "gte", rng.randrange(9))
                    for _ in range(3)
                )
            ),
        )
        for n in range(300)
    ]
    assert try_rules(rules) is None


def test_a_child_that_never_answers_is_stopped_and_its_current_rules_are_named() -> None:
    spins = child("print(0, flush=True)\nwhile True: pass")
    told = try_rules([VIP], time_limit=0.5, command=spins)
    assert told is not None
    assert told.startswith("rule vip-no-coupon (rules/rules.yaml:7): ")
    assert "does not answer within 0.51 s" in told


def test_a_crash_of_the_child_is_reported_with_its_signal_and_rules() -> None:
    crashes = child(
        "import os, signal\nprint(0)\nprint(1, 2, flush=True)\nos.kill(os.getpid(), signal.SIGSEGV)"
    )
    rules = [VIP, Rule(name="b"), Rule(name="c")]
    told = try_rules(rules, command=crashes)
    assert told is not None
    assert told.startswith("rules b, c: the rule engine crashes (SIGSEGV)")


def test_of_many_rules_the_first_are_named_and_the_others_counted() -> None:
    rules = [Rule(name=f"r{n}") for n in range(31)]
    fails = child("import sys\nprint(*range(31))\nsys.exit('refuses')")
    told = try_rules(rules, command=fails)
    assert told is not None
    assert told.startswith("rules r0, r1, r2, r3, r4 and 26 more: the rule engine refuses; ")


def test_a_child_that_dies_before_its_first_rule_names_all_rules() -> None:
    told = try_rules([VIP], command=child("import sys; sys.exit(3)"))
    assert told is not None
    assert "vip-no-coupon" in told
    assert "exit status 3" in told


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (
            "durable_engine.DurableMatcher.match = lambda self, stratum, values: 0",
            'says that it does not hold where customer.tier is "gold"',
        ),
        (
            "durable_engine.engine.create_ruleset = lambda *_: 77",
            "fails: ",
        ),
    ],
)
def test_a_wrong_or_failing_engine_is_reported_with_the_rule(patch: str, expected: str) -> None:
    code = f"from decision.rulebook import durable_engine, rule_trial\n{patch}\nrule_trial._main()"
    told = try_rules([VIP], command=child(code))
    assert told is not None
    assert told.startswith("rule vip-no-coupon (rules/rules.yaml:7): the rule engine ")
    assert expected in told
