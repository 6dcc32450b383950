"""The OpenAPI description, built from what the routes say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from litestar.routes import ASGIRoute, BaseRoute, HTTPRoute

from decision.api.answer_fields import always_sent
from decision.api.problems import KINDS, ProblemDetails

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
TEXT: Final = "text/plain"
_PROBLEM: Final = "application/problem+json"
_REF = "#/components/schemas/{name}"


def _file(name: str) -> bytes:
    """A file beside this one."""
    return Path(__file__).with_name(name).read_bytes()


EXAMPLES: Final[dict[str, Any]] = msgspec.json.decode(_file("examples.json"))
"""Examples of bodies, by the name of their type where it has just one."""

BODY_PROBLEMS: Final = ("request-timeout", "too-large", "unsupported-media-type", "unavailable")
"""The problems of a route that reads a body and needs the store."""


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A body: its Python type, content type and an example."""

    type: Any
    example: Any = None
    content_type: str = JSON


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What a route says of itself.

    `answers` is status → (description, body or None); `problems` are kinds of `problems.KINDS`.
    `query` is parameter → (description, values it may have, or its schema). `method`
    is for routes that have none of their own. `repeatable` says of a POST whether it may be sent
    again where the answer is lost: `with ids`, where the request names what it does (`request_id`,
    the events' `id`). `last_lines` are the kinds that the last line of an answer of lines may have:
    without such a line the answer was cut.
    """

    id: str
    summary: str
    description: str = ""
    tag: str
    answers: Mapping[int, tuple[str, Body | None]]
    problems: tuple[str, ...] = ()
    request: Body | None = None
    parameters: Mapping[str, str] = {}
    query: Mapping[str, tuple[str, tuple[str, ...] | dict[str, Any]]] = {}
    method: str = ""
    repeatable: Literal["never", "with ids", "always"] = "never"
    last_lines: tuple[str, ...] = ()

    def __deepcopy__(self, memo: object) -> Operation:
        """Itself: a router copies its handlers, and types in there cannot be copied."""
        return self


def describe(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of an application's routes."""
    found: list[tuple[str, str, str | None, Operation]] = []
    for route in routes:
        if isinstance(route, ASGIRoute):
            handlers: Iterable[Any] = [route.route_handler]
        elif isinstance(route, HTTPRoute):
            handlers = route.route_handlers
        else:
            continue
        for handler in handlers:
            operation = handler.opt.get("operation")
            if operation is not None:
                method = operation.method or next(iter(handler.http_methods))
                scope = handler.opt.get("scope")
                found.append((route.path_format, method.lower(), scope, operation))
    requests = [row.request.type for *_, row in found if row.request is not None]
    bodies = [body for *_, row in found for _, body in row.answers.values()]
    answers = [ProblemDetails, *(body.type for body in bodies if body is not None)]
    types = [*requests, *answers]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = {id(type): schema for type, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for path, method, scope, operation in sorted(found, key=lambda row: row[:2]):
        paths.setdefault(path, {})[method] = _operation(operation, scope, by_type)
    document: dict[str, Any] = msgspec.json.decode(_file("openapi.json"))
    document["info"]["version"] = _version()
    document["paths"] = paths
    for name, fields in always_sent(requests, answers).items():
        components[name]["required"] = fields
    document["components"]["schemas"] = _completed(components)
    return document


def _operation(
    operation: Operation, scope: str | None, by_type: Mapping[int, dict[str, Any]]
) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, (text, body) in sorted(operation.answers.items()):
        answers[str(status)] = {"description": text, "headers": _headers()}
        if body is not None:
            answers[str(status)]["content"] = _content(body, by_type)
    problems = ["invalid-request", "headers-too-large", *operation.problems, "internal-error"]
    if scope is not None:
        problems += ["unauthorized", "forbidden", "rate-limited", "unavailable"]
    by_status: dict[int, list[str]] = {}
    for kind in problems:
        by_status.setdefault(KINDS[kind].status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        if str(status) not in answers:
            answers[str(status)] = _problem(status, kinds)
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description
        + (f"\n\nScope: `{scope}`." if scope is not None else "\n\nNeeds no key."),
        "responses": answers,
    }
    if scope is not None:
        described["security"] = [{"key": []}, {}]
    if operation.repeatable != "never":
        described["x-repeatable"] = operation.repeatable
    if operation.last_lines:
        described["x-last-lines"] = list(operation.last_lines)
    if operation.parameters:
        described["parameters"] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": text,
                "schema": _PARAMETERS.get(name, _IDENTIFIER),
            }
            for name, text in operation.parameters.items()
        ]
    if operation.query:
        described["parameters"] = described.get("parameters", []) + [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": text,
                "schema": values
                if isinstance(values, dict)
                else {"type": "string", "enum": list(values)},
            }
            for name, (text, values) in operation.query.items()
        ]
    if operation.request is not None:
        described["requestBody"] = {
            "required": True,
            "content": _content(operation.request, by_type),
        }
    return described


