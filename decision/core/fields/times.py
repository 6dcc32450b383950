"""`time.…`: the customer's local time."""

from __future__ import annotations

from decision.core.fields.situation import Field, UnknownField
from decision.core.said import marked
from decision.core.values import MISSING

WEEKDAYS = (
    marked("mon"),
    marked("tue"),
    marked("wed"),
    marked("thu"),
    marked("fri"),
    marked("sat"),
    marked("sun"),
)


def time_field(name: str, rest: str) -> Field:
    """The hour, weekday or date, or whether it is one of the days of a calendar.

    The policy says how a calendar is read, see `FieldTable`.

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
    if rest.startswith("in.") and len(rest) > 3:
        return Field(name, lambda s: MISSING, "boolean", calendar=rest[3:])
    raise UnknownField(
        f"{name!r} is not a field; one of time.hour, time.weekday, time.date, time.in.<calendar>"
    )
