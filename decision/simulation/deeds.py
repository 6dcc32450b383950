"""What customers of the simulated shop do, step by step: a visit, an answer to a message."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, Final

from decision.core.clock import MINUTE, SECOND
from decision.core.schema import DecisionRequest, Event, TriggerEvent
from decision.simulation.people import ShopCustomer

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


def visit(
    who: ShopCustomer, at: int, draw: Callable[[], float]
) -> Generator[tuple[int, Deed], None, int]:
    """A customer opens the app, looks, fills a basket, buys; returns when that is over."""
    own, device = who.customer_id, who.attributes["device"]

    def asked(placement: str, trigger: TriggerEvent | None = None, **more: Any) -> DecisionRequest:
        context = {"device": device, **more}
        return DecisionRequest(placement=placement, customer_id=own, event=trigger, context=context)

    yield at, event(own, "app_open", device=device)
    yield at, asked("app_home")
    category = who.attributes["favourite_category"] if draw() < 0.7 else "home"
    if draw() < 0.6:
        yield at + MINUTE, event(own, "page_view", category=category)
    if "wechat_openid" in who.aliases and draw() < 0.08:
        kind = "wechat.follow" if draw() < 0.5 else "wechat.message"
        yield at + 2 * MINUTE, event(own, kind, text="有新茶吗？")
        if kind == "wechat.message":
            yield at + 2 * MINUTE, asked("wechat_chat")
    if draw() < 0.01:
        yield at + 3 * MINUTE, event(own, "catalogue")
    if draw() < 0.3:
        item = _ITEMS[category][int(draw() * len(_ITEMS[category]))]
        value = round(60 + 300 * draw() ** 2, 2)
        at += 5 * MINUTE
        basket = f"{own}-{at // SECOND}"
        yield at, cart_add(own, basket, item, value)
        if draw() < _BUYS:
            at += int((3 + 50 * draw()) * MINUTE)
            yield at, asked("checkout", cart_value=value)
            yield at + MINUTE, purchase(own, item, category, value)
            at += 30 * MINUTE
            shipped = TriggerEvent(type="order.shipped", properties={"order_id": basket})
            yield at, asked(OUTBOUND, shipped)
            if draw() < 0.2:
                yield at + MINUTE, asked(OUTBOUND, TriggerEvent(type="review"))
    return at


def answer(own: str, decision_id: str, message: str, at: int, kind: str) -> Living:
    """Somebody touches a message, and does what it is for."""
    yield at, _about(own, decision_id, message, CLICKED)
    if kind != CLICKED:
        yield at + 8 * MINUTE, _response(own, kind)


def shown(own: str, decision_id: str, message: str, at: int, kind: str | None) -> Living:
    """Somebody sees a message, and may do what it is for."""
    yield at, _about(own, decision_id, message, "message.shown")
    if kind is not None:
        yield from answer(own, decision_id, message, at + MINUTE, kind)


def _about(own: str, decision_id: str, message: str, kind: str) -> Event:
    return Event(type=kind, customer_id=own, decision_id=decision_id, message=message)


def _response(own: str, kind: str) -> Event:
    return purchase(own, "green tea", "tea", 186.0) if kind == "purchase" else event(own, kind)


def event(own: str, kind: str, **properties: Any) -> Event:
    """Something that a customer does."""
    return Event(type=kind, customer_id=own, properties=properties)


def cart_add(own: str, basket: str, item: str, value: float) -> Event:
    """Something is put into a basket."""
    return event(own, "cart_add", cart_id=basket, item=item, cart_value=value)


def purchase(own: str, item: str, category: str, amount: float) -> Event:
    """Something is bought."""
    line = {"name": item, "category": category, "amount": amount}
    return event(own, "purchase", amount=amount, category=category, items=[line])
