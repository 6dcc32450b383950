"""Scenario tests: read with their places, run by the engine, and told in words when they fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.rulebook.diagnostics import Diagnostic
from decision.rulebook.reader import load_folder
from decision.scenarios import Result, read_scenarios, run_scenarios
from decision.scenarios.schema import Customer
from decision.scenarios.staging import NoSuchCustomer, choose_customer
from tests.scenarios.conftest import folder_of

POLICY = """
settings: {timezone: Asia/Shanghai, currency: CNY}
purposes:
  marketing: {consent: opt_in}
  service: {consent: not_required}
channels:
  push: {quiet_hours: {from: "22:00", to: "08:00", except: [service]}}
  email: {cost: 0.1}
placements:
  outbound: {channels: [push, email]}
  home: {channels: [push], fallback: hello}
messages:
  coupon:
    purpose: marketing
    channels: [push, email]
    placements: [outbound]
    value: 10
    budget: {total: 3, per_day: 2}
    content: {title: "给 {{ customer.name | default('您') }}", offer: {amount: 20, code: X}}
  news:
    purpose: service
    channels: [email]
    placements: [outbound]
    value: 5
    when: {events.visit.count_7d: {gte: 3}}
    content: {title: News}
  hello: {purpose: service, channels: [push], placements: [home], content: {title: Hello}}
caps:
  weekly: {of: {}, per: message, at_most: 1, within: 7d}
budgets:
  mail: {of: {channel: email}, spend: 1, per: calendar week}
  calls: {of: {channel: email}, at_most: 3}
