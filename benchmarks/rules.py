"""Business rules: time per decision in the rule engine, against what its calls alone cost.

    python -m benchmarks.rules

*plain* is the plain evaluator. *durable* is what decides. *bare* is durable-rules with nothing
around it: rulesets of 31 rules in file order, each asked by `assert_fact` of one flat fact with
every field that rules name, drained, retracted, all JSON written beforehand. *calls* makes the very
calls that *durable* makes to the C engine, JSON written beforehand; *written* writes it each time,
with msgspec from dicts that are ready. Times are of this process's CPU, the best of several rounds
that take turns, because whatever else the machine does can only add to them.

Conditions compare three fields of twenty. *untriggered* rules may hold at every decision;
*triggered* ones name one of forty event types, of which a decision has one. In the second table
the first fifty rules are untriggered ones, and all others name an event type, a placement, a
segment or a flag that the decision does not have: what they add is the cost of rules that have
nothing to do with it.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import durable_rules_engine as engine
import msgspec

from decision.core.business_rules import PlainMatcher, strata_of
from decision.core.conditions import All, Clause, Condition
from decision.core.definition import Rule
from decision.core.values import MISSING, Value
from decision.rulebook.durable_engine import DurableMatcher
from decision.rulebook.durable_rulesets import RULE_NAMES

SIZES = (50, 200, 1_000)
IDLE_SIZES = (50, 200, 1_000, 2_000)
SITUATIONS = 100
ROUNDS = 40
EVENTS = tuple(f"event_{number}" for number in range(40))
WORDS = ("gold", "silver", "low", "casual", "power")
FIELDS = (
    "event.type",
    *(f"customer.attribute_{number}" for number in range(20)),
    "placement",
    "customer.segment",
    "customer.flag",
)

Call = tuple[Callable[..., Any], tuple[Any, ...]]


def clause(rng: random.Random) -> Clause:
    """A comparison of an attribute: a third of them words, a third numbers, the rest booleans."""
    number = rng.randrange(20)
    field = f"customer.attribute_{number}"
    match number % 3:
        case 0:
            return Clause(field, "eq", rng.choice(WORDS))
        case 1:
            return Clause(field, rng.choice(("gte", "lt")), rng.randrange(100))
    return Clause(field, "eq", rng.random() < 0.5)


def make_rules(count: int, triggered: bool, rng: random.Random) -> list[Rule]:
    """Rules of three comparisons, and with `triggered` one of the event's type before them."""
    rules = []
    for number in range(count):
        parts: list[Condition] = [clause(rng) for _ in range(3)]
        if triggered:
            parts.insert(0, Clause("event.type", "eq", rng.choice(EVENTS)))
        rules.append(Rule(name=f"rule-{number}", when=All(tuple(parts))))
    return rules


def make_idle(count: int, rng: random.Random) -> list[Rule]:
    """Rules of four comparisons, one of them with what no decision here has."""
    rules = []
    for number in range(count):
        triggers = (
            Clause("event.type", "eq", f"other_{rng.randrange(40)}"),
            Clause("placement", "eq", f"elsewhere_{rng.randrange(10)}"),
            Clause("customer.segment", "eq", f"segment_{rng.randrange(40)}"),
            Clause("customer.flag", "eq", True),
        )
        parts = (triggers[number % 4], *(clause(rng) for _ in range(3)))
        rules.append(Rule(name=f"idle-{number}", when=All(parts)))
    return rules


def situation(rng: random.Random) -> list[Value]:
    """The values of one decision; one attribute in twenty is missing."""
    values: list[Value] = [rng.choice(EVENTS)]
    for number in range(20):
        value = (rng.choice(WORDS), rng.randrange(100), rng.random() < 0.5)[number % 3]
        values.append(MISSING if rng.random() < 0.05 else value)
    return [*values, "app_home", "nobody's", MISSING]


class Bare:
    """durable-rules asked for all rules, with nothing of this project around it."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.handles = []
        for start in range(0, len(rules), len(RULE_NAMES)):
            named = zip(RULE_NAMES, rules[start:], strict=False)
            text = json.dumps(
                {name: {"all": [{"m": condition(rule.when)}]} for name, rule in named}
            )
            self.handles.append((start, engine.create_ruleset("bare", text)))
        self.fields = {part.field for rule in rules for part in rule.when.parts}
        self.asked = 0

    def fact(self, values: Sequence[Value]) -> tuple[str, str]:
        """A fact with a fresh id, and what retracts it."""
        self.asked += 1
        ids = {"sid": "1", "id": str(self.asked)}
        known = {
            field: value
            for field, value in zip(FIELDS, values, strict=True)
            if field in self.fields and value is not MISSING
        }
        return json.dumps(ids | known), json.dumps(ids)

    def match(self, fact: str, ids: str) -> int:
        """The mask of the rules that hold."""
        found = 0
        for start, handle in self.handles:
            code, state = engine.assert_fact(handle, fact)
            if code:
                continue
            message = engine.start_action_for_state(handle, state)[1]
            while message is not None:
                found |= 1 << start + RULE_NAMES.index(message[2])
                message = engine.complete_and_start_action(handle, state)
            engine.retract_fact(handle, ids)
        return found


def condition(when: Condition) -> dict[str, Any]:
    """A conjunction of these clauses as the engine's JSON."""
    return {
        "$and": [
            {part.field: part.value}
            if part.op == "eq"
            else {f"${part.op}": {part.field: part.value}}
            for part in when.parts
        ]
    }


