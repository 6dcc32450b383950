"""Lifetime value: how often customers will buy again, for how much, and who has left.

Two models of the literature (Fader, Hardie and Lee 2005): BG/NBD for how often, Gamma-Gamma for how
much. Purchases of one day are one. They are for customers who come and go as they like, without a
contract. The same models, fitted to the first half of the time, say what the second half would
bring; what it did bring stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
import numpy as np

from decision.analytics.lifetime_value import (
    FEWEST,
    BuyingModel,
    Customers,
    SpendingModel,
    fit_buying,
    fit_spending,
    lifetime_value,
)
from decision.analytics.reports.answering import Answer, Bars, Column, Shown, Table
from decision.analytics.reports.asking import about, duration
from decision.analytics.reports.buying import (
    Buyers,
    BuyingQuestion,
    Floats,
    buyers,
    days_since,
    longest,
    take_purchases,
)
from decision.analytics.reports.kind import Attributes, Kind
from decision.analytics.reports.source import Source
from decision.core.clock import DAY, from_micros
from decision.core.errors import InputError
from decision.core.said import Said
from decision.core.schema import Moment

_TENTHS: Final = 10
_STEP: Final = 30
_YEAR: Final = 365
_NOBODY_LEFT: Final = 0.98
"""From this share of customers on, who are said to be still customers, the answer warns."""


class LifetimeQuestion(BuyingQuestion, frozen=True, kw_only=True):
    """What may be asked of lifetime value."""

    within: Annotated[
        str, about("The time from now on of which the value is. Default: 365d.", "TIME")
    ] = ""
    discount: Annotated[
        str, about("What money of a year later is worth less: 10%. Default: 0%.", "SHARE")
    ] = ""


class BuyingParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Of BG/NBD, in days: how often customers buy (r, alpha), and how they leave (a, b)."""

    r: float
    alpha: float
    a: float
    b: float


class SpendingParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Of Gamma-Gamma: how amounts of one customer vary (p), and customers among them (q, gamma)."""

    p: float
    q: float
    gamma: float


class LifetimeTenth(msgspec.Struct, frozen=True, kw_only=True):
    """A tenth of the customers, those with the most value (else purchases) first.

    `alive`, `purchases`, `value` and `spend` (of a day with a purchase) are means; `share` is what
    they have of all value, or purchases.
    """

    tenth: int
    customers: int
    alive: float
    purchases: float
    spend: float | None
    value: float | None
    share: float | None


class LifetimeCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What was foretold of the last `days` from what was known before, and what came.

    `purchases` are those of the `customers` who had bought by then, on days of their own.
    """

    days: int
    customers: int
    foretold: float
    purchases: int


class LifetimeValue(Answer, frozen=True, kw_only=True):
    """As of `moment`, for the `within_days` after it. Nulls: too few customers bought again.

    `again` of the customers did; `alive` is how many will ever buy again, `purchases` and `value`
    what all of them will, together.
    """

    query: LifetimeQuestion
    moment: Moment
    within_days: int
    again: int
    buying: BuyingParameters | None
    spending: SpendingParameters | None
    alive: float | None
    purchases: float | None
    value: float | None
    tenths: list[LifetimeTenth]
    check: LifetimeCheck | None


