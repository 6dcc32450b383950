"""Customers as each imported decision would have seen them: attributes of the row, history of the
rows before it.

What happened outside the file is not known, so counts over a window are too low until the file has
covered it.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any, Final

from decision.core import event_effects
from decision.core.clock import DAY
from decision.core.document import Consent, Contact, ContactKind, ContactState, Document
from decision.core.event_effects import SETTLING, Occurrence
from decision.core.identifiers import decision_tag
from decision.core.policy import Policy
from decision.intake.decision_log.arms import Arm
from decision.intake.decision_log.reading import LoggedRow

_KEPT: Final = 30 * DAY
"""Contacts are kept as long at least, as the engine keeps them."""
MOST_CONTACTS: Final = 100
"""Of one customer, as each decision sees them: the latest."""


class Histories:
    """The customers of a file; give it their rows in order of time.

    `cut` counts decisions whose customer had more contacts than are kept. `keep` (microseconds) is
    the longest window that anything reads.
    """

    def __init__(self, policy: Policy, types: Sequence[str], keep: int = 0) -> None:
        self.cut = 0
        self._policy = policy
        self._types = types
        self._keep = max(_KEPT, policy.history_needed(), keep)
        self._measures = policy.measures()
        self._matters = [self._is_counted(kind) for kind in types]
        self._kinds = tuple(
            ContactKind(one.message, one.channel, one.purpose, one.category, one.tags)
            for one in policy.candidates
        )
        self._number = {Arm(one.message, one.channel): n for n, one in enumerate(self._kinds)}
        self._documents: dict[str, Document] = {}
        self._coming: dict[str, list[tuple[int, str, Occurrence]]] = {}
        self._consents: dict[tuple[Arm, ...], dict[str, dict[str, Consent]]] = {}

    def _is_counted(self, kind: str) -> bool:
        policy = self._policy
        return (
            kind in self._measures
            or kind in SETTLING
            or kind in policy.scores.event_types
            or policy.contact_policy.counts_signals_of(kind)
            or policy.derivations.concerns(kind)
        )

    def seen(self, row: LoggedRow, offered: tuple[Arm, ...], alone: bool) -> Document:
        """The customer as a row's decision saw them. Use it before the next row.

        What was offered could be given: purposes that need a consent have it. `alone`: the customer
        has no other rows, so nothing is remembered of them.
        """
        document = self._documents.get(row.customer_id)
        if document is None:
            document = Document(customer_id=row.customer_id, exists=True, kinds=self._kinds)
            document.contacts, document.events = [], {}
            if not alone:
                self._documents[row.customer_id] = document
        elif not alone:
            self._happen(document, row.at)
        document.attributes = row.attributes
        document.timezone = row.timezone
        document.consents = self._granted(offered)
        return document

    def _happen(self, document: Document, now: int) -> None:
        """What came of earlier decisions by now."""
        coming = self._coming.get(document.customer_id)
        document.consents = {}  # opt-outs change their own copy: what was offered was allowed
        while coming and coming[0][0] <= now:
            at, _, occurrence = heappop(coming)
            event_effects.apply(document, occurrence, self._policy, self._measures, at)
        oldest = now - self._keep
        if document.contacts and document.contacts[0].at <= oldest:
            document.contacts = [one for one in document.contacts if one.at > oldest]
        if len(document.contacts) > MOST_CONTACTS:
            document.contacts = document.contacts[-MOST_CONTACTS:]
            self.cut += 1

    def _granted(self, offered: tuple[Arm, ...]) -> dict[str, dict[str, Consent]]:
        if offered not in self._consents:
            purposes = {
                self._policy.messages[arm.message].purpose for arm in offered if arm.message
            }
            self._consents[offered] = {
                name: {"*": Consent(granted=True, source="import")}
                for name in sorted(purposes)
                if self._policy.purposes[name].consent == "opt_in"
            }
        return self._consents[offered]

    def add(self, row: LoggedRow, decision_id: str, happened: Sequence[Occurrence]) -> None:
        """Remembers what a row gave, and what came of it, for the customer's later rows."""
        document = self._documents.get(row.customer_id)
        if document is None:
            return
        if row.message:
            tag, kind = decision_tag(decision_id), self._number[row.arm]
            contact = Contact(kind, row.at, ContactState.CONFIRMED.value, 0, tag)
            document.contacts = [*document.contacts, contact]
        for (place, _, _), occurrence in zip(row.outcomes, happened, strict=True):
            if self._matters[place]:
                coming = self._coming.setdefault(row.customer_id, [])
                heappush(coming, (occurrence.at, occurrence.id, occurrence))


def occurrences(
    row: LoggedRow, decision_id: str, types: Sequence[str], amounts: set[int]
) -> list[Occurrence]:
    """The events that a row's outcomes are; an amount is their value, and a property."""
    found = []
    for place, at, amount in row.outcomes:
        value = amount if place in amounts else None
        properties: dict[str, Any] = {} if value is None else {"amount": amount}
        found.append(
            Occurrence(
                id=f"import-{decision_id}-{types[place]}",
                type=types[place],
                at=at,
                properties=properties,
                decision_id=decision_id,
                value=value,
            )
        )
    return found
