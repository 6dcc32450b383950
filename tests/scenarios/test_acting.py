"""Steps of scenarios: time goes by, events come, the customer is changed; what acts is expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.conftest import folder_of
from tests.scenarios.test_scenarios import errors, errors_of, run

POLICY = """
settings: {timezone: Asia/Shanghai, currency: CNY, exploration: "off"}
purposes: {service: {consent: not_required}, marketing: {consent: opt_in}}
channels: {push: {quiet_hours: {from: "22:00", to: "08:00"}}}
placements: {outbound: {channels: [push], delivery: gateway}}
messages:
  hello:
    purpose: service
    tags: [hello]
    channels: [push]
    value: 3
    content: {title: "Hello {{ event.from | default('you') }}"}
  nudge: {purpose: marketing, tags: [nudge], channels: [push], value: 2, when: {events.visit.count_7d: {lt: 9}}}
  gift: {purpose: service, tags: [gift], channels: [push], value: 1, content: {title: Gift}}
moments:
  abandoned: {pattern: [{event: cart_add}, {not: purchase}], within: 2h}
journeys:
  welcome:
    start: {event: follow}
    again: always
    goal: {event: purchase}
    stop: {when: {customer.open_complaint: true}}
    steps:
      hello: {ask: outbound, of: {tags: [hello]}, hold: 12h}
      pause: {wait: 2h}
      nudge: {ask: outbound, of: {tags: [nudge]}}
      which: {branch: [{when: {customer.tier: gold}, go: vip}, {go: done}]}
      vip: {set: {customer.segment.vip: true}}
      done: {end: finished}
  cart:
    start: {moment: abandoned}
    again: always
    steps:
      gift: {ask: outbound, of: {tags: [gift]}}
      viewed: {wait_for: {event: view, within: 1d}, then: bye, else: again}
      again: {ask: outbound, of: {tags: [gift]}}
      bye: {end: finished}
  many:
    start: {event: browse}
    key: event.item
    again: always
    steps: {wait: {wait: 3h}}
