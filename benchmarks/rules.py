"""Business rules: time per decision in the rule engine, against what its calls alone cost.

    python -m benchmarks.rules

*plain* is the plain evaluator. *durable* is what decides. *bare* makes the very calls that
*durable* makes to the C engine (assert, drain, retract), with their JSON written beforehand;
*written* writes it each time, with msgspec from dicts that are ready. Times are of this process's
CPU, the best of several rounds that take turns, because whatever else the machine does can only
add to them.

Conditions compare three fields of twenty. *untriggered* rules are asked at every decision; *triggered* ones name one of forty event
types, of which a decision has one.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import durable_rules_engine as engine
import msgspec

from decision.core.business_rules import PlainMatcher, plan
from decision.core.conditions import All, Clause, Condition
from decision.core.definition import Rule
from decision.core.values import MISSING, Value
from decision.rulebook.durable_engine import DurableMatcher

SIZES = (50, 200, 1_000)
SITUATIONS = 100
ROUNDS = 40
EVENTS = tuple(f"event_{number}" for number in range(40))
WORDS = ("gold", "silver", "low", "casual", "power")
FIELDS = ("event.type", *(f"customer.attribute_{number}" for number in range(20)))

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


def situation(rng: random.Random) -> list[Value]:
    """The values of one decision; one in twenty is missing."""
    values: list[Value] = [rng.choice(EVENTS)]
    for number in range(20):
        value = (rng.choice(WORDS), rng.randrange(100), rng.random() < 0.5)[number % 3]
        values.append(MISSING if rng.random() < 0.05 else value)
    return values


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


def measure(count: int, triggered: bool) -> tuple[dict[str, float], float]:
    """Microseconds per decision, and how many rules held in the mean."""
    rng = random.Random(count)
    rules = make_rules(count, triggered, rng)
    order = plan(rules, FIELDS.index)
    situations = [situation(rng) for _ in range(SITUATIONS)]
    plain = PlainMatcher(rules, order, FIELDS.index)
    durable = DurableMatcher(rules, order, FIELDS.index)
    expected = [plain.match(0, values) for values in situations]
    if [durable.match(0, values) for values in situations] != expected:
        raise SystemExit("the rule engine and the plain evaluator disagree")
    calls = record(durable, situations)
    unwritten = [
        (call, (handle, msgspec.json.decode(rest) if isinstance(rest, str) else rest))
        for call, (handle, rest) in calls
    ]
    ways: dict[str, Callable[[], object]] = {
        "plain": lambda: [plain.match(0, values) for values in situations],
        "durable": lambda: [durable.match(0, values) for values in situations],
        "bare": lambda: replay(calls),
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.rules", description=__doc__.split("\n")[0])
    parser.parse_args(arguments)
    names = ("plain", "durable", "bare", "written")
    print(
        f"{'µs of CPU per decision':28}"
        + "".join(f"{name:>9}" for name in names)
        + f"{'durable/bare':>15}{'durable/written':>17}{'held':>7}"
    )
    for triggered in (False, True):
        for count in SIZES:
            micros, held = measure(count, triggered)
            kind = "triggered" if triggered else "untriggered"
            print(
                f"{f'{count} rules, {kind}':28}"
                + "".join(f"{micros[name]:9.1f}" for name in names)
                + f"{micros['durable'] / micros['bare']:15.2f}"
                + f"{micros['durable'] / micros['written']:17.2f}{held:7.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
