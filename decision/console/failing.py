"""Errors as pages."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request
from litestar.types import ExceptionHandlersMap

from decision.console.answers import Answer, redirect
from decision.console.console import Console, on
from decision.console.errors import PageError, SignInNeeded, TokenRefused, texts_of
from decision.console.forms import LARGEST_AT_ONCE, SAFE, Form, local_path
from decision.console.rendering import link
from decision.console.visitors import from_elsewhere, visitor_of

_Request = Request[Any, Any, Any]


def handlers_of(console: Console, others: ExceptionHandlersMap) -> ExceptionHandlersMap:
    """The handlers of an application: pages for what is under `/console`, else `others`."""

    def handler(other: Any) -> Any:
        def handle(request: _Request, error: Exception) -> Any:
            path = request.scope["path"]
            if path == "/console" or path.startswith("/console/"):
                return page_of(console, request, error)
            return other(request, error)

        return handle

    return {kind: handler(other) for kind, other in others.items()}


def page_of(console: Console, request: _Request, error: Exception) -> Answer:
    """The page of an error; whoever has to sign in is led there, and a form is not lost."""
    if isinstance(error, SignInNeeded):
        return _sign_in(console, request)
    if isinstance(error, PageError):
        problem, status, detail = None, error.status, ""
    else:
        problem = console.door.problem(error, request.scope)
        status, detail = problem.status, problem.detail
    texts = texts_of(error, status, detail, visitor_of(request).language)
    safe = request.scope["method"] in SAFE
    template = "error_part.html" if on(request) else "error.html"
    fields = [] if safe or on(request) else _fields(request)
    again = status == 503 or isinstance(error, TokenRefused)
    answer = console.page_now(
        request,
        template,
        status=status,
        long=_long(fields),
        texts=texts,
        again=safe and status in (408, 429, 503),
        fields=fields if again else [],
        typed=[] if again else [value for name, value in fields if name in _TYPED and value],
        request_id=request.scope["state"].get("request_id", ""),
    )
    answer.headers |= {
        name: value
        for name, value in (problem.headers if problem else {}).items()
        if name in ("retry-after", "allow", "connection")
    }
    if on(request):
        answer.headers |= {"hx-retarget": "#notices", "hx-reswap": "innerHTML"}
    return answer


def _sign_in(console: Console, request: _Request) -> Answer:
    """A link is followed after signing in; a form is kept, to be sent again."""
    scope = request.scope
    query = scope["query_string"].decode("latin-1")
    here = scope["path"] + (f"?{query}" if query else "")
    if on(request):
        answer = console.page_now(request, "signed_out_part.html", status=401)
        answer.headers |= {"hx-retarget": "#notices", "hx-reswap": "innerHTML"}
        return answer
    if from_elsewhere(scope):
        # Our cookies are for our own pages alone: one of these leads on, and they come along.
        return console.page_now(request, "lead_on.html", status=200, next=local_path(here))
    if scope["method"] in SAFE:
        return redirect(link("/console/sign-in", next=here))
    fields = _fields(request)
    return console.page_now(
        request, "signed_out.html", status=401, long=_long(fields), fields=fields, action=here
    )


def _long(fields: list[tuple[str, str]]) -> bool:
    return sum(len(value) for _, value in fields) > LARGEST_AT_ONCE


_TYPED: Final = ("title", "why", "comment", "text")
"""Fields in which people write: what is in them is not lost when it cannot be taken."""


def _fields(request: _Request) -> list[tuple[str, str]]:
    """What was sent, to be sent again; nothing of a form with an API key."""
    form: Form | None = request.scope["state"].get("form")
    if form is None or form.text("key"):
        return []
    return [pair for pair in form.fields if pair[0] != "csrf"]
