"""Whatever happens, journeys do what the oracle does, whichever way the clock jumps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.conditions import ALWAYS, Clause, Condition
from decision.core.journeys.definition import (
    Ask,
    Branch,
    End,
    Journey,
    SetAttributes,
    Trigger,
    Wait,
    WaitFor,
    WaitUntil,
)
from tests.core.journeys.oracle import World
from tests.core.journeys.small import DAY, HOUR, MINUTE, MONDAY, Life, journeys_of

NAMES = ("s0", "s1", "s2", "s3", "s4")
KINDS = ("go", "buy", "see")
spans = st.sampled_from((MINUTE, HOUR, 2 * HOUR, 22 * HOUR, DAY, 3 * DAY))


def conditions(family: str) -> st.SearchStrategy[Condition]:
    names = st.sampled_from(("x", "y"))
    return st.just(ALWAYS) | st.builds(
        lambda name, value: Clause(f"{family}.{name}", "eq", value), names, st.booleans()
    )


def events(when: st.SearchStrategy[Condition]) -> st.SearchStrategy[Trigger]:
    return st.builds(Trigger, name=st.just(""), event=st.sampled_from(KINDS), when=when)


states = st.builds(
    Trigger, name=st.just(""), when=conditions("customer").filter(lambda w: w != ALWAYS)
)


def often(usual: Any, other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Three times of four the usual value."""
    return st.sampled_from((True, True, True, False)).flatmap(
        lambda usually: st.just(usual) if usually else other
    )


def steps(names: tuple[str, ...]) -> st.SearchStrategy[Any]:
    to = st.sampled_from(names)
    go = st.none() | to

    def one(name: str) -> st.SearchStrategy[Any]:
        own = {"name": st.just(name), "go": often(None, to)}
        asks = st.builds(Ask, **own, placement=st.just("p"), hold=st.just(0) | spans)
        return st.one_of(
            asks,
            asks,
            st.builds(Wait, **own, lasts=spans),
            st.builds(
                WaitUntil,
                **own,
                minute=st.sampled_from((0, 540, 600, 1439)),
                weekdays=st.sampled_from(((), (0,), (2, 5))),
            ),
            st.builds(
                WaitFor,
                **own,
                trigger=st.builds(Trigger, name=st.just(""), event=st.sampled_from(KINDS)),
                within=spans,
                then=go,
                otherwise=go,
            ),
            st.builds(
                Branch,
                **own,
                ways=st.lists(
                    st.tuples(
                        st.builds(Trigger, name=st.just(""), when=conditions("event"))
                        | st.builds(Trigger, name=st.just(""), when=conditions("customer")),
                        to,
                    ),
                    max_size=2,
                ).map(tuple),
            ),
            st.builds(
                SetAttributes,
                **own,
                values=st.dictionaries(st.sampled_from("xy"), st.booleans(), min_size=1),
            ),
            st.builds(End, name=st.just(name), reason=st.just("enough"))
            if name == names[-1]
            else asks,
        )

    return st.tuples(*map(one, names))


def journey(name: str) -> st.SearchStrategy[Journey]:
    return st.builds(
        Journey,
        name=st.just(name),
        start=often(Trigger(name="", event="go"), events(conditions("event"))),
        steps=st.integers(2, 5).flatmap(lambda count: steps(NAMES[:count])),
        when=often(ALWAYS, conditions("customer")),
        key=st.none() | st.just("event.cart"),
        again=st.sampled_from((None, 0, HOUR, 3 * DAY)),
        goal=often(None, events(conditions("event")) | states),
        stop=often(None, events(conditions("event")) | states),
        skip_after=st.sampled_from((None, HOUR, DAY)),
    )


properties = st.fixed_dictionaries(
    {}, optional={"x": st.booleans(), "y": st.booleans(), "cart": st.sampled_from("ab")}
)
lateness = st.sampled_from((0, 0, 0, HOUR, DAY, DAY + 1, 365 * DAY))
acts = st.one_of(
    st.tuples(st.just("event"), st.just("go"), properties, st.just(0)),
    st.tuples(st.just("event"), st.sampled_from(KINDS), properties, lateness),
    st.tuples(st.just("change"), st.sampled_from("xy"), st.booleans()),
    st.tuples(st.just("pass"), spans | st.integers(0, 30).map(lambda n: n * MINUTE)),
    st.tuples(st.just("jump"), st.sampled_from((-HOUR, -5 * MINUTE, 5 * MINUTE, HOUR, 3 * DAY))),
    st.tuples(st.just("answer"), st.none() | st.sampled_from((0, HOUR, HOUR, 2 * DAY))),
)


class Both:
    """The same life twice."""

    def __init__(self, journeys: tuple[Journey, ...]) -> None:
        self.life = Life(journeys_of(*journeys))
        self.world = World(list(journeys), MONDAY)

    def act(self, act: tuple[Any, ...]) -> None:
        life, world = self.life, self.world
        match act:
            case ("event", kind, given, late):
                life.event(kind, life.now - late, **given)
                world.event(kind, given, world.now - late)
            case ("change", name, value):
                life.change(**{name: value})
                world.change({name: value})
            case ("pass", span):
                self.go_on(life.now + span)
            case ("jump", span):  # nobody looks meanwhile
                life.now += span
                world.now += span
            case ("answer", later):
                life.outcome = "selected" if later is None else "none"
                life.not_before = world.not_before = None if later is None else life.now + later
        if act[0] != "jump":
            life.step()
            world.settle()

    def go_on(self, end: int) -> None:
        self.life.until(end)
        world = self.world
        world.settle()
        while (wake := min(world.due(), default=end + 1)) <= end:
            world.now = max(world.now, wake)
            world.settle()
        world.now = max(world.now, end)

    def agree(self) -> None:
        life, world = self.life, self.world
        assert sorted(life.asks) == sorted(world.asks)
        skips = [(one.at, one.skipped) for one in life.log if one.skipped]
        assert sorted(skips) == sorted(world.skips)
        ends = [(one.at, one.journey, one.ended) for one in life.log if one.ended]
        assert sorted(ends) == sorted(world.ends)
        assert len(life.runs) == len(world.walkers)
        assert life.document.attributes == world.attributes


some_journeys = st.tuples(journey("one")) | st.tuples(journey("one"), journey("two"))


def check(journeys: tuple[Journey, ...], script: list[tuple[Any, ...]]) -> None:
    both = Both(journeys)
    both.act(("event", "go", {}, 0))
    for act in script:
        both.act(act)
        both.agree()
    both.go_on(both.life.now + 8 * DAY)
    both.agree()


@settings(max_examples=40, deadline=None)
@given(some_journeys, st.lists(acts, min_size=4, max_size=12))
def test_journeys_do_what_the_oracle_does(
    journeys: tuple[Journey, ...], script: list[tuple[Any, ...]]
) -> None:
    check(journeys, script)


@pytest.mark.soak
@settings(max_examples=1_000, deadline=None)
@given(some_journeys, st.lists(acts, min_size=10, max_size=40))
def test_journeys_do_what_the_oracle_does_in_long_lives(
    journeys: tuple[Journey, ...], script: list[tuple[Any, ...]]
) -> None:
    check(journeys, script)
