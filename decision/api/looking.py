"""Looking at customers: who an alias leads to."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.api.answers import Answer, json_answer, path_id
from decision.api.audit import name_target
from decision.api.openapi import Body, Operation
from decision.core.schema import Alias
from decision.engine import Engine
from decision.server.admission import Admission

_Request = Request[Any, Any, Any]


class FoundCustomer(msgspec.Struct, frozen=True):
    """Whom an alias leads to."""

    customer_id: str


def looking_routes(engine: Engine, admission: Admission) -> list[ControllerRouterHandler]:
    """The routes by which people look at customers."""

    def opt(operation: Operation) -> dict[str, Any]:
        return {"scope": "customers", "operation": operation}

    @get("/v1/aliases/{type:str}/{value:str}", opt=opt(_FIND))
    async def find_customer(request: _Request) -> Answer:
        alias = Alias(path_id(request, "type"), path_id(request, "value"))
        async with admission.turn():
            found = await engine.customers.find(alias)
        name_target(request.scope, found)
        return json_answer(FoundCustomer(found))

    return [find_customer]


_FOUND: Final = Body(type=FoundCustomer, example={"customer_id": "c-1024"})
_FIND = Operation(
    id="findCustomer",
    tag="customers",
    summary="The customer whom an alias leads to",
    description="Whom a decision or an event with this alias would be for; merges are followed. "
    "Each look is an entry of the audit log.",
    parameters={
        "type": "The type of the alias: `email`, percent-encoded.",
        "value": "Its value, percent-encoded: `a%2Fb` for `a/b`. A plus sign is a plus sign.",
    },
    answers={200: ("The customer", _FOUND)},
    problems=("not-found", "unavailable"),
)
