"""Moments against Flink CEP's own tests, and against every way to match that there is."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from decision.core.clock import DAY
from decision.core.conditions import Clause
from decision.core.journeys.definition import Element, Moment
from decision.core.journeys.moments import Happened, Moments
from decision.core.journeys.state import (
    MOST_KEPT_IN_ALL,
    MOST_PARTIALS,
    TOO_LATE,
    Partial,
    size_kept,
)

FLINK: dict[str, dict[str, Any]] = {
    f"{suite}.{name}": case
    for suite, cases in YAML(typ="safe").load(Path(__file__).with_name("flink_cep.yaml")).items()
    for name, case in cases.items()
}


class Came(NamedTuple):
    """One event: its id, which begins with its type, and its time."""

    id: str
    at: int

    @property
    def type(self) -> str:
        return self.id.rstrip("0123456789")


def moment_of(pattern: str, within: int = 1000) -> Moment:
    """A moment as the cases write it: `a !b c{2,3} d+`."""
    found = []
    for word in pattern.split():
        parts = re.fullmatch(r"(!?)([a-z]+)(?:\{(\d+)(?:,(\d+))?\}|(\+))?", word)
        assert parts is not None, word
        absent, event, least, most, more = parts.groups()
        at_least = int(least or 1)
        found.append(
            Element(
                event=event,
                absent=bool(absent),
                at_least=at_least,
                at_most=None if more else int(most or at_least),
            )
        )
    return Moment(name="m", pattern=tuple(found), within=within)


def events_of(text: str) -> list[Came]:
    return [Came(name, int(at)) for name, at in (one.split("@") for one in text.split())]


def observed(moment: Moment, events: list[Came]) -> list[Happened]:
    """What happens as the events come one by one, time going on with them."""
    moments, partials, found = Moments([moment]), {}, []
    for event in events:
        found += moments.expire(partials, event.at)
        found += moments.observe(partials, event.type, event.id, {}, event.at, event.at)
    found += moments.expire(partials, 10**15)
    assert not partials or not moment.pattern[-1].absent
    return found


def every_match(moment: Moment, events: list[Came]) -> list[tuple[int, list[int]]]:
    """(when, places of the events taken) of each way to match, tried out to its end."""
    guards: dict[int, list[str]] = {}
    elements: list[Element] = []
    for element in moment.pattern:
        if element.absent:
            guards.setdefault(len(elements) - 1, []).append(element.event)
        else:
            elements.append(element)
    found: list[tuple[int, list[int]]] = []

    def follow(which: int, times: int, taken: list[int]) -> None:
        end = events[taken[0]].at + moment.within
        complete = which == len(elements) - 1 and times >= elements[which].at_least
        if complete and not moment.pattern[-1].absent:
            found.append((events[taken[-1]].at, taken))
            return
        for place in range(taken[-1] + 1, len(events)):
            event = events[place]
            if event.at >= end:
                break
            if event.type in guards.get(which, ()):
                return
            most = elements[which].at_most
            again = elements[which].event == event.type and (most is None or times < most)
            onward = (
                times >= elements[which].at_least
                and which + 1 < len(elements)
                and elements[which + 1].event == event.type
            )
            if again:
                follow(which, times + 1, [*taken, place])
            if onward:
                follow(which + 1, 1, [*taken, place])
            if again or onward:
                return
        if complete:
            found.append((end, taken))

    for place, event in enumerate(events):
        if event.type == elements[0].event:
            follow(0, 1, [place])
    return found


def expected(moment: Moment, events: list[Came]) -> list[tuple[int, list[int]]]:
    """Those of every match that stay: one that began before the last one's end is skipped."""
    by_time = moment.pattern[-1].absent
    past, kept = -1, []

    def order(match: tuple[int, list[int]]) -> tuple[int, int, int]:
        when, taken = match
        return when, -1 if by_time else taken[-1], taken[0]

    for when, taken in sorted(every_match(moment, events), key=order):
        if taken[0] > past:
            kept.append((when, taken))
            past = taken[-1]
    return kept


@pytest.mark.parametrize("name", FLINK)
def test_flink_says_the_same(name: str) -> None:
    """Each case happens as in Flink's own tests: the same events, in the same order."""
    case = FLINK[name]
    moment = moment_of(case["pattern"], case.get("within", 1000))
    events = events_of(case["events"])
    wanted = case.get("happens", case["matches"])
    assert set(wanted) <= set(case["matches"])
    kept = expected(moment, events)
    assert [" ".join(events[place].id for place in taken) for _, taken in kept] == wanted
    assert [one.first_id for one in observed(moment, events)] == [one.split()[0] for one in wanted]


words = st.sampled_from(["a", "b", "a{2}", "b{1,2}", "a+", "c"])
patterns = st.builds(
    lambda first, rest: " ".join([first, *rest]),
    words,
    st.lists(st.one_of(words, st.sampled_from(["!a", "!b", "!c"])), max_size=4),
)
streams = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 4)), max_size=14)


@given(patterns, st.integers(1, 20), streams)
def test_it_is_as_every_way_to_match_tried_out(
    pattern: str, within: int, stream: list[tuple[str, int]]
) -> None:
    """What happens, and when, is what is left of all matches once the skipped ones are gone."""
    moment, at, events = moment_of(pattern, within), 0, []
    for place, (kind, later) in enumerate(stream):
        at += later
        events.append(Came(f"{kind}{place}", at))
    kept = [(when, events[taken[0]].id) for when, taken in expected(moment, events)]
    assert sorted((one.at, one.first_id) for one in observed(moment, events)) == sorted(kept)


