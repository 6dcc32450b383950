"""Moments and journeys of rule files are read as they are written."""

from __future__ import annotations

from typing import get_args

import pytest

from decision.core.clock import DAY, HOUR
from decision.core.conditions import Clause
from decision.core.definition import PolicyDefinition, Selector
from decision.core.journeys.counts import REFUSALS
from decision.core.journeys.definition import (
    Ask,
    Branch,
    DateStart,
    Element,
    End,
    EndReason,
    Limits,
    ScheduleStart,
    SegmentStart,
    SetAttributes,
    Split,
    Trigger,
    Wait,
    WaitFor,
    WaitUntil,
    WaitUntilDate,
)
from decision.rulebook.reader import load_files

SHOP = """\
purposes: {marketing: {consent: opt_in}}
channels: {push: {}}
placements: {outbound: {channels: [push], delivery: gateway}}
messages:
  hello: {purpose: marketing, channels: [push], tags: [welcome-1]}
  offer: {purpose: marketing, channels: [push], tags: [welcome-2]}
moments:
  abandoned: {pattern: [{event: cart_add}, {not: purchase}], within: 2h}
  keen:
    within: 7d
    pattern:
      - {event: visit, when: {event.page: prices}, times: 3}
      - {not: {event: purchase, when: {event.amount: {gt: 10}}}}
      - {moment: abandoned, times: {at_least: 2}}
"""
WELCOME = """\
journeys:
  welcome:
    start: {event: wechat.follow}
    when: {customer.tier: {ne: power}}
    key: event.cart_id
    again: never
    goal: {event: purchase}
    stop: {when: {customer.open_complaint: true}}
    skip_after: never
    limits: {starts: 20 per s, running: 10000}
    moved: {old: pause}
    steps:
      hello:  {ask: outbound, of: {tags: [welcome-1]}, hold: 1d}
      pause:  {wait: 2h}
      nine:   {wait: {until: "09:00", on: [mon]}}
      date:   {wait: {until: customer.renewal, at: "09:00", before: 3d}}
      bought: {wait_for: {event: purchase, within: 22h}, then: thanks, else: nudge}
      thanks: {set: {customer.segment.buyer: true}, go: done}
      nudge:  {ask: outbound, of: {tags: [welcome-2]}}
      which:  {branch: [{when: {customer.tier: gold}, go: vip}, {go: test}]}
      test:   {split: {seed: s-1, variants: {a: 50%, b: 50%}}, go: {a: vip, b: done}}
      vip:    {set: {customer.segment.vip: true}}
      done:   {end: finished}
"""


def loaded(text: str) -> PolicyDefinition:
    found = load_files({"a.yaml": SHOP + text})
    assert found.definition is not None, found.diagnostics
    return found.definition


def test_a_journey_is_read_as_it_is_written() -> None:
    welcome = loaded(WELCOME).journeys[0]
    assert (welcome.name, welcome.source) == ("welcome", "rules/a.yaml:16")
    assert welcome.start == Trigger(name="", source="rules/a.yaml:17", event="wechat.follow")
    assert welcome.when == Clause("customer.tier", "ne", "power")
    assert (welcome.key, welcome.again, welcome.skip_after) == ("event.cart_id", None, None)
    assert welcome.goal == Trigger(name="", source="rules/a.yaml:21", event="purchase")
    assert welcome.stop is not None and welcome.stop.event is None
    assert welcome.stop.when == Clause("customer.open_complaint", "eq", True)
    assert welcome.stop.clause_sources == ("rules/a.yaml:22",)
    assert welcome.limits == Limits(starts=20, per=1_000_000, running=10_000)
    assert welcome.moved == {"old": "pause"}


