"""OFREP, OpenFeature's remote evaluation: a placement is a flag, and a decision is its value."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from decision.core.errors import InputError
from decision.core.schema import (
    Alias,
    Decision,
    DecisionRequest,
    Identifier,
    Name,
    Properties,
    TriggerEvent,
)
from decision.decoding import JsonDecoder

ErrorCode = Literal[
    "FLAG_NOT_FOUND", "GENERAL", "INVALID_CONTEXT", "PARSE_ERROR", "TARGETING_KEY_MISSING"
]
_NO_KEY: Final = "is missing: it names the customer"
_KEY: Final = "context.targetingKey"
_OPTIONS: Final = "context.nextbest"


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a context says to nextbest, as in a decision request.

    With `alias_type` the targeting key is no customer id, but the value of an alias of that type.
    """

    alias_type: Name | None = None
    event: TriggerEvent | None = None
    channels: Annotated[list[Name], Meta(max_length=100)] | None = None
    request_id: Identifier | None = None
    deadline_ms: Annotated[int, Meta(ge=1, le=60_000)] | None = None


class EvaluationContext(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a flag is evaluated for. All fields but these two are what rules read as `context`."""

    targetingKey: Annotated[str, Meta(max_length=256)] | None = None
    nextbest: Options = Options()


class EvaluationRequest(msgspec.Struct, frozen=True):
    """Asks for the value of a flag, or of all."""

    context: EvaluationContext = EvaluationContext()


class FlagValue(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be shown. Events about it carry the `decision_id`, which a preview has not."""

    message: str
    channel: str
    content: dict[str, Any]
    decision_id: str | msgspec.UnsetType = msgspec.UNSET


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """A flag evaluated; without a value, the caller's default holds."""

    key: str
    reason: Literal["TARGETING_MATCH", "DEFAULT"]
    variant: str
    value: FlagValue | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, str]


class BulkEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """All flags, evaluated for one customer."""

    flags: list[Evaluation]
    metadata: dict[str, str]


class EvaluationFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a flag, or all of them where there is no key, could not be evaluated."""

    errorCode: ErrorCode
    errorDetails: str
    key: str | msgspec.UnsetType = msgspec.UNSET


class _Rest(msgspec.Struct, frozen=True):
    context: Properties = {}


_requests: JsonDecoder[EvaluationRequest] = JsonDecoder(EvaluationRequest)
_rest: JsonDecoder[_Rest] = JsonDecoder(_Rest)


def request_of(body: bytes, placement: str) -> DecisionRequest:
    """The decision request that an evaluation request is.

    Raises:
        InputError: what is wrong with it.

    >>> request_of(b'{"context": {"targetingKey": "c-1", "device": "ios"}}', "app_home")
    DecisionRequest(placement='app_home', customer_id='c-1', ..., context={'device': 'ios'}, ...)
    """
    given = _requests.decode(body).context
    if not given.targetingKey:
        raise InputError(_KEY, _NO_KEY)
    context = _rest.decode(body).context
    for name in EvaluationContext.__struct_fields__:
        context.pop(name, None)
    options, kind = given.nextbest, given.nextbest.alias_type
    return DecisionRequest(
        placement=placement,
        customer_id=given.targetingKey if kind is None else None,
        alias=None if kind is None else Alias(kind, given.targetingKey),
        request_id=options.request_id,
        event=options.event,
        context=context,
        channels=options.channels,
        deadline_ms=options.deadline_ms,
    )


def evaluation_of(decision: Decision, *, preview: bool = False) -> Evaluation:
    """What a decision is to OpenFeature. A preview has nothing that differs from call to call."""
    metadata = {"outcome": decision.outcome, "version": decision.policy_version}
    if not preview:
        metadata["decision_id"] = decision.decision_id
    chosen = decision.selections[0] if decision.selections else None
    told = {
        "reason": decision.reason,
        "not_before": decision.not_before,
        "reserved_until": chosen and chosen.reserved_until,
        "degraded": ",".join(decision.degraded),
        "model_version": decision.model_version,
    }
    metadata |= {name: msgspec.to_builtins(one) for name, one in told.items() if one}
    value: FlagValue | msgspec.UnsetType = msgspec.UNSET
    if chosen is not None:
        value = FlagValue(
            message=chosen.message,
            channel=chosen.channel,
            content=chosen.content,
            decision_id=msgspec.UNSET if preview else decision.decision_id,
        )
    return Evaluation(
        key=decision.placement,
        reason="TARGETING_MATCH" if decision.outcome == "selected" else "DEFAULT",
        variant=chosen.message if chosen is not None else "none",
        value=value,
        metadata=metadata,
    )


def failure_of(error: InputError, key: str | None) -> EvaluationFailure:
    """What the error of a request is to OpenFeature."""
    path = error.path
    if path in ("customer_id", "alias.value"):
        path = _KEY
    elif path.startswith(("channels", "event", "request_id")):
        path = f"{_OPTIONS}.{path}"
    code: ErrorCode = "INVALID_CONTEXT"
    if path in ("key", "placement"):
        code, path = "FLAG_NOT_FOUND", ""
    elif not path:
        code = "PARSE_ERROR"
    elif (path, error.detail) == (_KEY, _NO_KEY):
        code = "TARGETING_KEY_MISSING"
    details = f"{path}: {error.detail}" if path else error.detail
    return EvaluationFailure(
        key=msgspec.UNSET if key is None else key, errorCode=code, errorDetails=details
    )
