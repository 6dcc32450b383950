"""E-mail by SMTP: submission with TLS and a login, on connections that are used again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final

import aiosmtplib

from decision.gateways.failures import words_of
from decision.gateways.mail import address_of, compose, flat, message_id, sender_of
from decision.gateways.metadata import rows_of
from decision.gateways.problems import Problem
from decision.gateways.protocol import (
    Accepted,
    OnUnknown,
    Outgoing,
    Rejected,
    Result,
    Retry,
    Unknown,
)
from decision.gateways.registry import Context, GatewayType
from decision.gateways.smtp_connections import SmtpConfig, SmtpConnections, encryption_of
from decision.gateways.targets import (
    TargetRefused,
    Targets,
    problem_of_host,
    problems_of_networks,
)
from decision.gateways.templating import (
    Needs,
    Unrenderable,
    names_of,
    problems_of_templates,
    text,
)

_ABOUT_US: Final = frozenset({500, 502, 503, 530, 534, 535, 538})
"""Permanent answers that are about the login or the protocol, not about the mail."""

_LOGIN_REFUSED: Final = frozenset({530, 534, 535, 538})
"""Of these, those about the login."""

_BEFORE_THE_MAIL: Final = (
    aiosmtplib.SMTPConnectResponseError,
    aiosmtplib.SMTPHeloError,
    aiosmtplib.SMTPAuthenticationError,
)
_LONGEST_REASON: Final = 200


class Smtp:
    """Sends each delivery as one mail to one recipient."""

    on_unknown_default: OnUnknown = "hold"

    def __init__(
        self, config: SmtpConfig, context: Context, clock: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self._sender = sender_of(config.sender)
        self._reply_to = None if config.reply_to is None else sender_of(config.reply_to)
        self._to = text(config.to, what="to")
        self._needs = Needs({"to": config.to})
        self._own = {name.lower() for name in config.headers}
        self._headers = {name: text(one, what=name) for name, one in config.headers.items()}
        self._connections = SmtpConnections(
            config, Targets(config.allow_private), self._sender.domain
        )
        self._clock = clock

    async def send(self, outgoing: Outgoing) -> Result:
        """One attempt."""
        in_headers = self._config.list_unsubscribe and outgoing.refusable
        link = outgoing.unsubscribe_url if in_headers else None
        names = names_of(outgoing)
        try:
            self._needs.check(names)
            to = address_of(self._to(names))
            mail = compose(
                outgoing.content,
                sender=self._sender,
                to=to,
                at=int(self._clock() * 1e6),
                key=outgoing.key,
                reply_to=self._reply_to,
                headers={name: render(names) for name, render in self._headers.items()},
            )
            utf8 = not (to.addr_spec + self._sender.addr_spec).isascii()
            rows = rows_of(self._config.reports, outgoing)
            rows = [(name, one) for name, one in rows if name.lower() not in self._own]
            data = flat(mail, utf8=utf8, link=link, rows=rows)
        except (ValueError, Unrenderable) as error:
            return Rejected(f"no mail can be made of this: {error}")
        attempt = _Attempt(self._connections, self._sender.addr_spec, to.addr_spec, data, utf8)
        found = await attempt.make(self._config.timeout)
        return Accepted(message_id(outgoing.key, self._sender)) if found is None else found

    async def close(self) -> None:
        """Ends the connections that are idle."""
        self._connections.close()


class _Attempt:
    """One mail on its way. `handed_over`: from there on, a failure leaves the outcome unknown."""

    def __init__(
        self, connections: SmtpConnections, sender: str, to: str, data: bytes, utf8: bool
    ) -> None:
        self.connections = connections
        self.sender = sender
        self.to = to
        self.data = data
        self.utf8 = utf8
        self.handed_over = False

    async def make(self, timeout: float) -> Result | None:
        """None where the server has taken the mail."""
        try:
            async with asyncio.timeout(timeout):
                await self._send()
        except TargetRefused as error:
            return Retry(reason=str(error))
        except aiosmtplib.SMTPResponseException as error:
            return self._refused(error)
        except (OSError, aiosmtplib.SMTPException) as error:
            said = self._clean(words_of(error))
            if isinstance(error, TimeoutError):
                said = f"no answer within {timeout:g} s"
            return Unknown(said) if self.handed_over else Retry(reason=said)
        return None

    async def _send(self) -> None:
        client, used = await self.connections.take()
        try:
            try:
                await self._say_from(client)
            except aiosmtplib.SMTPServerDisconnected:
                if not used:
                    raise
                client.close()  # the server has closed it while it was idle
                client = await self.connections.connect()
                await self._say_from(client)
            await client.rcpt(self.to, encoding="utf-8")
            self.handed_over = True
            await client.data(self.data)
        except aiosmtplib.SMTPResponseException:
            await self._reset(client)
            raise
        except BaseException:
            client.close()
            raise
        self.connections.give_back(client)

    async def _say_from(self, client: aiosmtplib.SMTP) -> None:
        if client.is_ehlo_or_helo_needed:
            await client.ehlo()
        options = []
        if self.utf8:
            if not client.supports_extension("smtputf8"):
                raise aiosmtplib.SMTPSenderRefused(553, "no SMTPUTF8 for this address", self.to)
            options = ["SMTPUTF8", "BODY=8BITMIME"]
        await client.mail(self.sender, options=options, encoding="utf-8")

    async def _reset(self, client: aiosmtplib.SMTP) -> None:
        """Makes a connection ready for the next mail after a refusal."""
        try:
            await client.rset()
        except (OSError, aiosmtplib.SMTPException):
            client.close()
        self.connections.give_back(client)

    def _refused(self, error: aiosmtplib.SMTPResponseException) -> Result:
        said = f"the mail server answered {error.code} {self._clean(error.message)}"
        before = isinstance(error, _BEFORE_THE_MAIL)
        if before or error.code < 500 or error.code in _ABOUT_US:
            return Retry(reason=said, refused=error.code in _LOGIN_REFUSED)
        return Rejected(said)

    def _clean(self, said: str) -> str:
        """What a server said, without the customer's address."""
        return " ".join(said.replace(self.to, "…").split())[:_LONGEST_REASON]


