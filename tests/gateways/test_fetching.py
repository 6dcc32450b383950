"""What providers keep for verifiers is fetched from public addresses alone, and nothing is sent to
others."""

from __future__ import annotations

import asyncio

import pytest

from decision.gateways.amazon import Unreachable
from decision.gateways.fetching import fetch


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1"])
def test_an_address_of_our_own_network_is_refused_before_anything_is_sent(host: str) -> None:
    async def run() -> int:
        asked = 0

        def asks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            asked += 1
            writer.close()

        server = await asyncio.start_server(asks, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            with pytest.raises(Unreachable, match="private"):
                await fetch(f"https://{host}:{port}/SimpleNotificationService-1.pem")
        return asked

    assert asyncio.run(run()) == 0