def test_every_kind_of_step_is_read_with_its_line() -> None:
    steps = {step.name: step for step in loaded(WELCOME).journeys[0].steps}
    assert list(steps) == [
        *("hello", "pause", "nine", "date", "bought", "thanks", "nudge"),
        *("which", "test", "vip", "done"),
    ]
    assert steps["hello"] == Ask(
        name="hello",
        source="rules/a.yaml:27",
        placement="outbound",
        of=Selector(tags=("welcome-1",)),
        hold=DAY,
    )
    assert steps["pause"] == Wait(name="pause", source="rules/a.yaml:28", lasts=2 * HOUR)
    assert steps["nine"] == WaitUntil(
        name="nine", source="rules/a.yaml:29", minute=9 * 60, weekdays=(0,)
    )
    assert steps["date"] == WaitUntilDate(
        name="date",
        source="rules/a.yaml:30",
        field="customer.renewal",
        minute=9 * 60,
        shift=-3 * DAY,
    )
    assert steps["bought"] == WaitFor(
        name="bought",
        source="rules/a.yaml:31",
        trigger=Trigger(name="", source="rules/a.yaml:31", event="purchase"),
        within=22 * HOUR,
        then="thanks",
        otherwise="nudge",
    )
    assert steps["thanks"] == SetAttributes(
        name="thanks", source="rules/a.yaml:32", values={"segment.buyer": True}, go="done"
    )
    which = steps["which"]
    assert isinstance(which, Branch)
    assert [(way.when, go) for way, go in which.ways] == [
        (Clause("customer.tier", "eq", "gold"), "vip"),
        (Trigger(name="").when, "test"),
    ]
    assert steps["test"] == Split(
        name="test",
        source="rules/a.yaml:35",
        seed="s-1",
        variants={"a": 0.5, "b": 0.5},
        ways={"a": "vip", "b": "done"},
    )
    assert steps["done"] == End(name="done", source="rules/a.yaml:37", reason="finished")


def test_patterns_say_how_often_and_what_must_not_come() -> None:
    abandoned, keen = loaded("").moments
    assert [(one.event, one.absent) for one in abandoned.pattern] == [
        ("cart_add", False),
        ("purchase", True),
    ]
    assert abandoned.within == 2 * HOUR
    visit, purchase, twice = keen.pattern
    assert visit == Element(
        event="visit",
        when=Clause("event.page", "eq", "prices"),
        at_least=3,
        at_most=3,
        source="rules/a.yaml:12",
        clause_sources=("rules/a.yaml:12",),
    )
    assert purchase.absent and purchase.when == Clause("event.amount", "gt", 10)
    assert (twice.event, twice.at_least, twice.at_most) == ("moment.abandoned", 2, None)


def test_every_kind_of_start_is_read() -> None:
    def start(text: str) -> object:
        return (
            loaded(f"journeys: {{j: {{start: {text}, steps: {{a: {{ask: outbound}}}}}}}}")
            .journeys[0]
            .start
        )

    where = "rules/a.yaml:15"
    assert start("{moment: abandoned}") == Trigger(name="", source=where, event="moment.abandoned")
    assert start("{segment: vip}") == SegmentStart(name="", source=where, segment="vip")
    assert start('{date: customer.birthday, at: "09:00", before: 7d}') == DateStart(
        name="", source=where, field="customer.birthday", minute=540, shift=-7 * DAY
    )
    weekly = start('{schedule: "0 9 * * mon", audience: {when: {customer.tier: gold}}}')
    assert isinstance(weekly, ScheduleStart)
    assert (weekly.schedule, weekly.when) == ("0 9 * * mon", Clause("customer.tier", "eq", "gold"))


@pytest.mark.parametrize(
    ("start", "again"),
    [
        ('{date: customer.birthday, at: "09:00", before: 7d}', 0),
        ('{schedule: "0 9 * * mon", audience: {when: {customer.tier: gold}}}', 0),
        ("{event: sign_up}", None),
        ("{moment: abandoned}", None),
        ("{segment: vip}", None),
        ("{when: {customer.tier: gold}}", None),
    ],
)
def test_a_date_and_a_schedule_start_each_time_and_anything_else_once(
    start: str, again: int | None
) -> None:
    """Unless `again` says otherwise."""
    text = f"journeys: {{j: {{start: {start}, %ssteps: {{a: {{ask: outbound}}}}}}}}"
    assert loaded(text % "").journeys[0].again == again
    assert loaded(text % "again: never, ").journeys[0].again is None
    assert loaded(text % "again: always, ").journeys[0].again == 0
    assert loaded(text % "again: 30d, ").journeys[0].again == 30 * DAY


