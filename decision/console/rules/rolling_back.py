"""An earlier version of the rules is put in force again, with a reason."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, get, post
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer
from decision.console.console import go
from decision.console.errors import PageError
from decision.console.forms import form_of, query_of
from decision.console.language import N_
from decision.console.rendering import link
from decision.console.rules.desk import Desk
from decision.console.visitors import visitor_of
from decision.drafts.draft import LONGEST_COMMENT, checked_text
from decision.drafts.published import diff_publications
from decision.releases.publishing import history
from decision.releases.rollback import CannotRollBack, Overtaken, roll_back_policy

_PUBLISH: Final = {"scope": "publish"}


def routes(desk: Desk) -> list[ControllerRouterHandler]:
    """`/console/rules/roll-back`: what it would change, and doing it."""
    console, store = desk.console, desk.store

    @get("/rules/roll-back", opt=_PUBLISH)
    async def asked(request: Request[Any, Any, Any]) -> Answer:
        version, entries = query_of(request).text("version"), await history(store)
        target = next((one for one in reversed(entries) if one.version == version), None)
        if target is None:
            raise PageError(404, N_("There is no such version of the rules."))
        return await console.page(
            request,
            "rules_roll_back.html",
            target=target,
            now=entries[-1],
            files=await diff_publications(store, entries[-1], target),
        )

    @post("/rules/roll-back", status_code=200, opt=_PUBLISH)
    async def done(request: Request[Any, Any, Any]) -> Answer:
        desk.require_published()
        form, visitor = form_of(request), visitor_of(request)
        why = form.text("why").strip()
        if not why:
            raise PageError(400, N_("Say why: it is kept in the history."))
        why = checked_text("why", why, LONGEST_COMMENT)
        version, now = form.text("version")[:100] or None, form.text("now")
        try:
            entry = await roll_back_policy(
                store, version, visitor.name, why, console.now(), now=now
            )
        except Overtaken:
            text = N_("Somebody else has published meanwhile. Look at it again.")
            raise PageError(409, text) from None
        except CannotRollBack as error:
            raise PageError(409, N_("It cannot be rolled back: %(why)s"), why=str(error)) from None
        await console.audit(request, "policy.rollback", target=entry.version, reason=why)
        return go(request, link("/console/rules", done=entry.version))

    return [asked, done]
