"""Tries new rules in a child process before the server uses them.

The rule engine is C code that can crash or never return, and would stop the server. The child
asks it each rule alone, then the rules that share a ruleset, then all of them, and compares each
answer with that of the plain evaluator.
"""

from __future__ import annotations

import math
import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from decision.children import end_with_parent
from decision.core.business_rules import PlainMatcher, run, strata_of
from decision.core.conditions import Clause, clauses, fields_read
from decision.core.definition import Rule
from decision.core.values import MISSING, Value, in_words
from decision.environment import without_secrets
from decision.rulebook.durable_engine import DurableMatcher, RuleEngineError
from decision.rulebook.durable_rulesets import compile_rules

COMMAND = (sys.executable, "-m", "decision.rulebook.rule_trial")
_MOST_NAMED = 5
_ODD_VALUES: tuple[Value, ...] = (
    *(MISSING, True, False, 0, 1, -0.0, 0.5, 1e-7, 1e300, math.inf, math.nan, 2**53 + 1, -(2**63)),
    *("", "0", "true", "中文 😀", 'a "quoted" \\ text', "\0\n", [], ["a"], [1, True]),
)
_COMPARED: tuple[Value, ...] = (1, 2, "a", "b", "2.0.0", True, [1, "a"])
"""Values of two fields that are compared with each other."""


def try_rules(
    rules: Sequence[Rule], time_limit: float = 10.0, command: Sequence[str] = COMMAND
) -> str | None:
    """Why the rule engine cannot run the rules, in one sentence; None if it can.

    The child gets `time_limit` seconds, and 10 ms more for each rule. `command` starts it, and it
    reads the rules from its input.
    """
    if not rules:
        return None
    time_limit += len(rules) / 100
    try:
        child = subprocess.run(
            command,
            input=pickle.dumps([Rule(name=one.name, when=one.when, set=one.set) for one in rules]),
            capture_output=True,
            timeout=time_limit,
            env=without_secrets(),
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        return _sentence(rules, expired.stdout or b"", f"does not answer within {time_limit:g} s")
    if child.returncode == 0:
        return None
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        return _sentence(rules, child.stdout, f"crashes ({name})")
    last = child.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return _sentence(rules, child.stdout, last or f"fails with exit status {child.returncode}")


def _sentence(rules: Sequence[Rule], progress: bytes, what: str) -> str:
    lines = progress.decode(errors="replace").splitlines()
    tried = [rules[int(index)] for index in lines[-1].split()] if lines else rules
    names = [
        f"{rule.name} ({rule.source})" if rule.source else rule.name for rule in tried[:_MOST_NAMED]
    ]
    more = f" and {len(tried) - len(names)} more" if len(tried) > len(names) else ""
    subject = "rule" if len(tried) == 1 else "rules"
    return (
        f"{subject} {', '.join(names)}{more}: the rule engine {what}; "
        "use fewer or simpler comparisons in `when`, or delete the rule"
    )


def _main() -> None:
    rules: list[Rule] = pickle.load(sys.stdin.buffer)
    names = sorted(
        {field for rule in rules for field in fields_read(rule.when)}
        | {field for rule in rules for field in rule.set}
    )
    slots = {name: slot for slot, name in enumerate(names)}
    everything = range(len(rules))
    unfed = [Rule(name=rule.name, when=rule.when) for rule in rules]
    rng = random.Random(0)
    for index in everything:
        _compare([index], unfed, slots, _facts([unfed[index]], slots, rng, 10))
    routes = compile_rules(unfed, strata_of(unfed), slots.__getitem__)
    for ruleset in (ruleset for route in routes for ruleset in route.rulesets()):
        together = list(ruleset.items)
        near = [unfed[index] for index in together]
        _compare(together, unfed, slots, _facts(near, slots, rng, 100))
    _compare(list(everything), rules, slots, islice(_facts(rules, slots, rng, 0), 100))


def _compare(
    chosen: list[int], rules: list[Rule], slots: dict[str, int], situations: Iterable[list[Value]]
) -> None:
    """Asks some of the rules in both ways; ends the process if the answers differ."""
    print(*chosen, flush=True)
    tried = [rules[index] for index in chosen]
    order = strata_of(tried, slots.__getitem__)
    plain = PlainMatcher(tried, order, slots.__getitem__)
    try:
        durable = DurableMatcher(tried, order, slots.__getitem__)
        for facts in situations:
            wanted, found = list(facts), list(facts)
            expected = run(order, tried, plain, wanted, slots.__getitem__)
            differing = expected ^ run(order, tried, durable, found, slots.__getitem__)
            if differing:
                index = differing.bit_length() - 1
                print(chosen[index], flush=True)
                sys.exit(_difference(tried[index], facts, slots, bool(expected >> index & 1)))
        durable.close()
    except RuleEngineError as error:
        sys.exit(f"fails: {error}")


def _difference(rule: Rule, facts: list[Value], slots: dict[str, int], holds: bool) -> str:
    fields = dict.fromkeys(fields_read(rule.when))
    shown = ", ".join(f"{field} is {in_words(facts[slots[field]])}" for field in fields)
    return f"says that it {'does not hold' if holds else 'holds'} where {shown}"


def _facts(
    rules: list[Rule], slots: dict[str, int], rng: random.Random, count: int
) -> Iterator[list[Value]]:
    """Slot values: twice near each rule's constants, then `count` more near those of any rule."""
    near: dict[int, list[Value]] = {}
    for rule in rules:
        for clause in clauses(rule.when):
            near.setdefault(slots[clause.field], []).extend(_near(clause))
            if clause.operand is not None:
                near.setdefault(slots[clause.operand], []).extend(_COMPARED)
    turns = 2 * len(rules)
    for turn in rng.sample(range(turns + count), turns + count):
        values: list[Value] = [MISSING] * len(slots)
        for slot, candidates in near.items():
            values[slot] = rng.choice(candidates if rng.random() < 0.8 else _ODD_VALUES)
        if turn < turns:
            for clause in clauses(rules[turn // 2].when):
                values[slots[clause.field]] = _near(clause)[turn % 2]
                if clause.operand is not None:
                    values[slots[clause.operand]] = [1] if clause.op in ("in", "not_in") else 1
        yield values


def _near(clause: Clause) -> list[Value]:
    """Values near a clause's constants; the first makes the clause hold if that is easy."""
    if clause.operand is not None:
        return [*_COMPARED]
    found: list[Value] = []
    for wanted in clause.value if isinstance(clause.value, list | tuple) else [clause.value]:
        if isinstance(wanted, bool):
            found += [wanted, not wanted, int(wanted)]
        elif isinstance(wanted, int | float):
            more, less = wanted + 1, wanted - 1
            found += {"gt": [more, wanted], "lt": [less, wanted]}.get(clause.op, [wanted, less])
            found += [more, less, str(wanted)]
        elif isinstance(wanted, str):
            found += [wanted, f"{wanted}x", [wanted], wanted[:-1]]
    return found if len(found) > 1 else [True, MISSING]


if __name__ == "__main__":
    end_with_parent()
    _main()
