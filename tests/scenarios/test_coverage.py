"""Coverage of scenarios: what counts as touched, and what never was."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from decision.core.conditions import ALWAYS, All, AnyOf, Clause, Not, clauses
from decision.core.policy_builder import compile_policy
from decision.rulebook.reader import load_folder
from decision.scenarios import read_scenarios, run_scenarios
from decision.scenarios.coverage import Coverage, Report
from decision.scenarios.watching import placed_clauses

POLICY = """\
purposes: {marketing: {consent: opt_in}, service: {consent: not_required}}
channels: {push: {quiet_hours: {from: "22:00", to: "08:00", except: [service]}}, email: {cost: 0.1}, fax: {}}
placements: {outbound: {channels: [push, email]}, home: {channels: [push], fallback: hello}}
messages:
  coupon:
    purpose: marketing
    channels: [push, email, fax]
    placements: [outbound]
    value: 10
    budget: {total: 3}
    active: {from: 2026-01-01}
    when:
      customer.country: CN
      any:
        - customer.age: {gte: 18, lt: 65}
        - not: {customer.tier: none}
  hello: {purpose: service, channels: [push], placements: [home], content: {title: Hello}}
caps:
  weekly: {of: {}, per: message, at_most: 1, within: 7d}
budgets:
  mail: {of: {channel: email}, spend: 1}
  count: {of: {channel: email}, at_most: 9}
suppressions:
  enough: {event: message.dismissed, times: 1, within: 7d, per: message, pause: 7d}
states:
  young: {when: {customer.age: {lt: 30}}}
  other: {}
rules:
  gold: {when: {customer.spend: {gt: 9}}, set: {customer.tier: gold}}
  no-gold: {when: {customer.tier: gold}, exclude: {messages: coupon}}
experiments:
  held: {share: 50%, seed: a, keeps: [service]}
  test: {seed: b, variants: {red: 50%, blue: 50%}}
"""
ALL = """\
- name: all
  now: 2026-11-21T10:00:00Z
  customer:
    attributes: {country: CN, age: 20}
    consents: {marketing: {"*": granted}}
  ask: {placement: outbound}
  table:
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    (folder / "tests").mkdir(parents=True)
    (folder / "all.yaml").write_text(POLICY, "utf-8")
    return folder


def report_of(folder: Path, *rows: str) -> Report:
    text = ALL + "".join(f"    - {{name: row {n}, {row}}}\n" for n, row in enumerate(rows))
    (folder / "tests" / "all.yaml").write_text(text, "utf-8")
    definition = load_folder(folder).definition
    assert definition is not None
    scenarios, diagnostics = read_scenarios(folder, compile_policy(definition))
    assert [one.render() for one in diagnostics] == []
    coverage = Coverage(definition)
    asyncio.run(run_scenarios(definition, scenarios, watcher=coverage))
    return coverage.report()


def unseen(report: Report) -> set[str]:
    return {f"{one.kind} {one.name} {one.never}" for one in report.unseen}


def test_one_decision_touches_what_it_reached_and_nothing_else(rules: Path) -> None:
    report = report_of(rules, "expect: coupon/push")
    left = unseen(report)
    for seen in (
        "message coupon given",
        "candidate coupon/push given",
        "state young was the state",
        "rule gold did not fire",
        'clause coupon: customer.country eq "CN" true',
        "clause coupon: customer.age gte 18 (no. 2) true",
        "placement outbound gave something",
        "experiment held let something through",
        "reason outranked was the reason",
    ):
        assert seen not in left
    for never in (
        "message coupon not eligible",
        "message coupon inactive",
        "budget coupon was spent",
        "budget mail was spent",
        "budget count was spent",
        "candidate coupon/email given",
        "rule gold fired",
        'clause coupon: customer.country eq "CN" false',
        'clause coupon: customer.tier eq "none" (no. 4) true',
        'clause coupon: customer.tier eq "none" (no. 4) false',  # never asked: the age settled it
        "cap weekly held something back",
        "suppression enough held something back",
        "consent marketing held something back",
        "quiet hours push held something back",
        "experiment held held something back",
        "placement home gave nothing",
    ):
        assert never in left
    assert not any("fax" in name for name in left), "no placement offers it"
    variants = {name for name in left if name.startswith("experiment test was")}
    assert len(variants) == 1, "no clause asks for it: the customer's own counts"


