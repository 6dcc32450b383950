"""What the customers of the simulated shop do, one after the other, at which time.

Each life is a generator of times and deeds. The crowd comes as often as its history says, looks,
fills baskets, and buys more or less often; the cast, a few people with names, does what shows how
journeys go by. A shop with the same seed and beginning has the same lives, whatever it sends, until
somebody answers a message.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import tzinfo
from heapq import heappop, heappush
from random import Random
from typing import Any, Final, NamedTuple

from decision.core import calendar
from decision.core.clock import DAY, HOUR, MINUTE, from_micros
from decision.core.schema import DecisionRequest, Event
from decision.engine.events import PastEvent
from decision.engine.loading import CustomerRow
from decision.simulation.people import ShopCustomer, draw_customer

Deed = Event | DecisionRequest
Living = Iterator[tuple[int, Deed]]
"""When something is done, in microseconds, never before the last, and what."""

_ITEMS: Final = {
    "tea": ("green tea", "oolong", "teapot"),
    "coffee": ("espresso beans", "coffee mill"),
    "home": ("lantern", "bowls"),
    "clothes": ("silk scarf", "linen shirt"),
}
_BUYS: Final = 0.55
"""Of those who fill a basket."""
_CLICKS: Final = 0.25
_BUYS_AFTER: Final = 0.4
"""Of those who click."""
_FIRST_OF_THE_DAY, _LAST_OF_THE_DAY = 8, 22


class Person(NamedTuple):
    """One of the cast: what is known of them, what they do, whether they buy once written to."""

    name: str
    row: CustomerRow
    does: Callable[[int], Living]
    buys: bool = False


class Life:
    """All lives of a shop from `begins` on, in microseconds; `seed` and number make a customer."""

    def __init__(self, seed: int, customers: int, begins: int) -> None:
        self._queue: list[tuple[int, int, Deed, Living]] = []
        self._begun = 0
        self._draw = Random(f"{seed}/answers").random
        self.cast = {one.row.customer_id: one for one in cast_of(begins)}
        for number in range(customers):
            who = draw_customer(seed, number, begins)
            self._begin(_crowd(who, begins, Random(f"{seed}/life/{number}").random))
        if customers:
            self._begin(_newcomers(begins, customers, Random(f"{seed}/newcomers").random))
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

    def received(self, customer_id: str, decision_id: str, message: str, now: int) -> None:
        """A message has reached a customer, who may answer it."""
        person = self.cast.get(customer_id)
        if person is not None:
            clicks, buys, after = person.buys, True, 30 * MINUTE
        else:
            clicks, buys = self._draw() < _CLICKS, self._draw() < _BUYS_AFTER
            after = int((5 + 35 * self._draw()) * MINUTE)
        if clicks:
            self._begin(_answer(customer_id, decision_id, message, now + after, buys))

    def saw(self, customer_id: str, decision_id: str, message: str, now: int) -> None:
        """A customer was shown a message in the app, and may touch it."""
        about: dict[str, Any] = {"decision_id": decision_id, "message": message}
        shown = Event(type="message.shown", customer_id=customer_id, **about)
        clicked = Event(type="message.clicked", customer_id=customer_id, **about)
        deeds: list[tuple[int, Deed]] = [(now, shown)]
        if self._draw() < _CLICKS / 3:
            deeds.append((now + MINUTE, clicked))
        self._begin(iter(deeds))

    def _begin(self, living: Living) -> None:
        following = next(living, None)
        if following is not None:
            self._begun += 1
            heappush(self._queue, (following[0], self._begun, following[1], living))


def _crowd(who: ShopCustomer, begins: int, draw: Callable[[], float]) -> Living:
    """A customer who comes now and then, in the day, and looks, fills a basket, buys."""
    own = who.customer_id
    visits = sum(one.type == "app_open" for one in who.events) or 0.3
    zone = calendar.zone(who.timezone)
    device = who.attributes["device"]
    at, baskets = begins, 0
    while True:
        at = _next(at, 28 * DAY / visits, zone, draw)
        yield at, _event(own, "app_open", device=device)
        yield at, DecisionRequest(placement="app_home", customer_id=own, context={"device": device})
        category = who.attributes["favourite_category"] if draw() < 0.7 else "home"
        if draw() < 0.6:
            yield at + MINUTE, _event(own, "page_view", category=category)
        if "wechat_openid" in who.aliases and draw() < 0.08:
            kind = "wechat.follow" if draw() < 0.5 else "wechat.message"
            yield at + 2 * MINUTE, _event(own, kind, text="有新茶吗？")
        if draw() < 0.01:
            yield at + 3 * MINUTE, _event(own, "catalogue")
        if draw() < 0.3:
            baskets += 1
            basket = f"{own}-{baskets}"
            item = _ITEMS[category][int(draw() * len(_ITEMS[category]))]
            value = round(60 + 300 * draw() ** 2, 2)
            at += 5 * MINUTE
            yield at, _cart_add(own, basket, item, value)
            if draw() < _BUYS:
                at += int((3 + 50 * draw()) * MINUTE)
                yield at, _purchase(own, item, category, value)
        at += 6 * MINUTE


def _newcomers(begins: int, customers: int, draw: Callable[[], float]) -> Living:
    """One in a hundred more each day; half of them follow the shop."""
    at, number, zone = begins, 0, calendar.zone("Asia/Shanghai")
    while True:
        at, number = _next(at, 100 * DAY / customers, zone, draw), number + 1
        yield at, _event(f"n-{number}", "sign_up", source="qr")
        if draw() < 0.5:
            at += MINUTE
            yield at, _event(f"n-{number}", "wechat.follow")


def _next(at: int, mean: float, zone: tzinfo, draw: Callable[[], float]) -> int:
    """The next time after one, so long after it on average, when it is day there."""
    at += int(-math.log(1 - draw()) * mean)
    hour = from_micros(at).astimezone(zone).hour
    if not _FIRST_OF_THE_DAY <= hour < _LAST_OF_THE_DAY:
        at += int(((_FIRST_OF_THE_DAY - hour) % 24 + 6 * draw()) * HOUR)
    return at


def _answer(own: str, decision_id: str, message: str, at: int, buys: bool) -> Living:
    """Somebody touches a message, and may buy then."""
    yield (
        at,
        Event(type="message.clicked", customer_id=own, decision_id=decision_id, message=message),
    )
    if buys:
        yield at + 8 * MINUTE, _purchase(own, "green tea", "tea", 186.0)


def cast_of(begins: int) -> list[Person]:
    """Whom the shop tells of; `begins` is in the morning."""

    def follows(begins: int) -> Living:
        yield begins + 5 * MINUTE, _event("c-ming", "wechat.follow")
        yield begins + 50 * MINUTE, _event("c-ming", "wechat.message", text="有绿茶吗？")

    def leaves_a_basket(begins: int) -> Living:
        yield begins + 12 * MINUTE, _event("c-anna", "app_open", device="ios")
        yield begins + 15 * MINUTE, _cart_add("c-anna", "anna-1", "teapot", 320.0)

    def thinks_it_over(begins: int) -> Living:
        yield begins + 40 * MINUTE, _cart_add("c-ben", "ben-1", "green tea", 186.0)

    def asks_for_the_catalogue(begins: int) -> Living:
        yield begins + 75 * MINUTE, _event("c-emma", "catalogue")

    def does_nothing(begins: int) -> Living:
        return iter(())

    birthday = from_micros(begins + DAY).strftime("1992-%m-%d")
    if birthday.endswith("02-29"):
        birthday = "1992-02-28"
    return [
        Person("Ming", _row("Ming", begins, language="zh-CN"), follows),
        Person("Anna", _row("Anna", begins, avg_order_value=120), leaves_a_basket),
        Person("Ben", _row("Ben", begins), thinks_it_over, buys=True),
        Person("Yue", _row("Yue", begins, language="zh-CN", birthday=birthday), does_nothing),
        Person("Emma", _row("Emma", begins, company="Harbour Lab"), asks_for_the_catalogue),
        Person("David", _row("David", begins, bought_days_ago=90), does_nothing),
    ]


def _row(name: str, begins: int, *, bought_days_ago: int = 20, **more: Any) -> CustomerRow:
    """Somebody whom every channel reaches, and who agrees to it."""
    own = f"c-{name.lower()}"
    bought = from_micros(begins - bought_days_ago * DAY)
    return CustomerRow(
        customer_id=own,
        attributes={
            "first_name": name,
            "country": "CN",
            "city": "Shanghai",
            "device": "ios",
            **more,
        },
        timezone="Asia/Shanghai",
        aliases={
            "email": f"{own}@example.com",
            "device": f"ios-{own}",
            "wechat_openid": f"o-{own}",
        },
        consents={"marketing": {"*": "granted"}},
        events=[
            PastEvent(type="app_open", at=bought, properties={"device": "ios"}),
            PastEvent(type="purchase", at=bought, properties={"amount": 150, "category": "home"}),
        ],
    )


def _event(own: str, kind: str, **properties: Any) -> Event:
    return Event(type=kind, customer_id=own, properties=properties)


def _cart_add(own: str, basket: str, item: str, value: float) -> Event:
    return _event(own, "cart_add", cart_id=basket, item=item, cart_value=value)


def _purchase(own: str, item: str, category: str, amount: float) -> Event:
    line = {"name": item, "category": category, "amount": amount}
    return _event(own, "purchase", amount=amount, category=category, items=[line])
