"""What is over on the day of the check, and so has no effect any more."""

from __future__ import annotations

from datetime import date, datetime, time

from decision.core.calendar import zone
from decision.core.clock import from_micros, to_micros
from decision.core.definition import PolicyDefinition
from decision.rulebook.collector import DiagnosticCollector
from decision.rulebook.diagnostics import Diagnostic
from decision.rulebook.source_map import SourceMap


def review_past(definition: PolicyDefinition, places: SourceMap, today: date) -> list[Diagnostic]:
    """Warns of calendars with no day today or later, and of messages that ended before today."""
    report = DiagnosticCollector()
    local = zone(definition.settings.timezone)
    midnight = to_micros(datetime.combine(today, time(), local))
    for message in definition.messages:
        end = message.active_until
        if end is not None and end <= midnight:
            place = places.value("messages", message.name, "active", "until")
            since = from_micros(end).astimezone(local).date()
            text = f'message "{message.name}" can no longer be chosen: it is over since {since}'
            report.warn(place, text, "change until, or delete the message", "expired-message")
    for one in definition.calendars:
        last = max((end for _, end in one.dates), default=0)
        if last and last < today.toordinal():
            report.warn(
                places.key("calendars", one.name, "dates"),
                f'every day of calendar "{one.name}" is over; '
                f"the last was {date.fromordinal(last)}",
                "add the dates to come, or delete the calendar",
            )
    return report.diagnostics
