"""`/v1/decisions`: one decision, many as NDJSON, and one looked up again."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import msgspec
from litestar import Request, asgi, get
from litestar.exceptions import MethodNotAllowedException
from litestar.types import ControllerRouterHandler, Receive, Scope, Send

from decision.api.answers import Answer, encode_json, has_gone, json_answer, path_id
from decision.api.auth import Authenticator, key_name
from decision.api.batch import Batch, Batches
from decision.api.bodies import Bodies, check_headers
from decision.api.openapi import BODY_PROBLEMS, EXAMPLES, NDJSON, Body, Operation
from decision.api.problems import Problem
from decision.core.errors import InputError, Overloaded
from decision.core.schema import Decision, DecisionRequest
from decision.decoding import JsonDecoder
from decision.engine import Decided, Engine
from decision.server.admission import Admission
from decision.server.archived import ArchivedDecisions
from decision.server.keys.rates import Rates
from decision.server.settings import ServerSettings

PATH: Final = "/v1/decisions"
NDJSON_ONLY: Final = frozenset({b"application/x-ndjson", b"application/ndjson"})

_REQUESTS: Final[JsonDecoder[DecisionRequest]] = JsonDecoder(DecisionRequest)


def decode_request(body: bytes) -> DecisionRequest:
    """A decision request as it comes over HTTP.

    Raises:
        InputError: it cannot be used.
    """
    request = _REQUESTS.decode(body)
    if request.at is not None and not request.dry_run:
        raise InputError(
            "at", "is for a dry run alone (dry_run: true); a decision is always made for now"
        )
    return request


async def decide_in_turn(
    engine: Engine,
    admission: Admission,
    request: DecisionRequest,
    timeout_ms: int,
    receive: Receive,
) -> Decided:
    """Decides when there is room; what waited beyond its deadline is answered at once.

    Raises:
        Problem: the client has gone while it waited; nothing was begun.
    """
    if not admission.enter():
        return await decide_late(engine, admission, request, timeout_ms, receive)
    try:
        return await engine.decide_with_verdict(request)
    finally:
        admission.leave()


async def decide_late(
    engine: Engine,
    admission: Admission,
    request: DecisionRequest,
    timeout_ms: int,
    receive: Receive,
) -> Decided:
    """As `decide_in_turn`, where there is no room yet."""
    try:
        waited = await admission.wait()
    except Overloaded:
        return engine.decide_too_late(request)
    left = (request.deadline_ms or timeout_ms) - round(waited * 1000)
    gone = has_gone(receive)
    if gone or left <= 0:
        admission.leave()
        if gone:
            raise Problem("invalid-request", "the client went away before its turn came")
        return engine.decide_too_late(request)
    request = msgspec.structs.replace(request, deadline_ms=left)
    try:
        return await engine.decide_with_verdict(request)
    finally:
        admission.leave()


async def give_decision(
    engine: Engine,
    request: DecisionRequest,
    decided: Decided,
    answer: Answer,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Sends the answer that a decision is given by; takes the decision back if nobody got it."""
    given = False
    try:
        given = await answer.give(scope, receive, send)
    finally:
        if not given:
            take_back(engine, request, decided)


def take_back(engine: Engine, request: DecisionRequest, decided: Decided) -> None:
    """Takes back what a decision has reserved, whose answer nobody got."""
    if left := engine.ungiven(request, decided):
        engine.withdraw(left)


class Deciding:
    """`POST /v1/decisions`, up to its answer: it checks the key itself."""

    def __init__(
        self,
        engine: Engine,
        settings: ServerSettings,
        authenticator: Authenticator,
        admission: Admission,
        rates: Rates,
        bodies: Bodies,
    ) -> None:
        self._engine = engine
        self._timeout_ms = settings.timeout_ms
        self._authenticator = authenticator
        self._admission = admission
        self._rates = rates
        self._bodies = bodies

    async def decide(
        self, scope: Scope, receive: Receive
    ) -> tuple[DecisionRequest, Decided, bytes]:
        """Decides what a request asks for; the last is the answer's body.

        Raises:
            Exception: what the framework answers with the problem that it is.
        """
        self._authenticator.authorize(scope, "decide")
        name = key_name(scope)
        if name is not None and name in self._rates:
            await self._rates.spend(name)
        body = self._bodies.read_at_once(scope)
        request = decode_request(await self._bodies.read(scope, receive) if body is None else body)
        if self._admission.enter():
            try:  # as `decide_in_turn`, without a coroutine between
                decided = await self._engine.decide_with_verdict(request)
            finally:
                self._admission.leave()
        else:
            timeout = self._timeout_ms
            decided = await decide_late(self._engine, self._admission, request, timeout, receive)
        return request, decided, encode_json(decided.decision)