def record(matcher: DurableMatcher, situations: Sequence[list[Value]]) -> list[Call]:
    """The calls that the matcher makes to the C engine; none but these is timed as *bare*."""
    calls: list[Call] = []
    names = ("assert_fact", "start_action_for_state", "complete_and_start_action", "retract_fact")
    real = {name: getattr(engine, name) for name in names}

    def recorder(call: Callable[..., Any]) -> Callable[..., Any]:
        def recording(*arguments: Any) -> Any:
            calls.append((call, arguments))
            return call(*arguments)

        return recording

    try:
        for name, call in real.items():
            setattr(engine, name, recorder(call))
        for values in situations:
            matcher.match(0, values)
    finally:
        for name, call in real.items():
            setattr(engine, name, call)
    return calls


def replay(calls: Sequence[Call]) -> None:
    """Makes the calls again: the ids are free again, as every fact was retracted."""
    for call, arguments in calls:
        call(*arguments)


def write_and_replay(calls: Sequence[Call]) -> None:
    """Makes calls whose facts are dicts, writing each as JSON."""
    encode = msgspec.json.encode
    for call, (handle, argument) in calls:
        call(handle, encode(argument).decode() if type(argument) is dict else argument)


def measure(rules: Sequence[Rule], rng: random.Random) -> tuple[dict[str, float], float]:
    """Microseconds per decision, and how many rules held in the mean."""
    order = strata_of(rules, FIELDS.index)
    situations = [situation(rng) for _ in range(SITUATIONS)]
    plain = PlainMatcher(rules, order, FIELDS.index)
    durable = DurableMatcher(rules, order, FIELDS.index)
    bare = Bare(rules)
    facts = [bare.fact(values) for values in situations]
    expected = [plain.match(0, values) for values in situations]
    if [durable.match(0, values) for values in situations] != expected:
        raise SystemExit("the rule engine and the plain evaluator disagree")
    if [bare.match(*fact) for fact in facts] != expected:
        raise SystemExit("durable-rules alone and the plain evaluator disagree")
    calls = record(durable, situations)
    unwritten = [
        (call, (handle, msgspec.json.decode(rest) if isinstance(rest, str) else rest))
        for call, (handle, rest) in calls
    ]
    ways: dict[str, Callable[[], object]] = {
        "plain": lambda: [plain.match(0, values) for values in situations],
        "durable": lambda: [durable.match(0, values) for values in situations],
        "bare": lambda: [bare.match(*fact) for fact in facts],
        "calls": lambda: replay(calls),
        "written": lambda: write_and_replay(unwritten),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = time.process_time()
            way()
            best[name] = min(best[name], time.process_time() - began)
    durable.close()
    return (
        {name: seconds / SITUATIONS * 1e6 for name, seconds in best.items()},
        sum(mask.bit_count() for mask in expected) / SITUATIONS,
    )


NAMES = ("plain", "durable", "bare", "calls", "written")


def head(title: str) -> None:
    print(
        f"{title:28}"
        + "".join(f"{name:>9}" for name in NAMES)
        + f"{'durable/bare':>15}{'durable/calls':>15}{'held':>7}"
    )


def line(title: str, rules: Sequence[Rule], rng: random.Random) -> dict[str, float]:
    micros, held = measure(rules, rng)
    print(
        f"{title:28}"
        + "".join(f"{micros[name]:9.1f}" for name in NAMES)
        + f"{micros['durable'] / micros['bare']:15.2f}"
        + f"{micros['durable'] / micros['calls']:15.2f}{held:7.1f}",
        flush=True,
    )
    return micros


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.rules", description=__doc__.split("\n")[0])
    parser.parse_args(arguments)
    head("µs of CPU per decision")
    for triggered in (False, True):
        for count in SIZES:
            rng = random.Random(count)
            kind = "triggered" if triggered else "untriggered"
            line(f"{count} rules, {kind}", make_rules(count, triggered, rng), rng)
    print()
    head("of which 50 can hold")
    durations = []
    for count in IDLE_SIZES:
        rng = random.Random(50)
        rules = [*make_rules(50, False, rng), *make_idle(count - 50, rng)]
        durations.append(line(f"{count} rules", rules, rng)["durable"])
    factor, growth = IDLE_SIZES[-1] / IDLE_SIZES[0], durations[-1] / durations[0]
    print(f"{factor:g} times the rules cost {growth:.2f} times as much")


if __name__ == "__main__":
    main()
