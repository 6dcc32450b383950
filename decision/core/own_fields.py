"""How fields are read that only a policy knows: scores, calendars, contacts of a purpose.

`contacts.<name>.…` counts a channel, else a purpose, else a category of that name.
"""

from __future__ import annotations

from collections.abc import Callable

from decision.core.contact_policy import counts_until
from decision.core.day_sets import DaySet
from decision.core.definition import PolicyDefinition
from decision.core.document import ContactKind
from decision.core.fields import Field, Own, Read, Situation
from decision.core.scores import Scores


def own_reads(definition: PolicyDefinition, scores: Scores) -> Own:
    """For a `FieldTable`: how the policy reads a field, None where the field says so itself."""
    channels = {one.name for one in definition.channels}
    purposes = {one.name for one in definition.purposes}
    calendars = {one.name: DaySet(one.dates) for one in definition.calendars}

    def own(field: Field) -> Read | None:
        if field.score is not None and field.score in scores.definitions:
            return scores.reader(field.score)
        if field.calendar is not None and field.calendar in calendars:
            return _reader(calendars[field.calendar])
        if field.contacts_window and field.channel not in channels:
            name, window = field.channel, field.contacts_window
            if name in purposes:
                return lambda s: count_contacts(s, window, lambda kind: kind.purpose == name)
            return lambda s: count_contacts(s, window, lambda kind: kind.category == name)
        return None

    return own


def count_contacts(situation: Situation, window: int, chosen: Callable[[ContactKind], bool]) -> int:
    """How many contacts of chosen kinds, made within a window (µs), count now."""
    document, now = situation.document, situation.now
    since = now - window + 1
    return sum(
        1
        for contact in document.contacts
        if contact.at >= since
        and chosen(document.kinds[contact.kind])
        and counts_until(contact) > now
    )


def _reader(days: DaySet) -> Read:
    return lambda s: s.local.toordinal() in days
