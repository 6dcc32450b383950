"""What the checks share: what was answered, what is stored, who is who, what happened when."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from benchmarks.campaign.policy import SECOND
from benchmarks.campaign.seen import Answer, Seen
from benchmarks.campaign.stored import Stored

LATER: Final = 60
"""Seconds in which a server does what is left to be done once the store is back."""


QUEUED: Final = 30
"""Seconds in which a server may still work on a request whose client has given up."""


class Phase(NamedTuple):
    """A fault: from its beginning until it was undone, and the seconds until all was well again.

    `steps` and `refused` are those of `Recovery`.
    """

    name: str
    began: float
    ended: float
    recovered: float | None
    steps: Mapping[str, float] = MappingProxyType({})
    refused: int = 0


class Found(NamedTuple):
    """The result of a check: `wrong` must be empty; `excused` is reason → how many.

    `number` is how many there are where one text stands for several.
    """

    looked_at: int
    wrong: list[str]
    excused: Counter[str]
    number: int | None = None

    @property
    def total(self) -> int:
        """How many things are wrong."""
        return len(self.wrong) if self.number is None else self.number


class Evidence:
    """What the checks share: who is who after merges, when contacts may have been released."""

    def __init__(
        self,
        seen: Seen,
        stored: Stored,
        now: float,
        kills: Sequence[Sequence[float]] = ((), ()),
        phases: Sequence[Phase] = (),
        dropped: Sequence[int] = (0, 0),
    ) -> None:
        self.seen = seen
        self.stored = stored
        self.now = now
        self.kills = kills
        self.phases = phases
        self.dropped = dropped
        """What each server says that it could not keep until the store was back."""
        self.erased: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        for change in seen.changes["erase"]:
            ended = change.answered if change.status in (204, 404) else float("inf")
            self.erased[change.what].append((change.sent, ended))
        self.merged_into: dict[str, str] = {}
        self.merged_at: dict[str, float] = {}
        for change in seen.changes["merge"]:
            target, other = change.what
            self.merged_into[other] = target
            if change.status == 200:
                first = self.merged_at.get(target, float("inf"))
                self.merged_at[target] = min(first, change.answered)
        self.released = self._releases()

    def person(self, customer: str) -> str:
        """The id that stands for the customer after all merges."""
        return self.merged_into.get(customer, customer)

    def _releases(self) -> dict[tuple[str, str], float]:
        """(decision id, message) → when an event was first sent that may release the contact."""
        found: dict[tuple[str, str], float] = {}
        for event in self.seen.events.values():
            body = event.body
            if body["type"] in ("message.failed", "message.not_shown"):
                key = (body["decision_id"], body["message"])
                found[key] = min(event.sent, found.get(key, event.sent))
        return found

    def sender(self, event_id: str) -> str:
        """Whose event it is."""
        event = self.seen.events.get(event_id)
        return event.body["customer_id"] if event else self.seen.sent_with.get(event_id, "")

    def during(self, at: float) -> str:
        """The fault of a time."""
        names = [
            each.name
            for each in self.phases
            if each.began - 1 <= at <= each.ended + (each.recovered or 30) + 1
        ]
        return f"during {names[-1]}" if names else "in a calm time"

    def erased_since(self, answer: Answer) -> bool:
        """Whether an erasure may have removed what a decision logged."""
        return any(answer.at / SECOND <= ended for _, ended in self.erased.get(answer.customer, ()))

    def killed_soon_after(self, answer: Answer) -> bool:
        """Whether the server died before it could do what is left to be done later."""
        kills = self.kills[answer.server]
        return any(answer.sent - 1 < kill < answer.answered + LATER for kill in kills)

    def off(self, answer: Answer, message: str) -> float:
        """From when on a contact may count no more: an event was sent, or an erasure."""
        off = self.released.get((answer.decision_id, message), float("inf"))
        for sent, ended in self.erased.get(answer.customer, ()):
            if answer.sent < ended:
                off = min(off, sent)
        return off