experiments:
  held: {share: 50%, seed: a, keeps: [service]}
  test: {seed: b, variants: {red: 50%, 蓝: 50%}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return folder_of(tmp_path, POLICY)


def policy_of(folder: Path) -> Policy:
    definition = load_folder(folder).definition
    assert definition is not None
    return compile_policy(definition)


def errors(folder: Path, text: str) -> list[Diagnostic]:
    (folder / "tests" / "some.yaml").write_text(text, encoding="utf-8")
    scenarios, diagnostics = read_scenarios(folder, policy_of(folder))
    assert not scenarios or diagnostics == []
    return diagnostics


def run(folder: Path, text: str) -> list[Result]:
    assert errors(folder, text) == []
    definition = load_folder(folder).definition
    assert definition is not None
    scenarios, _ = read_scenarios(folder, policy_of(folder))
    return asyncio.run(run_scenarios(definition, scenarios))


HEAD = """- name: one
  now: 2026-11-21T10:00:00+08:00
"""
TAIL = """  ask: {placement: outbound}
  expect: {outcome: none}
"""


def test_a_scenario_that_comes_out_as_expected_passes(rules: Path) -> None:
    [result] = run(
        rules,
        """
- name: 小明 gets a coupon
  now: 2026-11-21T10:00:00+08:00
  customer: {attributes: {name: 小明}, consents: {marketing: {"*": granted}}}
  ask: {placement: outbound}
  expect:
    outcome: selected
    message: coupon
    channel: push
    not: [news, coupon/email]
    reasons: {coupon/push: null, coupon/email: outranked, news: not_eligible}
    content: {title: 给 小明, offer: {amount: 20}}
    reason: null
    not_before: null
    messages: [coupon]
""",
    )
    assert result.problems == []
    assert result.passed
    assert result.source == "rules/tests/some.yaml:2"


def test_a_scenario_that_does_not_says_everything_that_differs(rules: Path) -> None:
    [result] = run(
        rules,
        """
- name: wrong in every way
  now: 2026-11-21T10:00:00+08:00
  customer: {consents: {marketing: {"*": granted}}}
  ask: {placement: outbound}
  expect:
    outcome: none
    message: news
    channel: email
    not: [coupon]
    reasons: {coupon/push: capped, news/email: null}
    content: {title: 您好, offer: {amount: 20.5, code: Y}, gone: 1}
    reason: quiet_hours
    not_before: 2026-11-22T08:00:00+08:00
    messages: [news, coupon]
""",
    )
    assert result.problems == [
        "outcome must be none, is selected",
        "message must be news, is coupon",
        "channel must be email, is push",
        'messages must be ["news", "coupon"], is ["coupon"]',
        "coupon must not be chosen, and was: coupon/push",
        "reason of coupon/push must be capped, is nothing",
        "reason of news/email must be nothing, is not_eligible",
        'content.title must be "您好", is "给 您"',
        "content.offer.amount must be 20.5, is 20",
        "content.offer.code must be Y, is X",
        "content.gone must be 1, is nothing",
        "reason must be quiet_hours, is nothing",
        "not_before must be 2026-11-22T08:00:00+08:00, is nothing",
    ]
    text = result.render()
    assert text.startswith("FAILED  wrong in every way (rules/tests/some.yaml:2)\n")
    assert "coupon/push" in text and "events.visit.count_7d is 0, must be at least 3" in text
    assert "and 1 more: 1 not_in_placement" in text
    assert "policy.yaml" in text


def test_steps_go_on_where_the_step_before_has_ended(rules: Path) -> None:
    [result] = run(
        rules,
        """
- name: the cap counts what a step has given
  now: 2026-11-21T21:59:59+08:00
  customer: {consents: {marketing: {push: granted}}}
  steps:
    - {ask: {placement: outbound, dry_run: true}, expect: {message: coupon}}
    - {ask: {placement: outbound}, expect: {message: coupon}}
    - ask: {placement: outbound}
      expect: {reason: capped, not_before: 2026-11-28T21:59:59+08:00}
    - now: 2026-11-22T10:00:00+08:00
      events: [{type: visit, at: 2026-11-22T09:00:00+08:00, times: 3, every: 1h}]
      ask: {placement: outbound}
      expect: {message: news, reasons: {coupon/push: capped}}
""",
    )
    assert result.problems == []


@pytest.mark.parametrize(
    ("event", "outcome"),
    [("message.shown", "none"), ("message.failed", "selected"), ("message.unsubscribed", "none")],
)
def test_events_after_a_step_are_about_what_it_gave(rules: Path, event: str, outcome: str) -> None:
    [result] = run(
        rules,
        HEAD
        + f"""
  customer: {{consents: {{marketing: {{push: granted}}}}}}
  steps:
    - {{ask: {{placement: outbound}}, expect: {{message: coupon, channel: push}}}}
    - now: 2026-11-21T10:10:00+08:00
      events: [{{type: {event}, message: coupon, at: 2026-11-21T10:05:00+08:00}}]
      ask: {{placement: outbound}}
      expect: {{outcome: {outcome}}}
""",
    )
    assert result.problems == []


@pytest.mark.parametrize("spent", ["coupon: {per_day: 1}", "calls: 2", "mail: 0.9"])
@pytest.mark.parametrize(
    ("event", "outcome"),
    [("message.failed", "selected"), ("message.delivered", "none"), ("message.sent", "none")],
)
def test_what_failed_gives_back_what_it_took_of_budgets(
    rules: Path, spent: str, event: str, outcome: str
) -> None:
    for channel in ("push", "email"):
        [result] = run(
            rules,
            HEAD
            + f"""
  customer: {{consents: {{marketing: {{"*": granted}}}}}}
  spent: {{{spent}}}
  steps:
    - {{ask: {{placement: outbound, channels: [{channel}]}}, expect: {{message: coupon}}}}
    - now: 2026-11-21T10:10:00+08:00
      events: [{{type: {event}, message: coupon, at: 2026-11-21T10:05:00+08:00}}]
      ask: {{placement: outbound, channels: [{channel}]}}
      expect: {{outcome: {outcome}}}
""",
        )
        assert result.problems == []


def test_the_step_that_failed_is_named_and_later_ones_are_not_asked(rules: Path) -> None:
    [result] = run(
        rules,
        HEAD
        + """
  steps:
    - {ask: {placement: home}, expect: {message: hello}}
    - {ask: {placement: home}, expect: {outcome: selected}}
    - {ask: {placement: home}, expect: {outcome: none}}
""",
    )
    assert result.problems == ["step 2: outcome must be selected, is fallback"]


@pytest.mark.parametrize(
    ("spent", "outcome"),
    [
        ("{coupon: {total: 2, per_day: 1}}", "selected"),
        ("{coupon: {total: 3}}", "none"),
        ("{coupon: {per_day: 2}}", "none"),
    ],
)
def test_budgets_may_have_been_spent_before(rules: Path, spent: str, outcome: str) -> None:
    [result] = run(
        rules,
        HEAD
        + f"""
  customer: {{consents: {{marketing: {{"*": granted}}}}}}
  spent: {spent}
  steps:
    - {{ask: {{placement: outbound, channels: [push]}}, expect: {{outcome: {outcome}}}}}
""",
    )
    assert result.problems == []


@pytest.mark.parametrize(
    ("spent", "limit", "given"),
    [
        ("{}", 2, ["coupon", "news"]),
        ("{mail: 0.8}", 2, ["coupon", "news"]),
        ("{mail: 0.800001}", 2, ["coupon"]),
        ("{mail: 0.9, calls: 1}", 2, ["coupon"]),
        ("{mail: 0.91}", 2, []),
        ("{mail: 1}", 1, []),
        ("{calls: 2}", 2, ["coupon"]),
        ("{calls: 3}", 2, []),
        ("{coupon: {total: 3}, mail: 0.9}", 2, ["news"]),
    ],
)
def test_budgets_of_many_messages_may_have_been_spent_before(
    rules: Path, spent: str, limit: int, given: list[str]
) -> None:
    text = (
        HEAD
        + f"""
  customer: {{consents: {{marketing: {{"*": granted}}}}, experiments: {{held: false}},
             events: [{{type: visit, at: 2026-11-20T10:00:00+08:00, times: 3, every: 1h}}]}}
  spent: {spent}
  ask: {{placement: outbound, channels: [email], limit: {limit}}}
  expect: {{messages: {given}}}
"""
    )
    [result] = run(rules, text)
    assert result.problems == []


def test_released_contacts_count_for_nothing_and_confirmed_ones_do(rules: Path) -> None:
    text = "".join(
        f"""
- name: {state}
  now: 2026-11-21T10:00:00+08:00
  customer:
    consents: {{marketing: {{"*": granted}}}}
    contacts: [{{message: coupon, channel: email, at: 2026-11-21T09:00:00+08:00, state: {state}}}]
  ask: {{placement: outbound}}
  expect: {{outcome: {outcome}}}
"""
        for state, outcome in (("released", "selected"), ("confirmed", "none"))
    )
    assert [result.problems for result in run(rules, text)] == [[], []]


def test_a_question_the_engine_refuses_fails_the_scenario(rules: Path) -> None:
    [result] = run(
        rules,
        HEAD
        + """
  ask: {placement: outbound, event: {type: visit, at: 2026-11-22T10:00:00+08:00}}
  expect: {outcome: none}
""",
    )
    assert len(result.problems) == 1
    assert result.problems[0].startswith("the question was refused: ask.event.at: ")


def test_one_scenario_leaves_nothing_behind_for_the_next(rules: Path) -> None:
    text = "".join(
        f"""
- name: {name}
  now: 2026-11-21T10:00:00+08:00
  customer: {{customer_id: the-same, consents: {{marketing: {{"*": granted}}}}}}
  ask: {{placement: outbound}}
  expect: {{message: coupon, channel: push}}
"""
        for name in ("first", "second", "third", "fourth")
    )
    policy = POLICY.replace("held: {share: 50%", "held: {share: 0%")
    (rules / "policy.yaml").write_text(policy, encoding="utf-8")
    assert [result.problems for result in run(rules, text)] == [[], [], [], []]


def test_experiments_choose_a_customer_who_falls_on_those_sides(rules: Path) -> None:
    policy = policy_of(rules)
    sides = {
        (policy.variant("test", chosen), held)
        for colour in ("red", "蓝")
        for held in (True, False)
        if (chosen := choose_customer(policy, Customer(experiments={"test": colour, "held": held})))
        and (policy.variant("test", chosen), held) == (colour, held)
    }
    assert len(sides) == 4


def test_a_customer_who_cannot_fall_on_a_side_is_said_so(rules: Path) -> None:
    policy = policy_of(rules)
    chosen = choose_customer(policy, Customer(experiments={"test": "red"}))
    with pytest.raises(NoSuchCustomer, match="is on the side red of test, not 蓝"):
        choose_customer(policy, Customer(customer_id=chosen, experiments={"test": "蓝"}))
    [result] = run(
        rules,
        HEAD + f"  customer: {{customer_id: {chosen}, experiments: {{test: 蓝}}}}\n" + TAIL,
    )
    assert result.problems == [f"customer {chosen} is on the side red of test, not 蓝"]


def test_a_control_group_of_nobody_has_no_customer(rules: Path) -> None:
    text = POLICY.replace("share: 50%", "share: 0%")
    (rules / "policy.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(NoSuchCustomer, match="held: True"):
        choose_customer(policy_of(rules), Customer(experiments={"held": True}))


@pytest.mark.parametrize(
    ("text", "place", "code", "words"),
    [
        (HEAD + "  customre: {}\n" + TAIL, "3:3", "unknown-key", "customre|customer"),
        (
            HEAD + "  customer: {atributes: {}}\n" + TAIL,
            "3:14",
            "unknown-key",
            "atributes|attributes",
        ),
        (
            HEAD + "  customer:\n    contacts:\n      - {message: coupon, chanel: push}\n" + TAIL,
            "5:27",
            "unknown-key",
            "chanel|channel",
        ),
        (
            HEAD + "  ask: {placement: home}\n  expect: {outcome: nome}\n",
            "4:21",
            "wrong-type",
            "expect.outcome|nome",
        ),
        (
            HEAD + "  ask: {placement: homme}\n  expect: {}\n",
            "3:20",
            "unknown-name",
            "homme|home",
        ),
        (
            HEAD + "  ask: {placement: home, channels: [push, pusch]}\n  expect: {}\n",
            "3:43",
            "unknown-name",
            "pusch|push",
        ),
        (
            HEAD + "  ask: {placement: home}\n  expect: {message: coupons}\n",
            "4:21",
            "unknown-name",
            "coupons|coupon",
        ),
        (
            HEAD + "  ask: {placement: home}\n  expect: {reasons: {news/push: capped}}\n",
            "4:22",
            "unknown-name",
            "channel of news|email",
        ),
        (
            HEAD + "  ask: {placement: home}\n  expect: {reasons: {news/email: caped}}\n",
            "4:34",
            "unknown-name",
            "caped|capped",
        ),
        (
            HEAD + "  ask: {placement: home}\n  expect: {not: [cupon]}\n",
            "4:18",
            "unknown-name",
            "cupon|coupon",
        ),
        (
            HEAD
            + "  customer:\n    contacts:\n"
            + "      - {message: news, channel: push, at: 2026-11-21T09:00:00+08:00}\n"
            + TAIL,
            "5:34",
            "unknown-name",
            "channel of news|email",
        ),
        (
            HEAD
            + "  customer:\n    contacts:\n"
            + "      - {message: news, channel: email, at: 2026-11-21T10:00:01+08:00}\n"
            + TAIL,
            "5:45",
            "bad-value",
            "future",
        ),
        (
            HEAD + "  customer: {events: [{type: visit, at: 2026-11-21T10:00:01+08:00}]}\n" + TAIL,
            "3:41",
            "bad-value",
            "future",
        ),
        (
            HEAD + "  customer: {events: [{type: visit, at: 2026-11-21T10:00:00}]}\n" + TAIL,
            "3:41",
            "wrong-type",
            "must have its offset from UTC",
        ),
        (
            HEAD
            + "  customer:\n    events:\n"
            + "      - {type: visit, at: 2026-11-21T01:00:00Z, times: 2, every: day}\n"
            + TAIL,
            None,
            "bad-value",
            "day",
        ),
        (
            HEAD + "  customer: {timezone: Asia/Shanghi}\n" + TAIL,
            "3:24",
            "bad-value",
            "Asia/Shanghi",
        ),
        (
            HEAD + "  customer: {consents: {marketting: {push: granted}}}\n" + TAIL,
            "3:25",
            "unknown-name",
            "marketting|marketing",
        ),
        (
            HEAD + "  customer: {consents: {marketing: {pusch: granted}}}\n" + TAIL,
            "3:37",
            "unknown-name",
            "pusch|push",
        ),
        (
            HEAD + f"  customer: {{attributes: {{{'a' * 300}: 1}}}}\n" + TAIL,
            "3:26",
            "wrong-type",
            "customer.attributes: a key in it",
        ),
        (
            HEAD + "  customer: {consents: {marketing: {push: yes}}}\n" + TAIL,
            None,
            "wrong-type",
            "yes",
        ),
        (
            HEAD + "  customer: {reachable: [fax]}\n" + TAIL,
            "3:26",
            "unknown-name",
            "fax",
        ),
        (
            HEAD + "  customer: {experiments: {tset: red}}\n" + TAIL,
            "3:28",
            "unknown-name",
            "tset|test",
        ),
        (
            HEAD + "  customer: {experiments: {test: green}}\n" + TAIL,
            "3:34",
            "unknown-name",
            "green",
        ),
        (
            HEAD + "  customer: {experiments: {held: red}}\n" + TAIL,
            "3:34",
            "wrong-type",
            "true or false",
        ),
        (HEAD + "  spent: {news: {total: 1}}\n" + TAIL, "3:18", "conflict", "no budget total"),
        (HEAD + "  spent: {mial: 1.5}\n" + TAIL, "3:11", "unknown-name", 'no budget "mial"|mail'),
        (HEAD + "  spent: {news: 1}\n" + TAIL, "3:11", "unknown-name", 'no budget "news"'),
        (HEAD + "  spent: {mail: {total: 1}}\n" + TAIL, "3:17", "wrong-type", "mail: 12.5"),
        (HEAD + "  spent: {mail: 0.0000001}\n" + TAIL, "3:17", "bad-value", "0.000001"),
        (HEAD + "  spent: {calls: 1.5}\n" + TAIL, "3:18", "bad-value", "whole contacts"),
        (HEAD + "  spent: {mail: -1}\n" + TAIL, "3:10", "wrong-type", ">= 0.0"),
        (HEAD + "  ask: {placement: home}\n", "1:3", "missing-key", "expect"),
        (
            HEAD + "  steps: [{ask: {placement: home}, expect: {}}]\n" + TAIL,
            "3:10",
            "conflict",
            "steps",
        ),
        (
            HEAD
            + "  steps:\n    - now: 2026-11-21T09:59:59+08:00\n"
            + "      ask: {placement: home}\n      expect: {}\n",
            "4:12",
            "bad-value",
            "backwards",
        ),
        *(
            (
                "- name: one\n  now: " + now + "\n" + TAIL,
                "2:8",
                "bad-value",
                "year|from 1970 to 9998",
            )
            for now in ("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z")
        ),
        (
            HEAD + "  steps:\n    - now: 9999-01-01T00:00:00Z\n"
            "      ask: {placement: home}\n      expect: {}\n",
            "4:12",
            "bad-value",
            "9999",
        ),
        ("- name: one\n" + TAIL, "1:3", "missing-key", "now"),
        ("name: one\n", "1:1", "wrong-type", "list"),
        ("- just text\n", "1:3", "wrong-type", "must be keys and values, not text"),
        ("- {name: [\n", None, "bad-yaml", ""),
        (HEAD + TAIL + HEAD + TAIL, "5:9", "duplicate-name", "some.yaml:1"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    rules: Path, text: str, place: str | None, code: str, words: str
) -> None:
    [found] = errors_of(rules, text)
    assert found.code == code, found.render()
    assert found.file == "rules/tests/some.yaml"
    if place is not None:
        assert found.place == f"rules/tests/some.yaml:{place}", found.render()
    for word in words.split("|"):
        assert word in found.render()


def errors_of(folder: Path, text: str) -> list[Diagnostic]:
    (folder / "tests" / "some.yaml").write_text(text, encoding="utf-8")
    return read_scenarios(folder, policy_of(folder))[1]


def test_a_wrong_scenario_does_not_hide_the_right_ones(rules: Path) -> None:
    text = HEAD + TAIL + HEAD.replace("one", "two") + "  oops: 1\n" + TAIL
    (rules / "tests" / "some.yaml").write_text(text, encoding="utf-8")
    scenarios, diagnostics = read_scenarios(rules, policy_of(rules))
    assert [placed.scenario.name for placed in scenarios] == ["one"]
    assert len(diagnostics) == 1


def test_folders_without_scenarios_have_none(rules: Path) -> None:
    policy = policy_of(rules)
    assert read_scenarios(rules, policy) == ([], [])
    (rules / "tests" / "empty.yaml").write_text("# nothing yet\n", encoding="utf-8")
    assert read_scenarios(rules, policy) == ([], [])
    (rules / "tests" / "empty.yaml").unlink()
    (rules / "tests").rmdir()
    assert read_scenarios(rules, policy) == ([], [])


def test_scenarios_are_found_in_folders_below_in_the_order_of_paths(rules: Path) -> None:
    (rules / "tests" / "b").mkdir()
    (rules / "tests" / "b" / "x.yaml").write_text(HEAD + TAIL, encoding="utf-8")
    (rules / "tests" / "a.yaml").write_text(HEAD.replace("one", "zero") + TAIL, encoding="utf-8")
    scenarios, diagnostics = read_scenarios(rules, policy_of(rules))
    assert diagnostics == []
    assert [placed.source for placed in scenarios] == [
        "rules/tests/a.yaml:1",
        "rules/tests/b/x.yaml:1",
    ]


def test_each_result_is_told_as_it_comes(rules: Path) -> None:
    (rules / "tests" / "some.yaml").write_text(
        HEAD + TAIL + HEAD.replace("one", "two") + TAIL, encoding="utf-8"
    )
    definition = load_folder(rules).definition
    assert definition is not None
    scenarios, _ = read_scenarios(rules, policy_of(rules))
    told: list[str] = []
    results = asyncio.run(
        run_scenarios(definition, scenarios, lambda result: told.append(result.name))
    )
    assert told == ["one", "two"] == [result.name for result in results]
    assert results[0].render() == "ok      one"
