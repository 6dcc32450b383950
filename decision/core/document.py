"""A customer as the store keeps them: everything that a decision reads, in one record."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from enum import IntEnum
from typing import Annotated, NamedTuple

import msgspec

from decision.core.journeys.state import JourneyState
from decision.core.values import Value


class ContactKind(NamedTuple):
    """What a contact was when it was made; later changes of the message do not change it."""

    message: str
    channel: str
    purpose: str
    category: str
    tags: tuple[str, ...]


class ContactState(IntEnum):
    """The state of a contact. A reservation also has an expiry, see `Contact.mark`."""

    RESERVED_THEN_COUNT = 0
    RESERVED_THEN_RELEASE = 1
    CONFIRMED = 2
    RELEASED = 3


class Contact(NamedTuple):
    """One message × channel given to the customer.

    `kind` indexes the register of contact kinds (`Document.kinds`); `at` is microseconds; `state`
    is a `ContactState`; `mark` is whole seconds after `at`: of the expiry while reserved, of the
    event that confirmed or released afterwards; `tag` is `decision_tag` of the decision behind it.
    """

    kind: Annotated[int, msgspec.Meta(ge=0)]
    at: int
    state: Annotated[int, msgspec.Meta(ge=0, le=len(ContactState) - 1)]
    mark: int
    tag: int


class Consent(msgspec.Struct, array_like=True):
    """One consent: granted or denied, since when (microseconds), from where, and what proves it.

    `spared` is the time of a more general denial that was stated in one call with a grant, which it
    leaves as it is; 0 where the grant is not older than it. Of a denial it is its own time where
    other sources denied the same in that second, otherwise 0.
    """

    granted: bool
    at: int = 0
    source: str = ""
    evidence: str = ""
    spared: int = 0


class ConsentChange(NamedTuple):
    """One line of the trail of consents: when (microseconds), what, and from where.

    `granted` None: the statement was taken back.
    """

    at: int
    purpose: str
    channel: str
    granted: bool | None
    source: str


class Signal(NamedTuple):
    """One event that a suppression counts: its type, time (microseconds) and what it was about."""

    type: str
    at: int
    message: str
    channel: str
    category: str


class EventHistory(msgspec.Struct, array_like=True):
    """What is kept of one event type of one customer.

    `buckets` ascend: (second, count, sums…), one number per summed property in the order of the
    policy's `Measure.sums`; those older than 48 hours are merged by hour. `days` are the
    ordinals of the local days with at least one event, ascending. `last` has properties of the
    latest event, at `last_at`; of several at that time, of the one with the highest `last_rank`,
    see `events.record`.
    """

    total: int = 0
    last_at: int = 0
    last: dict[str, Value] = {}
    buckets: list[list[float]] = []
    days: list[int] = []
    sums: list[str] = []
    last_rank: int = 0


class KeptScore(msgspec.Struct, array_like=True):
    """A score: its `value` at a time (microseconds), and how many events it is made of.

    `half_life` (microseconds) and `digest` are those of the definition that it was made by: see
    `scores.fingerprint`.
    """

    value: float
    at: int
    half_life: int
    digest: int
    events: int


class Document(msgspec.Struct, kw_only=True):
    """One customer. A customer never seen before is `Document(customer_id=…)`.

    `attributes` are in the order of their last change; `attribute_runs` gives the times of those
    changes as (second, how many attributes) along that order. `consent_trail` holds the latest
    changes of consents, oldest first. `earlier` counts, by kind, the contacts that counted for good
    when they were too old to be kept one by one; only caps `within: ever` need it.

    `consents` is purpose → channel or `*` → consent. `reachable` None means every channel;
    `unreachable` lists channels that permanently bounced. `moved_to` names the customer that this
    one is merged into, from the beginning of the merge on. `kinds` is the store's register of
    contact kinds: shared, append-only, indexed by `Contact.kind`.
    """

    customer_id: str
    exists: bool = False
    attributes: dict[str, Value] = {}
    attribute_runs: list[tuple[int, int]] = []
    timezone: str | None = None
    aliases: dict[str, list[str]] = {}
    consents: dict[str, dict[str, Consent]] = {}
    consent_trail: list[ConsentChange] = []
    reachable: list[str] | None = None
    unreachable: list[str] = []
    contacts: list[Contact] = []
    earlier: dict[int, int] = {}
    signals: list[Signal] = []
    events: MutableMapping[str, EventHistory] = {}
    scores: dict[str, KeptScore] = {}
    merged: list[str] = []
    moved_to: str | None = None
    journeys: JourneyState | None = None
    kinds: Sequence[ContactKind] = ()

    def reaches(self, channel: str) -> bool:
        """Whether the customer can be reached on a channel."""
        return channel not in self.unreachable and (
            self.reachable is None or channel in self.reachable
        )
