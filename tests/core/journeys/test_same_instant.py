"""What an event does at the very instant at which a wait, or a moment, ends."""

from __future__ import annotations

from decision.core.journeys.definition import Element, Moment, Trigger, WaitFor
from decision.core.journeys.moments import Moments, Partials
from tests.core.journeys.small import HOUR, MONDAY, Life, ask, journey, journeys_of


def test_an_event_at_the_end_of_a_wait_for_still_counts() -> None:
    bought = Trigger(name="", event="purchase")
    wait = WaitFor(name="w", trigger=bought, within=HOUR, then="yes", otherwise="no")
    for late, expected in ((0, "yes"), (1, "no")):
        steps = (wait, ask("no", go="end"), ask("yes"), ask("end"))
        life = Life(journeys_of(journey(*steps)), MONDAY)
        life.event("go")
        life.step()
        life.now += HOUR + late
        life.event("purchase")
        life.step()
        assert life.asked[0][1] == expected


def test_an_event_at_the_end_of_a_moment_is_too_late() -> None:
    elements = (Element(event="cart_add"), Element(event="purchase", absent=True))
    for early, expected in ((0, 1), (1, 0)):
        moments = Moments([Moment(name="left", within=HOUR, pattern=elements)])
        partials: Partials = {}
        moments.observe(partials, "cart_add", "e-1", {}, 0, 0)
        at = HOUR - early
        happened = moments.observe(partials, "purchase", "e-2", {}, at, at)
        assert len([*happened, *moments.expire(partials, HOUR)]) == expected
