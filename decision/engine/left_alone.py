"""Gateways that fail and are left alone: what senders tell of them, and who asks to end that.

A sender knows by itself when it tries a gateway again; it notes that here for people, and looks
each second whether somebody has resumed the gateway meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from decision.core.clock import MINUTE, from_micros
from decision.core.ports import BlobStore
from decision.core.said import Said
from decision.store.damage import readable

_STALE: Final = 10 * MINUTE
"""After that long, whoever noted it has ended: a gateway is left alone for a minute at most."""


class LeftAlone(msgspec.Struct, frozen=True):
    """The gateway of a channel, how many attempts failed in a row, and why the last one did.

    `until` is when it is tried again, in microseconds; 0: it is not left alone.
    """

    gateway: str
    until: int = 0
    failures: int = 0
    reason: str = ""


_decode = msgspec.json.Decoder(LeftAlone).decode


async def note_left_alone(store: BlobStore, channel: str, found: LeftAlone) -> None:
    """Tells which gateway a channel has, and how it does."""
    await store.put_blob(f"left-alone:{channel}", msgspec.json.encode(found))


async def noted(store: BlobStore, channels: Iterable[str], now: int) -> dict[str, LeftAlone]:
    """Channel → its gateway, where a sender has told of it."""
    found = {}
    for channel in channels:
        name = f"left-alone:{channel}"
        if (stored := await store.get_blob(name)) is None:
            continue
        for one in readable(name, [stored], _decode):
            ended = one.until and one.until + _STALE <= now
            found[channel] = LeftAlone(one.gateway) if ended else one
    return found


async def left_alone(store: BlobStore, channels: Iterable[str], now: int) -> dict[str, LeftAlone]:
    """Channel → its gateway, where that fails. Its time may be over: then it is being tried."""
    return {name: one for name, one in (await noted(store, channels, now)).items() if one.until}


async def mark_resumed(store: BlobStore, gateway: str, mark: str) -> None:
    """Has every sender try a gateway again, within a second; `mark` is another one each time."""
    await store.put_blob(f"resumed:{gateway}", mark.encode())


async def resumed_mark(store: BlobStore, gateway: str) -> bytes | None:
    """The latest mark of `mark_resumed`."""
    return await store.get_blob(f"resumed:{gateway}")


def in_words(one: LeftAlone, now: int) -> str:
    """What is so of a gateway, after its name."""
    if not one.until:
        return Said("fails") if one.failures else Said("is not paused")
    if one.until <= now:
        return Said("is failing, and is being tried again")
    return Said(
        "is failing, and is left alone until %(time)s",
        time=f"{from_micros(one.until):%H:%M:%SZ}",
    )