def test_scenarios_can_touch_all_of_it(rules: Path) -> None:
    report = report_of(
        rules,
        "experiment.test: red, expect: coupon/push",
        "experiment.test: blue, channels: [email], expect: coupon/email",
        "customer.country: FR, expect: none",
        "customer.age: 12, customer.tier: none, expect: none",
        "customer.age: 70, customer.tier: other, expect: coupon",
        "now: 2025-11-21T10:00:00Z, reason: inactive, expect: none",
        "customer.spend: 10, reason: rule_excluded, expect: none",
        "spent.coupon.total: 3, expect: none",
        "spent.mail: 0.95, channels: [email], expect: none",
        "spent.count: 9, channels: [email], expect: none",
        "consents.marketing: denied, expect: none",
        "now: 2026-11-21T23:00:00Z, channels: [push], expect: none, reason: quiet_hours",
        "customer.contacts: [{message: coupon, channel: push, at: 2026-11-20T10:00:00Z}], expect: none",
        "customer.events: [{type: message.dismissed, message: coupon, at: 2026-11-20T10:00:00Z}], expect: none",
        "reachable: [], expect: none",
        "experiment.held: true, expect: none",
        "placement: home, expect: fallback",
        "placement: home, probabilities.hello: 1, expect: fallback",
    )  # fmt: skip
    assert unseen(report) == {"placement home gave something"}, "hello is worth nothing"
    assert (report.seen, report.percent) == (report.total - 1, 98.1)


def test_every_clause_has_the_line_on_which_it_is_written(rules: Path) -> None:
    definition = load_folder(rules).definition
    assert definition is not None
    lines = POLICY.split("\n")
    told = placed_clauses(definition)
    assert len(told) == sum(len(list(clauses(m.when))) for m in (*definition.messages, *definition.rules, *definition.states))  # fmt: skip
    for one in told:
        line = lines[int(one.source.rpartition(":")[2]) - 1]
        assert one.clause.field in line
        assert one.clause.op in line or one.clause.op == "eq"


def test_a_condition_of_every_form_is_held_against_the_evaluator() -> None:
    from hypothesis import given, settings
    from hypothesis import strategies as st

    from decision.core.conditions import compile_condition
    from decision.scenarios.watching import watched

    leaf = st.builds(Clause, st.sampled_from(["a", "b", "c"]), st.just("eq"), st.integers(0, 2))
    trees = st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds(Not, inner),
            st.lists(inner, max_size=3).map(lambda parts: All(tuple(parts))),
            st.lists(inner, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
        ),
        max_leaves=8,
    )

    @settings(max_examples=200, deadline=None)
    @given(trees, st.lists(st.integers(0, 2), min_size=3, max_size=3))
    def check(tree: object, values: list[int]) -> None:
        told: list[tuple[int, bool]] = []
        slot_of = ["a", "b", "c"].index
        test = watched(tree, slot_of, lambda n, held, value: told.append((n, held)))
        assert test(values) == compile_condition(tree, slot_of)(values)
        written = list(clauses(tree))
        for number, held in told:
            clause = written[number]
            assert held == (values[slot_of(clause.field)] == clause.value)

    check()
    assert list(clauses(ALWAYS)) == []


def test_the_command_tells_what_is_untouched_and_fails_below_the_least(run, rules: Path) -> None:
    report_of(rules, "expect: coupon/push")
    result = run("test", rules, "--coverage")
    assert result.exit_code == 0
    assert "rules/all.yaml:5  message coupon: never not eligible" in result.stdout
    assert "rules/all.yaml:13  clause coupon: customer.country eq" in result.stdout
    answer = json.loads(run("test", rules, "--coverage", "--json").stdout)["coverage"]
    assert 0 < answer["percent"] < 100
    assert answer["seen"] + len(answer["unseen"]) == answer["total"]
    assert sum(kind["total"] for kind in answer["kinds"]) == answer["total"]
    assert sum(file["total"] for file in answer["files"]) == answer["total"]
    assert run("test", rules, "--min-coverage", answer["percent"]).exit_code == 0
    result = run("test", rules, "--min-coverage", answer["percent"] + 0.1)
    assert result.exit_code == 1
    assert "must be at least" in result.stdout


