"""The cast of the simulated shop: a few people with names, whose deeds show how journeys go by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from decision.core.clock import DAY, MINUTE, from_micros
from decision.engine.events import PastEvent
from decision.engine.loading import CustomerRow
from decision.simulation.deeds import Living, cart_add, event

SHANGHAI: Final = "Asia/Shanghai"


class Person(NamedTuple):
    """One of the cast: what is known of them, what they do, whether they buy once written to."""

    name: str
    row: CustomerRow
    does: Callable[[int], Living]
    buys: bool = False


def cast_of(begins: int) -> list[Person]:
    """Whom the shop tells of; `begins` is in the morning."""

    def follows(begins: int) -> Living:
        yield begins + 5 * MINUTE, event("c-ming", "wechat.follow")
        yield begins + 50 * MINUTE, event("c-ming", "wechat.message", text="有绿茶吗？")

    def leaves_a_basket(begins: int) -> Living:
        yield begins + 12 * MINUTE, event("c-anna", "app_open", device="ios")
        yield begins + 15 * MINUTE, cart_add("c-anna", "anna-1", "teapot", 320.0)

    def thinks_it_over(begins: int) -> Living:
        yield begins + 40 * MINUTE, cart_add("c-ben", "ben-1", "green tea", 186.0)

    def asks_for_the_catalogue(begins: int) -> Living:
        yield begins + 75 * MINUTE, event("c-emma", "catalogue")

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
        timezone=SHANGHAI,
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
