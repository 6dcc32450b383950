"""One delivery, from its claim to what becomes of it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final, NamedTuple

from decision.core.clock import SECOND
from decision.core.delivery import Claimed
from decision.core.document import Document
from decision.core.errors import StoreUnavailable
from decision.engine import Engine
from decision.engine.delivering import Ready
from decision.gateways.metadata import names_needed
from decision.gateways.protocol import Accepted, Outgoing, Rejected, Result, Retry, Unknown
from decision.observability import named
from decision.outbound.lanes import Lane
from decision.outbound.logs import (
    log_closed,
    log_failed,
    log_opened,
    log_refused,
    log_retried,
    log_unknown,
    without_customer,
)
from decision.outbound.observer import DeliveryObserver, DeliveryResult
from decision.outbound.pausing import pause
from decision.outbound.retries import DELAYS, delay_before

LEASE: Final = 60_000
"""Milliseconds for which a delivery is claimed before its attempt begins."""

_AFTER_ATTEMPT: Final = 60_000
"""Milliseconds of the lease that are left to record what came of an attempt."""

_TRY_AGAIN: Final = 1.0
"""Seconds between two tries to record that something was sent."""

_log = logging.getLogger(__name__)


class Attempts:
    """Makes attempts. What cannot be recorded, because the store is unavailable, is left as it is.

    Then its lease ends, and whoever claims it next goes by how far it had come.
    """

    def __init__(self, engine: Engine, observer: DeliveryObserver) -> None:
        self._engine = engine
        self._store = engine.runtime.store
        self._observer = observer
        self.grace = 5.0
        """Seconds that a gateway may take beyond its own time limit, before it is stopped."""

    async def deliver(self, claimed: Claimed, lane: Lane) -> None:
        """Looks at a claimed delivery, makes one attempt, and records what came of it."""
        began = monotonic()
        try:
            result = await self._deliver(claimed, lane)
        except StoreUnavailable as error:
            _log.warning(
                "delivery %s waits for the store: %s",
                claimed.delivery.id,
                error,
                extra=named("delivery_waits", channel=lane.channel),
            )
            return
        if result is not None:
            self._observer.delivered(lane.channel, result, monotonic() - began)

    async def _deliver(self, claimed: Claimed, lane: Lane) -> DeliveryResult | None:
        """What became of it; None where nothing did."""
        if claimed.was_sending and lane.on_unknown == "hold":
            return await self._hold(claimed, lane, "whoever sent it ended before the answer came")
        limit = lane.config.timeout
        looked = await self._engine.delivering.look(claimed, int(limit * SECOND))
        if not isinstance(looked, Ready):
            return "dropped"
        if lane.limit is not None and (wait := await self._wait_for_slot(lane)):
            lane.full_for(wait / 1000)
            await self._store.postpone_delivery(claimed, wait, claimed.status.reason)
            return None
        lease = int((limit + self.grace) * 1000) + _AFTER_ATTEMPT
        if not await self._store.begin_delivery(claimed, lease):
            return None
        made = _Attempt(claimed, lane, looked.document, self._engine.runtime.clock())
        return await self._settle(made, await self._send(claimed, lane, looked))

    async def _wait_for_slot(self, lane: Lane) -> int:
        assert lane.limit is not None
        period = lane.limit.seconds * 1000
        return await self._store.take_slot(lane.channel, lane.limit.amount, period)

    async def _send(self, claimed: Claimed, lane: Lane, ready: Ready) -> Result:
        outgoing = outgoing_of(claimed, ready.document, ready.language, self._refusable(claimed))
        try:
            async with asyncio.timeout(lane.config.timeout + self.grace):
                return await lane.gateway.send(outgoing)
        except TimeoutError:
            return Unknown("the gateway did not answer in time")
        except Exception as error:  # noqa: BLE001 (others write gateways, too)
            # Its message may hold what the gateway was told.
            _log.exception(
                "gateway %s failed", lane.name, extra=named("gateway_failed", gateway=lane.name)
            )
            return Unknown(f"the gateway failed: {type(error).__name__}")

    def _refusable(self, claimed: Claimed) -> bool:
        purpose = self._engine.snapshot.policy.purposes.get(claimed.delivery.purpose)
        return purpose is None or purpose.consent != "not_required"

    async def _settle(self, made: _Attempt, result: Result) -> DeliveryResult:
        """Records what an attempt came to."""
        delivering, claimed, lane = self._engine.delivering, made.claimed, made.lane
        match result:
            case Accepted(provider_id):
                _answered(lane)
                reported = lane.name if names_needed(lane.config) else None
                said = (provider_id, reported, made.began)
                await self._surely(lambda: delivering.sent(claimed, *said))
                await self._store.count_outcome(lane.channel, "sent")
                return "sent"
            case Retry(after=after, reason=reason, refused=refused):
                if refused and not lane.failures:
                    log_refused(lane, made.loggable(reason))
                if lane.failed(told := made.loggable(reason)):
                    log_closed(lane, told)
                return await self._try_again(made, after, reason)
            case Rejected(reason, disable):
                _answered(lane)
                if not disable:
                    return await self._fail(made, reason)
                # The receiver refuses all of them, not this one: it waits with the others.
                lane.paused = True
                await pause(self._store, lane.name, reason, self._engine.runtime.clock())
                return await self._postpone(made, DELAYS[1], reason)
            case Unknown(reason):
                lane.failed(made.loggable(reason))
                if lane.on_unknown == "hold":
                    return await self._hold(claimed, lane, reason, made.loggable(reason))
                return await self._try_again(made, None, reason, doubtful=True)

    async def _try_again(
        self, made: _Attempt, after: float | None, reason: str, *, doubtful: bool = False
    ) -> DeliveryResult:
        claimed, attempt = made.claimed, made.claimed.attempts + 1
        delay = delay_before(attempt + 1, after, random.random())
        if delay is not None:
            return await self._postpone(made, delay, reason, doubtful=doubtful)
        reason = f"{attempt} attempts failed, the last one: {reason}"
        if doubtful:
            return await self._hold(claimed, made.lane, reason, made.loggable(reason))
        return await self._fail(made, reason)

    async def _postpone(
        self, made: _Attempt, delay: float, reason: str, *, doubtful: bool = False
    ) -> DeliveryResult:
        milliseconds = int(delay * 1000)
        await self._store.postpone_delivery(made.claimed, milliseconds, reason, doubtful=doubtful)
        log_retried(made.claimed, made.lane, made.loggable(reason), delay)
        return "retried"

    async def _fail(self, made: _Attempt, reason: str) -> DeliveryResult:
        """Records that it cannot be sent; where an attempt may have succeeded, it is held."""
        await self._engine.delivering.failed(made.claimed, reason)
        said = log_unknown if made.claimed.doubtful else log_failed
        said(made.claimed, made.lane, made.loggable(reason))
        return "unknown" if made.claimed.doubtful else "failed"

    async def _hold(
        self, claimed: Claimed, lane: Lane, reason: str, loggable: str | None = None
    ) -> DeliveryResult:
        await self._store.hold_delivery(claimed, "unknown", reason)
        made_here = loggable is not None
        log_unknown(claimed, lane, reason if loggable is None else loggable, begun=made_here)
        return "unknown"

    async def _surely(self, record: Callable[[], Awaitable[None]]) -> None:
        """Records that something was sent, however long the store takes to come back."""
        while True:
            try:
                return await record()
            except StoreUnavailable:
                await asyncio.sleep(_TRY_AGAIN)


class _Attempt(NamedTuple):
    """An attempt, the customer as known before it, and when it was begun, in microseconds."""

    claimed: Claimed
    lane: Lane
    document: Document
    began: int

    def loggable(self, reason: str) -> str:
        return without_customer(reason, self.document)


def _answered(lane: Lane) -> None:
    if lane.answered():
        log_opened(lane)


def outgoing_of(claimed: Claimed, document: Document, language: str, refusable: bool) -> Outgoing:
    """The next attempt to deliver to a customer as they are now."""
    delivery = claimed.delivery
    return Outgoing(
        id=delivery.id,
        decision_id=delivery.decision_id,
        message=delivery.message,
        channel=delivery.channel,
        customer_id=document.customer_id,
        content=delivery.content,
        attributes=document.attributes,
        aliases=document.aliases,
        language=language,
        purpose=delivery.purpose,
        category=delivery.category,
        placement=delivery.placement,
        at=delivery.at,
        attempt=claimed.attempts + 1,
        refusable=refusable,
    )
