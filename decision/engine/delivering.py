"""Deliveries: looked at just before each attempt, and recorded with what came of them.

Every outcome is a `message.*` event, whose id is made of the delivery's, so that recording it twice
changes nothing. It is written in the commit that takes the delivery out of the outbox. Of a
customer who was merged into another one, the delivery is still under the old id, in another slot:
then it is first marked as `failing` or `dropping`, which nobody sends; the event is recorded; and
the delivery is removed. Whoever finds a marked one goes on there.
"""

from __future__ import annotations

import msgspec

from decision.core import provider_ids
from decision.core.clock import MILLISECOND, MINUTE, from_micros
from decision.core.delivery import (
    Claimed,
    Delivery,
    DeliveryState,
    ListedDelivery,
    SettledDelivery,
    why_not,
)
from decision.core.document import Contact, ContactState, Document
from decision.core.ports import ReadResult
from decision.core.provider_ids import DeliveredTo
from decision.core.schema import Event
from decision.engine import resending
from decision.engine.events import Events
from decision.engine.identity import resolve
from decision.engine.runtime import Runtime
from decision.engine.transaction import Moved, NotAsSaid

_MARKED_LASTS = MINUTE // MILLISECOND
"""Milliseconds after which somebody else goes on with a marked delivery."""

SENT = "sent"
"""Why a delivery is not sent: an event told that it was."""

RELEASED = "released"
"""Why a delivery is not sent: an event released its contact."""

LOST = "lost"
"""Why a delivery is not sent: another process has it by now, or it is gone."""


class Ready(msgspec.Struct, frozen=True):
    """A delivery may be sent, to this customer; `language` is theirs, else that of the settings."""

    document: Document
    language: str


class Dropped(msgspec.Struct, frozen=True):
    """A delivery is not sent, for a reason; everything about it is recorded."""

    reason: str


