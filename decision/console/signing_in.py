"""Signing in with an API key, and out; language and theme."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, get, post
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer, cookies_of, redirect
from decision.console.console import Console, go
from decision.console.forms import form_of, local_path, query_of
from decision.console.language import LANGUAGES, N_
from decision.console.sessions import LASTS_AT_MOST
from decision.console.visitors import (
    THEMES,
    VIEW_COOKIE,
    cookie,
    cookies_given,
    scopes_of,
    visitor_of,
)
from decision.core.clock import SECOND
from decision.server.keys.entries import digest

_Request = Request[Any, Any, Any]
_PUBLIC: Final = {"public": True}
_UNKNOWN: Final = N_("This key is not known, or it has expired. Ask whoever runs the server.")
_NO_SCOPE: Final = N_(
    "The key %(name)s may not see the console. It needs the scope view, edit, publish, operate or "
    "admin."
)
_YEAR: Final = 365 * 24 * 3600


def routes(console: Console) -> list[ControllerRouterHandler]:
    """Signing in and out, and how the console looks."""

    async def form(
        request: _Request, next_path: str, status: int = 200, problem: str = ""
    ) -> Answer:
        return await console.page(
            request, "sign_in.html", status=status, next=next_path, problem=problem
        )

    @get("/sign-in", opt=_PUBLIC)
    async def show(request: _Request) -> Answer:
        next_path = local_path(query_of(request).text("next"))
        if console.door.open or visitor_of(request).name:
            return redirect(next_path)
        return await form(request, next_path)

    @post("/sign-in", status_code=200, opt=_PUBLIC)
    async def sign_in(request: _Request) -> Answer:
        given = form_of(request)
        next_path = local_path(given.text("next"))
        if console.door.open:
            return redirect(next_path)
        say = visitor_of(request).language.gettext
        key = digest(given.text("key").strip().encode())
        holder = console.door.holder(key)
        if holder is None:
            return await form(request, next_path, 401, say(_UNKNOWN))
        if not scopes_of(holder.scopes):
            await console.audit(request, "console.sign-in", result="refused", by=holder.name)
            return await form(request, next_path, 403, say(_NO_SCOPE, name=holder.name))
        before = visitor_of(request).session
        if before:
            await console.sessions.end(before)
        session = await console.sessions.begin(key)
        lasts = LASTS_AT_MOST // SECOND
        made = cookie(request.scope, console.sessions.cookie, session, lasts)
        cookies_of(request.scope).append(made)
        await console.audit(request, "console.sign-in", by=holder.name)
        return redirect(next_path)

    @post("/sign-out", status_code=200, opt=_PUBLIC)
    async def sign_out(request: _Request) -> Answer:
        given = cookies_given(request.scope).get(console.sessions.cookie, "")
        found = await console.sessions.find(given)
        if found is not None:
            await console.sessions.end(found[0])
            if visitor_of(request).name:
                await console.audit(request, "console.sign-out")
        cookies_of(request.scope).append(cookie(request.scope, console.sessions.cookie, "", 0))
        return go(request, "/console/sign-in")

    @post("/view", status_code=200, opt=_PUBLIC)
    async def set_view(request: _Request) -> Answer:
        given, visitor = form_of(request), visitor_of(request)
        code = given.text("language", visitor.language.code)
        theme = given.text("theme", visitor.theme)
        if code in LANGUAGES and theme in THEMES:
            made = cookie(request.scope, VIEW_COOKIE, f"{code}.{theme}", _YEAR)
            cookies_of(request.scope).append(made)
        return redirect(local_path(given.text("next")))

    return [show, sign_in, sign_out, set_view]
