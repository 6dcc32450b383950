"""Deliveries as both stores keep and list them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from decision.core.delivery import (
    Delivery,
    DeliveryPage,
    DeliveryState,
    DeliveryStatus,
    ListedDelivery,
)
from decision.core.identifiers import parse_decision_id

pack = msgspec.msgpack.Encoder().encode
decode_delivery = msgspec.msgpack.Decoder(Delivery).decode
decode_status = msgspec.msgpack.Decoder(DeliveryStatus).decode


class Place(NamedTuple):
    """Where a list of deliveries is read on: a partition, one of its lists, and there the first
    entry after a score and a member."""

    partition: int = 0
    source: int = 0
    score: float = float("-inf")
    member: str = ""

    def text(self) -> str:
        """The place as a cursor."""
        return pack([*self]).hex()


def place_of(cursor: str) -> Place:
    """The place that a cursor names, from the first one on where it is empty.

    Raises:
        ValueError: it is none.
    """
    if not cursor:
        return Place()
    try:
        return Place(
            *msgspec.msgpack.decode(bytes.fromhex(cursor), type=tuple[int, int, float, str])
        )
    except (msgspec.MsgspecError, ValueError):
        raise ValueError(f"{cursor[:40]!r} is no cursor; leave it out to begin anew") from None


def member_of(customer_id: str, delivery_id: str) -> str:
    """What names a delivery among those of a partition."""
    return f"{customer_id}\0{delivery_id}"


def split_member(member: str) -> tuple[str, str]:
    """The customer id and the delivery id."""
    customer_id, _, delivery_id = member.rpartition("\0")
    return customer_id, delivery_id


def decided_at(member: str) -> int | None:
    """When a delivery was decided, in milliseconds, by its id; None where the id does not say."""
    try:
        return parse_decision_id(split_member(member)[1].partition(".")[0])[0]
    except ValueError:
        return None


def encode_delivery(delivery: Delivery) -> bytes:
    """The delivery as it is stored."""
    return pack(delivery)


def page_of(
    found: Iterable[tuple[Place, ListedDelivery]],
    state: DeliveryState | None,
    channel: str | None,
    limit: int,
) -> DeliveryPage:
    """The first of these that are of a state and a channel, up to a limit."""
    rows: list[ListedDelivery] = []
    for place, row in found:
        if state in (None, row.status.state) and channel in (None, row.delivery.channel):
            rows.append(row)
            if len(rows) >= limit:
                return DeliveryPage(rows, place.text())
    return DeliveryPage(rows)


def in_order(rows: Sequence[ListedDelivery]) -> list[ListedDelivery]:
    """The same, oldest first."""
    return sorted(rows, key=lambda row: (row.delivery.at, row.delivery.id))
