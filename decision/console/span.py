"""The days that a report is of, as an address says them: a range by name, or two dates, and a zone.

Dates win over the name. All are local days of the zone, and the last one is included.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple

from litestar import Request

from decision.console.errors import PageError
from decision.console.forms import Form
from decision.console.language import N_
from decision.console.visitors import visitor_of
from decision.core import calendar
from decision.core.errors import StoreUnavailable

RANGES: Final = {
    "week": N_("7 days"),
    "month": N_("30 days"),
    "quarter": N_("90 days"),
    "all": N_("all time"),
}
DAYS: Final = {"week": 7, "month": 30, "quarter": 90}
DEFAULT: Final = "month"
FIELDS: Final = ("range", "from", "to", "zone")
"""The fields of an address that say it."""


class Span(NamedTuple):
    """The days; None: no bound. `zone` is a time zone that is known."""

    first: date | None
    last: date | None
    zone: str


def chosen_range(form: Form, default: str = DEFAULT) -> str:
    """The name of the range that is shown as chosen; "" where dates are given.

    >>> chosen_range(Form([("range", "week")])), chosen_range(Form([("from", "2026-11-01")]))
    ('week', '')
    """
    if form.text("from") or form.text("to"):
        return ""
    name = form.text("range")
    return name if name in RANGES else default


def span_of(form: Form, now: datetime, zone: str, default: str = DEFAULT) -> Span:
    """What is asked for, at a time; `zone` where the address names none, `default` for the range.

    Raises:
        PageError: 400, a date or the zone cannot be used, or the last day is before the first.
    """
    zone = form.text("zone").strip() or zone
    if calendar.known_zone(zone) is None:
        raise PageError(400, _NO_ZONE, zone=zone[:100])
    name = chosen_range(form, default)
    if name:
        today = now.astimezone(calendar.zone(zone)).date()
        days = DAYS.get(name)
        return Span(None if days is None else today - timedelta(days=days - 1), None, zone)
    first, last = _day(form.text("from")), _day(form.text("to"))
    if first is not None and last is not None and last < first:
        raise PageError(400, N_("The range ends before it begins. Change one of the two days."))
    return Span(first, last, zone)


def problem_of(error: Exception, request: Request[Any, Any, Any]) -> str:
    """What a page says in place of a report that cannot be made.

    Raises:
        StoreUnavailable, PageError: the server's own errors, which have pages of their own.
    """
    if isinstance(error, StoreUnavailable) or getattr(error, "status", 0) == 503:
        raise error
    if isinstance(error, PageError):
        return visitor_of(request).language.gettext(error.text, **error.values)
    return str(error)


def _day(text: str) -> date | None:
    if not text.strip():
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise PageError(400, _NO_DATE, given=text[:100]) from None


_NO_DATE: Final = N_("%(given)s is not a date. Write year, month and day, as 2026-11-27.")
_NO_ZONE: Final = N_("%(zone)s is not a time zone. Write one by its name, as Asia/Shanghai.")
