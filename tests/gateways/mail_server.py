"""A real mail server (aiosmtpd) whose answers can be chosen."""

from __future__ import annotations

import asyncio
import email
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.policy import SMTPUTF8
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class Handler:
    """`answers` are given to commands: `{"RCPT": "550 no such user"}`; else all is taken."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.envelopes: list[Envelope] = []
        self.connections = 0
        self.logins: list[tuple[bytes, bytes]] = []
        self.port = 0

    async def _answer(self, command: str, server: SMTP) -> str | None:
        found = self.answers.get(command)
        if isinstance(found, list):
            found = found.pop(0) if found else None
        if found == "drop":
            server.transport.abort()
            return "421 gone"
        if found == "hang":
            await asyncio.sleep(30)
        return found

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        found = await self._answer("MAIL", server)
        if found is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return found or "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        found = await self._answer("RCPT", server)
        if found is None:
            envelope.rcpt_tos.append(address)
        return found or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return await self._answer("DATA", server) or "250 OK queued as 1"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)

    def mail(self) -> EmailMessage:
        (envelope,) = self.envelopes
        return self.read(envelope)

    def read(self, envelope: Envelope) -> EmailMessage:
        content = envelope.original_content
        assert isinstance(content, bytes)
        found = email.message_from_bytes(content, policy=SMTPUTF8)
        assert isinstance(found, EmailMessage) and not found.defects
        return found


@asynccontextmanager
async def mail_server(
    tls: ssl.SSLContext | None = None, *, implicit: bool = False, utf8: bool = True, **answers: Any
) -> AsyncIterator[Handler]:
    handler = Handler(answers)
    loop = asyncio.get_running_loop()

    def session() -> SMTP:
        handler.connections += 1
        return SMTP(
            handler,
            loop=loop,
            enable_SMTPUTF8=utf8,
            tls_context=None if implicit else tls,
            authenticator=handler.authenticate,
            auth_require_tls=not implicit,
            timeout=answers.get("idle", 300),
        )

    server = await loop.create_server(session, "127.0.0.1", 0, ssl=tls if implicit else None)
    handler.port = server.sockets[0].getsockname()[1]
    async with server:
        yield handler
