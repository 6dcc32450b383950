"""Fields that change with the time alone: their values at a later time are known today."""

from __future__ import annotations

from functools import lru_cache

from decision.core.conditions import Condition, fields_read
from decision.core.fields.dates import measured_date


@lru_cache(1_024)
def timed_fields(condition: Condition) -> tuple[str, ...]:
    """The fields of a condition whose values at a later time are known: the local time, calendars,
    and how far a date of the customer's is.

    >>> from decision.core.conditions import All, Clause
    >>> festival, vip = Clause("time.in.festival", "eq", True), Clause("customer.vip", "eq", True)
    >>> timed_fields(All((festival, vip)))
    ('time.in.festival',)
    """
    names = dict.fromkeys(fields_read(condition))
    return tuple(name for name in names if name.startswith("time.") or measured_date(name))
