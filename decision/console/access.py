"""Who is let in: host, session, scope; and for what changes something, its origin and token."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import Any

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard, Scope

from decision.console.console import Console
from decision.console.errors import PageError, SignInNeeded
from decision.console.forms import (
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

    A route's `opt["scope"]` is the scope that it needs, `view` where it names none. With
    `opt["public"]` it is for everybody, with `opt["asset"]` it is the same for everybody.
    `opt["largest"]` is how many bytes its form may have, where that is not `LARGEST`.
    """

    async def guard(
        connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        scope = connection.scope
        console.door.admit(scope)
        if handler.opt.get("asset"):
            return
        public = bool(handler.opt.get("public"))
        visitor = stranger(scope)
        assert isinstance(connection, Request)  # all routes are of HTTP
        if connection.scope["method"] not in SAFE:
            check_origin(scope)
            largest = SMALL if public else handler.opt.get("largest", LARGEST)
            data = await console.door.read(scope, connection.receive, largest)
            form = await read_form(data)
            check_token(scope, visitor, form)
            scope["state"]["form"] = form
        elif from_elsewhere(scope):
            raise SignInNeeded
        with suppress(StoreUnavailable) if public else nullcontext():
            visitor = await signed_in(console, scope, visitor)
        scope["state"]["visitor"] = visitor
        if public:
            return
        if not visitor.name:
            raise SignInNeeded
        needed = handler.opt.get("scope", "view")
        if not visitor.may(needed):
            raise PageError(
                403,
                N_("Your key %(name)s lacks the scope %(scope)s."),
                name=visitor.name,
                scope=needed,
            )

    return guard


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
