"""Operations: who changed what, and who looked whom up."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer
from decision.console.console import Console
from decision.console.forms import query_of
from decision.console.operations import tabs
from decision.server.audit import entries

_ROWS: Final = 50


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The list at `/console/operations/audit`; its filters and page are in its address."""

    @get("/operations/audit")
    async def audit_list(request: Request[Any, Any, Any]) -> Answer:
        asked = query_of(request)
        by, action = asked.text("by").strip(), asked.text("action").strip()
        found = await entries(console.engine.runtime.store)
        found.reverse()
        rows = [
            row
            for row in found
            if (not by or row.by == by) and (not action or row.action == action)
        ]
        pages = max(1, -(-len(rows) // _ROWS))
        page = asked.number("page", 1, 1, pages)
        return await console.page(
            request,
            "audit.html",
            tabs=tabs(request),
            rows=rows[(page - 1) * _ROWS : page * _ROWS],
            total=len(rows),
            anything=bool(found),
            page=page,
            pages=pages,
            by=by,
            action=action,
            people=[(one, one) for one in sorted({row.by for row in found})],
            actions=[(one, one) for one in sorted({row.action for row in found})],
        )

    return [audit_list]