JOURNEYS = """\
purposes: {service: {consent: not_required}}
channels: {app: {}}
placements: {home: {channels: [app], delivery: gateway}}
messages: {hello: {purpose: service, channels: [app], value: 1, content: {title: Hello}}}
moments:
  abandoned: {pattern: [{event: cart_add}, {not: purchase}], within: 2h}
journeys:
  welcome:
    start: {event: follow}
    goal: {event: purchase}
    stop: {when: {customer.left: true}}
    steps:
      hello: {ask: home}
      seen: {wait_for: {event: view, within: 1d}, else: parts}
      which: {branch: [{when: {customer.gold: true}, go: parts}, {when: {customer.red: true}, go: bye}]}
      pause: {wait: 1h}
      parts: {split: {seed: s, variants: {a: 50%, b: 50%}}, go: {a: bye, b: last}}
      bye: {end: finished}
      last: {ask: home}
  saved:
    start: {moment: abandoned}
    steps: {hello: {ask: home}}
"""


def journeys_report(folder: Path, steps: str) -> Report:
    (folder / "all.yaml").write_text(JOURNEYS, "utf-8")
    head = "- name: all\n  now: 2026-11-21T10:00:00Z\n  steps:\n"
    (folder / "tests" / "all.yaml").write_text(head + steps, "utf-8")
    definition = load_folder(folder).definition
    assert definition is not None
    scenarios, diagnostics = read_scenarios(folder, compile_policy(definition))
    assert [one.render() for one in diagnostics] == []
    coverage = Coverage(definition)
    [result] = asyncio.run(run_scenarios(definition, scenarios, watcher=coverage))
    assert result.passed, result.render()
    return coverage.report()


def test_journeys_their_steps_and_ways_and_moments_are_seen_or_never(rules: Path) -> None:
    def never(steps: str) -> set[str]:
        found = journeys_report(rules, steps).unseen
        kinds = ("journey", "step", "moment")
        return {f"{one.name} {one.never}" for one in found if one.kind in kinds}

    everything = never("    - {wait: 1s}\n")
    assert everything == {
        *("welcome was started", "welcome reached its goal", "welcome was stopped"),
        *("saved was started", "saved.hello was entered", "abandoned happened"),
        *(f"welcome.{step} was entered" for step in ("hello", "seen", "which", "pause")),
        *(f"welcome.{step} was entered" for step in ("parts", "bye", "last")),
        *("welcome.seen led to which", "welcome.seen led to parts"),
        *("welcome.which led to parts", "welcome.which led to bye", "welcome.which led to pause"),
        *("welcome.parts led to bye", "welcome.parts led to last"),
    }
    follow = "    - {events: [{type: follow}]}\n"
    assert everything - never(follow) == {
        *("welcome was started", "welcome.hello was entered", "welcome.seen was entered")
    }
    left = never(follow + "    - {wait: 2d}\n")
    assert everything - left >= {"welcome.seen led to parts", "welcome.parts was entered"}
    assert "welcome.seen led to which" in left
    gold = "    - {customer: {attributes: {gold: true}}}\n"
    view = "    - {events: [{type: view}]}\n"
    assert "welcome.which led to parts" not in never(follow + gold + view)
    assert "welcome.which led to pause" not in never(follow + view)
    assert "welcome reached its goal" not in never(follow + "    - {events: [{type: purchase}]}\n")
    stop = "    - {customer: {attributes: {left: true}}}\n"
    assert "welcome was stopped" not in never(follow + stop)
    cart = "    - {events: [{type: cart_add}]}\n    - {wait: 2h}\n"
    seen = everything - never(cart)
    assert seen == {"abandoned happened", "saved was started", "saved.hello was entered"}


def test_what_of_journeys_is_never_seen_is_told_with_its_line(rules: Path) -> None:
    unseen = journeys_report(rules, "    - {wait: 1s}\n").unseen
    lines = {f"{one.name} {one.never}": one.source for one in unseen}
    assert lines["abandoned happened"] == "rules/all.yaml:6"
    assert lines["welcome.seen led to which"] == "rules/all.yaml:14"
    assert lines["welcome reached its goal"] == "rules/all.yaml:10"