def _content(body: Body, by_type: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if body.content_type == JSON:
        schema = by_type[id(body.type)]
    content: dict[str, Any] = {"schema": schema}
    if body.example is not None:
        content["example"] = body.example
    return {body.content_type: content}


def _problem(status: int, kinds: list[str]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": "; ".join(KINDS[kind].title for kind in kinds),
        "headers": _headers(),
        "content": {
            _PROBLEM: {
                "schema": {"$ref": _REF.format(name="ProblemDetails")},
                "example": {
                    "type": f"urn:nextbest:problem:{kinds[0]}",
                    "title": KINDS[kinds[0]].title,
                    "status": status,
                    "detail": _DETAILS.get(kinds[0], KINDS[kinds[0]].title.lower()),
                    "instance": "urn:nextbest:request:5f0c7a3be1d20946",
                    "errors": [],
                },
            }
        },
    }
    if status in (429, 503):
        described["headers"]["Retry-After"] = {
            "description": "Seconds after which to try again.",
            "schema": {"type": "integer"},
        }
    return described


_DETAILS = {
    "invalid-request": 'placement: "app_hom" is not a placement of the policy; '
    'did you mean "app_home"?',
    "unavailable": "the store does not answer; try again",
}


# What identifiers must be, as far as a pattern can say it.
_VISIBLE: Final = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
_IDENTIFIER: Final = {"type": "string", "minLength": 1, "maxLength": 256, "pattern": _VISIBLE}
_PARAMETERS: Final = {
    "decision_id": {"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"},
    "token": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,2048}$"},
}


def _headers() -> dict[str, Any]:
    return {
        "X-Request-ID": {
            "description": "The request's id: the caller's own, or one made here.",
            "schema": {"type": "string"},
        }
    }


def _completed(components: dict[str, Any]) -> dict[str, Any]:
    """The schemas, with what types alone cannot say."""
    for name in ("DecisionRequest", "Event"):
        if name in components:
            components[name]["oneOf"] = [
                {
                    "required": [given],
                    "properties": {given: {"type": kind}, other: {"type": "null"}},
                }
                for given, kind, other in (
                    ("customer_id", "string", "alias"),
                    ("alias", "object", "customer_id"),
                )
            ]
    if "EventsRequest" in components:
        events = components["EventsRequest"]["properties"]["events"]
        other = {"description": "What is no event is listed in `rejected`; the others count."}
        events["items"] = {"anyOf": [events["items"], other]}
    for name in ("Alias", "DecisionRequest", "Event", "MergeRequest", "TriggerEvent"):
        for field, schema in components.get(name, {}).get("properties", {}).items():
            if field in ("customer_id", "request_id", "id", "from") or name == "Alias":
                for one in schema.get("anyOf", [schema]):
                    if one.get("type") == "string" and one.get("maxLength") == 256:
                        one["pattern"] = _VISIBLE
    return components


def _version() -> str:
    try:
        return version("nextbest")
    except PackageNotFoundError:
        return "0"
