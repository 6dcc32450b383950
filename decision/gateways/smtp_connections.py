"""Connections to a mail server: encrypted, logged in, at checked addresses, and used again."""

from __future__ import annotations

import time
from typing import Annotated, Final, Literal

import aiosmtplib
import msgspec
from msgspec import Meta

from decision.gateways.client import tls_context
from decision.gateways.protocol import GatewayConfig, Seconds
from decision.gateways.targets import Targets

_IDLE: Final = 20.0
"""Seconds for which an idle connection is kept: servers close after some more."""

_MOST_IDLE: Final = 4

Encryption = Literal["starttls", "tls", "none"]


class SmtpConfig(GatewayConfig, frozen=True, kw_only=True):
    """`encryption` left out: `tls` on port 465, else `starttls`, without which nothing is sent.

    `to` and `headers` are templates. `list_unsubscribe` is whether mails of a purpose that can be
    refused have a link to opt out in their headers, where the file has `unsubscribe`.
    """

    host: str
    sender: str = msgspec.field(name="from")
    port: Annotated[int, Meta(ge=1, le=65535)] = 587
    encryption: Encryption | None = None
    user: str | None = None
    password: str | None = None
    reply_to: str | None = None
    to: str = "{{ customer.email }}"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    list_unsubscribe: bool = True
    timeout: Seconds = msgspec.field(default_factory=lambda: Seconds(30))


def encryption_of(config: SmtpConfig) -> Encryption:
    """How the connection is encrypted."""
    return config.encryption or ("tls" if config.port == 465 else "starttls")


class SmtpConnections:
    """The connections of one gateway. `name` is who we say that we are."""

    def __init__(self, config: SmtpConfig, targets: Targets, name: str) -> None:
        self._config = config
        self._targets = targets
        self._name = name
        self._idle: list[tuple[float, aiosmtplib.SMTP]] = []

    async def take(self) -> tuple[aiosmtplib.SMTP, bool]:
        """A connection, and whether it was used before.

        Raises:
            OSError: the server cannot be reached, or does not answer.
            TargetRefused: it is at an address that is not allowed.
            aiosmtplib.SMTPException: it refuses us.
        """
        while self._idle:
            since, client = self._idle.pop()
            if client.is_connected and time.monotonic() < since + _IDLE:
                return client, True
            client.close()
        return await self.connect(), False

    async def connect(self) -> aiosmtplib.SMTP:
        """A new connection; errors as in `take`."""
        config = self._config
        encryption = encryption_of(config)
        connection = await self._targets.connect(config.host, config.port)
        try:
            client = aiosmtplib.SMTP(
                hostname=config.host,  # the name in its certificate
                sock=connection,
                username=config.user,
                password=config.password,
                local_hostname=self._name,
                timeout=config.timeout,
                use_tls=encryption == "tls",
                start_tls=encryption == "starttls",
                tls_context=None if encryption == "none" else tls_context(),
            )
            await client.connect()
        except BaseException:
            connection.close()
            raise
        return client

    def give_back(self, client: aiosmtplib.SMTP) -> None:
        """Keeps a connection that is in order for the next mail."""
        if client.is_connected and len(self._idle) < _MOST_IDLE:
            self._idle.append((time.monotonic(), client))
        else:
            client.close()

    def close(self) -> None:
        """Ends those that are idle."""
        while self._idle:
            self._idle.pop()[1].close()
