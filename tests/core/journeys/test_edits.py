"""What each kind of edit of a rule file does to the runs that are under way."""

from __future__ import annotations

from typing import Any

import pytest

from decision.core.conditions import Clause, Not
from decision.core.journeys.definition import (
    Branch,
    End,
    Journey,
    SetAttributes,
    Split,
    Trigger,
    Wait,
    WaitFor,
    WaitUntil,
    WaitUntilDate,
)
from tests.core.journeys.small import DAY, HOUR, MONDAY, Life, ask, journey, journeys_of

HELLO, PAUSE, MORE = ask("hello"), Wait(name="pause", lasts=10 * DAY), ask("more")
BUY = Trigger(name="", event="buy")
BEFORE = journey(HELLO, PAUSE, MORE, key="event.cart")


def edited(*steps: Any, **parts: Any) -> Journey:
    return journey(*(steps or (HELLO, PAUSE, MORE)), **{"key": "event.cart", **parts})


def on(day: int) -> int:
    return MONDAY + day * DAY


VIP = Clause("customer.vip", "eq", True)
ASKED = [(on(10), "more")]
NOTHING: list[tuple[int, str]] = []

TABLE: dict[str, tuple[tuple[Journey, ...], list[tuple[int, str]], str]] = {
    # edit: (the journeys after it, what is asked then, why the run ended)
    "nothing": ((BEFORE,), ASKED, "finished"),
    "a longer wait applies to those who enter it afterwards": (
        (edited(HELLO, Wait(name="pause", lasts=30 * DAY), MORE),),
        ASKED,
        "finished",
    ),
    "a shorter wait too": (
        (edited(HELLO, Wait(name="pause", lasts=DAY), MORE),),
        ASKED,
        "finished",
    ),
    "a wait of another kind too": (
        (edited(HELLO, WaitUntil(name="pause", minute=540), MORE),),
        ASKED,
        "finished",
    ),
    "a wait that becomes a wait for an event: its time is over": (
        (edited(HELLO, WaitFor(name="pause", trigger=BUY, within=DAY, then="hello"), MORE),),
        ASKED,
        "finished",
    ),
    "a wait that becomes an ask asks when the wait is over": (
        (edited(HELLO, ask("pause"), MORE),),
        [(on(10), "pause"), (on(10), "more")],
        "finished",
    ),
    "a wait that becomes an end ends then": (
        (edited(HELLO, End(name="pause", reason="enough"), MORE),),
        NOTHING,
        "enough",
    ),
    "a step added before is not gone back to": (
        (edited(ask("new"), HELLO, PAUSE, MORE),),
        ASKED,
        "finished",
    ),
    "a step added after is done": (
        (edited(HELLO, PAUSE, ask("new"), MORE),),
        [(on(10), "new"), (on(10), "more")],
        "finished",
    ),
    "a step added at the end is done": (
        (edited(HELLO, PAUSE, MORE, ask("last")),),
        [*ASKED, (on(10), "last")],
        "finished",
    ),
    "a wait added after is waited": (
        (edited(HELLO, PAUSE, Wait(name="rest", lasts=DAY), MORE),),
        [(on(11), "more")],
        "finished",
    ),
    "steps in another order: what follows is the new order's": (
        (edited(MORE, HELLO, PAUSE),),
        NOTHING,
        "finished",
    ),
    "the step after is removed": ((edited(HELLO, PAUSE),), NOTHING, "finished"),
    "the step of the run is removed": ((edited(HELLO, MORE),), NOTHING, "step_removed"),
    "the step of the run is removed and moved": (
        (edited(HELLO, MORE, moved={"pause": "more"}),),
        ASKED,
        "finished",
    ),
    "a wait gets another name: it goes on as it was": (
        (edited(HELLO, Wait(name="rest", lasts=10 * DAY), MORE, moved={"pause": "rest"}),),
        ASKED,
        "finished",
    ),
    "moved over two renamings": (
        (edited(HELLO, ask("rest"), MORE, moved={"pause": "break", "break": "rest"}),),
        [(on(10), "rest"), (on(10), "more")],
        "finished",
    ),
    "moved in a circle, or to what is not there": (
        (edited(HELLO, MORE, moved={"pause": "break", "break": "pause"}),),
        NOTHING,
        "step_removed",
    ),
    "the journey is removed": ((), NOTHING, "journey_removed"),
    "the journey has another name": (
        (edited(name="other"),),
        NOTHING,
        "journey_removed",
    ),
    "another start, when, key and again: the run goes on": (
        (edited(start=BUY, when=VIP, key=None, again=None),),
        ASKED,
        "finished",
    ),
    "a stop that holds already ends it at its next step": (
        (edited(stop=Trigger(name="", when=Not(VIP))),),
        NOTHING,
        "stopped",
    ),
    "a goal of an event waits for the event": (
        (edited(goal=Trigger(name="", event="buy")),),
        ASKED,
        "finished",
    ),
    "another place to go to": (
        (edited(HELLO, Wait(name="pause", lasts=1, go="end"), MORE, End(name="end", reason="e")),),
        NOTHING,
        "e",
    ),
    "a branch after it, whose conditions change": (
        (
            edited(
                HELLO,
                PAUSE,
                Branch(name="which", ways=((Trigger(name="", when=VIP), "more"),), go="end"),
                MORE,
                End(name="end", reason="enough"),
            ),
        ),
        NOTHING,
        "enough",
    ),
    "a split after it, with other shares": (
        (
            edited(
                HELLO,
                PAUSE,
                Split(name="s", seed="s", variants={"a": 0.0, "b": 1.0}, ways={"b": "more"}, go="e"),
                End(name="e", reason="enough"),
                MORE,
            ),
        ),
        ASKED,
        "finished",
    ),
    "a loop without a wait": (
        (
            edited(
                HELLO, PAUSE, SetAttributes(name="more", values={"x": 1}, go="again"),
                SetAttributes(name="again", values={"x": 2}, go="more"),
            ),
        ),
        NOTHING,
        "loop",
    ),
}  # fmt: skip


