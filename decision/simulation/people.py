"""The customers of a simulated shop: who they are, what they did, how they can be reached.

Every customer is drawn from the seed and their number alone, so a larger shop begins with the
customers of a smaller one. Only `Random.random` is used, whose numbers Python promises to keep.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from decision.core.clock import DAY, HOUR, MINUTE, from_micros

T = TypeVar("T")

CHANNELS: Final = ("in_app", "push", "sms", "email", "wechat", "sales_task")


class _Home(NamedTuple):
    city: str
    country: str
    timezone: str
    language: str


_HOMES: Final = (
    *(
        _Home(city, "CN", "Asia/Shanghai", "zh-CN")
        for city in ("Shanghai", "Shanghai", "Shanghai", "Beijing", "Hangzhou", "Chengdu")
    ),
    _Home("Hong Kong", "HK", "Asia/Hong_Kong", "zh-HK"),
    _Home("Singapore", "SG", "Asia/Singapore", "en"),
    _Home("Berlin", "DE", "Europe/Berlin", "de"),
    _Home("London", "GB", "Europe/London", "en"),
    _Home("New York", "US", "America/New_York", "en"),
    _Home("Sydney", "AU", "Australia/Sydney", "en"),
)
_CHINESE: Final = ("伟", "芳", "秀英", "敏", "静", "强", "磊", "艳", "勇", "杰", "子涵", "雨桐")
_OTHERS: Final = ("Anna", "Ben", "Chloe", "David", "Emma", "Felix", "Ida", "Léa")
_FAVOURITES: Final = ("tea", "tea", "coffee", "home", "clothes")
_TEXTS: Final = ("我的订单到哪了？", "想买一点绿茶", "How do I get a refund?", "有优惠吗？", "谢谢")

_STATES: Final = ((0.06, 24), (0.16, 12), (0.34, 4), (0.44, 0))
"""Share of customers, and on how many of the last 28 days they open the app."""


SEED: Final = 7
"""Of the demo's shop."""

_PREFIX: Final = "c-"
_FIRST: Final = 1000


class HistoricEvent(msgspec.Struct, frozen=True):
    """Something a customer did: its type, time (microseconds) and properties."""

    type: str
    at: int
    properties: dict[str, Any] = {}


class ShopCustomer(msgspec.Struct, frozen=True, kw_only=True):
    """A customer of the shop. `sensitivity` scales how contacts tire them."""

    customer_id: str
    attributes: dict[str, Any]
    timezone: str
    aliases: dict[str, str]
    reachable: tuple[str, ...] | None
    consents: dict[str, dict[str, str]]
    events: tuple[HistoricEvent, ...]
    sensitivity: float


def draw_customer(seed: int, number: int, now: int) -> ShopCustomer:
    """The customer of that number, with a history that ends at `now` (microseconds)."""
    generator = Random(f"{seed}/{number}")
    draw = generator.random
    home = _pick(draw(), _HOMES)
    chinese = home.language.startswith("zh")
    name = _pick(draw(), _CHINESE if chinese else _OTHERS)
    active_days = _active_days(draw(), draw())
    orders = int(-math.log(1 - draw()) * (0.6 + active_days / 4))
    order_value = round(40 + 260 * draw() ** 2, 2)
    spend = round(orders * order_value, 2)
    customer_id = f"{_PREFIX}{_FIRST + number}"
    device = _pick(draw(), ("ios", "android", "web"))
    attributes: dict[str, Any] = {
        "first_name": name,
        "city": home.city,
        "country": home.country,
        "language": home.language,
        "age": 18 + int(50 * draw()),
        "gender": _pick(draw(), ("f", "f", "m", "x")),
        "device": device,
        "favourite_category": _pick(draw(), _FAVOURITES),
        "signed_up": _date(now - int(900 * DAY * draw())),
        "orders": orders,
        "lifetime_spend": spend,
        "loyalty_points": int(spend * (0.2 + 0.5 * draw())),
        "is_employee": draw() < 0.01,
        "open_complaint": draw() < 0.015,
        "segment": {"vip": spend >= 3_000 and draw() < 0.5},
    }
    if orders:
        attributes["avg_order_value"] = order_value
    if draw() < 0.7:
        attributes["birthday"] = _date(now - int((20 + 45 * draw()) * 365.25 * DAY))
    aliases = {"email": f"{customer_id}@example.com"}
    if device != "web":
        aliases["device"] = f"{device}-{int(draw() * 2**40):010x}"
    if chinese and draw() < 0.7:
        aliases["wechat_openid"] = f"o{int(draw() * 2**50):014x}"
    events = _history(generator, now, active_days, orders, order_value, attributes, aliases)
    return ShopCustomer(
        customer_id=customer_id,
        attributes=attributes,
        timezone=home.timezone,
        aliases=aliases,
        reachable=_reachable(generator, aliases),
        consents=_consents(draw(), draw()),
        events=tuple(sorted(events, key=lambda event: (event.at, event.type))),
        sensitivity=0.5 + draw(),
    )


