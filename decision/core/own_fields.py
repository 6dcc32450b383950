"""How fields are read that only a policy knows: scores and calendars."""

from __future__ import annotations

from decision.core.day_sets import DaySet
from decision.core.definition import PolicyDefinition
from decision.core.fields import Field, Own, Read
from decision.core.scores import Scores


def own_reads(definition: PolicyDefinition, scores: Scores) -> Own:
    """For a `FieldTable`: how the policy reads a field, None where the field says so itself."""
    calendars = {one.name: DaySet(one.dates) for one in definition.calendars}

    def own(field: Field) -> Read | None:
        if field.score is not None and field.score in scores.definitions:
            return scores.reader(field.score)
        if field.calendar is not None and field.calendar in calendars:
            return _reader(calendars[field.calendar])
        return None

    return own


def _reader(days: DaySet) -> Read:
    return lambda s: s.local.toordinal() in days