@pytest.mark.parametrize("edit", TABLE)
def test_an_edit_applies_from_the_next_step_on_and_no_run_stays_for_ever(edit: str) -> None:
    """The run waits in `pause`, from Monday on, for ten days; on the second the file is edited."""
    journeys, asked, reason = TABLE[edit]
    life = Life(journeys_of(BEFORE))
    life.event("go")
    life.pass_(DAY)
    assert [run.step for run in life.runs] == ["pause"]
    life.asked.clear()
    life.journeys = journeys_of(*journeys, journey(HELLO, name="besides", start=BUY))
    life.event("see")
    life.change(city="Kyoto")
    life.pass_(60 * DAY)
    assert (life.asked, life.ended, life.runs) == (asked, [reason], [])


def test_a_goal_that_is_added_ends_runs_as_soon_as_it_is_reached() -> None:
    life = Life(journeys_of(BEFORE))
    life.event("go")
    life.pass_(DAY)
    life.journeys = journeys_of(edited(goal=BUY))
    life.event("buy")
    assert life.ended == ["goal"]


def test_a_removed_step_does_not_wait_for_its_event_any_more() -> None:
    wait = WaitFor(name="bought", trigger=BUY, within=DAY, then="more")
    life = Life(journeys_of(journey(wait, HELLO, MORE)))
    life.event("go")
    life.step()
    life.journeys = journeys_of(journey(HELLO, MORE))
    life.event("buy")
    life.pass_(2 * DAY)
    assert (life.asked, life.ended) == ([], ["step_removed"])


@pytest.mark.parametrize("bought", [True, False])
def test_a_wait_that_was_renamed_still_waits_for_its_event(bought: bool) -> None:
    def waiting(name: str, **parts: Any) -> Journey:
        wait = WaitFor(name=name, trigger=BUY, within=10 * DAY, then="more", otherwise="hello")
        return journey(
            wait, ask("hello", go="over"), MORE, End(name="over", reason="finished"), **parts
        )

    life = Life(journeys_of(waiting("bought")))
    life.event("go")
    life.step()
    life.journeys = journeys_of(waiting("purchased", moved={"bought": "got", "got": "purchased"}))
    life.pass_(DAY)
    if bought:
        life.event("buy")
    life.pass_(60 * DAY)
    assert life.asked == [(on(1), "more") if bought else (on(10), "hello")]


def test_a_wait_that_was_renamed_follows_the_date_that_it_waits_for() -> None:
    def dated(name: str, **parts: Any) -> Journey:
        wait = WaitUntilDate(name=name, field="customer.due", minute=540)
        return journey(wait, MORE, **parts)

    life = Life(journeys_of(dated("due")), attributes={"due": "2026-12-20"})
    life.event("go")
    life.step()
    life.journeys = journeys_of(dated("day", moved={"due": "day"}))
    life.change(due="2026-12-01")
    life.pass_(60 * DAY)
    assert life.asked == [(on(8) + 9 * HOUR, "more")]


def test_the_same_file_again_changes_no_schedule() -> None:
    """Each time that a file is saved, a policy is compiled anew."""
    life = Life(journeys_of(BEFORE))
    life.event("go")
    life.step()
    for _ in range(5):
        life.pass_(HOUR)
        life.journeys = journeys_of(BEFORE)
        life.event("see")
    life.pass_(60 * DAY)
    assert life.asked == [(MONDAY, "hello"), (on(10), "more")]


def test_a_journey_that_is_put_back_does_not_start_again_for_who_had_it() -> None:
    once = journey(HELLO, again=None)
    life = Life(journeys_of(once))
    for journeys in (journeys_of(once), journeys_of(journey(MORE, name="b")), journeys_of(once)):
        life.journeys = journeys
        life.event("go")
        life.pass_(DAY)
    assert [name for _, name in life.asked] == ["hello", "more"]
