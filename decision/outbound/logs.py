"""What the log says of single deliveries.

Reasons are often a provider's own words, which may name the customer; logs are about the machine.
`nextbest outbox list` shows them as they are.
"""

from __future__ import annotations

import logging
import re
from typing import Final

from decision.core.clock import SECOND, rough_duration
from decision.core.delivery import Claimed
from decision.core.document import Document
from decision.observability import named
from decision.outbound.lanes import Lane

_PERSONAL: Final = re.compile(r"\S*@\S*|\d{7,}")
"""What may be an address, a telephone number or an account."""

_SHORTEST: Final = 6
"""Characters from which on what is known of a customer is looked for in a reason."""

_log = logging.getLogger(__name__)


def without_customer(reason: str, document: Document) -> str:
    """The reason without what may name the customer.

    >>> anna = Document(customer_id="anna", attributes={"name": "Anna Lopez"})
    >>> without_customer("550 <anna@mail.example>: no Anna Lopez here", anna)
    '550 … no … here'
    """
    own = [document.customer_id, *(one for each in document.aliases.values() for one in each)]
    own += [value for value in document.attributes.values() if isinstance(value, str)]
    for value in sorted(own, key=len, reverse=True):
        if len(value) >= _SHORTEST:
            reason = reason.replace(value, "…")
    return _PERSONAL.sub("…", reason)


def log_failed(claimed: Claimed, lane: Lane, reason: str) -> None:
    """Says that a delivery cannot be sent; `reason` as `without_customer` leaves it."""
    _say(logging.WARNING, "failed", claimed, lane, f"failed, and is not tried again: {reason}")


def log_unknown(claimed: Claimed, lane: Lane, reason: str, *, begun: bool = True) -> None:
    """Says that nobody knows whether a delivery arrived; `begun`: this process made the attempt."""
    said = f"may have arrived, or not: {reason}"
    _say(logging.WARNING, "unknown", claimed, lane, said, begun=begun)


def log_retried(claimed: Claimed, lane: Lane, reason: str, seconds: float) -> None:
    """Says that an attempt failed, and when the next one is."""
    again = f"in {rough_duration(int(seconds * SECOND))}"
    if lane.paused:
        again = "once its gateway is resumed"
    said = f"is tried again {again}: {reason}"
    _say(logging.INFO, "retried", claimed, lane, said)


def log_closed(lane: Lane, reason: str) -> None:
    """Says that a gateway is left alone for a while."""
    _log.warning(
        "gateway %s fails again and again, and is left alone for a while: %s",
        lane.name,
        reason,
        extra=named("gateway_closed", gateway=lane.name, channel=lane.channel),
    )


def log_refused(lane: Lane, reason: str) -> None:
    """Says that a provider refuses the login of a gateway: no later attempt helps by itself."""
    _log.error(
        "gateway %s is refused by its provider: %s. Correct its login in the gateways file; what "
        "is to be sent waits, and is tried again",
        lane.name,
        reason,
        extra=named("gateway_refused", gateway=lane.name, channel=lane.channel),
    )


def log_opened(lane: Lane, said: str = "works again") -> None:
    """Says that a gateway is not left alone any more."""
    extra = named("gateway_opened", gateway=lane.name, channel=lane.channel)
    _log.warning("gateway %s %s", lane.name, said, extra=extra)


def _say(
    level: int, event: str, claimed: Claimed, lane: Lane, said: str, *, begun: bool = True
) -> None:
    extra = named(
        f"delivery_{event}",
        delivery=claimed.delivery.id,
        gateway=lane.name,
        channel=lane.channel,
        attempt=claimed.attempts + begun,
    )
    _log.log(level, "delivery %s %s", claimed.delivery.id, said, extra=extra)