def test_a_wait_for_a_weekday_that_its_calendar_does_not_have_gets_a_warning() -> None:
    text = """\
calendars: {feast: {dates: [2027-02-05]}}
journeys:
  a:
    start: {event: x}
    steps:
      day: {wait: {until: "09:00", on: [mon], in: feast}}
      hi: {ask: outbound}
"""
    messages = [one.message for one in load_files({"a.yaml": SHOP + text}).warnings]
    assert any("feast has no such weekday" in one for one in messages)
    friday = text.replace("mon", "fri")
    messages = [one.message for one in load_files({"a.yaml": SHOP + friday}).warnings]
    assert not any("such weekday" in one for one in messages)


def test_journeys_that_wait_for_each_other_are_refused() -> None:
    asks = "steps: {hi: {ask: outbound}}"
    text = f"""\
journeys:
  a: {{start: {{event: x}}, when: {{journey.b.step: hi}}, {asks}}}
  b: {{start: {{when: {{journey.a.since: {{exists: true}}}}}}, {asks}}}
  c: {{start: {{event: x}}, when: {{any: [{{journey.a.step: hi}}, {{customer.vip: true}}]}}, {asks}}}
"""
    (error,) = load_files({"a.yaml": SHOP + text}).errors
    assert error.message.endswith("each waits for the next to be under way: a → b → a")
    assert error.line == 16


def test_a_wait_for_another_step_of_the_same_run_is_refused() -> None:
    steps = "{hi: {ask: outbound}, ok: {wait_for: {when: {journey.a.step: hi}, within: 1d}}}"
    text = f"journeys: {{a: {{start: {{event: x}}, steps: {steps}}}}}\n"
    (error,) = load_files({"a.yaml": SHOP + text}).errors
    assert 'step "ok" of journey "a" waits for itself' in error.message
    several = text.replace("start:", "key: event.id, start:")
    assert not load_files({"a.yaml": SHOP + several}).errors


@pytest.mark.parametrize("reason", sorted((set(get_args(EndReason)) | REFUSALS) - {"finished"}))
def test_no_end_can_have_the_name_of_what_ends_or_refuses_runs(reason: str) -> None:
    text = WELCOME.replace("{end: finished}", f"{{end: {reason}}}")
    found = [one.code for one in load_files({"a.yaml": SHOP + text}).diagnostics]
    assert "bad-name" in found


def test_a_placement_that_nobody_delivers_gets_one_warning_however_many_steps_ask_there() -> None:
    steps = ", ".join(f"s{number}: {{ask: outbound}}" for number in range(5))
    text = "".join(f"  {name}: {{start: {{event: x}}, steps: {{{steps}}}}}\n" for name in "ab")
    shop = SHOP.replace(", delivery: gateway", "")
    found = load_files({"a.yaml": f"{shop}journeys:\n{text}"}).warnings
    assert [one.code for one in found].count("undelivered-ask") == 1


def test_for_a_goal_of_two_events_no_condition_is_offered_that_ends_runs_at_once() -> None:
    text = (
        "journeys: {j: {start: {event: x}, %s: [{event: a}, {event: b}], steps: {a: {wait: 1h}}}}"
    )
    for key, offered in (("goal", True), ("stop", False)):
        (error,) = load_files({"a.yaml": SHOP + text % key}).errors
        assert error.hint.startswith("name one event") and "days_since" not in error.hint
        assert ("stop: {event: …}" in error.hint) == offered
