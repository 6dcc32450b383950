"""Every exception as a problem, and the handlers that Litestar calls for them."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap, Receive, Scope, Send

from decision.api.middleware import http_request_id, send_problem
from decision.api.problems import KIND_BY_STATUS, Problem, bad_field, overloaded, unavailable
from decision.core.errors import FileError, NextbestError, NotReady, Overloaded, StoreUnavailable
from decision.engine import InputError, NotFound
from decision.engine.snapshot import PolicyRefused
from decision.observability import get_logger
from decision.rulebook.checking import RulesRefused
from decision.scoring.manifest import ModelError
from decision.server.aside import Unanswered
from decision.server.keys.rates import RateExceeded
from decision.server.shared_folder import as_field_error
from decision.store.health import STATES

_log = get_logger()


def as_problem(error: Exception, request_id: str) -> Problem:
    """The problem that an exception stands for. An unforeseen one is logged, and is a 500."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, InputError):
        return bad_field(error.path, error.detail)
    if isinstance(error, NotFound):
        return Problem("not-found", str(error.args[0]))
    if isinstance(error, NotReady):
        detail = "no policy is in force yet; /health/ready says what the server waits for"
        return unavailable(detail)
    if isinstance(error, Overloaded):
        return overloaded(error)
    if isinstance(error, RateExceeded):
        return rate_limited(error)
    if isinstance(error, StoreUnavailable):
        _log.warning(
            "store_unavailable",
            request_id=request_id,
            exception=type(error).__qualname__,
            code=error.code,
            uncertain=error.uncertain,
        )
        detail = "the store does not answer; try again"
        if error.code == "contention":
            detail = "too much is written at once for one customer; try again"
        elif error.code in STATES:
            detail = f"the store refuses this for now ({error.code}); try again"
        if error.uncertain:
            detail += ". What was sent may have been stored already"
        return unavailable(detail)
    if isinstance(error, Unanswered):
        _log.error("files_unanswered", request_id=request_id, problem=str(error))
        detail = "a folder that this needs does not answer; the server's log names it"
        return unavailable(detail)
    if isinstance(error, RulesRefused):
        errors = [as_field_error(one) for one in error.diagnostics]
        return Problem("policy-refused", f"{error}; the policy in force stays", errors=errors)
    if isinstance(error, PolicyRefused | ModelError):
        return Problem("policy-refused", f"{error}; what is in force stays")
    if isinstance(error, HTTPException):
        return _of_framework(error)
    reason = {"problem": str(error)} if isinstance(error, FileError) else {}
    _log.error("request_failed", request_id=request_id, exc_info=error, **reason)
    if isinstance(error, NextbestError):
        # Raised on purpose, so somebody can fix it: a damaged archive, for one. The text is not
        # shown to callers, because it may name a file or quote what is stored.
        detail = "the server cannot read what this needs; its log has the request's id"
        return unavailable(detail)
    return Problem("internal-error", "the server failed; its log has the request's id")


def rate_limited(error: RateExceeded) -> Problem:
    """A 429, with the headers of the IETF's draft for rate limits."""
    headers = {
        "retry-after": str(error.retry_after),
        "ratelimit-policy": f'"key";q={error.amount};w={error.window}',
        "ratelimit": f'"key";r=0;t={error.retry_after}',
    }
    return Problem("rate-limited", str(error), headers=headers)


def _of_framework(error: HTTPException) -> Problem:
    headers = {name: str(value) for name, value in (error.headers or {}).items()}
    if error.status_code == 404:
        return Problem("not-found", "there is nothing at this path; /schema lists every path")
    if error.status_code == 405:
        methods = headers.get("allow", "").split(", ")
        allowed = ", ".join(sorted({*methods, "HEAD"} if "GET" in methods else methods))
        return Problem(
            "method-not-allowed", f"the methods here are {allowed}", headers={"allow": allowed}
        )
    otherwise = "invalid-request" if error.status_code < 500 else "internal-error"
    kind = KIND_BY_STATUS.get(error.status_code, otherwise)
    return Problem(kind, error.detail, headers=headers)


def problem_details(error: InputError) -> dict[str, Any]:
    """The body of the answer to bad input, as plain data, for answers that come in lines."""
    details: dict[str, Any] = msgspec.to_builtins(bad_field(error.path, error.detail).details())
    return details


class ProblemAnswer:
    """A problem as an answer, in the form in which Litestar takes it from an exception handler."""

    __slots__ = ("coded", "problem")

    def __init__(self, problem: Problem, *, coded: bool = False) -> None:
        self.problem = problem
        self.coded = coded

    def to_asgi_response(self, **_: Any) -> ProblemAnswer:
        """The ASGI application that sends it."""
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the problem."""
        await send_problem(self.problem, scope, send, coded=self.coded)


def _handle(request: Request[Any, Any, Any], error: Exception) -> Any:
    return ProblemAnswer(as_problem(error, http_request_id(request.scope)))


def _handle_coded(request: Request[Any, Any, Any], error: Exception) -> Any:
    return ProblemAnswer(as_problem(error, http_request_id(request.scope)), coded=True)


CODED_HANDLERS: ExceptionHandlersMap = {HTTPException: _handle_coded, Exception: _handle_coded}
"""For routes whose clients read `code` and `message` of an error."""

HANDLERS: ExceptionHandlersMap = {HTTPException: _handle, Exception: _handle}