@given(patterns, streams, st.randoms(use_true_random=False))
def test_it_may_be_looked_at_at_any_time(
    pattern: str, stream: list[tuple[str, int]], chance: random.Random
) -> None:
    """Whether time is looked at often or seldom, the same happens."""
    moment = moment_of(pattern, 7)
    rare, often = Moments([moment]), Moments([moment])
    seldom: dict[str, list[Partial]] = {}
    always: dict[str, list[Partial]] = {}
    once: list[Happened] = []
    again: list[Happened] = []
    at = 0
    for place, (kind, later) in enumerate(stream):
        for _ in range(later):
            at += 1
            if chance.random() < 0.5:
                again += often.expire(always, at)
        again += often.expire(always, at)
        once += rare.observe(seldom, kind, f"e{place}", {}, at, at)
        again += often.observe(always, kind, f"e{place}", {}, at, at)
        once += rare.expire(seldom, at) if chance.random() < 0.3 else []
    once += rare.expire(seldom, 10**12)
    again += often.expire(always, 10**12)
    assert sorted((one.at, one.first_id) for one in once) == sorted(
        (one.at, one.first_id) for one in again
    )


def test_a_condition_reads_the_event_and_its_first_properties_stay() -> None:
    big = Element(event="cart_add", when=Clause("event.price", "gte", 100))
    moment = Moment(
        name="big-cart", pattern=(big, Element(event="purchase", absent=True)), within=9
    )
    moments, partials = Moments([moment]), {}
    moments.observe(partials, "cart_add", "e1", {"price": 5}, 0, 0)
    assert moments.next_end(partials) is None
    moments.observe(partials, "cart_add", "e2", {"price": 500, "sku": "x"}, 1, 1)
    assert moments.next_end(partials) == 10
    [one] = moments.expire(partials, 10)
    assert (one.properties, one.at) == ({"price": 500, "sku": "x"}, 10)
    assert not partials


def test_an_event_that_comes_late_counts_at_its_own_time() -> None:
    """A purchase that is reported after the hour it was made in still undoes the abandoned cart."""
    moments, partials = Moments([moment_of("a !b", 10)]), {}
    moments.observe(partials, "a", "e1", {}, 100, 100)
    moments.observe(partials, "b", "e2", {}, 105, 115)
    assert moments.expire(partials, 115) == []
    moments.observe(partials, "a", "e3", {}, 200, 200)
    moments.observe(partials, "b", "e4", {}, 199, 201)  # bought before
    assert [one.first_id for one in moments.expire(partials, 210)] == ["e3"]


def test_an_event_a_year_late_begins_nothing() -> None:
    moments, partials = Moments([moment_of("a !b", 10)]), {}
    moments.observe(partials, "a", "e1", {}, 0, TOO_LATE + 1)
    assert not partials
    moments.observe(partials, "a", "e1", {}, 1, TOO_LATE + 1)
    assert partials


def test_what_a_customer_keeps_is_bounded() -> None:
    """Of a thousand begun, the latest stay."""
    moments, partials = Moments([moment_of("a !b", 10_000)]), {}
    for number in range(1000):
        moments.observe(partials, "a", f"e{number}", {"n": number}, number, number)
    assert [one.first_at for one in partials["m"]] == list(range(1000 - MOST_PARTIALS, 1000))


def test_the_oldest_is_forgotten_also_where_it_came_late() -> None:
    moments, partials = Moments([moment_of("a !b", 10_000)]), {}
    for number in range(10, 10 + MOST_PARTIALS - 1):
        moments.observe(partials, "a", f"e{number}", {}, number, number)
    for late in (5, 7, 8):
        moments.observe(partials, "a", f"e{late}", {}, late, 100)
    assert [one.first_at for one in partials["m"]] == [8, *range(10, 10 + MOST_PARTIALS - 1)]


def test_a_pattern_that_was_edited_forgets_what_no_longer_fits() -> None:
    longer, shorter = Moments([moment_of("a b c d")]), Moments([moment_of("a b")])
    partials: dict[str, list[Partial]] = {}
    for place, kind in enumerate("abc"):
        longer.observe(partials, kind, f"e{place}", {}, place, place)
    assert partials["m"][0].element == 2
    assert shorter.observe(partials, "b", "e9", {}, 9, 9) == []
    assert not partials
    longer.observe(partials, "a", "e10", {}, 10, 10)
    Moments([]).expire(partials, 11)
    assert not partials


def test_all_that_partial_matches_keep_of_events_is_bounded_and_the_oldest_go_first() -> None:
    pattern = (Element(event="a"), Element(event="b", absent=True))
    moments = Moments([Moment(name="m", pattern=pattern, within=DAY)])
    partials: dict[str, list[Partial]] = {}
    for number in range(60):
        moments.observe(partials, "a", f"e-{number}", {"note": "x" * 1_900}, number, number)
    assert size_kept(partials["m"]) <= MOST_KEPT_IN_ALL < size_kept(partials["m"]) + 2_000
    assert partials["m"][-1].first_id == "e-59"