def _check(config: SmtpConfig) -> Iterator[Problem]:
    yield from problems_of_networks(config.allow_private)
    for key, address in (("from", config.sender), ("reply_to", config.reply_to)):
        try:
            if address is not None:
                sender_of(address)
        except ValueError as error:
            yield key, str(error), 'write "Lantern Market <hi@example.com>"'
    yield from _problems_of_host(config)
    if (config.user is None) != (config.password is None):
        missing = "password" if config.password is None else "user"
        yield missing, "user and password come together", f"add {missing}"
    if config.user is not None and encryption_of(config) == "none":
        hint = "write encryption: starttls, or tls"
        yield "encryption", "the password would be sent unencrypted", hint
    yield from problems_of_templates(config.to, "to")
    yield from problems_of_templates(config.headers, "headers")
    reserved = {"from", "to", "subject", "date", "message-id", "reply-to", "mime-version"}
    for name in config.headers:
        sane = name.isascii() and name.replace("-", "").isalnum()
        if not sane or name.lower() in reserved or name.lower().startswith(("content-", "list-un")):
            yield "headers", "it has a header that cannot be set here", "use one such as X-Tag"


def _problems_of_host(config: SmtpConfig) -> Iterator[Problem]:
    name, colon, port = config.host.rpartition(":")
    if colon and ":" not in name and port.isdigit():
        yield "host", "the port is a key of its own", "write host: smtp.example.com, port: 587"
    elif not config.host.strip() or any(sign in config.host for sign in "/@[] \r\n"):
        yield "host", "it must be the name of a server", "write smtp.example.com"
    elif (problem := problem_of_host(config.host, config.allow_private)) is not None:
        yield "host", *problem


TYPE = GatewayType(config=SmtpConfig, make=Smtp, check=_check)