"""
HEAD = "- name: one\n  now: 2026-11-21T10:00:00+08:00\n"
CUSTOMER = "  customer: {consents: {marketing: {'*': granted}}}\n"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return folder_of(tmp_path, POLICY)


def problems(rules: Path, *steps: str, customer: str = CUSTOMER) -> list[str]:
    text = HEAD + customer + "  steps:\n" + "".join(f"    - {step}\n" for step in steps)
    [result] = run(rules, text)
    return result.problems


def test_time_goes_by_and_what_is_due_is_asked_at_its_own_time(rules: Path) -> None:
    found = problems(
        rules,
        "{events: [{type: follow, properties: {from: Bo}}], expect: {asks: [{journey: welcome, "
        "step: hello, outcome: selected, message: hello, channel: push, "
        "at: 2026-11-21T10:00:00+08:00, content: {title: Hello Bo}}], journeys: {welcome: pause}}}",
        "{wait: 119m, expect: {asks: [], journeys: {welcome: pause}}}",
        "{at: 2026-11-22T09:00:00+08:00, expect: {asks: [{step: nudge, message: nudge, "
        "at: 2026-11-21T12:00:00+08:00}], journeys: {welcome: finished, cart: null}}}",
    )
    assert found == []


def test_an_ask_that_time_alone_holds_back_is_asked_again(rules: Path) -> None:
    found = problems(
        rules,
        "{at: 2026-11-21T23:00:00+08:00, events: [{type: follow}], expect: {asks: "
        "[{step: hello, outcome: none, reason: quiet_hours, reasons: {hello/push: quiet_hours, "
        "gift: not_in_placement}}], journeys: {welcome: hello}}}",
        "{wait: 9h, expect: {asks: [{message: hello, at: 2026-11-22T08:00:00+08:00}]}}",
    )
    assert found == []


def test_goal_and_stop_end_a_run_on_the_arrival_of_an_event_or_a_change(rules: Path) -> None:
    follows = "{events: [{type: follow}]}"
    assert (
        problems(
            rules,
            follows,
            "{wait: 1h, events: [{type: purchase}], expect: {journeys: {welcome: goal}}}",
        )
        == []
    )
    assert (
        problems(
            rules,
            follows,
            "{wait: 1h, customer: {attributes: {open_complaint: true}}, "
            "expect: {journeys: {welcome: stopped}}}",
            "{wait: 9h, expect: {asks: []}}",
        )
        == []
    )
    assert problems(
        rules,
        follows,
        "{customer: {consents: {marketing: {'*': denied}}, attributes: {tier: gold}}}",
        "{wait: 9h, expect: {asks: [{step: nudge, outcome: none, reason: no_consent}], "
        "fields: {customer.segment.vip: true}}}",
    ) == []  # fmt: skip


def test_events_of_a_step_come_at_their_own_times_among_what_is_due(rules: Path) -> None:
    at = "2026-11-21T{}:00+08:00"
    found = problems(
        rules,
        f"{{wait: 5h, events: [{{type: purchase, at: {at.format('12:30')}}}, "
        f"{{type: cart_add, at: {at.format('10:10')}}}, {{type: view, at: {at.format('13:00')}}}], "
        f"expect: {{moments: [abandoned], asks: [{{journey: cart, step: gift, "
        f"at: {at.format('12:10')}}}], journeys: {{cart: finished}}}}}}",
        "{wait: 1d, expect: {asks: [], moments: []}}",
    )
    assert found == []
    bought = "{{wait: {}, events: [{{type: purchase}}], expect: {{moments: [{}]}}}}".format
    for wait, moments in (("2h", "abandoned"), ("119m", "")):
        assert problems(rules, "{events: [{type: cart_add}]}", bought(wait, moments)) == []


def test_the_past_of_a_customer_starts_nothing(rules: Path) -> None:
    past = "  customer: {events: [{type: follow, at: 2026-11-21T09:59:00+08:00}]}\n"
    step = "{wait: 1d, expect: {asks: [], journeys: {welcome: null}}}"
    assert problems(rules, step, customer=past) == []


def test_several_runs_of_a_journey_are_a_list_of_steps(rules: Path) -> None:
    browse = "{{type: browse, properties: {{item: {}}}}}".format
    found = problems(
        rules,
        f"{{events: [{browse('a')}, {browse('b')}, {browse('a')}], "
        "expect: {journeys: {many: [wait, wait]}}}",
    )
    assert found == []


def test_fields_of_journeys_and_of_the_customer_can_be_expected_without_an_ask(rules: Path) -> None:
    found = problems(
        rules,
        "{events: [{type: follow}], expect: {fields: {"
        "events.follow.count: 1, customer.segment.vip: null}}}",
    )
    assert found == []
    assert problems(rules, "{wait: 1h, expect: {fields: {time.hour: 10}}}") == [
        "step 1: time.hour must be 10, is 11"
    ]


def test_an_answer_is_expected_beside_what_acts(rules: Path) -> None:
    found = problems(
        rules,
        "{ask: {placement: outbound, event: {type: follow, id: e-1}}, "
        "expect: {message: hello, asks: [{step: hello}], journeys: {welcome: pause}}}",
    )
    assert found == []


def test_a_report_about_what_a_journey_gave_is_about_that_decision(rules: Path) -> None:
    capped = POLICY + "caps: {once: {of: {message: [hello]}, at_most: 1, within: 1d}}\n"
    (rules / "policy.yaml").write_text(capped, "utf-8")
    step = "{{wait: 2h, events: [{}{{type: follow}}], expect: {{asks: [{{outcome: {}}}]}}}}"
    failed = "{type: message.failed, message: hello, channel: push}, "
    both = ("{events: [{type: follow}]}", "{wait: 3h, events: [{type: purchase}]}")
    assert problems(rules, *both, step.format("", "none")) == []
    assert problems(rules, *both, step.format(failed, "selected")) == []


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("expect: {asks: []}", "the number of asks must be 0, is 1: "
         "welcome.hello at 2026-11-21T10:00:00+08:00: hello/push"),
        ("expect: {asks: [{}, {}]}", "the number of asks must be 2, is 1: "
         "welcome.hello at 2026-11-21T10:00:00+08:00: hello/push"),
        ("expect: {asks: [{step: nudge, message: nudge}]}",
         "ask 1: step must be nudge, is hello|ask 1: message must be nudge, is hello"),
        ("expect: {asks: [{at: 2026-11-21T03:00:00Z}]}",
         "ask 1: at must be 2026-11-21T03:00:00+00:00, is 2026-11-21T10:00:00+08:00"),
        ("expect: {journeys: {welcome: goal, cart: gift}}",
         "journey welcome must be goal, is pause|journey cart must be gift, is nothing"),
        ("expect: {moments: [abandoned]}", 'moments must be ["abandoned"], is []'),
    ],
)  # fmt: skip
def test_what_differs_is_said(rules: Path, step: str, problem: str) -> None:
    found = problems(rules, f"{{events: [{{type: follow}}], {step}}}")
    assert "|".join(found) == "|".join(f"step 1: {one}" for one in problem.split("|"))


def test_the_trace_of_an_ask_that_differs_is_told(rules: Path) -> None:
    text = HEAD + "  steps: [{events: [{type: follow}], expect: {asks: [{message: gift}]}}]\n"
    [result] = run(rules, text)
    assert result.trace is not None
    told = "\n".join(result.trace.lines())
    assert "gift/push" in told
    assert "journey welcome asks in step hello for messages of tags hello, not gift" in told


@pytest.mark.parametrize(
    ("step", "place", "words"),
    [
        ("{}", "4:7", "does nothing|write wait: 2h"),
        ("{expect: {asks: []}}", "4:7", "does nothing"),
        ("{wait: 2 days}", "4:14", "2 days"),
        ("{wait: 2}", "4:14", "must be text, not a whole number|write wait: 2h"),
        ("{wait: 99999999d}", "4:14", "9998"),
        ("{wait: 2h, at: 2026-11-22T10:00:00Z}", "4:8", "keep one of the two"),
        ("{at: 2026-11-20T10:00:00Z}", "4:12", "backwards"),
        ("{at: tomorrow}", "4:12", "must be a time|2026-11-21T10:00:00+08:00"),
        ("{wait: 2h, expect: {message: hello}}", "4:27", "asks nothing|asks: [{message: …}]"),
        ("{wait: 2h, expect: {not: [hello]}}", "4:27", "no not to expect"),
        ("{ask: {placement: outbound}}", "4:7", "has expect"),
        ("{wait: 2h, expect: {asks: [{journey: welcom}]}}", "4:44", 'no journey "welcom"|"welcome"'),
        ("{wait: 2h, expect: {asks: [{step: pause}]}}", "4:41", "asks for nothing|hello, nudge"),
        ("{wait: 2h, expect: {asks: [{journey: cart, step: hello}]}}", "4:56", "step of cart"),
        ("{wait: 2h, expect: {asks: [{mesage: hello}]}}", "4:35", '"message"'),
        ("{wait: 2h, expect: {asks: hello}}", "4:33", "list|asks: [{journey: welcome"),
        ("{wait: 2h, expect: {asks: [{reason: capt}]}}", "4:43", "reason code"),
        ("{wait: 2h, expect: {asks: [{message: helo}]}}", "4:44", '"hello"'),
        ("{wait: 2h, expect: {journeys: {welcom: pause}}}", "4:38", "welcome"),
        ("{wait: 2h, expect: {journeys: {welcome: paus}}}", "4:47", '"pause"'),
        ("{wait: 2h, expect: {journeys: {welcome: 1}}}", "4:37", "journeys: {welcome: pause}"),
        ("{wait: 2h, expect: {moments: [abandond]}}", "4:37", '"abandoned"'),
        ("{customer: {tier: gold}}", "4:19", "attributes: {tier: …}"),
        ("{customer: {timezone: Mars}}", "4:29", "Mars"),
        ("{customer: {events: []}}", "4:19", "does not exist here"),
        ("{events: [{type: moment.abandoned}]}", "4:24", "moment"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_step_is_reported_at_its_place_with_its_fix(
    rules: Path, step: str, place: str, words: str
) -> None:
    found = errors_of(rules, HEAD + f"  steps:\n    - {step}\n")
    assert len(found) == 1, found
    assert f"{found[0].line}:{found[0].column}" == place, found[0].render()
    for word in words.split("|"):
        assert word in found[0].render(), found[0].render()


def test_rows_of_a_table_change_how_long_a_step_waits_and_what_it_does(rules: Path) -> None:
    text = (
        HEAD
        + """\
  customer: {consents: {marketing: {"*": granted}}}
  steps:
    - {events: [{type: follow}]}
    - {wait: 1h, expect: {}}
  table:
    - {steps.2.wait: 1h, steps.2.expect.journeys: {welcome: pause}}
    - {customer.tier: gold, steps.2.wait: 2h, steps.2.expect.fields.customer.segment.vip: true}
    - {steps.2.at: 2026-11-21T12:00:00+08:00, steps.2.wait: null, steps.2.expect.asks: [{step: nudge}]}
    - {steps.2.customer: {attributes: {open_complaint: true}}, steps.2.expect.journeys: {welcome: stopped}}
    - {events.visit.count_7d: 3, steps.2.expect.journeys: {welcome: pause}}
