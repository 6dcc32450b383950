"""`time.…`: the customer's local time."""

from __future__ import annotations

from decision.core.fields.situation import Field, UnknownField

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def time_field(name: str, rest: str) -> Field:
    """The hour, weekday or date.

    Raises:
        UnknownField: it is another measure.
    """
    match rest:
        case "hour":
            return Field(name, lambda s: s.local.hour, "number")
        case "weekday":
            return Field(name, lambda s: WEEKDAYS[s.local.weekday()], "text")
        case "date":
            return Field(name, lambda s: s.local.date().isoformat(), "text")
    raise UnknownField(f"{name!r} is not a field; one of time.hour, time.weekday, time.date")
