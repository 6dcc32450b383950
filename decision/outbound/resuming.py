"""A gateway that was paused, or left alone, sends again because somebody says so."""

from __future__ import annotations

from time import time
from typing import Final, NamedTuple
from uuid import uuid4

from decision.core.ports import Store
from decision.engine.left_alone import mark_resumed
from decision.engine.resending import make_due
from decision.gateways.names import GatewayNames

FILE: Final = "file"
"""The gateway to which everything goes without a gateways file."""


class Resumed(NamedTuple):
    """Whether a pause ended, and how many deliveries that waited are due now."""

    done: bool
    made_due: int


async def resume_gateway(store: Store, gateway: str, names: GatewayNames | None) -> Resumed:
    """Ends a pause; complaints and bounces are counted anew, and what waits is tried now.

    Without the names of a gateways file, what waits is tried at its next attempt, unless it is of
    the gateway `file`.

    Raises:
        StoreUnavailable: the store does not answer; it can be done again.
    """
    if names is not None:
        channels = names.channels_of(gateway)
    elif gateway == FILE:
        channels = sorted((await store.count_deliveries()).waiting)
    else:
        channels = []
    done = await store.resume_gateway(gateway, channels)
    if done or gateway in ([FILE] if names is None else names.gateways):
        await mark_resumed(store, gateway, uuid4().hex)
    made = [await make_due(store, channel, int(time() * 1000)) for channel in channels]
    return Resumed(done, sum(made))
