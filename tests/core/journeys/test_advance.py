"""A run goes through its steps, and ends for a reason."""

from __future__ import annotations

from typing import Any

from decision.core.conditions import Clause
from decision.core.journeys.definition import (
    Branch,
    End,
    Limits,
    SetAttributes,
    Split,
    Trigger,
    Wait,
    WaitFor,
    WaitUntil,
    WaitUntilDate,
)
from tests.core.journeys.small import DAY, HOUR, MONDAY, Life, ask, journey, journeys_of


def test_steps_run_in_file_order_until_one_waits() -> None:
    """A welcome series asks, waits, and asks again; then the run is finished."""
    life = Life(journeys_of(journey(ask("hello"), Wait(name="pause", lasts=2 * HOUR), ask("more"))))
    life.event("go")
    assert [run.step for run in life.runs] == ["hello"]
    life.pass_(DAY)
    assert life.asked == [(MONDAY, "hello"), (MONDAY + 2 * HOUR, "more")]
    assert life.ended == ["finished"]
    assert life.document.journeys is None


def test_a_branch_sees_the_event_that_started_the_run_and_what_was_set() -> None:
    steps = (
        SetAttributes(name="mark", values={"seen": True}),
        Branch(
            name="which",
            ways=(
                (Trigger(name="", when=Clause("event.sku", "eq", "rum")), "done"),
                (Trigger(name="", when=Clause("customer.seen", "eq", True)), "tea"),
            ),
        ),
        ask("other"),
        ask("tea"),
        End(name="done", reason="enough"),
    )
    life = Life(journeys_of(journey(*steps)))
    life.event("go", sku="tea")
    life.step()
    life.event("go", sku="rum")
    life.step()
    assert [step for _, step in life.asked] == ["tea"]
    assert life.ended == ["enough", "enough"]
    assert life.document.attributes == {"seen": True}


def test_an_awaited_event_moves_the_run_at_once_and_its_absence_at_the_end() -> None:
    steps = (
        WaitFor(
            name="bought",
            trigger=Trigger(name="", event="purchase"),
            within=22 * HOUR,
            then="thanks",
            otherwise="nudge",
        ),
        ask("nudge", go="end"),
        ask("thanks"),
        End(name="end", reason="done"),
    )
    life = Life(journeys_of(journey(*steps)))
    life.event("go")
    life.pass_(HOUR)
    life.event("purchase")
    life.step()
    life.event("go")
    life.pass_(DAY)
    assert life.asked == [(MONDAY + HOUR, "thanks"), (MONDAY + 23 * HOUR, "nudge")]


def test_goal_and_stop_end_a_run_in_the_middle_of_a_long_wait() -> None:
    one = journey(
        Wait(name="pause", lasts=30 * DAY),
        ask("late"),
        goal=Trigger(name="", event="purchase"),
        stop=Trigger(name="", when=Clause("customer.complaint", "eq", True)),
    )
    life = Life(journeys_of(one))
    life.event("go")
    life.pass_(DAY)
    life.event("purchase")
    assert life.ended == ["goal"]
    life.event("go")
    life.pass_(DAY)
    life.change(complaint=True)
    assert life.ended == ["goal", "stopped"]
    life.event("go")
    life.step()
    assert life.ended == ["goal", "stopped", "stopped"]
    assert life.asked == []


def test_each_ask_that_is_left_out_is_said() -> None:
    one = journey(Wait(name="pause", lasts=HOUR), ask("a"), ask("b"), ask("c"), skip_after=HOUR)
    life = Life(journeys_of(one))
    life.event("go")
    life.step()
    life.now += 3 * HOUR
    life.step()
    assert [one.skipped for one in life.log if one.skipped] == ["a", "b", "c"]
    assert (life.asked, life.ended) == ([], ["finished"])


def test_what_the_last_step_sets_may_reach_the_goal() -> None:
    steps = (SetAttributes(name="mark", values={"vip": True}),)
    goal = Trigger(name="", when=Clause("customer.vip", "eq", True))
    life = Life(journeys_of(journey(*steps, goal=goal)))
    life.event("go")
    life.step()
    assert life.ended == ["goal"]


def test_a_date_that_cannot_be_read_ends_the_run_and_never_falls_through() -> None:
    one = journey(WaitUntilDate(name="renewal", field="customer.renewal"), ask("now"))
    for value in ("tomorrow", 3, None, "2026-02-30"):
        life = Life(journeys_of(one), attributes={} if value is None else {"renewal": value})
        life.event("go")
        life.pass_(DAY)
        assert (life.ended, life.asked) == (["unreadable_date"], [])


def test_a_loop_without_a_wait_ends_as_a_loop() -> None:
    for steps in (
        (ask("a", go="a"),),
        (
            SetAttributes(name="a", values={"x": 1}),
            SetAttributes(name="b", values={"x": 2}, go="a"),
        ),
    ):
        life = Life(journeys_of(journey(*steps)))
        life.event("go")
        life.pass_(DAY)
        assert life.ended == ["loop"]
        assert len(life.asked) <= 100


def test_a_loop_with_a_wait_goes_on_every_day() -> None:
    steps = (WaitUntil(name="nine", minute=9 * 60), ask("tip", go="nine"))
    life = Life(journeys_of(journey(*steps)))
    life.event("go")
    life.pass_(3 * DAY)
    assert life.asked == [(MONDAY + day * DAY + 9 * HOUR, "tip") for day in range(3)]


