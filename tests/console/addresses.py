"""The addresses of all pages, so that what must hold on every page is tried on every page."""

from __future__ import annotations

from typing import Final

from litestar.routes import HTTPRoute

from decision.api.app import create_app
from decision.engine import Engine
from decision.store import MemoryStore

EXAMPLES: Final[dict[str, str]] = {
    "/console/{rest}": "/console/nothing",
    "/console/customers/{customer_id}": "/console/customers/li?placement=outbound&g.reason=all",
    "/console/customers/{customer_id}/timeline": "/console/customers/li/timeline",
    "/console/decisions/{decision_id}": "/console/decisions/01KAJS4VQ5H0Z3NCP9A0GX2M7R",
    "/console/journeys/{name}": "/console/journeys/welcome",
    "/console/rules/files/{file}": "/console/rules/files/journeys.yaml",
    "/console/messages/{name}": "/console/messages/cart-reminder?sample=first_name%3DLi",
    "/console/messages/{name}/fate": "/console/messages/cart-reminder/fate",
    "/console/reports/{kind}": "/console/reports/funnel?steps=page_view&steps=purchase",
    "/console/reports/{kind}/found": "/console/reports/paths/found?top=5",
    "/console/journeys/{name}/report": "/console/journeys/welcome/report",
}
"""Route with parameters → an address of it, with the sample. A new such page needs one here."""

NO_PAGES: Final = {
    "/console/assets/{name}",
    "/console/candidates/data",
    "/console/experiments/data",
    "/console/models/file",
    "/console/reports/data",
    "/console/reports/{kind}/chart/{number}",
    "/console/reports/{kind}/data",
    "/console/reports/{kind}/headline",
}
"""Routes that answer something else than a page."""


OF_A_DRAFT: Final = "/console/rules/drafts/{id}"
"""How routes begin that need a draft: they are tried where one is made."""


def every_page() -> list[str]:
    """An address of each page that can be opened.

    Raises:
        KeyError: a page has parameters, and no example.
    """
    found = []
    for route in create_app(Engine(MemoryStore())).routes:
        path = route.path_format
        if not isinstance(route, HTTPRoute) or "GET" not in route.methods:
            continue
        if path.startswith(OF_A_DRAFT) or path in NO_PAGES:
            continue
        if path.startswith("/console"):
            found.append(EXAMPLES[path] if "{" in path else path)
    return sorted(found)