class Delivering:
    """What the sender of deliveries asks, and tells."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._events = Events(runtime)

    async def look(self, claimed: Claimed, margin: int = 0) -> Ready | Dropped:
        """Whether a claimed delivery may be sent now; one that may not is dropped.

        `margin` is how long an attempt may take, in microseconds.

        Raises:
            StoreUnavailable: nothing is known; its lease will end.
        """
        delivery, state = claimed.delivery, claimed.status.state
        if state in ("failing", "dropping"):
            await self._end_marked(claimed, state)
            return Dropped(claimed.status.reason)
        told = event_id(delivery, "message.sent")
        found = await resolve(self.runtime, delivery.customer_id, event_ids=(told,))
        contact = resending.contact_of(found.document, delivery)
        gone = _gone(found, contact, told)
        if gone is not None:
            await self._discard(delivery)
            return Dropped(gone)
        policy = self.runtime.snapshot.policy
        reason = why_not(policy, found.document, delivery, self.runtime.clock(), margin)
        if reason is not None:
            return Dropped(reason if await self.dropped(claimed, reason) else LOST)
        language = found.document.attributes.get("language")
        own = language if isinstance(language, str) and language else policy.settings.language
        return Ready(found.document, own)

    async def sent(
        self,
        claimed: Claimed,
        provider_id: str | None = None,
        gateway: str | None = None,
        began: int | None = None,
    ) -> None:
        """Records that it was sent, and removes it, whoever has it by now: it is true.

        With `gateway`, its name, a report that has nothing but the provider's id is matched by it.
        `began`, in microseconds, is when the attempt was: a bounce may be reported before this is
        recorded, and has come later all the same.

        Raises:
            StoreUnavailable: perhaps it is not recorded; telling it again is the same.
        """
        delivery = claimed.delivery
        said = {} if provider_id is None else {"provider_id": provider_id}
        if gateway is not None and provider_id:
            await self._note(delivery, gateway, provider_id)
        event = _event(delivery, "message.sent", said)
        if began is not None:
            event = msgspec.structs.replace(event, at=from_micros(began))
        settled = SettledDelivery(id=delivery.id, channel=delivery.channel, only="always")
        if await self._recorded(delivery, event, settled) is None:
            await self._events.record_of(delivery.customer_id, event)
            await self._discard(delivery)

    async def _note(self, delivery: Delivery, gateway: str, provider_id: str) -> None:
        name = provider_ids.bare(provider_id)
        if 0 < len(name) <= provider_ids.LONGEST:
            to = DeliveredTo(
                customer_id=delivery.customer_id,
                decision_id=delivery.decision_id,
                message=delivery.message,
                channel=delivery.channel,
            )
            await self.runtime.store.note_provider_id(gateway, name, to)

    async def failed(self, claimed: Claimed, reason: str) -> bool:
        """Records that it cannot be sent: its contact is released, and it is kept as a dead letter.

        Where an earlier attempt may have succeeded, it is held as `unknown` instead, and the
        contact stays. False where the lease is over: nothing is changed then.

        Raises:
            StoreUnavailable: perhaps it is not recorded; telling it again is the same.
        """
        return await self._end(claimed, "message.failed", reason)

    async def dropped(self, claimed: Claimed, reason: str) -> bool:
        """Records that it will not be sent: its contact is released, and it is removed.

        Otherwise as `failed`.
        """
        return await self._end(claimed, "message.not_shown", reason)

    async def send_again(self, listed: ListedDelivery) -> str | None:
        """Queues one that is held; why not, where it cannot be (see `resending`)."""
        return await resending.send_again(self.runtime, listed)

    async def give_up(self, listed: ListedDelivery, reason: str = "given up") -> bool:
        """Removes one. What waits is `dropped`; what is held leaves its contact as it is.

        False where somebody is sending it, or it is gone.
        """
        if await resending.give_up(self.runtime, listed):
            return True
        one, store = listed.delivery, self.runtime.store
        claimed = await store.claim_delivery(one.customer_id, one.id, "operator", _MARKED_LASTS)
        return claimed is not None and await self.dropped(claimed, reason)

    async def _end(self, claimed: Claimed, kind: str, reason: str) -> bool:
        store, delivery = self.runtime.store, claimed.delivery
        if claimed.doubtful:
            return await store.hold_delivery(claimed, "unknown", reason)
        failed = kind == "message.failed"
        settled = SettledDelivery(
            id=delivery.id,
            channel=delivery.channel,
            only="leased",
            lease=claimed.status.lease,
            failed=reason if failed else None,
        )
        done = await self._recorded(delivery, _event(delivery, kind, {"reason": reason}), settled)
        if done is not None:
            return done
        state: DeliveryState = "failing" if failed else "dropping"
        if not await store.postpone_delivery(claimed, _MARKED_LASTS, reason, state=state):
            return False
        status = msgspec.structs.replace(claimed.status, state=state, lease="", reason=reason)
        await self._end_marked(Claimed(delivery, status), state)
        return True

    async def _recorded(
        self, delivery: Delivery, event: Event, settled: SettledDelivery
    ) -> bool | None:
        """Whether it is recorded with the delivery; None where the customer was merged."""
        try:
            await self._events.record_of(delivery.customer_id, event, settled)
        except NotAsSaid:
            return False
        except Moved:
            return None
        return True

    async def _end_marked(self, claimed: Claimed, state: str) -> None:
        """Records what a delivery was marked with, and removes it."""
        delivery, reason = claimed.delivery, claimed.status.reason
        failed = state == "failing"
        kind = "message.failed" if failed else "message.not_shown"
        event = _event(delivery, kind, {"reason": reason})
        await self._events.record_of(delivery.customer_id, event)
        if failed:
            await self.runtime.store.hold_delivery(claimed, "failed", reason)
        else:
            await self._discard(delivery)

    async def _discard(self, delivery: Delivery) -> None:
        one = (delivery.customer_id, delivery.id, delivery.channel)
        await self.runtime.store.discard_delivery(*one)


def event_id(delivery: Delivery, kind: str) -> str:
    """The id of an event about a delivery; one that failed again has another one."""
    again = f".{delivery.again}" if delivery.again and kind != "message.sent" else ""
    return f"{delivery.id}.{kind.removeprefix('message.')}{again}"


def _gone(found: ReadResult, contact: Contact | None, told: str) -> str | None:
    """Why there is nothing to send: events have told what came of it."""
    if told in found.known_events:
        return SENT
    if contact is None or contact.state not in (ContactState.CONFIRMED, ContactState.RELEASED):
        return None
    return SENT if contact.state == ContactState.CONFIRMED else RELEASED


def _event(delivery: Delivery, kind: str, said: dict[str, str]) -> Event:
    return Event(
        id=event_id(delivery, kind),
        type=kind,
        customer_id=delivery.customer_id,
        decision_id=delivery.decision_id,
        message=delivery.message,
        properties={"channel": delivery.channel, **said},
    )
