"""All that a check of a rules folder says, beside what its files show by themselves."""

from __future__ import annotations

import re
from datetime import datetime

from decision.core import calendar
from decision.core.definition import PolicyDefinition
from decision.rulebook.diagnostics import RULE_ENGINE, Diagnostic
from decision.rulebook.reader import LoadResult
from decision.rulebook.review.past import review_past

_COUNTED = (
    *("messages", "candidates", "channels", "placements", "purposes"),
    *("rules", "caps", "budgets", "coupons", "suppressions", "events", "scores", "states"),
    *("calendars", "experiments", "moments", "journeys", "metrics", "funnels"),
)


def with_past(result: LoadResult, now: datetime) -> list[Diagnostic]:
    """The diagnostics, with those of what is over `now`; in the order of files and lines."""
    definition = result.definition
    if definition is None:
        return result.diagnostics
    today = now.astimezone(calendar.zone(definition.settings.timezone)).date()
    found = [*result.diagnostics, *review_past(definition, result.places, today)]
    return sorted(found, key=lambda one: (one.file, one.line, one.column))


def engine_problem(problem: str, folder: str) -> Diagnostic:
    """A failed trial in the rule engine, at the place of the first rule that it names."""
    found = re.search(r"\((\S+):(\d+)\)", problem)
    file, line = (found[1], int(found[2])) if found else (folder, 0)
    return Diagnostic(
        code=RULE_ENGINE, file=file, line=line, column=1 if line else 0, message=problem
    )


def counts_of(definition: PolicyDefinition) -> dict[str, int]:
    """How many of each thing a policy has."""
    candidates = sum(len(message.channels) for message in definition.messages)
    return {
        name: candidates if name == "candidates" else len(getattr(definition, name))
        for name in _COUNTED
    }
