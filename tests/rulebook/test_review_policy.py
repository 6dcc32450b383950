"""Findings about rules, states, caps and messages are true in decisions: no false alarms."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from decision.core import business_rules
from decision.core.business_rules import PlainMatcher
from decision.core.clock import DAY, HOUR
from decision.core.decide import Question, decide
from decision.core.document import Contact, ContactKind, ContactState, Document
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.core.values import MISSING
from decision.rulebook.diagnostics import Diagnostic
from decision.rulebook.reader import load_files

NOW = 1_795_000_000_000_000
POLICIES = 70
TRIES = 8

CHANNELS = {
    "in_app": {},
    "push": {"cost": 2, "quiet_hours": {"from": "20:00", "to": "09:00", "except": ["service"]}},
    "email": {"cost": 0.5, "quiet_hours": {"from": "05:30", "to": "05:00"}},
}
BASE: dict[str, Any] = {
    "purposes": {"marketing": {"consent": "not_required"}, "service": {"consent": "not_required"}},
    "channels": CHANNELS,
    "placements": {
        "home": {"channels": ["in_app", "push"]},
        "outbound": {"channels": ["push", "email"], "threshold": 3},
    },
}


def a_clause(rng: Random) -> tuple[str, Any]:
    match rng.randrange(5):
        case 0 | 1:
            wanted: list[Any] = [
                1, 2, {"gte": 1}, {"gte": 2}, {"lt": 2}, {"in": [1, 2]}, {"ne": 1},
                {"exists": True}, {"exists": False}, {"not_in": [1, 3]},
                *({op: {"field": rng.choice(["customer.a", "customer.b"])}} for op in ("eq", "ne", "gt", "lte")),
                {"vgt": "1"}, {"vlte": "1"}, {"vne": "2"},
            ]  # fmt: skip
            return rng.choice(["customer.a", "customer.b"]), rng.choice(wanted)
        case 2:
            fields = [{op: {"field": "placement"}} for op in ("eq", "ne")]
            return "customer.c", rng.choice(["x", "y", {"ne": "x"}, *fields])
        case 3:
            fields = [{op: {"field": "customer.a"}} for op in ("eq", "gte", "lt")]
            return "time.hour", rng.choice([3, {"gte": 20}, {"lt": 9}, {"gte": 8}, *fields])
    return "placement", rng.choice(["home", "outbound"])


def a_when(rng: Random, depth: int = 2) -> dict[str, Any]:
    if depth == 0 or rng.random() < 0.6:
        return dict(a_clause(rng) for _ in range(rng.randrange(3)))
    if rng.random() < 0.3:
        return {"not": a_when(rng, depth - 1)}
    return {rng.choice(["any", "all"]): [a_when(rng, depth - 1), a_when(rng, depth - 1)]}


def some(rng: Random, options: list[str], least: int = 0) -> list[str]:
    return rng.sample(options, rng.randint(least, len(options)))


def a_message(rng: Random) -> dict[str, Any]:
    return {
        "purpose": rng.choice(["marketing", "service"]),
        "category": rng.choice(["p", "q"]),
        "tags": some(rng, ["s", "t"]),
        "channels": some(rng, list(CHANNELS), 1),
        "value": rng.choice([0, 1, 2, 2.5, 3.5, 4, 5, 100]),
        "when": a_when(rng),
        "placements": rng.choice([["home"], ["outbound"], ["home", "outbound"]]),
    }


def a_selector(rng: Random, key: str = "messages") -> dict[str, Any]:
    names = [["m0"], ["m*"], ["m1", "m0"]] if key == "messages" else [["m0"]]
    options = {
        key: names,
        "tags": [["s"], ["t"], ["s", "t"]],
        "category": ["p", "q", ["p", "q"]],
        "channel": ["push", ["push", "email"]],
        "purpose": ["marketing"],
    }
    return {name: rng.choice(of) for name, of in options.items() if rng.random() < 0.3}


def a_rule(rng: Random) -> dict[str, Any]:
    actions: list[dict[str, Any]] = [
        {"exclude": a_selector(rng)},
        {"exclude": a_selector(rng)},
        {"allow_only": a_selector(rng)},
        {"boost": a_selector(rng), "by": rng.choice([0.5, 1, 1.5, 3])},
        {"set": rng.choice([{"customer.c": "x"}, {"customer.a": 1}])},
        {"set": {"customer.b": 2}, "exclude": a_selector(rng)},
    ]
    return {"when": a_when(rng), **rng.choice(actions)}


def a_cap(rng: Random) -> dict[str, Any]:
    windows = ["1h", "1d", "27h", "7d", "8d", "40d", *(f"calendar {p}" for p in PERIODS)]
    cap = {
        "of": a_selector(rng, "message"),
        "at_most": rng.randint(1, 3),
        "within": rng.choice(windows),
    }
    if rng.random() < 0.5:
        cap["per"] = rng.choice(["message", "category", "channel"])
    return cap


def named(letter: str, count: int, make: Callable[[Random], Any], rng: Random) -> dict[str, Any]:
    return {f"{letter}{number}": make(rng) for number in range(count)}


def policies(count: int, **parts: bool) -> Iterator[tuple[Random, Policy, list[Diagnostic]]]:
    """Policies drawn one after another, with what is said of each; those with errors are not."""
    seed = found = 0
    while found < count:
        rng = Random(seed)
        seed += 1
        written = {**BASE, "messages": named("m", rng.randint(2, 4), a_message, rng)}
        if parts.get("rules"):
            written["rules"] = named("r", rng.randint(1, 6), a_rule, rng)
        if parts.get("states"):
            written["states"] = named("s", rng.randint(1, 4), lambda r: {"when": a_when(r)}, rng)
        if parts.get("caps"):
            written["caps"] = named("c", rng.randint(1, 4), a_cap, rng)
        result = load_files({"a.yaml": json.dumps(written)})
        if result.definition is not None:
            found += 1
            yield rng, compile_policy(result.definition), result.diagnostics


VALUES = [MISSING, 0, 1, 2, 3, 1.5, "x", "y", True]
PERIODS = ("day", "week", "month")


def facts(rng: Random) -> dict[str, Any]:
    return {
        "customer.a": rng.choice(VALUES),
        "customer.b": rng.choice(VALUES),
        "customer.c": rng.choice(VALUES),
        "time.hour": rng.randrange(24),
        "placement": rng.choice(["home", "outbound"]),
    }


def flagged(found: list[Diagnostic], code: str, noun: str) -> set[str]:
    """The names of what a code was said of."""
    pattern = re.compile(rf'{noun} "([^"]+)"')
    texts = (one.message for one in found if one.code == code)
    return {match[1] for text in texts if (match := pattern.search(text))}


def fired_rules(policy: Policy, values: list[Any]) -> int:
    matcher = PlainMatcher(policy.rules, policy.rule_strata, policy.fields.slot)
    return business_rules.run(policy.rule_strata, policy.rules, matcher, values, policy.fields.slot)


def test_a_rule_reported_without_effect_has_none() -> None:
    said = 0
    for rng, policy, found in policies(POLICIES, rules=True):
        shadowed = flagged(found, "shadowed-rule", "rule")
        wasted = flagged(found, "boost-of-excluded", "rule")
        said += len(shadowed) + len(wasted)
        for _ in range(TRIES):
            fact = facts(rng)
            values = [fact.get(name, MISSING) for name in policy.fields.names()]
            fired = fired_rules(policy, values)
            needed = everything = 0
            for index, rule in enumerate(policy.rules):
                if fired >> index & 1:
                    everything |= policy.effects[index].removes
                    if rule.name not in shadowed:
                        needed |= policy.effects[index].removes
            assert needed == everything
            for index, rule in enumerate(policy.rules):
                if rule.name in wasted and fired >> index & 1:
                    levers = policy.effects[index].levers
                    assert levers is not None
                    boosted = sum(1 << int(at) for at in np.flatnonzero(levers != 1))
                    assert not boosted & ~everything
    assert said > POLICIES / 10


def test_a_state_reported_as_unreachable_is_never_reached() -> None:
    said = 0
    for rng, policy, found in policies(POLICIES, states=True):
        unreached = flagged(found, "unreached-state", "state")
        unreached |= flagged(found, "no-effect", "state")
        said += len(unreached)
        complete = not any(one.code == "no-catch-all" for one in found)
        for _ in range(TRIES):
            fact = facts(rng)
            values = [fact.get(name, MISSING) for name in policy.fields.names()]
            state = next((name for name, test in policy.states if test(values)), None)
            assert state not in unreached
            assert state is not None or not complete
    assert said > POLICIES / 10


def a_kind(rng: Random) -> ContactKind:
    """Contacts may be of messages that are gone or retagged since."""
    return ContactKind(
        rng.choice(["m0", "m1", "gone"]),
        rng.choice(list(CHANNELS)),
        rng.choice(["marketing", "service"]),
        rng.choice(["p", "q", ""]),
        tuple(some(rng, ["s", "t"])),
    )


def test_a_cap_reported_without_effect_limits_nothing() -> None:
    said = 0
    for rng, policy, found in policies(POLICIES, caps=True):
        needless = flagged(found, "redundant-cap", "cap") | flagged(found, "unmet-cap", "cap")
        said += len(needless)
        kept = tuple(cap for cap in policy.definition.caps if cap.name not in needless)
        fewer = compile_policy(msgspec.structs.replace(policy.definition, caps=kept)).contact_policy
        for _ in range(TRIES):
            kinds = [a_kind(rng) for _ in range(rng.randint(1, 8))]
            hours = sorted(rng.choice([1, 24, 48, 24 * 45]) * rng.random() for _ in kinds)
            document = Document(
                customer_id="c",
                kinds=kinds,
                contacts=[
                    Contact(number, NOW - int(back * HOUR), ContactState.CONFIRMED, 0, 0)
                    for number, back in reversed(list(enumerate(hours)))
                ],
            )
            for zone in (UTC, ZoneInfo("America/New_York")):
                full = policy.contact_policy.standing(document, NOW, zone).capped
                assert fewer.standing(document, NOW, zone).capped == full
    assert said > POLICIES / 10


class Sure:
    """A model for which every response is certain."""

    version = None

    def score(self, candidates: Any, values: Any, document: Any, now: int) -> Any:
        return np.ones(len(candidates))


def test_a_message_reported_as_never_chosen_is_never_chosen() -> None:
    said = 0
    for rng, policy, found in policies(POLICIES, rules=True):
        never = [
            (match[1], match[2])
            for one in found
            if (match := re.match(r'message "(\w+)" is never given(?: on ([\w, ]+))?', one.message))
        ]
        closed = flagged(found, "never-worth-it", "placement")
        said += len(never) + len(closed)
        matcher = PlainMatcher(policy.rules, policy.rule_strata, policy.fields.slot)
        for _ in range(TRIES):
            attributes = {name: rng.choice(VALUES) for name in ("a", "b")}
            attributes = {k: v for k, v in attributes.items() if v is not MISSING}
            document = Document(customer_id="c", attributes=attributes)
            now = NOW - NOW % DAY + rng.randrange(48) * HOUR // 2
            question = Question(placement=rng.choice(["home", "outbound"]), limit=9)
            verdict = decide(policy, matcher, Sure(), document, question, now, lambda: 0.5)
            assert not (question.placement in closed and verdict.chosen)
            for row in verdict.chosen:
                candidate = policy.candidates[row.candidate]
                for message, channels in never:
                    if candidate.message == message:
                        assert channels and candidate.channel not in re.split(", | and ", channels)
    assert said > POLICIES / 10


def test_a_circle_of_fields_is_reported_exactly_if_there_is_one() -> None:
    said = 0
    for seed in range(60):
        rng = Random(seed)
        fields = [f"customer.f{number}" for number in range(5)]
        pairs = [(rng.choice(fields), rng.choice(fields)) for _ in range(rng.randint(1, 6))]
        rules = {
            f"r{at}": {"when": {read: 1}, "set": {target: 1}}
            for at, (read, target) in enumerate(pairs)
        }
        found = load_files({"a.yaml": json.dumps({**BASE, "rules": rules})}).diagnostics
        named = [one for one in found if one.code == "set-cycle"]
        reach = {field: {b for a, b in pairs if a == field and a != b} for field in fields}
        for _ in fields:
            for field in fields:
                reach[field] |= {far for near in reach[field] for far in reach[near]}
        assert bool(named) == any(field in reach[field] for field in fields)
        said += bool(named)
        for one in named:
            steps = re.findall(r'rule "(r\d)" \([^)]*\) sets (\S+) from ([^\s,]+)', one.message)
            assert all(
                rules[name]["set"].keys() == {target} and rules[name]["when"].keys() == {read}
                for name, target, read in steps
            )
            assert [step[1] for step in steps[:-1]] == [step[2] for step in steps[1:]]
            assert steps[-1][1] == steps[0][2]
    assert said > 10


def _found(sections: dict[str, Any]) -> list[Diagnostic]:
    plain = {"channels": {"in_app": {}}, "placements": {"home": {"channels": ["in_app"]}}}
    return load_files({"a.yaml": json.dumps({**BASE, **plain, **sections})}).diagnostics


def _warned(sections: dict[str, Any]) -> list[str]:
    return [one.code for one in _found(sections)]


def test_rules_that_cannot_make_each_other_hold_are_no_circle() -> None:
    zh, cn = {"customer.language": "zh"}, {"customer.country": "CN"}
    defaults = {
        "country": {"when": {"customer.country": {"exists": False}, **zh}, "set": cn},
        "language": {"when": {"customer.language": {"exists": False}, **cn}, "set": zh},
    }
    assert _warned({"rules": defaults}) == []
    undone = {
        "grown": {"when": {"customer.adult": True}, "set": {"customer.level": 4}},
        "undone": {"when": {"customer.level": {"gte": 4}}, "set": {"customer.adult": False}},
    }
    assert _warned({"rules": undone}) == []
    both = {"when": {"customer.a": 1, "customer.b": 1}, "set": {"customer.a": 2, "customer.b": 2}}
    assert _warned({"rules": {"both": both}}) == []
    undone["undone"]["set"] = {"customer.adult": True}
    assert _warned({"rules": undone}) == ["set-cycle"]


def test_a_circle_is_found_among_rules_that_do_the_same_with_other_values() -> None:
    rules = {
        "a1": {"when": {"customer.x": 1}, "set": {"customer.y": 1}},
        "a2": {"when": {"customer.x": 2}, "set": {"customer.y": 2}},
        "b1": {"when": {"customer.y": 1}, "set": {"customer.x": 3}},
        "b2": {"when": {"customer.y": 2}, "set": {"customer.x": 2}},
    }
    found = _found({"rules": rules})
    assert [one.code for one in found] == ["set-cycle"]
    assert '"a2"' in found[0].message and '"b2"' in found[0].message
    assert '"a1"' not in found[0].message and '"b1"' not in found[0].message


def test_an_ended_test_with_one_variant_for_all_gets_no_warning() -> None:
    """The messages that ask for it need not all be changed on the day that it ends."""
    one = {"purpose": "service", "channels": ["in_app"], "value": 5}
    messages = {
        "new": {**one, "when": {"experiment.copy": "short"}},
        "rest": {**one, "when": {"experiment.copy": {"ne": "short"}}},
    }
    for variants in ({"short": "100%"}, {"short": "100%", "long": "0%"}):
        experiments = {"copy": {"seed": "copy-1", "variants": variants}}
        assert _warned({"messages": messages, "experiments": experiments}) == []
