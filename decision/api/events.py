"""`/v1/events`: what happened, many events at once; a bad one does not stop the others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from litestar import Request, post
from litestar.types import ControllerRouterHandler

from decision.api.answers import Answer, json_answer
from decision.api.auth import key_name
from decision.api.bodies import JSON_ONLY, Bodies
from decision.api.openapi import BODY_PROBLEMS, EXAMPLES, Body, Operation
from decision.core.clock import from_micros
from decision.core.errors import InputError, StoreUnavailable
from decision.core.schema import Event, EventsAnswer, Notice, Rejected
from decision.decoding import MOST_VALUES, JsonDecoder
from decision.engine import Engine
from decision.intake.cloudevents import BATCHED, STRUCTURED, cloud_events, event_of
from decision.server.admission import Admission
from decision.server.keys.rates import Rates
from decision.server.metrics import Metrics
from decision.server.quarantine import entry_about, quarantine
from decision.server.settings import ServerSettings

_TYPES: Final = JSON_ONLY | {STRUCTURED, BATCHED}
_VALUES_PER_EVENT: Final = 50
"""JSON values that an event may have where a request has as many events as it may."""


class EventsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events, in the order in which they are to count."""

    events: list[Event]


class RawEvents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events that are still to be decoded, each for itself."""

    events: list[msgspec.Raw]


def event_routes(
    engine: Engine,
    settings: ServerSettings,
    metrics: Metrics,
    admission: Admission,
    rates: Rates,
    bodies: Bodies,
) -> list[ControllerRouterHandler]:
    """The route of events."""
    most = max(MOST_VALUES, _VALUES_PER_EVENT * settings.max_events)
    outer: JsonDecoder[RawEvents] = JsonDecoder(RawEvents, numbers=False, most=most)
    inner: JsonDecoder[Event] = JsonDecoder(Event)

    async def keep(
        raw: Sequence[msgspec.Raw | bytes], rejected: Sequence[Rejected], where: dict[str, str]
    ) -> None:
        at = from_micros(engine.runtime.clock())
        entries = [
            entry_about(bytes(raw[row.index]), row.detail, at=at, index=row.index, **where)
            for row in rejected
        ]
        # Whoever gets an error sends all of it again, also what has no id and is recorded.
        with suppress(StoreUnavailable):
            await quarantine(engine.runtime.store, entries)

    @post(
        "/v1/events",
        status_code=202,
        opt={"scope": "events", "counted": False, "operation": _RECORD},
    )
    async def record_events(request: Request[Any, Any, Any]) -> Answer:
        body = await bodies.read(request.scope, request.receive, types=_TYPES)
        cloud = cloud_events(request.scope["headers"], body)
        raw = outer.decode(body).events if cloud is None else cloud
        decode = inner.decode if cloud is None else event_of
        if len(raw) > settings.max_events:
            raise InputError(
                "events", f"has {len(raw)} events, may have {settings.max_events}; send several"
            )
        await rates.spend(key_name(request.scope), max(1, len(raw)))
        events: list[Event] = []
        places: list[int] = []
        rejected: list[Rejected] = []
        for index, one in enumerate(raw):
            try:
                events.append(decode(bytes(one)))
                places.append(index)
            except InputError as error:
                rejected.append(Rejected(index, str(error)))
                metrics.recorded("", "rejected")
        async with admission.turn():
            answer = await engine.events.record(events)
            rejected.extend(Rejected(places[row.index], row.detail) for row in answer.rejected)
            rejected.sort(key=lambda row: row.index)
            where = {"source": "events" if cloud is None else "cloudevents"}
            if (key := key_name(request.scope)) is not None:
                where["key"] = key
            await keep(raw, rejected, where)
        notices = answer.notices
        if notices:
            notices = [Notice(places[row.index], row.detail) for row in notices]
        answer = msgspec.structs.replace(answer, rejected=rejected, notices=notices)
        return json_answer(answer, 202)

    return [record_events]


_ANSWER: Final = Body(type=EventsAnswer, example=EXAMPLES["EventsAnswer"])
_RECORD = Operation(
    id="recordEvents",
    repeatable="with ids",
    tag="events",
    summary="Record what happened",
    description="Idempotent by `id` for each customer, for 7 days. Events about a contact carry "
    "`decision_id`, and `message` where the decision had several. An event that cannot be used "
    "is listed in `rejected`, and in the quarantine; the others are recorded. So is one about a "
    "contact that names a channel or purpose that the policy does not have. CloudEvents are taken "
    "too: structured, batched, or binary (`ce-…` headers).",
    request=Body(type=EventsRequest, example=EXAMPLES["EventsRequest"]),
    answers={202: ("What became of the events", _ANSWER)},
    problems=BODY_PROBLEMS,
)
