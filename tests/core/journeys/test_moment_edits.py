"""What each kind of edit of a moment does to what has begun of it: a row here for each in the docs."""

from __future__ import annotations

import pytest

from decision.core.conditions import Clause
from decision.core.journeys.definition import Element, Moment
from decision.core.journeys.moments import Moments, Partials
from tests.core.journeys.test_moments import events_of, moment_of

EDITED_AT = 50
TABLE = {
    # edit: (before, after, events before, events after, when it happens; None: it does not)
    "nothing": ("a !b", "a !b", "a@0", "", 100),
    "a shorter time that is not over": (("a !b", 100), ("a !b", 70), "a@0", "", 70),
    "a shorter time that is over: it happens, as of then": (
        ("a !b", 100),
        ("a !b", 20),
        "a@0",
        "",
        20,
    ),
    "a shorter time that is over, of one that needs more": (
        ("a b", 100),
        ("a b", 20),
        "a@0",
        "b@60",
        None,
    ),
    "a longer time": (("a !b", 100), ("a !b", 200), "a@0", "", 200),
    "a longer time, of one that needs more": (("a b", 70), ("a b", 200), "a@0", "b@90", 90),
    "another event at a place to come": ("a b", "a c", "a@0", "b@60 c@70", 70),
    "another event at a place that has come": ("a b", "c b", "a@0", "b@60", 60),
    "fewer times are needed: there were enough": ("a{3}", "a{2}", "a@0 a@1", "", 1),
    "fewer times, and more are to come": ("a{3} b", "a{2} b", "a@0 a@1", "b@60", 60),
    "more times": ("a{2}", "a{3}", "a@0", "a@60 a@61", 61),
    "an element more at the end": ("a b", "a b c", "a@0", "b@60 c@61", 61),
    "an element more at the end of one that has happened": (
        "a b",
        "a b c",
        "a@0 b@1",
        "c@60",
        None,
    ),
    "the last element is gone: the others have come": ("a b c", "a b", "a@0 b@1", "", 1),
    "the last element is gone, and another one is to come": ("a b c", "a b", "a@0", "b@60", 60),
    "what had come last is gone": ("a b c d", "a b", "a@0 b@1 c@2", "", None),
    "an element more before counts by its place": ("a b", "x a b", "a@0", "a@60 b@61", 61),
    "`not` is added: from then on": ("a c", "a !b c", "a@0 b@1", "c@60", 60),
    "`not` is added, and comes": ("a c", "a !b c", "a@0", "b@55 c@60", None),
    "`not` is gone": ("a !b c", "a c", "a@0", "b@55 c@60", 60),
    "`not` is gone at the end: it happens at once": ("a !b", "a", "a@0", "", 0),
    "`not` is added at the end": ("a c", "a c !b", "a@0", "c@60", 100),
}


def lived(before: Moment, after: Moment | None, early: str, late: str) -> list[int]:
    """When the moment happens; in the meantime it is edited, and everybody is looked at."""
    partials: Partials = {}
    moments = Moments((before,))
    found = []
    for came in events_of(early):
        found += moments.observe(partials, came.type, came.id, {}, came.at, came.at)
    assert not moments.expire(partials, EDITED_AT)
    moments = Moments(() if after is None else (after,))
    wake = moments.next_end(partials)
    if wake is not None and wake <= EDITED_AT:
        found += moments.expire(partials, EDITED_AT)
    for came in events_of(late):
        found += moments.observe(partials, came.type, came.id, {}, came.at, came.at)
    while (wake := moments.next_end(partials)) is not None:
        due = moments.expire(partials, wake)
        assert due, wake
        found += due
    moments.expire(partials, 10_000)
    assert not partials
    return [one.at for one in found]


@pytest.mark.parametrize("edit", TABLE)
def test_an_edit_of_a_moment_holds_for_what_has_begun(edit: str) -> None:
    before, after, early, late, at = TABLE[edit]
    first, second = (
        moment_of(*one) if isinstance(one, tuple) else moment_of(one, 100)
        for one in (before, after)
    )
    found = lived(first, second, early, late)
    had = edit.endswith("has happened")
    assert found == ([1] if had else [] if at is None else [at])


def test_a_condition_that_changes_holds_for_later_events() -> None:
    """What has come counts as it did."""

    def moment(sku: str) -> Moment:
        tea = Element(event="a", when=Clause("event.sku", "eq", sku))
        return Moment(name="m", within=100, pattern=(tea, Element(event="b", absent=True)))

    partials: Partials = {}
    Moments((moment("tea"),)).observe(partials, "a", "a1", {"sku": "tea"}, 0, 0)
    moments = Moments((moment("pot"),))
    moments.observe(partials, "a", "a2", {"sku": "tea"}, 60, 60)
    moments.observe(partials, "a", "a3", {"sku": "pot"}, 70, 70)
    assert [one.first_id for one in moments.expire(partials, 500)] == ["a1", "a3"]


def test_a_moment_that_is_removed_or_renamed_is_forgotten() -> None:
    assert lived(moment_of("a !b", 100), None, "a@0", "") == []
