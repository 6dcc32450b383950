"""What the customers of the simulated shop do, one after the other, at which time.

Each life is a generator of times and deeds. The crowd comes as often as its history says, looks,
fills baskets, and buys more or less often; the cast, a few people with names, does what shows how
journeys go by. A shop with the same seed and beginning has the same lives, whatever it sends, until
somebody answers a message.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from datetime import timedelta, tzinfo
from heapq import heappop, heappush
from random import Random
from typing import Any, Final, NamedTuple

from decision.core import calendar
from decision.core.clock import DAY, HOUR, MINUTE, SECOND, from_micros, to_micros
from decision.core.schema import DecisionRequest, Event, TriggerEvent
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
CLICKED: Final = "message.clicked"
OUTBOUND: Final = "outbound"
"""The placement from which messages are sent; elsewhere they are shown."""
_BUYS: Final = 0.55
"""Of those who fill a basket."""
_CLICKS: Final = 0.1
"""Of those who do not do what a message is for."""
_ASKED: Final = 0.25
"""Of all customers, about whom the shop asks in the evening."""
_FIRST_OF_THE_DAY, _LAST_OF_THE_DAY, _EVENING = 8, 22, 19
_SHANGHAI: Final = "Asia/Shanghai"

Answers = Callable[[str, str, str, int], str | None]
"""The type of the event by which a customer responds to a message on a channel at a time."""


class Person(NamedTuple):
    """One of the cast: what is known of them, what they do, whether they buy once written to."""

    name: str
    row: CustomerRow
    does: Callable[[int], Living]
    buys: bool = False


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
                self._begin(_answer(*about, now + 30 * MINUTE, "purchase"))
            return
        at = now + int((5 + 35 * self._draw()) * MINUTE)
        if (kind := self._answers(customer_id, message, channel, now)) is not None:
            self._begin(_answer(*about, at, kind))
        elif self._draw() < _CLICKS:
            self._begin(_answer(*about, at, CLICKED))

    def saw(self, customer_id: str, decision_id: str, message: str, channel: str, now: int) -> None:
        """A customer was shown a message, and may answer it."""
        about = (customer_id, decision_id, message)
        self._begin(_shown(*about, now, self._answers(customer_id, message, channel, now)))

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


def visit(
    who: ShopCustomer, at: int, draw: Callable[[], float]
) -> Generator[tuple[int, Deed], None, int]:
    """A customer opens the app, looks, fills a basket, buys; returns when that is over."""
    own, device = who.customer_id, who.attributes["device"]

    def asked(placement: str, event: TriggerEvent | None = None, **more: Any) -> DecisionRequest:
        context = {"device": device, **more}
        return DecisionRequest(placement=placement, customer_id=own, event=event, context=context)

    yield at, _event(own, "app_open", device=device)
    yield at, asked("app_home")
    category = who.attributes["favourite_category"] if draw() < 0.7 else "home"
    if draw() < 0.6:
        yield at + MINUTE, _event(own, "page_view", category=category)
    if "wechat_openid" in who.aliases and draw() < 0.08:
        kind = "wechat.follow" if draw() < 0.5 else "wechat.message"
        yield at + 2 * MINUTE, _event(own, kind, text="有新茶吗？")
        if kind == "wechat.message":
            yield at + 2 * MINUTE, asked("wechat_chat")
    if draw() < 0.01:
        yield at + 3 * MINUTE, _event(own, "catalogue")
    if draw() < 0.3:
        item = _ITEMS[category][int(draw() * len(_ITEMS[category]))]
        value = round(60 + 300 * draw() ** 2, 2)
        at += 5 * MINUTE
        basket = f"{own}-{at // SECOND}"
        yield at, _cart_add(own, basket, item, value)
        if draw() < _BUYS:
            at += int((3 + 50 * draw()) * MINUTE)
            yield at, asked("checkout", cart_value=value)
            yield at + MINUTE, _purchase(own, item, category, value)
            at += 30 * MINUTE
            shipped = TriggerEvent(type="order.shipped", properties={"order_id": basket})
            yield at, asked(OUTBOUND, shipped)
            if draw() < 0.2:
                yield at + MINUTE, asked(OUTBOUND, TriggerEvent(type="review"))
    return at


def _evenings(crowd: list[ShopCustomer], begins: int, draw: Callable[[], float]) -> Living:
    """Each evening the shop asks about some customers: what now?"""
    day = from_micros(begins).astimezone(calendar.zone(_SHANGHAI))
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
    at, number, zone = begins, 0, calendar.zone(_SHANGHAI)
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


def _answer(own: str, decision_id: str, message: str, at: int, kind: str) -> Living:
    """Somebody touches a message, and does what it is for."""
    yield at, _about(own, decision_id, message, CLICKED)
    if kind != CLICKED:
        yield at + 8 * MINUTE, _response(own, kind)


def _shown(own: str, decision_id: str, message: str, at: int, kind: str | None) -> Living:
    """Somebody sees a message, and may do what it is for."""
    yield at, _about(own, decision_id, message, "message.shown")
    if kind is not None:
        yield from _answer(own, decision_id, message, at + MINUTE, kind)


def _about(own: str, decision_id: str, message: str, kind: str) -> Event:
    return Event(type=kind, customer_id=own, decision_id=decision_id, message=message)


def _response(own: str, kind: str) -> Event:
    return _purchase(own, "green tea", "tea", 186.0) if kind == "purchase" else _event(own, kind)


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
        timezone=_SHANGHAI,
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
