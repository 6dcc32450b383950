"""Operations: who changed what, and who looked whom up."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.console.answers import Answer
from decision.console.console import Console
from decision.console.forms import query_of
from decision.console.operations import tabs
from decision.console.rendering import link, path_part
from decision.server.audit import LOOK_ACTIONS, AuditEntry, entries

_ROWS: Final = 50

CHANGES: Final = "changes"
"""Chosen as an action: all that change something."""


def routes(console: Console) -> list[ControllerRouterHandler]:
    """The list at `/console/operations/audit`; its filters and page are in its address."""

    @get("/operations/audit")
    async def audit_list(request: Request[Any, Any, Any]) -> Answer:
        asked = query_of(request)
        by, action = asked.text("by").strip(), asked.text("action").strip()
        found = await entries(console.engine.runtime.store)
        found.reverse()
        rows = [row for row in found if (not by or row.by == by) and _is(row, action)]
        pages = max(1, -(-len(rows) // _ROWS))
        page = asked.number("page", 1, 1, pages)
        return await console.page(
            request,
            "audit.html",
            tabs=tabs(request),
            rows=rows[(page - 1) * _ROWS : page * _ROWS],
            total=len(rows),
            anything=bool(found),
            changes=CHANGES,
            page_of=page_of,
            page=page,
            pages=pages,
            by=by,
            action=action,
            people=[(one, one) for one in sorted({row.by for row in found})],
            actions=[(one, one) for one in sorted({row.action for row in found})],
        )

    return [audit_list]


def _is(row: AuditEntry, action: str) -> bool:
    if action == CHANGES:
        return row.action not in LOOK_ACTIONS
    return not action or row.action == action


def page_of(row: AuditEntry) -> str:
    """Where more is of what an entry is about; "" for customers, who are named by pseudonyms.

    >>> from decision.server.audit import entry_of
    >>> page_of(entry_of("draft.save", "ann", target="0d3e20 messages/tea.yaml"))
    '/console/rules/drafts/0d3e20'
    """
    kind, target = row.action.partition(".")[0], (row.target or "").partition(" ")[0]
    if not target:
        return ""
    if kind == "draft":
        return f"/console/rules/drafts/{path_part(target)}"
    if kind == "policy":
        return "/console/rules/history"
    if kind == "journey":
        return f"/console/journeys/{path_part(row.target or '')}"
    return link("/console/models/version", version=row.target) if kind == "model" else ""
