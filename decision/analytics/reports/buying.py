"""On which days customers bought: what RFM, repurchase and lifetime value are counted from.

Purchases of one day of the calendar are one, as in the literature on repeat buying; their amounts
are added. Everything is said as of a moment: the end of the range, else the last purchase.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decision.analytics.behaviour import day_number
from decision.analytics.queries import queries
from decision.analytics.reports.asking import about
from decision.analytics.reports.event_amounts import MetricQuestion, measure, only_one
from decision.analytics.reports.naming import check, check_property
from decision.analytics.reports.periods import date_rows
from decision.analytics.reports.source import PACKAGE, Source
from decision.core import calendar
from decision.core.local_days import END
from decision.core.said import Said

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
PURCHASE: Final = "purchase"
AMOUNT: Final = "amount"


class BuyingQuestion(MetricQuestion, frozen=True, kw_only=True):
    """What may be asked of purchases, or of any other event that comes again."""

    event: Annotated[str, about("What a purchase is. Default: purchase.", "TYPE", of="events")] = ""
    amount: Annotated[
        str,
        about(
            "The property with the money, a number; a text is none. Default: amount.",
            "PROPERTY",
            of="properties",
        ),
    ] = ""


class Buyers(NamedTuple):
    """One entry per customer who bought, by id; days are whole numbers.

    `days` are those with a purchase; `recency` is from the first to the last, `age` from the first
    to the moment. `total` is of all amounts, `average` of a day after the first (NaN: there is
    none, or none with an amount).
    """

    customer_id: list[str]
    days: Ints
    recency: Ints
    age: Ints
    total: Floats
    average: Floats


def take_purchases(source: Source, question: BuyingQuestion) -> tuple[int, int]:
    """Makes the table `bought`: customer, day, value, names of the day's events.

    Returns the moment as of which it is said, in microseconds, and how many events there are.
    """
    told = only_one(source, question.metric, event=question.event, amount=question.amount)
    event, path = told or measure(question.event or PURCHASE, question.amount or AMOUNT)
    check(source, "events", "event", [event])
    asked = question.amount
    named = None if question.metric else asked or AMOUNT
    if named is not None:
        check_property(source, "amount" if asked else "", named, event)
    source.take(once=[event])
    date_rows(source, "happened", "dated")
    database, span = source.database, source.span
    database.execute(_query("purchases"), {"type": event, "path": path})
    [(last, events, texts)] = database.rows(_query("last"))
    if texts:
        source.incomplete.append(
            Said("%(n)s amounts are texts, which are no numbers: they do not count", n=f"{texts:,}")
        )
    moment = span.end - 1 if span.end < END else last or source.reach[1]
    zones = {span.home, *(zone for (zone,) in database.rows("SELECT DISTINCT zone FROM zoned"))}
    ends = {zone: span.within(zone)[1] - 1 if span.end < END else moment for zone in zones}
    days = [(zone, day_number(at, calendar.zone(zone))) for zone, at in ends.items()]
    database.execute(_query("todays"))
    database.connection.executemany("INSERT INTO todays VALUES (?, ?)", days)
    database.execute(_query("bought"), {"home": span.home})
    return moment, events


def buyers(source: Source, back: int = 0) -> Buyers:
    """What each customer has bought, as it was so many days before the moment."""
    found: dict[str, Any] = source.database.execute(_query("buyers"), {"back": back}).fetchnumpy()
    average = np.ma.filled(np.ma.asarray(found["average"], np.float64), np.nan)
    return Buyers(
        customer_id=found["customer"].tolist(),
        days=np.asarray(found["days"], np.int64),
        recency=np.asarray(found["recency"], np.int64),
        age=np.asarray(found["age"], np.int64),
        total=np.asarray(found["total"], np.float64),
        average=average,
    )


def days_since(source: Source, back: int) -> int:
    """How many days with a purchase there were in the last so many days, by known customers."""
    return int(source.database.value(_query("since"), {"back": back}))


def longest(source: Source) -> int:
    """How many days there are from the first purchase to the moment."""
    return int(source.database.value(_query("longest")) or 0)


def _query(name: str) -> str:
    return queries(PACKAGE, "buying.sql")[name]
