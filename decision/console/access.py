"""Who is let in: host, session, scope; and for what changes something, its origin and token."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard, Scope

from decision.console.console import Console
from decision.console.errors import PageError, SignInNeeded
from decision.console.forms import (
    KEPT,
    LARGEST,
    SAFE,
    SMALL,
    check_origin,
    check_token,
    read_form,
)
from decision.console.language import N_
from decision.console.visitors import (
    SCOPES,
    Visitor,
    cookies_given,
    from_elsewhere,
    scopes_of,
    stranger,
)
from decision.core.errors import StoreUnavailable


def guard_of(console: Console) -> Guard:
    """Litestar's guard of the console's routes.

    A route's `opt["scope"]` is the scope that it needs, or several of which it needs one. A page
    that names none needs `view`; what changes something has to name it, or is for nobody. With
    `opt["public"]` it is for everybody, with `opt["asset"]` it is the same for everybody.
    `opt["largest"]` is how many bytes its form may have, where that is not `LARGEST`.

    Who it is, is asked before a form is read. Of those who are not signed in only so much is read
    as is kept for them, if it was a session of theirs that ended.
    """

    async def guard(
        connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        scope = connection.scope
        console.door.admit(scope)
        if handler.opt.get("asset"):
            return
        public = bool(handler.opt.get("public"))
        assert isinstance(connection, Request)  # all routes are of HTTP
        safe = connection.scope["method"] in SAFE
        visitor, away = stranger(scope), None
        if not safe:
            check_origin(scope)
        elif from_elsewhere(scope):
            raise SignInNeeded
        try:
            visitor = await signed_in(console, scope, visitor)
        except StoreUnavailable as error:
            away = error
        scope["state"]["visitor"] = visitor
        if visitor.name and not public:
            check_scope(visitor, handler.opt.get("scope", "view" if safe else ()))
        if not safe:
            largest = SMALL if public else handler.opt.get("largest", LARGEST)
            if not visitor.name:
                largest = min(largest, KEPT)
            data = await console.door.read(scope, connection.receive, largest)
            async with nullcontext() if visitor.name else console.strangers:
                form = await read_form(data)
            scope["state"]["form"] = form
            check_token(scope, visitor, form)
        if public:
            return
        if away is not None:
            raise away
        if not visitor.name:
            raise SignInNeeded

    return guard


def check_scope(visitor: Visitor, needed: str | Sequence[str]) -> None:
    """Refuses who has none of the scopes.

    Raises:
        PageError: 403.
    """
    scopes = (needed,) if isinstance(needed, str) else needed
    if not any(map(visitor.may, scopes)):
        raise PageError(
            403,
            N_("Your key %(name)s lacks the scope %(scope)s."),
            name=visitor.name,
            scope=scopes[0] if scopes else "admin",
        )


async def signed_in(console: Console, scope: Scope, visitor: Visitor) -> Visitor:
    """The visitor with name and scopes, where they have a session or need none.

    Raises:
        StoreUnavailable: whether they have one cannot be known.
    """
    door = console.door
    if door.open:
        return msgspec.structs.replace(visitor, name="local", scopes=SCOPES)
    cookie = cookies_given(scope).get(console.sessions.cookie)
    if not cookie:
        return visitor
    found = await console.sessions.find(cookie)
    if found is None:
        return visitor
    name, session = found
    holder = door.holder(session.key)
    if holder is None:  # revoked, or expired
        return visitor
    return msgspec.structs.replace(
        visitor, name=holder.name, scopes=scopes_of(holder.scopes), session=name
    )