def make(source: Source, question: LifetimeQuestion) -> LifetimeValue:
    """Fits both models, and says what they say of everybody."""
    days = duration("within", question.within or "365d") // DAY
    if days < 1:
        raise InputError("within", Said("write a day or more: 365d"))
    yearly = _share(question.discount)
    moment, events = take_purchases(source, question)
    found = buyers(source)
    buying = spending = None
    own = _customers(found)
    if (again := int(np.count_nonzero(own.frequency))) < FEWEST:
        source.incomplete.append(
            Said(
                "%(n)s customers bought again; a model is fitted of %(least)s or more: take a "
                "longer time, or an event that comes more often",
                n=f"{again:,}",
                least=FEWEST,
            )
        )
    else:
        buying = fit_buying(own)
        if np.count_nonzero((own.frequency > 0) & (found.average > 0)) < FEWEST:
            source.incomplete.append(
                Said(
                    "no value is told: fewer than %(least)s of those who bought again have an "
                    "amount",
                    least=FEWEST,
                )
            )
        else:
            spending = fit_spending(own.frequency, np.nan_to_num(found.average))
    if buying is not None and (once := len(found.customer_id) - again):
        source.incomplete.append(
            Said(
                "%(n)s customers bought once: whether they have left cannot be told from that, and "
                "the model counts them as still customers",
                n=f"{once:,}",
            )
        )
    told = None if buying is None else _told(found, buying, spending, days, yearly)
    if told is not None and len(told.alive) and float(told.alive.mean()) > _NOBODY_LEFT:
        source.incomplete.append(
            Said(
                "the model finds hardly anybody who has left: customers came back too seldom, or "
                "the time is too short; do not rely on who is still a customer"
            )
        )
    return LifetimeValue(
        **source.about("lifetime-value"),
        query=question,
        customers=len(found.customer_id),
        events=events,
        moment=from_micros(moment),
        within_days=days,
        again=again,
        buying=None if buying is None else BuyingParameters(**buying._asdict()),
        spending=None if spending is None else SpendingParameters(**spending._asdict()),
        alive=None if told is None else float(told.alive.sum()),
        purchases=None if told is None else float(told.purchases.sum()),
        value=None if told is None or told.value is None else float(told.value.sum()),
        tenths=[] if told is None else _tenths(told),
        check=None if buying is None else _check(source),
    )


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the models say of each customer."""

    alive: Floats
    purchases: Floats
    spend: Floats | None
    value: Floats | None


def _told(
    found: Buyers, buying: BuyingModel, spending: SpendingModel | None, days: int, yearly: float
) -> _Told:
    own = _customers(found)
    spend = value = None
    if spending is not None:
        spend = spending.spend(found.days - 1, np.nan_to_num(found.average))
        periods = max(1, round(days / _STEP))
        period = days / periods
        each = (1 + yearly) ** (period / _YEAR) - 1
        value = lifetime_value(buying, spend, own, period=period, periods=periods, discount=each)
    return _Told(
        alive=buying.alive(own), purchases=buying.purchases(own, days), spend=spend, value=value
    )


def _customers(found: Buyers) -> Customers:
    return Customers.of(found.days - 1, found.recency, found.age)


def _share(text: str) -> float:
    if not text:
        return 0.0
    try:
        found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        found = -1.0
    if not 0 <= found < 10:
        raise InputError(
            "discount", Said("%(text)s is no share of a year; write 10%%", text=repr(text[:60]))
        )
    return found


def _tenths(told: _Told) -> list[LifetimeTenth]:
    by = told.purchases if told.value is None else told.value
    order = np.argsort(-by, kind="stable")
    whole = float(by.sum())
    found = []
    for tenth, own in enumerate(np.array_split(order, _TENTHS), 1):
        if len(own):
            found.append(
                LifetimeTenth(
                    tenth=tenth,
                    customers=len(own),
                    alive=float(told.alive[own].mean()),
                    purchases=float(told.purchases[own].mean()),
                    spend=None if told.spend is None else float(told.spend[own].mean()),
                    value=None if told.value is None else float(told.value[own].mean()),
                    share=float(by[own].sum()) / whole if whole else None,
                )
            )
    return found


def _check(source: Source) -> LifetimeCheck | None:
    """The first half of the time tried on the second; None where it has too few customers."""
    days = longest(source) // 2
    found = buyers(source, back=days)
    if np.count_nonzero(found.days > 1) < FEWEST:
        return None
    model = fit_buying(_customers(found))
    return LifetimeCheck(
        days=days,
        customers=len(found.customer_id),
        foretold=float(model.purchases(_customers(found), days).sum()),
        purchases=days_since(source, days),
    )


def attributes(source: Source, found: LifetimeValue) -> Iterator[Attributes]:
    """The attribute `lifetime_value` of each customer; none where nothing is fitted."""
    if found.buying is None:
        return
    own = buyers(source)
    buying = BuyingModel(**msgspec.structs.asdict(found.buying))
    spending = None
    if found.spending is not None:
        spending = SpendingModel(**msgspec.structs.asdict(found.spending))
    yearly = _share(found.query.discount)
    told = _told(own, buying, spending, found.within_days, yearly)
    columns = {"alive": told.alive, "purchases": told.purchases}
    columns |= {} if told.value is None else {"value": told.value}
    for place, customer in enumerate(own.customer_id):
        row = {name: round(float(each[place]), 4) for name, each in columns.items()}
        yield customer, {"lifetime_value": {**row, "days": found.within_days}}


def show(found: LifetimeValue) -> Shown:
    """Lifetime value for people."""
    said = [
        Said(
            "%(n)s of %(all)s customers bought again on another day",
            n=f"{found.again:,}",
            all=f"{found.customers:,}",
        )
    ]
    if found.purchases is not None and found.alive is not None:
        told = {
            "days": found.within_days,
            "n": f"{found.purchases:,.0f}",
            "alive": f"{found.alive:,.0f}",
        }
        said.append(
            Said(
                "in the next %(days)s days they will make %(n)s purchases; %(alive)s are still "
                "customers",
                **told,
            )
            if found.value is None
            else Said(
                "in the next %(days)s days they will make %(n)s purchases of %(value)s in all; "
                "%(alive)s are still customers",
                **told,
                value=f"{found.value:,.2f}",
            )
        )
    if found.check is not None:
        one = found.check
        said.append(
            Said(
                "tried on the last %(days)s days: %(n)s purchases foretold, %(came)s came",
                days=one.days,
                n=f"{one.foretold:,.0f}",
                came=f"{one.purchases:,}",
            )
        )
    columns = [
        Column(Said("tenth"), "text"),
        Column(Said("customers")),
        Column(Said("still customers"), "share"),
        Column(Said("purchases")),
        Column(Said("spent each time")),
        Column(Said("value")),
        Column(Said("of all"), "share"),
    ]
    rows = [
        (
            f"{one.tenth}",
            one.customers,
            one.alive,
            _rounded(one.purchases),
            _rounded(one.spend),
            _rounded(one.value),
            one.share,
        )
        for one in found.tenths
    ]
    valued = found.value is not None
    bars = [
        (Said("tenth %(n)s", n=one.tenth), (one.value if valued else one.purchases) or 0.0)
        for one in found.tenths
    ]
    days = found.within_days
    title = (
        Said("Value of a customer in %(n)s days", n=days)
        if valued
        else Said("Purchases of a customer in %(n)s days", n=days)
    )
    return Shown(said, [Table(Said("Tenths of the customers"), columns, rows)], [Bars(title, bars)])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


LIFETIME_VALUE: Final = Kind(
    name="lifetime-value",
    summary="How often customers will buy again and for how much, and who has left.",
    description=__doc__ or "",
    example="--event purchase --amount amount --within 365d",
    question=LifetimeQuestion,
    answer=LifetimeValue,
    make=make,
    show=show,
    customers=attributes,
)