def number_of(customer_id: str) -> int | None:
    """The number of a customer who was drawn; None for others.

    >>> number_of("c-1007"), number_of("c-anna"), number_of("n-3")
    (7, None, None)
    """
    digits = customer_id.removeprefix(_PREFIX)
    return int(digits) - _FIRST if digits != customer_id and digits.isdecimal() else None


def _pick(u: float, options: Sequence[T]) -> T:
    return options[int(u * len(options))]


def _date(at: int) -> str:
    return from_micros(at).date().isoformat()


def _active_days(which: float, spread: float) -> int:
    for share, days in _STATES:
        if which < share:
            return min(28, int(days * (0.85 + 0.3 * spread)) + int(2 * spread))
        which -= share
    return 0


def _reachable(generator: Random, aliases: dict[str, str]) -> tuple[str, ...] | None:
    """None, which means everywhere, for those without a known choice."""
    if generator.random() < 0.15:
        return None
    shares = {"in_app": 1.0, "sales_task": 1.0, "sms": 0.6, "email": 0.9}
    shares["push"] = 0.75 if "device" in aliases else 0.0
    shares["wechat"] = 0.9 if "wechat_openid" in aliases else 0.0
    return tuple(channel for channel in CHANNELS if generator.random() < shares[channel])


def _consents(marketing: float, tips: float) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    if marketing < 0.60:
        found["marketing"] = {"*": "granted"}
    elif marketing < 0.75:
        found["marketing"] = {"email": "granted", "*": "denied"}
    elif marketing < 0.90:
        found["marketing"] = {"*": "denied"}
    if tips < 0.06:
        found["tips"] = {"*": "denied"}
    return found


def _history(
    generator: Random,
    now: int,
    active_days: int,
    orders: int,
    order_value: float,
    attributes: dict[str, Any],
    aliases: dict[str, str],
) -> list[HistoricEvent]:
    draw = generator.random
    events: list[HistoricEvent] = []

    def add(kind: str, within: int, **properties: Any) -> None:
        events.append(HistoricEvent(kind, now - MINUTE - int(draw() * within), properties))

    for day in range(active_days):
        at = now - int((day * 28 / active_days) * DAY) - int(draw() * 10 * HOUR) - MINUTE
        events.append(HistoricEvent("app_open", at, {"device": attributes["device"]}))
    if not active_days and draw() < 0.5:
        add("app_open", 80 * DAY, device=attributes["device"])
    for _ in range(int(draw() * (1 + active_days / 5))):
        add("page_view", 6 * DAY, category=_pick(draw(), _FAVOURITES))
    for _ in range(min(orders, 4)):
        category = attributes["favourite_category"] if draw() < 0.7 else _pick(draw(), _FAVOURITES)
        amount = round(order_value * (0.5 + draw()), 2)
        add("purchase", 88 * DAY, amount=amount, category=category)
    if draw() < 0.08 + active_days / 120:
        value = round(order_value * (0.5 + 2 * draw()), 2)
        add("cart_add", 3 * DAY, cart_value=value)
    if draw() < 0.05:
        add("search", DAY, text=_pick(draw(), ("绿茶", "teapot", "oolong")))
    if draw() < 0.03:
        add("support.ticket", 6 * DAY)
    if draw() < 0.25:
        add("message.opened", 25 * DAY)
    if "wechat_openid" in aliases:
        if draw() < 0.2:
            add("wechat.message", 4 * DAY, text=_pick(draw(), _TEXTS))
        if draw() < 0.08:
            add("wechat.scan", 20 * DAY, store=_pick(draw(), ("Yuyuan Road", "Jing'an")))
    return events


def as_line(customer: ShopCustomer) -> bytes:
    """The customer as one line of NDJSON, in the shape that `nextbest load` reads."""
    record: dict[str, Any] = {
        "customer_id": customer.customer_id,
        "attributes": customer.attributes,
        "timezone": customer.timezone,
        "aliases": customer.aliases,
        "consents": customer.consents,
        "events": [
            {"type": event.type, "at": _moment(event.at), "properties": event.properties}
            for event in customer.events
        ],
    }
    if customer.reachable is not None:
        record["reachable"] = customer.reachable
    return msgspec.json.encode(record) + b"\n"


def _moment(at: int) -> str:
    return from_micros(at).isoformat().replace("+00:00", "Z")
