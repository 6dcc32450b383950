"""The API's description, as far as clients need it: calls and types."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Schema = Mapping[str, Any]

LINES: Final = "application/x-ndjson"
_JSON: Final = "application/json"
_ELSEWHERE: Final = re.compile(
    r"/(metrics|ofrep/.*"
    r"|v1/(hooks|unsubscribe)/.*"
    r"|v1/(alias|batch|group|identify|page|screen|track))"
)
"""For Prometheus, OpenFeature's clients, providers, links in mails, and Segment's clients."""


@dataclass(frozen=True)
class Operation:
    """One call. `body` and `answer` are None where there is none, or where it is lines of JSON."""

    name: str
    method: str
    path: str
    text: str
    path_parameters: list[str]
    query: dict[str, Schema]
    body: Schema | None
    sends_lines: bool
    answer: Schema | None
    answers_lines: bool
    repeatable: str
    last_lines: list[str]

    @property
    def by_hand(self) -> bool:
        """Whether it is streamed in both directions: both clients have a method of their own."""
        return self.sends_lines and self.answers_lines


@dataclass(frozen=True)
class Field:
    """A field of an object."""

    name: str
    schema: Schema
    required: bool


@dataclass(frozen=True)
class Type:
    """An object with a name; `asked`: it is part of a request."""

    name: str
    text: str
    fields: list[Field]
    asked: bool


@dataclass(frozen=True)
class Description:
    """All calls and types, by name."""

    operations: list[Operation]
    types: list[Type]


def read(document: Mapping[str, Any]) -> Description:
    """The calls that the clients have, and the types that these need."""
    operations = [
        _operation(path, method, described)
        for path, item in document["paths"].items()
        if not _ELSEWHERE.fullmatch(path)
        for method, described in item.items()
    ]
    schemas = document["components"]["schemas"]
    # The batch's body is described as text, because it is lines.
    asked = _reached(schemas, [*(one.body for one in operations), _ref("DecisionRequest")])
    told = _reached(schemas, [*(one.answer for one in operations), _ref("ProblemDetails")])
    types = [
        Type(
            name,
            schemas[name].get("description", ""),
            [
                Field(field, schema, field in schemas[name].get("required", ()))
                for field, schema in schemas[name]["properties"].items()
            ],
            name in asked,
        )
        for name in sorted(asked | told)
    ]
    return Description(sorted(operations, key=lambda one: one.name), types)


def _operation(path: str, method: str, described: Mapping[str, Any]) -> Operation:
    parameters = described.get("parameters", [])
    sent = described.get("requestBody", {}).get("content", {})
    answer = next(row for status, row in described["responses"].items() if status.startswith("2"))
    answered = answer.get("content", {})
    repeatable = "never" if method == "post" else "always"
    return Operation(
        name=described["operationId"],
        method=method.upper(),
        path=path,
        text=described["summary"] + ".\n\n" + described["description"],
        path_parameters=[one["name"] for one in parameters if one["in"] == "path"],
        query={one["name"]: one["schema"] for one in parameters if one["in"] == "query"},
        body=sent.get(_JSON, {}).get("schema"),
        sends_lines=LINES in sent,
        answer=answered.get(_JSON, {}).get("schema"),
        answers_lines=LINES in answered,
        repeatable=described.get("x-repeatable", repeatable),
        last_lines=described.get("x-last-lines", []),
    )


def named(schema: Schema) -> str | None:
    """The name of the type that a schema refers to."""
    ref = schema.get("$ref")
    return None if ref is None else str(ref).rpartition("/")[2]


def entry(schema: Schema) -> Schema:
    """The schema of the entries of a list; those of a tuple are all like its first one."""
    found: Schema = schema.get("prefixItems", [schema.get("items", {})])[0]
    return found


def options(schema: Schema) -> list[Schema]:
    """The schemas of which one holds; those that say nothing are left out."""
    found: list[Schema] = schema.get("anyOf", schema.get("oneOf", []))
    return [one for one in found if one.keys() - {"description"}]


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _reached(schemas: Mapping[str, Schema], todo: list[Schema | None]) -> set[str]:
    found: set[str] = set()
    while todo:
        for name in _names(todo.pop()):
            if name not in found:
                found.add(name)
                todo.append(schemas[name]["properties"])
    return found


def _names(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if (name := named(schema) if isinstance(schema.get("$ref"), str) else None) is not None:
            yield name
        for inner in schema.values():
            yield from _names(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _names(inner)