def decision_routes(
    engine: Engine,
    settings: ServerSettings,
    authenticator: Authenticator,
    admission: Admission,
    rates: Rates,
    bodies: Bodies,
    deciding: Deciding,
) -> list[ControllerRouterHandler]:
    """The routes that are called most: raw ASGI, and they check the key themselves.

    Each layer less on this path means more decisions per second.
    """
    batches = Batches(settings)

    @asgi(PATH, copy_scope=False, opt={"scope": "decide", "operation": _DECIDE})
    async def decide(scope: Scope, receive: Receive, send: Send) -> None:
        _only_post(scope)
        request, decided, content = await deciding.decide(scope, receive)
        await give_decision(engine, request, decided, Answer(content), scope, receive, send)

    @asgi("/v1/decisions/batch", copy_scope=False, opt={"scope": "decide", "operation": _BATCH})
    async def decide_batch(scope: Scope, receive: Receive, send: Send) -> None:
        _only_post(scope)
        authenticator.authorize(scope, "decide")
        check_headers(scope, NDJSON_ONLY, settings.max_batch_bytes)
        _ = engine.snapshot  # without one, a 503 now is better than one per line
        spend = partial(rates.spend, key_name(scope))
        async with batches.one():
            batch = Batch(engine, settings, decode_request, admission, batches, spend)
            await batch.run(scope, receive, send)

    return [decide, decide_batch]


def lookup_routes(
    engine: Engine, settings: ServerSettings, admission: Admission
) -> list[ControllerRouterHandler]:
    """The route that finds a decision again: in the log, else in the archive where there is one."""
    archive = (
        ArchivedDecisions(settings.archive, engine.replay) if settings.archive is not None else None
    )

    @get("/v1/decisions/{decision_id:str}", opt={"scope": "decide", "operation": _FIND})
    async def find_decision(request: Request[Any, Any, Any]) -> Answer:
        decision_id = path_id(request, "decision_id")
        async with admission.turn():
            found = await engine.replay.find(decision_id)
        if found is None and archive is not None:
            found = await archive.find(decision_id)
        if found is None:
            raise Problem(
                "not-found",
                f"decision {decision_id} is not in the log, or no longer there"
                if archive is None
                else f"decision {decision_id} is neither in the log nor in the archive",
            )
        return json_answer(found)

    return [find_decision]


def _only_post(scope: Scope) -> None:
    """Raw routes are called for every method.

    Raises:
        MethodNotAllowedException: it is not POST.
    """
    if scope["method"] != "POST":  # type: ignore[typeddict-item]
        raise MethodNotAllowedException(headers={"allow": "POST"})


_ANSWER: Final = Body(type=Decision, example=EXAMPLES["Decision"])
_DECIDE = Operation(
    id="decide",
    method="POST",
    repeatable="with ids",
    tag="decisions",
    summary="Decide what to say next to a customer",
    description="A customer never seen before is one with nothing stored, never an error. With a "
    "`request_id`, the same call gives the same decision again for an hour, and nothing is "
    "counted twice. Where nothing can be chosen, the answer is the placement's fallback, on a "
    "channel that reaches the customer, or `none`; so it is where the store is unavailable, with "
    "`store` in `degraded`: then nobody knows which channels do, and nothing stays reserved.",
    request=Body(type=DecisionRequest, example=EXAMPLES["DecisionRequest"]),
    answers={200: ("The decision", _ANSWER)},
    problems=BODY_PROBLEMS,
)
_BATCH = Operation(
    id="decideBatch",
    method="POST",
    tag="decisions",
    summary="Decide many requests, one per line",
    description="Lines are decision requests; the answer has a line for each, in the same order, "
    'while they are still being sent. A bad line gives `{"error": {…, "line": 3}}`, and the '
    "rest goes on. Where a line is refused for now (`status` 429, 503), `retry_after` of the error "
    "says after how many seconds to send it again; else it is null. Empty lines are skipped.",
    request=Body(type=str, content_type=NDJSON, example=EXAMPLES["batch"]),
    answers={200: ("One decision or error per line", Body(type=str, content_type=NDJSON))},
    problems=("too-large", "unsupported-media-type", "unavailable"),
)
_FIND = Operation(
    id="findDecision",
    tag="decisions",
    summary="Look up a decision with its full explanation",
    description="From what was logged; where that is no longer there, from the archive, where "
    "one is configured. It is decided again from what the decision saw, and contents are rendered "
    "again, as they were then. Contents are empty, and `explanation` is null or without details, "
    "only where the document or the policy of that time is no longer kept. `asked_by` names the "
    "journey and step that asked, with the line in the rule files. `not_given` in "
    "`degraded`: the decision was written too late for its answer, and was taken back.",
    parameters={"decision_id": "The `decision_id` of a decision."},
    answers={200: ("The decision", _ANSWER)},
    problems=("not-found", "unavailable"),
)
