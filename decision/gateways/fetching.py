"""What a provider keeps for whoever verifies its reports, fetched from a public address."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from decision.gateways.amazon import Unreachable
from decision.gateways.client import HttpClient, Reply
from decision.gateways.targets import Targets

_TIMEOUT: Final = 5.0
"""Seconds."""


async def fetch(url: str) -> bytes:
    """The body of a successful answer; private addresses are refused, redirects not followed.

    Raises:
        Unreachable: there is none.
    """
    client = HttpClient(timeout=_TIMEOUT, targets=Targets())
    try:
        reply = await client.send("GET", url, {})
    finally:
        await client.close()
    if isinstance(reply, Reply) and reply.status == 200 and reply.end == "complete":
        return reply.body
    said = f"it answered {reply.status}" if isinstance(reply, Reply) else reply.reason
    raise Unreachable(f"{urlsplit(url).hostname} cannot be asked: {said}")
