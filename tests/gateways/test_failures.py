"""What attempts without a connection came to is told with the place and the reason, in words."""

from __future__ import annotations

import asyncio
import doctest
import re
import socket
from collections.abc import Iterator

import httpcore
import pytest

from decision.gateways import failures
from decision.gateways.client import HttpClient
from decision.gateways.failures import words_of
from decision.gateways.protocol import Retry
from decision.gateways.settings import parse_gateways
from decision.gateways.targets import Targets
from tests.gateways.outgoing import outgoing


def test_every_example_gives_what_it_shows() -> None:
    assert doctest.testmod(failures).failed == 0


@pytest.fixture
def closed() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        yield own.getsockname()[1]


FILES = {
    "webhook": '{{type: webhook, url: "http://127.0.0.1:{port}/in", secret: "{secret}", allow_private: true}}',
    "http": '{{type: http, url: "http://127.0.0.1:{port}/in", allow_private: true}}',
    "smtp": "{{type: smtp, host: 127.0.0.1, port: {port}, encryption: none, from: hi@shop.example, allow_private: true}}",
}


@pytest.mark.parametrize("kind", FILES)
def test_a_provider_that_is_down_is_told_with_its_place(kind: str, closed: int) -> None:
    one = FILES[kind].format(port=closed, secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    settings = parse_gateways("g.yaml", f"gateways: {{one: {one}}}", {})

    async def send() -> object:
        gateway = settings.open("one")
        try:
            return await gateway.send(outgoing(attributes={"email": "li@mail.example"}))
        finally:
            await gateway.close()

    found = asyncio.run(send())
    assert found == Retry(reason=f"no connection to 127.0.0.1:{closed}: Connection refused")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (OSError(113, "Connect call failed ('10.0.0.5', 25)"), "No route to host"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (httpcore.RemoteProtocolError("Server disconnected"), "Server disconnected"),
        (httpcore.ReadError(), "ReadError"),
    ],
)
def test_numbers_and_source_files_are_left_out(error: Exception, said: str) -> None:
    assert words_of(error) == said
    wrapped = httpcore.ReadError(str(error))
    wrapped.__cause__ = error
    assert words_of(wrapped) == said


def test_a_server_that_speaks_no_tls_is_told_in_words() -> None:
    async def ask() -> object:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            client = HttpClient(timeout=5, targets=Targets(True))
            try:
                return await client.send("POST", f"https://127.0.0.1:{port}/", {}, b"")
            finally:
                await client.close()

    found = asyncio.run(ask())
    assert isinstance(found, Retry)
    assert re.fullmatch(r"TLS failed: [a-z ]+", found.reason), found
