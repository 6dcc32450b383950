"""Looking at customers: who an alias leads to, and everything that is known of somebody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

import msgspec
from litestar import Request, get
from litestar.types import ControllerRouterHandler

from decision.api.answers import Answer, Streamed, json_answer, path_id
from decision.api.audit import name_target
from decision.api.openapi import EXAMPLES, NDJSON, Body, Operation
from decision.api.problems import unavailable
from decision.core.schema import Alias
from decision.engine import Engine
from decision.engine.timeline import KINDS
from decision.server.admission import Admission, retry_after
from decision.server.exporting import Exports
from decision.server.settings import ServerSettings
from decision.server.timelines import MOST, Timeline, Timelines, kinds_of, limit_of

_Request = Request[Any, Any, Any]
_PATH: Final = "/v1/customers/{customer_id:str}"
_EXPORTS: Final = 4
"""How many exports a worker sends at once."""


class FoundCustomer(msgspec.Struct, frozen=True):
    """Whom an alias leads to."""

    customer_id: str


def looking_routes(
    engine: Engine, settings: ServerSettings, admission: Admission
) -> list[ControllerRouterHandler]:
    """The routes by which people look at customers."""
    exports = Exports(engine, settings.archive)
    exporting = asyncio.Semaphore(_EXPORTS)

    def opt(operation: Operation) -> dict[str, Any]:
        return {"scope": "customers", "operation": operation}

    @get("/v1/aliases/{type:str}/{value:str}", opt=opt(_FIND))
    async def find_customer(request: _Request) -> Answer:
        alias = Alias(path_id(request, "type"), path_id(request, "value"))
        async with admission.turn():
            found = await engine.customers.find(alias)
        name_target(request.scope, found)
        return json_answer(FoundCustomer(found))

    @get(_PATH + "/export", opt=opt(_EXPORT))
    async def export_customer(request: _Request) -> Answer:
        customer_id = path_id(request, "customer_id")
        if exporting.locked():
            detail = f"{_EXPORTS} exports are being sent, which is the most allowed; try again"
            raise unavailable(detail, retry_after(), close=True)
        lines = _counted(exports.lines(customer_id), exporting)
        async with admission.turn():
            first = await anext(lines)
        return Streamed(first, lines)

    timelines = Timelines(engine, settings.archive)

    @get(_PATH + "/timeline", opt=opt(_TIMELINE))
    async def show_timeline(request: _Request) -> Answer:
        customer_id, asked = path_id(request, "customer_id"), request.query_params
        kinds = kinds_of(asked.get("kinds"))
        limit = limit_of(asked.get("limit"))
        async with admission.turn():
            page = await timelines.page(customer_id, kinds, asked.get("before"), limit)
        return json_answer(page)

    return [find_customer, export_customer, show_timeline]


async def _counted(
    lines: AsyncIterator[bytes], places: asyncio.Semaphore
) -> AsyncGenerator[bytes, None]:
    async with places:
        async for line in lines:
            yield line


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
_EXPORT = Operation(
    id="exportCustomer",
    tag="customers",
    summary="Everything stored, logged and archived about a customer",
    description="Lines of JSON, streamed. The first says of whom (`customer_ids`: the id in use, "
    'merged ids and those of aliases), the last is `{"kind": "end", "complete": true, …}`: '
    "without it the export was cut, and with `error` instead something could not be read. Each "
    "export is an entry of the audit log.",
    parameters={"customer_id": "The customer's id, percent-encoded."},
    answers={
        200: (
            "The export",
            Body(type=str, content_type=NDJSON, example=EXAMPLES["export"]),
        )
    },
    problems=("not-found", "unavailable"),
    last_lines=("end", "error"),
)
_TIMELINE = Operation(
    id="showTimeline",
    tag="customers",
    summary="What happened to a customer, the latest first",
    description="Decisions (a row for each message, with the text that was given), contacts, "
    "events, changes of consents, deliveries that wait or failed; from the store and, where one is "
    "configured, from the archive. `next` is the `before` of the next page, null at the end; a "
    "page may have fewer rows than `limit`, or none, and still a next one. Each page is an entry "
    "of the audit log.",
    parameters={"customer_id": "The customer's id, percent-encoded."},
    query={
        "kinds": (
            "Which rows, with commas between; all, where left out",
            {"type": "string", "pattern": f"^({'|'.join(KINDS)})(,({'|'.join(KINDS)}))*$"},
        ),
        "before": ("`next` of the page before", {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}),
        "limit": (
            "How many rows",
            {"type": "integer", "minimum": 1, "maximum": MOST, "default": 20},
        ),
    },
    answers={200: ("A page", Body(type=Timeline, example=EXAMPLES["Timeline"]))},
    problems=("not-found", "unavailable"),
)
