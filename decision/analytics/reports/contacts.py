"""What decisions gave to whom, and what was told of it afterwards."""

from __future__ import annotations

from typing import Final

from decision.analytics.queries import queries
from decision.analytics.reports.source import PACKAGE, Source
from decision.archive.layout import day_of
from decision.archive.machines import BY_PEOPLE
from decision.archive.tables import files
from decision.core.clock import DAY
from decision.core.definition import Reservation
from decision.core.event_effects import CONFIRMING, CONTACT_EVENTS, RELEASING

_USUAL: Final = Reservation()
_TOLD: Final = {
    "by_people": BY_PEOPLE,
    "types": ", ".join(f"'{one}'" for one in CONTACT_EVENTS),
}
"""What is told about contacts, as SQL."""


def take_contacts(source: Source) -> int:
    """Makes the table `contacts`: a row for each contact that a decision of the range gave.

    It has customer, decision_id, us, placement, message, channel; when each kind of event about it
    was first told (`sent`, `delivered` …; null: never); the `reason` of its end and the `gateway`
    that reported; its `state`: queued, sent, failed, dropped or unknown.

    Returns how many events were told about them.

    Raises:
        NothingFound: the archive has no decisions.
    """
    source.take_decisions()
    database = source.database
    begin = source.span.begin - source.span.shift
    paths = [path for path in files(source.archive, "events") if _may_tell(path.parent.name, begin)]
    database.scan_dataset("told_events", paths, "events")
    database.execute(_query("told").format(**_TOLD))
    database.execute(_query("reservations"))
    channels = source.policy.channels if source.policy else ()
    if rows := [(one.name, one.reservation.expires_after) for one in channels]:
        database.connection.executemany("INSERT INTO reservations VALUES (?, ?)", rows)
    database.execute(
        _query("contacts"),
        {
            "confirming": list(CONFIRMING),
            "releasing": list(RELEASING),
            "usual": _USUAL.expires_after,
            "until": source.reach[1],
        },
    )
    return int(database.value(_query("looked_at")))


def told_of_others(source: Source) -> int:
    """How many events of the range tell of a message, and of no decision: what another tool sent.

    After `take_contacts`.
    """
    within = {"begin": source.span.begin, "end": source.span.end}
    return int(source.database.value(_query("apart").format(**_TOLD), within))


def _may_tell(folder: str, begin: int) -> bool:
    """Whether events of a folder may be about contacts since then."""
    date = folder.removeprefix("date=")
    return begin <= DAY or len(date) != len("2026-11-21") or day_of(begin - DAY) <= date


def _query(name: str) -> str:
    return queries(PACKAGE, "contacts.sql")[name]
