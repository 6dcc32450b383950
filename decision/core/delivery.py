"""Deliveries: what decisions at a placement with `delivery: gateway` left to be sent.

A delivery is written in the decision's own commit and taken out in the commit of its outcome. Who
sends it holds a *lease*: until that ends, nobody else looks at it. Its states:

- `queued`: it waits until it is due;
- `sending`: an attempt has begun. Where its lease ends so, nobody knows what came of the attempt;
- `failing`, `dropping`: it will not be sent; the customer, who was merged into another one, is
  still to be told;
- `failed`: it was refused, or tried too often. Its contact is released; it is kept to be looked at;
- `unknown`: what came of an attempt is not known, and nobody tries again. Its contact stays.

One that was sent or dropped is gone; so are those of a customer who was erased.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, Protocol

import msgspec

from decision.core import business_rules, consent
from decision.core.definition import Purpose
from decision.core.document import ContactKind, Document
from decision.core.fields import Situation
from decision.core.policy import Policy
from decision.core.reasons import Reason
from decision.core.values import Value

DeliveryState = Literal["queued", "sending", "failing", "dropping", "failed", "unknown"]

HELD: Final = ("failed", "unknown")
"""The states of a delivery that nobody sends unless somebody asks for it."""

REQUEUED: Final = (*HELD, "queued")
"""The states of a delivery that may be made due by whoever asks for it."""


class Delivery(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One message to be sent; times in microseconds.

    `content` is rendered, with its coupon code. At `expires` the reservation of its contact ends,
    and it is not sent any more; with `releases`, the contact counts no longer from then on.
    `counts` is false for a placement's fallback, which makes no contact. `coupon` is the pool that
    its code is of. `again` is how often it was reserved anew, after it had failed.

    >>> delivery = Delivery(
    ...     decision_id="01J", message="hello", channel="email", customer_id="c-1024",
    ...     placement="outbound", purpose="news", category="a", content={}, at=0, expires=1,
    ... )
    >>> delivery.id
    '01J.hello'
    """

    decision_id: str
    message: str
    channel: str
    customer_id: str
    placement: str
    purpose: str
    category: str
    content: dict[str, Any]
    at: int
    expires: int
    counts: bool = True
    releases: bool = False
    coupon: str = ""
    again: int = 0

    @property
    def id(self) -> str:
        """What names it everywhere: `webhook-id`, idempotency keys, the ids of its events."""
        return f"{self.decision_id}.{self.message}"


class DeliveryStatus(msgspec.Struct, frozen=True, array_like=True):
    """How far a delivery has come. `since` is when its state began, milliseconds of the store's
    clock. `lease` names who holds it, `reason` says what came of the latest attempt.

    `doubtful`: an attempt may have succeeded of which no answer came.
    """

    state: DeliveryState
    channel: str
    attempts: int = 0
    lease: str = ""
    reason: str = ""
    since: int = 0
    doubtful: bool = False


class Claimed(msgspec.Struct, frozen=True):
    """A delivery whose lease somebody holds, with its status when it was claimed."""

    delivery: Delivery
    status: DeliveryStatus

    @property
    def attempts(self) -> int:
        """How many attempts were made before."""
        return self.status.attempts

    @property
    def was_sending(self) -> bool:
        """Whether the answer to the latest attempt was lost: its lease ended without one."""
        return self.status.state == "sending"

    @property
    def doubtful(self) -> bool:
        """Whether some attempt before may have succeeded: then nothing may be released."""
        return self.status.doubtful


class ListedDelivery(msgspec.Struct, frozen=True):
    """A delivery as it is listed; `due` is when somebody looks at it, milliseconds, or None."""

    delivery: Delivery
    status: DeliveryStatus
    due: int | None


class DeliveryPage(msgspec.Struct, frozen=True):
    """Some deliveries; `cursor` leads to the next ones, and is empty at the end."""

    rows: list[ListedDelivery]
    cursor: str = ""


class DeliveryCounts(msgspec.Struct, frozen=True):
    """How many wait on each channel, those being sent included, and how many are held.

    `behind` is for how many milliseconds the earliest of a channel has been due; 0 where none is.
    `oldest` is how many milliseconds ago the oldest that waits was decided, also where it is due
    later, because it is tried again. Of many thousands, the oldest of a sample is taken.
    """

    waiting: dict[str, int]
    held: int
    behind: dict[str, int]
    oldest: dict[str, int]


class SettledDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery of the commit's customer that the commit takes out of the outbox.

    Nothing is written unless `only` is true of it: `leased`, under this `lease`; `unsent`, so that
    nobody can have been given it; or `always`. With `failed`, the reason, it is kept as a dead
    letter.
    """

    id: str
    channel: str
    only: Literal["leased", "unsent", "always"]
    lease: str = ""
    failed: str | None = None


class OutboxStore(Protocol):
    """Deliveries, in the customer's own slot; `DocumentStore.commit` writes and removes them.

    All times are of the store's clock. Who claims a delivery holds its lease for `lease_ms`
    milliseconds; what needs the lease changes nothing, and gives False, where somebody else has
    claimed it since, or it is gone.
    """

    async def claim_deliveries(
        self, partitions: Collection[int], room: Mapping[str, int], owner: str, lease_ms: int
    ) -> list[Claimed]:
        """Claims what is due in these partitions, the earliest first.

        `room` is channel → how many at most. `owner` is for people: two may have one name.
        """

    async def fresh_deliveries(self) -> dict[int, bytes]:
        """Partition → a mark, another one each time that a delivery was added there.

        It is a hint: it may come a moment after the delivery, or not at all.
        """

    async def claim_delivery(
        self, customer_id: str, delivery_id: str, owner: str, lease_ms: int
    ) -> Claimed | None:
        """Claims one that nobody holds, due or not; None where there is none."""

    async def begin_delivery(self, claimed: Claimed, lease_ms: int) -> bool:
        """Notes that an attempt begins; the lease then ends `lease_ms` from now."""

    async def postpone_delivery(
        self,
        claimed: Claimed,
        delay_ms: int,
        reason: str,
        *,
        state: DeliveryState = "queued",
        doubtful: bool = False,
    ) -> bool:
        """Ends the lease; it is due again `delay_ms` from now. `doubtful` stays once it is set.

        One that `was_sending` and was not begun again stays so, whatever `state` says.
        """

    async def hold_delivery(self, claimed: Claimed, state: DeliveryState, reason: str) -> bool:
        """Ends the lease; nobody looks at it any more, until it is asked for."""

    async def requeue_delivery(self, listed: ListedDelivery) -> bool:
        """Makes one due now, as if it had never been tried; False where it is not as it was listed.

        It is held, or `queued` and nobody holds its lease. One that is due already stays as it is.
        """

    async def discard_delivery(self, customer_id: str, delivery_id: str, channel: str) -> bool:
        """Removes one, whatever its state; nothing is recorded."""

    async def deliveries(
        self,
        state: DeliveryState | None = None,
        channel: str | None = None,
        cursor: str = "",
        limit: int = 100,
    ) -> DeliveryPage:
        """Lists deliveries. What changes meanwhile may be missing; nothing else is."""

    async def deliveries_of(self, customer_id: str) -> list[ListedDelivery]:
        """Those of one customer id, merged ones not included, oldest first."""

    async def count_deliveries(self) -> DeliveryCounts: ...


EXPIRED: Final = "expired"
"""Why a delivery is dropped whose reservation is over; other reasons are `reasons.Reason`."""


def why_not(
    policy: Policy, document: Document, delivery: Delivery, now: int, margin: int = 0
) -> str | None:
    """Why a delivery must not be sent any more, or None.

    What may have changed since it was decided: consents, pauses, reach, the time, by which its
    message may be over. `document` is the customer as known now, `margin` how long (microseconds)
    an attempt may take: a contact that then no longer counts must not come of it.
    """
    message = policy.messages.get(delivery.message) if delivery.counts else None
    if message is not None and not message.is_active(now):
        return Reason.INACTIVE.value
    if not _may_know(policy, document, delivery):
        return Reason.NO_CONSENT.value
    if delivery.counts and policy.contact_policy.holds_back(_kind(delivery), document.signals, now):
        return Reason.SUPPRESSED.value
    if not document.reaches(delivery.channel):
        return Reason.UNREACHABLE.value
    if now + (margin if delivery.releases else 0) >= delivery.expires:
        return EXPIRED
    if delivery.counts and _is_quiet(policy, document, delivery, now):
        return Reason.QUIET_HOURS.value
    if delivery.counts and not policy.contact_policy.has_open_window(
        delivery.channel, document, now
    ):
        return Reason.REPLY_WINDOW_CLOSED.value
    return None


def _kind(delivery: Delivery) -> ContactKind:
    return ContactKind(delivery.message, delivery.channel, delivery.purpose, delivery.category, ())


def _may_know(policy: Policy, document: Document, delivery: Delivery) -> bool:
    """Whether the customer agrees; a purpose that the policy does not have any more must be
    granted."""
    purpose = policy.purposes.get(delivery.purpose)
    if purpose is None:
        purpose = Purpose(name=delivery.purpose, consent="opt_in")
    return consent.permits(purpose, document.consents, delivery.channel)


def _is_quiet(policy: Policy, document: Document, delivery: Delivery, now: int) -> bool:
    """Whether the channel is silent for that purpose, in the customer's local time."""
    zone = policy.zone_of(document)
    values: list[Value] | None = None
    for window in policy.quiet.windows:
        if window.channel != delivery.channel or delivery.purpose in window.hours.except_purposes:
            continue
        if not window.covers_at(now, zone):
            continue
        if window.lifted is None:
            return True
        if values is None:
            values = values_at(policy, document, delivery.placement, now)
        if not window.lifted(values):
            return True
    return False


def values_at(policy: Policy, document: Document, placement: str, now: int) -> list[Value]:
    """The fields as the rules leave them, where nothing is known of an event or a context."""
    zone = policy.zone_of(document)
    situation = Situation(document, placement, now, zone, variants=policy.variant)
    values = policy.read(situation)
    slot = policy.fields.slot
    matcher = business_rules.PlainMatcher(policy.rules, policy.rule_strata, slot)
    business_rules.run(policy.rule_strata, policy.rules, matcher, values, slot, [])
    return values
