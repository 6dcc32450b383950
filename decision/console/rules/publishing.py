"""A draft is put in force, with a reason; or the page says why it cannot be."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, get, post
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer
from decision.console.console import go
from decision.console.errors import PageError
from decision.console.forms import form_of
from decision.console.language import N_
from decision.console.rendering import link
from decision.console.rules.desk import Desk, refusals
from decision.console.visitors import visitor_of
from decision.drafts.draft import Draft
from decision.drafts.publishing import NotPublished, publish_draft
from decision.server.drafting import needs_review, why_read_only

_PUBLISH: Final = {"scope": "publish"}


def routes(desk: Desk) -> list[ControllerRouterHandler]:
    """`/console/rules/drafts/{id}/publish`."""
    console, drafts = desk.console, desk.drafts

    async def page(
        request: Request[Any, Any, Any],
        draft: Draft,
        why: str,
        refused: NotPublished | None = None,
    ) -> Answer:
        return await console.page(
            request,
            "rules_publish.html",
            status=409 if refused else 200,
            draft=draft,
            why=why,
            refused=refused,
            moved=not draft.closed and await drafts.moved(draft),
            review=needs_review(console.settings),
            read_only=why_read_only(console.settings),
        )

    @get("/rules/drafts/{id:str}/publish", opt=_PUBLISH)
    async def asked(request: Request[Any, Any, Any]) -> Answer:
        draft = await desk.draft(request)
        return await page(request, draft, draft.why or draft.title)

    @post("/rules/drafts/{id:str}/publish", status_code=200, opt=_PUBLISH)
    async def publish(request: Request[Any, Any, Any]) -> Answer:
        desk.require_published()
        form, by = form_of(request), visitor_of(request).name
        why, draft = form.long_text("why").strip(), await desk.draft(request)
        if not why:
            raise PageError(400, N_("Say why: it is kept in the history."))
        with refusals():
            found = await publish_draft(
                drafts,
                draft.id,
                desk.releases,
                by=by,
                message=why,
                revision=form.number("revision", 0, most=2**40),
                review=needs_review(console.settings),
            )
        if isinstance(found, NotPublished):
            return await page(request, draft, why, found)
        if not found.again:
            version = found.publication.version
            await console.audit(request, "policy.publish", target=version, reason=why)
        return go(request, link("/console/rules", done=found.publication.version))

    return [asked, publish]
