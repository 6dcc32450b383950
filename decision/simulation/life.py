"""What the customers of the simulated shop do, one after the other, at which time.

Each life is a generator of times and deeds. The crowd comes as often as its history says, looks,
fills baskets, and buys more or less often; the cast, a few people with names, does what shows how
journeys go by. A shop with the same seed and beginning has the same lives, whatever it sends, until
somebody answers a message.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta, tzinfo
from heapq import heappop, heappush
from random import Random
from typing import Final

from decision.core import calendar
from decision.core.clock import DAY, HOUR, MINUTE, SECOND, from_micros, to_micros
from decision.core.schema import DecisionRequest
from decision.simulation.cast import SHANGHAI, cast_of
from decision.simulation.deeds import (
    CLICKED,
    OUTBOUND,
    Deed,
    Living,
    answer,
    event,
    shown,
    visit,
)
from decision.simulation.people import ShopCustomer, draw_customer

_CLICKS: Final = 0.1
"""Of those who do not do what a message is for."""
_ASKED: Final = 0.25
"""Of all customers, about whom the shop asks in the evening."""
_FIRST_OF_THE_DAY, _LAST_OF_THE_DAY, _EVENING = 8, 22, 19

Answers = Callable[[str, str, str, int], str | None]
"""The type of the event by which a customer responds to a message on a channel at a time."""


class Life:
    """All lives of a shop from `begins` on, in microseconds; `seed` and number make a customer.

    `numbers` are of the customers who live. `answers` tells who responds to what; left out, nobody.
    """

    def __init__(
        self, seed: int, numbers: range, begins: int, answers: Answers = lambda *about: None
    ) -> None:
        self._queue: list[tuple[int, int, Deed, Living]] = []
        self._begun = 0
        self._draw = Random(f"{seed}/answers").random
        self._answers = answers
        self.cast = {one.row.customer_id: one for one in cast_of(begins)}
        crowd = [draw_customer(seed, number, begins) for number in numbers]
        for number, who in zip(numbers, crowd, strict=True):
            self._begin(_crowd(who, begins, Random(f"{seed}/life/{number}").random))
        if crowd:
            self._begin(_newcomers(begins, len(crowd), Random(f"{seed}/newcomers").random))
            self._begin(_evenings(crowd, begins, Random(f"{seed}/evenings").random))
        for person in self.cast.values():
            self._begin(person.does(begins))

    @property
    def next_at(self) -> int | None:
        """When something is done next."""
        return self._queue[0][0] if self._queue else None

    def take(self) -> Deed:
        """What is done next; whoever does it goes on living."""
        _, _, deed, living = heappop(self._queue)
        self._begin(living)
        return deed

    def received(
        self, customer_id: str, decision_id: str, message: str, channel: str, now: int
    ) -> None:
        """A message has reached a customer, who may answer it."""
        about = (customer_id, decision_id, message)
        if (person := self.cast.get(customer_id)) is not None:
            if person.buys:
                self._begin(answer(*about, now + 30 * MINUTE, "purchase"))
            return
        at = now + int((5 + 35 * self._draw()) * MINUTE)
        if (kind := self._answers(customer_id, message, channel, now)) is not None:
            self._begin(answer(*about, at, kind))
        elif self._draw() < _CLICKS:
            self._begin(answer(*about, at, CLICKED))

    def saw(self, customer_id: str, decision_id: str, message: str, channel: str, now: int) -> None:
        """A customer was shown a message, and may answer it."""
        about = (customer_id, decision_id, message)
        self._begin(shown(*about, now, self._answers(customer_id, message, channel, now)))

    def _begin(self, living: Living) -> None:
        following = next(living, None)
        if following is not None:
            self._begun += 1
            heappush(self._queue, (following[0], self._begun, following[1], living))


def _crowd(who: ShopCustomer, begins: int, draw: Callable[[], float]) -> Living:
    """A customer who comes now and then, in the day."""
    visits = sum(one.type == "app_open" for one in who.events) or 0.3
    zone = calendar.zone(who.timezone)
    at = begins
    while True:
        at = yield from visit(who, _next(at, 28 * DAY / visits, zone, draw), draw)
        at += 6 * MINUTE


def _evenings(crowd: list[ShopCustomer], begins: int, draw: Callable[[], float]) -> Living:
    """Each evening the shop asks about some customers: what now?"""
    day = from_micros(begins).astimezone(calendar.zone(SHANGHAI))
    at = day.replace(hour=_EVENING, minute=0, second=0, microsecond=0)
    while True:
        evening = to_micros(at)
        for number, who in enumerate(who for who in crowd if draw() < _ASKED):
            context = {"device": who.attributes["device"]}
            own = who.customer_id
            asked = DecisionRequest(placement=OUTBOUND, customer_id=own, context=context)
            yield max(begins, evening) + number * SECOND, asked
        at += timedelta(days=1)


def _newcomers(begins: int, customers: int, draw: Callable[[], float]) -> Living:
    """One in a hundred more each day; half of them follow the shop."""
    at, number, zone = begins, 0, calendar.zone(SHANGHAI)
    while True:
        at, number = _next(at, 100 * DAY / customers, zone, draw), number + 1
        yield at, event(f"n-{number}", "sign_up", source="qr")
        if draw() < 0.5:
            at += MINUTE
            yield at, event(f"n-{number}", "wechat.follow")


def _next(at: int, mean: float, zone: tzinfo, draw: Callable[[], float]) -> int:
    """The next time after one, so long after it on average, when it is day there."""
    at += int(-math.log(1 - draw()) * mean)
    hour = from_micros(at).astimezone(zone).hour
    if not _FIRST_OF_THE_DAY <= hour < _LAST_OF_THE_DAY:
        at += int(((_FIRST_OF_THE_DAY - hour) % 24 + 6 * draw()) * HOUR)
    return at
