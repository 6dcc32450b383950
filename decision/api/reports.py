"""`GET /v1/reports/{kind}`: what customers did, counted from the archive."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.analytics.reports import KINDS, Kind, Option, answer_to, kind_named
from decision.analytics.segments import NothingFound
from decision.api.answers import Answer, json_answer, path_id
from decision.api.openapi import EXAMPLES, Body, Operation
from decision.api.problems import Problem
from decision.archive.location import location
from decision.engine import Engine
from decision.installation import require
from decision.server.aside import Aside
from decision.server.settings import ServerSettings

_Request = Request[Any, Any, Any]
_AT_ONCE: Final = 2
"""How many reports a worker counts at once."""
_WITHIN: Final = 120.0


def report_routes(engine: Engine, settings: ServerSettings) -> list[ControllerRouterHandler]:
    """A route for each kind of report, and one that says that there is no other."""
    aside = Aside(f"the archive {settings.archive}", _AT_ONCE)

    def route(kind: Kind[Any, Any]) -> ControllerRouterHandler:
        opt = {"scope": "reports", "operation": _operation(kind)}

        @get(f"/v1/reports/{kind.name}", opt=opt, name=f"report {kind.name}")
        async def report(request: _Request) -> Answer:
            if settings.archive is None:
                detail = "this server has no archive: set NEXTBEST_ARCHIVE to its folder"
                raise Problem("not-found", detail)
            require("a report")
            policy = engine.snapshot.policy.definition
            given = dict(request.query_params)
            count = partial(answer_to, kind, given, location(settings.archive), policy)
            try:
                return json_answer(await aside.run(count, _WITHIN))
            except NothingFound as error:
                raise Problem("not-found", str(error)) from None

        return report

    @get("/v1/reports/{kind:str}", opt={"scope": "reports"})
    async def no_report(request: _Request) -> Answer:
        kind_named(path_id(request, "kind"))
        raise Problem("not-found", "there is no such report")

    return [*(route(kind) for kind in KINDS.values()), no_report]


def _operation(kind: Kind[Any, Any]) -> Operation:
    name = "".join(part.capitalize() for part in kind.name.split("-"))
    return Operation(
        id=f"report{name}",
        tag="reports",
        summary=kind.summary,
        description=kind.description,
        query={option.name: (option.help, _schema(option)) for option in kind.options},
        answers={
            200: ("The report", Body(type=kind.answer, example=EXAMPLES[kind.answer.__name__]))
        },
        problems=("not-found", "unavailable"),
    )


def _schema(option: Option) -> dict[str, Any]:
    if option.type is int:
        limits = {"minimum": option.least, "maximum": option.most}
        given = {name: limit for name, limit in limits.items() if limit is not None}
        return {"type": "integer", **given, "default": option.default}
    if option.type is bool:
        return {"type": "boolean", "default": bool(option.default)}
    if option.choices:
        return {"type": "string", "enum": [one for one in option.choices if one]}
    return {"type": "string"}