"""
    )
    assert errors(rules, text) == []
    assert [one.problems for one in run(rules, text)] == [[]] * 5


def test_a_customer_who_is_in_a_journey_goes_on_when_their_wait_is_over(rules: Path) -> None:
    def who(since: str) -> str:
        place = f"{{welcome: {{step: pause, since: 2026-11-21T{since}:00+08:00}}}}"
        return f"  customer: {{journeys: {place}, consents: {{marketing: {{'*': granted}}}}}}\n"

    nudged = "{wait: 1h, expect: {asks: [{step: nudge, at: 2026-11-21T10:30:00+08:00}]}}"
    assert problems(rules, nudged, customer=who("08:30")) == []
    stays = "{wait: 9h, expect: {asks: [], journeys: {welcome: pause}}}"
    assert problems(rules, stays, customer=who("07:30")) == []


def test_dates_and_schedules_start_journeys_while_time_goes_by(rules: Path) -> None:
    more = """
  birthday: {start: {date: customer.birthday, at: "09:00"}, again: always, steps: {gift: {ask: outbound, of: {tags: [gift]}}}}
  weekly: {start: {schedule: "0 12 * * mon", audience: {when: {customer.left: {ne: true}}}}, again: always, steps: {pause: {wait: 1d}}}
"""
    (rules / "policy.yaml").write_text(POLICY + more, "utf-8")
    who = '  customer: {attributes: {birthday: "1990-11-22"}}\n'
    found = problems(
        rules,
        "{wait: 1d, expect: {asks: [{journey: birthday, at: 2026-11-22T09:00:00+08:00}]}}",
        "{wait: 2d, expect: {asks: [], journeys: {weekly: pause, birthday: finished}}}",
        customer=who,
    )
    assert found == []


def test_a_scenario_of_journeys_that_never_come_to_an_end_is_given_up(
    rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decision.scenarios.run._MOST_DUE", 50)
    more = "  round: {start: {event: go}, steps: {a: {wait: 1s}, b: {wait: 1s, go: a}}}\n"
    (rules / "policy.yaml").write_text(POLICY + more, "utf-8")
    [problem] = problems(rules, "{events: [{type: go}]}", "{wait: 900d, expect: {asks: []}}")
    assert problem.startswith("step 2: journeys went on more than 50 times by 2026-11-21T10:00:")
    assert "let less time go by" in problem