def test_a_split_sends_a_customer_along_one_way_for_one_seed() -> None:
    steps = (
        Split(name="test", seed="s", variants={"a": 1.0, "b": 0.0}, ways={"a": "x", "b": "y"}),
        ask("y", go="end"),
        ask("x"),
        End(name="end", reason="done"),
    )
    life = Life(journeys_of(journey(*steps)))
    life.event("go")
    life.step()
    assert [step for _, step in life.asked] == ["x"]


def test_an_ask_is_repeated_while_only_time_is_in_the_way_for_up_to_hold() -> None:
    life = Life(journeys_of(journey(ask("hello", hold=DAY), ask("next"))))
    life.outcome, life.not_before = "none", MONDAY + 10 * HOUR
    life.event("go")
    life.step()
    assert [run.wake for run in life.runs] == [MONDAY + 10 * HOUR]
    life.not_before = MONDAY + 25 * HOUR
    life.pass_(10 * HOUR)
    assert [step for _, step in life.asked] == ["hello", "hello", "next"]
    assert life.ended == ["finished"]


def test_an_ask_that_is_too_late_is_left_out_and_said() -> None:
    one = journey(Wait(name="pause", lasts=HOUR), ask("hello"), skip_after=HOUR)
    life = Life(journeys_of(one))
    life.event("go")
    life.step()
    life.now += 2 * HOUR + 1
    life.step()
    assert life.asked == []
    assert [one.skipped for one in life.log if one.skipped] == ["hello"]


def test_who_waits_because_of_limits_is_asked_however_late_and_only_at_first() -> None:
    """What a run has waited for since is late as ever."""
    steps = (ask("hello"), Wait(name="pause", lasts=HOUR), ask("tip"))
    limits = Limits(starts=1, per=HOUR)
    life = Life(journeys_of(journey(*steps, skip_after=HOUR, limits=limits)))
    life.event("go")
    life.now += 2 * DAY
    life.step()
    assert [step for _, step in life.asked] == ["hello"]
    life.now += 3 * HOUR
    life.step()
    assert [step for _, step in life.asked] == ["hello"]
    assert [record.skipped for record in life.log if record.skipped] == ["tip"]


def test_journeys_that_start_each_other_without_a_wait_end_as_a_loop() -> None:
    def toggle(name: str, wanted: bool) -> Any:
        start = Trigger(name="", when=Clause("customer.on", "eq", not wanted))
        return journey(SetAttributes(name="set", values={"on": wanted}), name=name, start=start)

    life = Life(
        journeys_of(
            toggle("on", True),
            toggle("off", False),
            journey(SetAttributes(name="set", values={"on": True})),
        )
    )
    life.event("go")
    life.step()
    assert life.ended.count("loop") == 1
    assert len(life.ended) <= 102
    assert life.document.journeys is None


def in_a_circle(*between: Any) -> Life:
    """A life in which two journeys start each other, with steps between."""

    def toggle(name: str, wanted: bool) -> Any:
        start = Trigger(name="", when=Clause("customer.on", "eq", not wanted))
        steps = (*between, SetAttributes(name="set", values={"on": wanted}))
        return journey(*steps, name=name, start=start)

    first = journey(SetAttributes(name="set", values={"on": True}))
    life = Life(journeys_of(toggle("on", True), toggle("off", False), first))
    life.event("go")
    return life


def test_journeys_that_start_each_other_with_asks_between_end_as_a_loop_for_good() -> None:
    """Each ask is a commit of its own: what counts is how far a customer has come without a wait."""
    life = in_a_circle(ask("tip"))
    life.pass_(DAY)
    assert life.ended.count("loop") == 1
    assert len(life.asked) <= 50
    assert life.document.journeys is None


def test_journeys_that_start_each_other_with_a_wait_between_go_on() -> None:
    life = in_a_circle(Wait(name="pause", lasts=HOUR), ask("tip"))
    life.pass_(7 * DAY)
    assert len(life.asked) == 7 * 24
    assert "loop" not in life.ended


def test_journeys_that_let_each_other_go_on_end_as_a_loop() -> None:
    def waiting(name: str, other: str) -> Any:
        trigger = Trigger(name="", when=Clause(f"customer.{name}", "eq", True))
        wait = WaitFor(name="turn", trigger=trigger, within=9 * DAY, then="mine", otherwise="over")
        return journey(
            wait,
            SetAttributes(name="mine", values={name: False}),
            ask("tip"),
            SetAttributes(name="next", values={other: True}, go="turn"),
            End(name="over", reason="over"),
            name=name,
        )

    life = Life(journeys_of(waiting("a", "b"), waiting("b", "a")))
    life.event("go")
    life.step()
    life.change(a=True)
    life.step()
    assert life.ended == ["loop"]
    assert len(life.asked) <= 34
    life.pass_(9 * DAY)
    assert life.ended == ["loop", "over"]


def test_many_journeys_that_start_each_other_are_not_more_than_each_of_them_a_hundred_times() -> (
    None
):
    """Each sets all the others off."""
    names = "abcdef"

    def one(name: str) -> Any:
        off = SetAttributes(name="off", values={name: False})
        on = SetAttributes(name="on", values={other: True for other in names if other != name})
        start = Trigger(name="", when=Clause(f"customer.{name}", "eq", True))
        return journey(off, ask("tip"), on, name=name, start=start)

    life = Life(journeys_of(*map(one, names)))
    life.change(a=True)
    life.step()
    assert len(life.ended) <= 100 * len(names)
    assert life.document.journeys is None
