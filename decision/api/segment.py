"""`/v1/batch`, `/v1/track` and so on: what Segment's and RudderStack's clients send, as it is.

These clients drop what gets a 4xx, and some take nothing but a 200. So a body that can be read
gets a 200; what of it cannot be used is in the answer, and in the quarantine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from litestar import Request, get, post
from litestar.types import ControllerRouterHandler

from decision.api.answers import Answer, json_answer
from decision.api.auth import Authenticator, has_authorization, key_name
from decision.api.bodies import Bodies
from decision.api.errors import CODED_HANDLERS
from decision.api.openapi import BODY_PROBLEMS, EXAMPLES, Body, Operation
from decision.core.clock import from_micros
from decision.core.errors import InputError
from decision.engine import Engine
from decision.intake.segment import (
    KINDS,
    LARGEST_EVENT,
    Action,
    about,
    action_of,
)
from decision.intake.segment_batch import Batch, calls_of, write_key_of
from decision.server.admission import Admission
from decision.server.keys.rates import Rates
from decision.server.metrics import Metrics
from decision.server.quarantine import (
    Quarantine,
    Quarantined,
    quarantine,
    quarantined,
    without_names,
)
from decision.server.segment_calls import segment_options
from decision.server.segment_recording import SegmentAnswer, store_actions
from decision.server.settings import ServerSettings

_Request = Request[Any, Any, Any]
_KIND_BY_PATH: Final[dict[str, str | None]] = {
    "batch": None,
    "b": None,
    **{kind: kind for kind in KINDS},
    **{kind[0]: kind for kind in KINDS},
}
"""What is called at `/v1/…`; one letter is what analytics.js, for browsers, calls."""

SEGMENT_PATHS: Final = frozenset(f"/v1/{path}" for path in _KIND_BY_PATH)
"""The paths that take Segment's calls."""

LARGEST_UNKNOWN: Final = 512 * 1024
"""Bytes of a body that are read before it is known whether its write key is a key."""

_AT_A_TIME: Final = 256
"""Calls of a batch that are read while nobody else has a turn."""


def segment_routes(
    engine: Engine,
    settings: ServerSettings,
    metrics: Metrics,
    admission: Admission,
    authenticator: Authenticator,
    rates: Rates,
    bodies: Bodies,
) -> list[ControllerRouterHandler]:
    """The routes of Segment's calls, and of the quarantine."""
    options = segment_options(settings)
    store = engine.runtime.store
    largest = settings.segment_body_bytes

    async def take(request: _Request, kind: str | None) -> Answer:
        scope = request.scope
        known = authenticator.open or has_authorization(scope)
        most = largest if known else min(largest, LARGEST_UNKNOWN)
        # Whatever its type: browsers send text, and RudderStack's client for Node a form.
        body = await bodies.read_packed(scope, request.receive, types=None, largest=most)
        if kind is not None:
            batch = Batch([msgspec.Raw(body)], writeKey=None if known else write_key_of(body))
        else:
            batch = calls_of(body)
        if not known:
            given = batch.writeKey if isinstance(batch.writeKey, str) else ""
            authenticator.authorize(scope, "events", given=given.encode())
        calls = [bytes(call) for call in batch.batch]
        key = key_name(scope)
        await rates.spend(key, max(1, len(calls)))
        received = from_micros(engine.runtime.clock())
        actions: dict[int, Action] = {}
        rejected: dict[int, str] = {}
        for index, raw in enumerate(calls):
            if index % _AT_A_TIME == _AT_A_TIME - 1:
                await asyncio.sleep(0)  # others wait
            try:
                actions[index] = action_of(raw, options, received, kind=kind, sent_at=batch.sentAt)
            except InputError as error:
                rejected[index] = str(error)
                metrics.recorded("", "rejected")
        async with admission.turn():
            answer = await store_actions(engine, metrics, actions, rejected)
            await quarantine(
                store,
                [
                    Quarantined(
                        at=received,
                        source="segment",
                        key=key,
                        index=row.index,
                        detail=without_names(row.detail, _names(calls[row.index])),
                        **({"kind": kind} if kind else {}) | about(calls[row.index]),
                    )
                    for row in answer.rejected
                ],
            )
        return json_answer(answer)

    def route(path: str, kind: str | None) -> ControllerRouterHandler:
        opt: dict[str, Any] = {
            "scope": "events",
            "basic": True,
            "key_in_body": True,
            "counted": False,
        }
        if path in (*KINDS, "batch"):
            opt["operation"] = _operation(path)

        @post(f"/v1/{path}", status_code=200, opt=opt, exception_handlers=CODED_HANDLERS)
        async def take_calls(request: _Request) -> Answer:
            return await take(request, kind)

        return take_calls

    @get("/v1/quarantine", opt={"scope": "admin", "operation": _QUARANTINE})
    async def get_quarantine() -> Answer:
        async with admission.turn():
            return json_answer(await quarantined(store))

    return [*(route(*one) for one in _KIND_BY_PATH.items()), get_quarantine]


def _names(raw: bytes) -> Sequence[str]:
    """What names the customer in a call."""
    try:
        call = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()
    given = (call.get(name) for name in ("userId", "anonymousId", "previousId"))
    return [str(one) for one in given if one]


def _operation(path: str) -> Operation:
    batch = path == "batch"
    return Operation(
        id=f"segment{path.title()}",
        tag="events",
        summary="Take a batch of Segment's calls" if batch else f"Take Segment's call {path}",
        description="For clients of Segment and RudderStack: point their host here; the write key "
        "is an API key, as user name of Basic, as Bearer, or as `writeKey` in the body. The body "
        "is JSON whatever its type says, and may be packed with gzip. "
        "What cannot be used is listed in `rejected` and in the quarantine; the rest counts. "
        f"An event may have {LARGEST_EVENT} bytes. Errors also have `code` and `message`.",
        request=Body(
            type=dict[str, Any], example=EXAMPLES["SegmentBatch" if batch else "SegmentCall"]
        ),
        answers={200: ("What became of them", _ANSWER)},
        problems=BODY_PROBLEMS,
    )


_ANSWER: Final = Body(type=SegmentAnswer, example=EXAMPLES["SegmentAnswer"])
_QUARANTINE = Operation(
    id="getQuarantine",
    tag="events",
    summary="The last events that were rejected",
    description="Of calls of the API, CloudEvents, Segment's calls and Kafka. The newest first, "
    "1,000 at most, the first 100 of a request. Contents of events are not kept, nor who they "
    "are about.",
    answers={200: ("The rejected events", Body(type=Quarantine, example=EXAMPLES["Quarantine"]))},
    problems=("unavailable",),
)
