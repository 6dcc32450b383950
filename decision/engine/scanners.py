"""Opens and clicks that came too fast for a person: mail scanners follow links on arrival.

Judged from what the customer's document holds of the contact. When in doubt it was a person:

- at least three different links of one mail were followed within a second; or
- it was opened or clicked within two seconds of its delivery, as the contact has it, while nothing
  has shown yet that somebody saw it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from decision.core.clock import SECOND
from decision.core.document import ContactState, Document
from decision.core.event_effects import FINAL_MARK, contacts_of
from decision.engine.identity import resolve
from decision.engine.runtime import Runtime

MOST_SECONDS: Final = 2
"""Seconds after its delivery within which nobody opens a mail; contacts have whole seconds."""

LEAST_LINKS: Final = 3
"""Links of one mail that nobody follows within a second."""


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """That a message was opened or clicked; `at` in microseconds, `link` where it is known."""

    customer_id: str
    decision_id: str
    message: str
    at: int
    link: str | None = None


async def too_fast(runtime: Runtime, sightings: Sequence[Sighting]) -> list[bool]:
    """Which of them were made by a scanner.

    Raises:
        StoreUnavailable: a customer cannot be read.
    """
    documents = {
        name: (await resolve(runtime, name)).document
        for name in dict.fromkeys(one.customer_id for one in sightings)
    }
    clicks: defaultdict[tuple[str, str], list[Sighting]] = defaultdict(list)
    for one in sightings:
        if one.link is not None:
            clicks[one.decision_id, one.message].append(one)
    return [
        _is_on_arrival(documents[one.customer_id], one)
        or _is_among_many(one, clicks[one.decision_id, one.message])
        for one in sightings
    ]


def _is_on_arrival(document: Document, one: Sighting) -> bool:
    for contact in contacts_of(document, one.decision_id):
        if document.kinds[contact.kind].message == one.message:
            arrived = contact.state == ContactState.CONFIRMED and contact.mark != FINAL_MARK
            seconds = (one.at - contact.at) // SECOND - contact.mark
            return arrived and 0 <= seconds < MOST_SECONDS
    return False


def _is_among_many(one: Sighting, clicks: Sequence[Sighting]) -> bool:
    near = {other.link for other in clicks if abs(other.at - one.at) < SECOND}
    return one.link is not None and len(near) >= LEAST_LINKS
