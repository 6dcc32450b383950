"""What is over on the day of the check, and so has no effect any more."""

from __future__ import annotations

from datetime import date

from decision.core.definition import PolicyDefinition
from decision.rulebook.collector import DiagnosticCollector
from decision.rulebook.diagnostics import Diagnostic
from decision.rulebook.source_map import SourceMap


def review_past(definition: PolicyDefinition, places: SourceMap, today: date) -> list[Diagnostic]:
    """Warns of calendars with no day today or later."""
    report = DiagnosticCollector()
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
