"""`/ofrep/v1/evaluate/flags`: decisions for clients of OpenFeature, as flags.

Errors that the protocol has a form for (400, 404, 500) have that form; the others are problems, as
everywhere: of those, clients read the status alone, and `Retry-After` of a 429.
"""

from __future__ import annotations

from functools import partial
from hashlib import blake2b
from typing import Any, Final

import msgspec
from litestar import Request, post
from litestar.types import ASGIApp, ControllerRouterHandler, Receive, Scope

from decision.api.answers import Answer, encode_json, has_gone, json_answer, path_id
from decision.api.auth import key_name
from decision.api.bodies import Bodies
from decision.api.decisions import decide_in_turn, give_decision
from decision.api.errors import as_problem
from decision.api.middleware import http_request_id
from decision.api.openapi import BODY_PROBLEMS, EXAMPLES, Body, Operation
from decision.api.problems import Problem
from decision.core.errors import InputError
from decision.core.schema import DecisionRequest
from decision.engine import Engine
from decision.intake.ofrep import (
    BulkEvaluation,
    Evaluation,
    EvaluationFailure,
    EvaluationRequest,
    evaluation_of,
    failure_of,
    request_of,
)
from decision.server.admission import Admission
from decision.server.keys.rates import Rates
from decision.server.settings import ServerSettings

_Request = Request[Any, Any, Any]


def ofrep_routes(
    engine: Engine, settings: ServerSettings, admission: Admission, rates: Rates, bodies: Bodies
) -> list[ControllerRouterHandler]:
    """The routes of OFREP."""

    @post(
        "/ofrep/v1/evaluate/flags/{key:str}",
        status_code=200,
        opt={"scope": "decide", "operation": _ONE},
    )
    async def evaluate_flag(request: _Request) -> ASGIApp:
        scope, receive = request.scope, request.receive
        key = request.path_params["key"]
        try:
            key = path_id(request, "key")
            asked = request_of(await bodies.read(scope, receive), key)
            decided = await decide_in_turn(engine, admission, asked, settings.timeout_ms, receive)
        except Exception as error:  # noqa: BLE001 - raised again, or answered as it would be
            return _failure(error, scope, key)
        answer = json_answer(evaluation_of(decided.decision))
        return partial(give_decision, engine, asked, decided, answer)

    async def preview(asked: DecisionRequest, receive: Receive) -> list[Evaluation]:
        """Every placement, one after the other, behind what others ask for."""
        flags = []
        for placement in sorted(engine.snapshot.policy.placements):
            async with admission.turn(line=True):
                if has_gone(receive):
                    raise Problem("invalid-request", "the client went away before its answer")
                one = msgspec.structs.replace(asked, placement=placement)
                flags.append(evaluation_of(await engine.preview(one), preview=True))
        return flags

    @post(
        "/ofrep/v1/evaluate/flags",
        status_code=200,
        opt={"scope": "decide", "counted": False, "operation": _ALL},
    )
    async def evaluate_flags(request: _Request) -> Answer:
        scope, receive = request.scope, request.receive
        await rates.spend(key_name(scope), max(1, len(engine.snapshot.policy.placements)))
        try:
            asked = request_of(await bodies.read(scope, receive), "")
            flags = await preview(asked, receive)
        except Exception as error:  # noqa: BLE001 - raised again, or answered as it would be
            return _failure(error, scope, None)
        metadata = {"version": engine.snapshot.policy_version}
        content = encode_json(BulkEvaluation(flags=flags, metadata=metadata))
        etag = f'"{blake2b(content, digest_size=16).hexdigest()}"'.encode()
        fresh = _is_among(etag, dict(scope["headers"]).get(b"if-none-match"))
        headers = ((b"etag", etag),)
        return Answer(b"", 304, headers=headers) if fresh else Answer(content, headers=headers)

    return [evaluate_flag, evaluate_flags]


def _failure(error: Exception, scope: Scope, key: str | None) -> Answer:
    """The answer to a request that failed, in the protocol's form.

    Raises:
        Problem: the protocol has no form for it.
    """
    problem = as_problem(error, http_request_id(scope))
    if problem.status not in (400, 404, 500):
        raise problem
    failure = EvaluationFailure(
        key=msgspec.UNSET if key is None else key, errorCode="GENERAL", errorDetails=problem.detail
    )
    if isinstance(error, InputError):
        failure = failure_of(error, key)
    status = 404 if failure.errorCode == "FLAG_NOT_FOUND" else problem.status
    return json_answer(failure, status)


def _is_among(etag: bytes, given: bytes | None) -> bool:
    """Whether an entity tag is one of those in an `If-None-Match`."""
    tags = {one.strip().removeprefix(b"W/") for one in (given or b"").split(b",")}
    return etag in tags or b"*" in tags


_FAILURE: Final = Body(type=EvaluationFailure, example=EXAMPLES["EvaluationFailure"])
_REQUEST: Final = Body(type=EvaluationRequest, example=EXAMPLES["EvaluationRequest"])
_FAILED: Final[dict[int, tuple[str, Body | None]]] = {
    400: ("The request cannot be used", _FAILURE),
    500: ("The server failed", _FAILURE),
}
_ONE = Operation(
    id="evaluateFlag",
    tag="decisions",
    summary="Decide for a client of OpenFeature (OFREP)",
    description="The flag is a placement, its value what was chosen, which is reserved as by "
    "`/v1/decisions`. `targetingKey` is the customer, `nextbest` in the context what else a "
    "decision request has, all other fields its `context`. Where nothing was chosen there is no "
    "`value`: the caller's default holds.",
    parameters={"key": "The name of a placement."},
    request=_REQUEST,
    answers={
        200: ("The flag", Body(type=Evaluation, example=EXAMPLES["Evaluation"])),
        **_FAILED,
        404: ("The policy has no such placement", _FAILURE),
    },
    problems=BODY_PROBLEMS,
)
_ALL = Operation(
    id="evaluateFlags",
    tag="decisions",
    summary="Preview every placement for a client of OpenFeature (OFREP)",
    description="What would be decided; nothing is reserved, logged or counted. The `ETag` stays "
    "the same while the answer does: sent as `If-None-Match`, it gives a 304. Counts as one call "
    "for each placement.",
    request=_REQUEST,
    answers={
        200: ("All flags", Body(type=BulkEvaluation, example=EXAMPLES["BulkEvaluation"])),
        304: ("The answer is still that of the `ETag`", None),
        **_FAILED,
    },
    problems=BODY_PROBLEMS,
)
