'''The console: pages for people, at `/console`, served by the same process as the API.

It is below `api`, which mounts it (`create_app`), and above `server`. A page module is thin: an
address or a form comes in, packages below compute, a template shows it.

A page::

    """Journeys: who is where."""

    def routes(console: Console) -> list[ControllerRouterHandler]:
        """The page at `/console/journeys`."""

        @get("/journeys")                                   # needs the scope `view`
        async def journeys(request: Request[Any, Any, Any]) -> Answer:
            asked = query_of(request)                       # the page's state is in its address
            rows = await journeys_of(console.engine.runtime, asked.text("name"))
            return await console.page(request, "journeys.html", rows=rows, name=asked.text("name"))

        @post("/journeys/{name:str}/pause", status_code=200, opt={"scope": "operate"})
        async def pause(request: Request[Any, Any, Any]) -> Answer:
            name = path_text(request, "name")
            why = form_of(request).text("reason")
            await pause_journey(console.engine.runtime, name)
            await console.audit(request, "journey.pause", target=name, reason=why)
            return go(request, link("/console/journeys", name=name))

        return [journeys, pause]

- Name the module in `PAGES` below. The navigation links the places of `navigation.py` that have a
  page at their path.
- `await console.page(request, template, zone=..., **values)` answers. It renders in a thread.
- `await console.work(function)` runs what takes more than a few milliseconds (DuckDB, checking
  rules) in a thread: a few at once, and not longer than 30 s.
- Errors are raised, and become pages: `PageError(404, N_("..."))`, `StoreUnavailable`, any other of
  `core.errors`.
- Forms: `<form method="post" action="...">{{ ui.csrf() }}...`. Origin and token were checked before
  the handler runs. Answer with `go(request, path)`, so that loading again sends nothing again.
- htmx: let links and forms work without it, then add `hx-get`, `hx-target="#rows"`,
  `hx-select="#rows"`, `hx-push-url="true"` to have a part of the same page exchanged.
- Templates begin with `{% extends "base.html" %}` and `{% import "ui.html" as ui with context %}`,
  have the blocks `title` and `main`, and can name what `Console._known` lists: `_`, `ngettext`,
  `language` (`number`, `percent`, `day`), `time(at)`, `ago(at)`, `link(path, **query)`, `zone`,
  `visitor.may("edit")`, `bars`, `stacked`, `band` (charts). No inline script or style.
- Texts: `{{ _("%(n)s customers", n=language.number(n)) }}` and `ngettext` in templates;
  `N_("...")` marks one in Python. The Chinese text goes into `locales/zh/<page>.po`;
  `python -m tests.console.catalogue` prints what is missing and what nobody uses.
'''

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from litestar import Request, Router, get
from litestar.exceptions import NotFoundException
from litestar.types import ControllerRouterHandler, ExceptionHandlersMap

from decision.console import (
    audit_page,
    deliveries,
    experiments,
    home,
    journeys,
    messages,
    operations,
    people,
    reports,
    signing_in,
)
from decision.console.access import guard_of
from decision.console.answers import Answer, redirect
from decision.console.assets import asset_routes
from decision.console.candidates import routes as candidates_routes
from decision.console.console import Console
from decision.console.failing import handlers_of
from decision.console.models import routes as models_routes
from decision.console.report_kinds import routes as report_kinds_routes
from decision.console.rules import routes as rules_routes

__all__ = ["Console", "console_handlers", "console_router"]

PAGES: Final[Sequence[Callable[[Console], list[ControllerRouterHandler]]]] = (
    home.routes,
    people.routes,
    journeys.routes,
    messages.routes,
    rules_routes,
    candidates_routes,
    experiments.routes,
    reports.routes,
    report_kinds_routes,
    models_routes,
    operations.routes,
    deliveries.routes,
    audit_page.routes,
    signing_in.routes,
)
"""The page modules."""


def console_router(console: Console) -> list[ControllerRouterHandler]:
    """The console's routes, and `GET /`, which leads browsers to it."""
    handlers = [route for routes in PAGES for route in routes(console)]
    for handler in handlers:
        paths: set[str] = getattr(handler, "paths", set())
        console.linked.update(("/console" + path).rstrip("/") for path in paths)

    @get("/{rest:path}", opt={"public": True})
    async def nothing_here() -> Answer:
        raise NotFoundException

    @get("/")
    async def root(request: Request[Any, Any, Any]) -> Answer:
        if "text/html" not in request.headers.get("accept", ""):
            raise NotFoundException
        return redirect("/console")

    router = Router(
        "/console",
        route_handlers=[*handlers, *asset_routes(), nothing_here],
        guards=[guard_of(console)],
    )
    return [router, root]


def console_handlers(console: Console, others: ExceptionHandlersMap) -> ExceptionHandlersMap:
    """The exception handlers of an application that has the console."""
    return handlers_of(console, others)
